"""The trunk learns from sequences without labels: each step is predicted from those before it, or after it."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.utils.generic import ModelOutput

from .configuration_rnn import RNNConfig
from .modeling_pretrained import RNNPreTrainedModel
from .modeling_rnn import RNNModel, make_output
from .padding import align
from .step_prediction import vector_loss, vocabulary_loss


@dataclass
class RNNForPreTrainingOutput(ModelOutput):
    """What [`RNNForPreTraining`] returns.

    Args:
        loss: A scalar; only with `return_loss`.
        predictions: (B, T, D, F), zeros on padding: from step t of the forward direction what step t + 1 is, from
            step t of the backward direction what step t - 1 is. Of tokens it is the embedding: the scores of the
            vocabulary are its products with the rows of the input embeddings.
        hidden_states: With `output_hidden_states`, the embedding and the states of each layer, (B, T, F or S).
    """

    loss: Tensor | None = None
    predictions: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class RNNForPreTraining(RNNPreTrainedModel):
    """A recurrent model that predicts the next step of a sequence, and with two directions the previous one as well.

    Language modelling on the way to a classifier (Dai & Le, 2015; Howard & Ruder, 2018), for tokens and for vectors.
    Each direction sees nothing of what it predicts, as in ELMo (Peters et al., 2018); one linear layer makes the
    states of either direction, (H,), a prediction, (F,). A vector is compared with the one that comes, a token's with
    all rows of the embedding, which are the output weights, too. It generates nothing: it is there for its trunk,
    `rnn`, from which a classifier starts.

    Args:
        config: Every choice; what concerns the classifier is not used.

    Raises:
        ValueError: Two directions in more than one layer, over n-grams or normalised together, or a time warp: they
            would see what they have to predict.
    """

    accepts_loss_kwargs = False

    def __init__(self, config: RNNConfig) -> None:
        super().__init__(config)
        _refuse_what_sees_ahead(config)
        self.rnn = RNNModel(config)
        self.head = nn.Linear(config.hidden_size, config.input_size)
        self.post_init()

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoModelForPreTraining") -> None:
        """Let `save_pretrained` put the code beside the weights, for `trust_remote_code=True`; the config's too."""
        super().register_for_auto_class(auto_class)
        RNNConfig.register_for_auto_class()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        input_features: Tensor | None = None,
        return_loss: bool = True,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        token_type_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> "RNNForPreTrainingOutput | tuple[Any, ...]":
        """Predict each step of a batch of sequences from its neighbour.

        Args:
            input_ids: (B, T) token ids, for a model of tokens.
            attention_mask: (B, T), 1 on real steps and 0 on padding, to the right or left. Without it all steps are
                real, but for leading and trailing `pad_token_id`s of `input_ids`.
            input_features: (B, T, F), for a model of vectors.
            return_loss: Whether to compare the predictions with what came: the mean over all real steps that have a
                neighbour of the cross-entropy (tokens) or of the squared error of a feature (vectors).
            output_hidden_states: Whether to return the states of every layer; by default as the config says.
            return_dict: Whether to return an output object or a tuple; by default as the config says.
            token_type_ids: Accepted and ignored: an RNN has no segments.
            **kwargs: Names of attention models are refused with the reason, unless `None` or false.

        Returns:
            [`RNNForPreTrainingOutput`] or a tuple of its parts that are not `None`.

        Raises:
            TypeError: An argument without meaning for a recurrent model.
            ValueError: Bad input (see [`RNNModel`]).
        """
        with_states, as_dict = self._output_choices(output_hidden_states, return_dict, kwargs)
        states, _, *rest = self.rnn(
            input_ids=input_ids,
            attention_mask=attention_mask,
            input_features=input_features,
            use_cache=False,
            output_hidden_states=with_states,
            return_dict=False,
        )
        sequence = self.rnn.embeddings.choose(input_ids, None, input_features)
        alignment = align(attention_mask, sequence, self.config.pad_token_id, streaming=False)
        directions = (self.config.num_directions, self.config.hidden_size)
        predictions = self.head(alignment.align(states, 0.0).unflatten(-1, directions))
        loss = None
        if return_loss:
            loss = self._loss(predictions, alignment.align(sequence, self.config.pad_token_id or 0), alignment.valid)
        given = alignment.restore(predictions.flatten(2)).unflatten(-1, predictions.shape[2:])
        parts = (loss, given, tuple(rest[-1]) if with_states else None)
        return make_output(RNNForPreTrainingOutput, as_dict, *parts)  # type: ignore[no-any-return]

    def _loss(self, predictions: Tensor, sequence: Tensor, valid: Tensor) -> Tensor:
        """Compare predictions (B, T, D, F) with their neighbours in the aligned sequences."""
        both = valid[:, 1:]  # a step and the one before it are real
        guesses, targets = [predictions[:, :-1, 0][both]], [sequence[:, 1:][both]]
        if self.config.bidirectional:
            guesses.append(predictions[:, 1:, 1][both])
            targets.append(sequence[:, :-1][both])
        guess, target = torch.cat(guesses), torch.cat(targets)
        if not self.config.reads_tokens:
            return vector_loss(guess, target)
        said = target != self.config.pad_token_id  # inside a sequence it is an item, but none to predict
        table: Tensor = self.get_input_embeddings().weight  # type: ignore[assignment]
        return vocabulary_loss(guess[said], table, target[said], self.config.pad_token_id or 0)


def _refuse_what_sees_ahead(config: RNNConfig) -> None:
    if config.bidirectional and config.num_hidden_layers > 1:
        raise ValueError(
            "A bidirectional model of several layers cannot be pretrained by prediction: the second layer reads "
            f"both directions of the first and sees what it has to predict (num_hidden_layers is "
            f"{config.num_hidden_layers}). Pass num_hidden_layers=1, or bidirectional=False."
        )
    ngrams = "an n-gram holds the tokens before its step, which the backward direction has to predict"
    norm = "it is over both directions at once, and so each knows something of what it has to predict"
    warp = "a step that is moved lies between two steps, of which it has to predict one"
    for name, refused, reason in (
        ("ngram_order", config.bidirectional and config.ngram_order > 1, ngrams),
        ("layer_norm", config.bidirectional and config.layer_norm, norm),
        ("time_warp", config.time_warp > 0, warp),
    ):
        if refused:
            advice = "Leave it out." if reason == warp else "Pass bidirectional=False, or leave it out."
            raise ValueError(f"{name}={getattr(config, name)} cannot be pretrained by prediction: {reason}. {advice}")
