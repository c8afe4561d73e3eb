"""The trunk learns from sequences without labels: each step is predicted from those before it, or after it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.utils.generic import ModelOutput

from .configuration_rnn import RNNConfig
from .modeling_pretrained import RNNPreTrainedModel
from .modeling_rnn import RNNModel, make_output
from .padding import align
from .step_prediction import neighbours, vector_loss, vocabulary_loss


@dataclass
class RNNForPreTrainingOutput(ModelOutput):
    """What [`RNNForPreTraining`] returns.

    Args:
        loss: A scalar; only with `return_loss`.
        predictions: (B, T, D, F), zeros on padding: from step t of the forward direction what steps t + 1 to t + W
            are, from step t of the backward direction what steps t - 1 to t - W are, with W = `prediction_window`.
            Of tokens they are scores, (B, T, D, `prediction_vocab_size`), and only there without `return_loss`.
        hidden_states: With `output_hidden_states`, the embedding and the states of each layer, (B, T, F or S).
    """

    loss: Tensor | None = None
    predictions: Tensor | None = None
    hidden_states: tuple[Tensor, ...] | None = None


class RNNForPreTraining(RNNPreTrainedModel):
    """A recurrent model that predicts the next steps of a sequence, and with two directions the previous ones as well.

    Language modelling on the way to a classifier (Dai & Le, 2015; Howard & Ruder, 2018), for tokens and for vectors;
    with a `prediction_window` of more than 1 a state says which items come next, and not in which order, and so learns
    what a passage is about before it learns grammar (Johnson & Zhang, 2016).
    Each direction sees nothing of what it predicts, as in ELMo (Peters et al., 2018), and has a linear layer of its
    own that makes its states, (H,), a vector, (F,), or the scores of `prediction_vocab_size` tokens. It generates
    nothing: it is there for its trunk, `rnn`, from which a classifier starts.

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
        sizes = (config.hidden_size, config.prediction_size)
        self.heads = nn.ModuleList(nn.Linear(*sizes) for _ in range(config.num_directions))
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
        step_weights: Tensor | None = None,
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
            step_weights: (B, T), how much a step counts where it is predicted; `None`: all alike.
            return_loss: Whether to compare the predictions with what came: the weighted mean over all pairs of real
                steps that are `prediction_window` steps apart or less of the cross-entropy (tokens) or of the squared
                error of a feature (vectors). In training of a longer window, steps a third of it apart predict;
                which ones is drawn.
            output_hidden_states: Whether to return the states of every layer; by default as the config says.
            return_dict: Whether to return an output object or a tuple; by default as the config says.
            token_type_ids: Accepted and ignored: an RNN has no segments.
            **kwargs: Names of attention models are refused with the reason, unless `None` or false.

        Returns:
            [`RNNForPreTrainingOutput`] or a tuple of its parts that are not `None`.

        Raises:
            TypeError: An argument without meaning for a recurrent model.
            ValueError: Bad input (see [`RNNModel`]), or weights of another shape, below 0 or not finite.
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
        directions = alignment.align(states, 0.0).unflatten(-1, (len(self.heads), self.config.hidden_size))
        loss = predictions = None
        if return_loss:
            steps = alignment.align(sequence, self.config.pad_token_id or 0)
            if step_weights is None:
                step_weights = torch.ones(sequence.shape[:2], dtype=states.dtype, device=states.device)
            else:
                _check_step_weights(step_weights, sequence)
            loss = self._loss(directions, steps, alignment.valid, alignment.align(step_weights, 0.0))
        if not (return_loss and self.config.reads_tokens):
            said = torch.stack([head(directions[:, :, place]) for place, head in enumerate(self.heads)], dim=2)
            predictions = alignment.restore(said.flatten(2)).unflatten(-1, said.shape[2:])
        parts = (loss, predictions, tuple(rest[-1]) if with_states else None)
        return make_output(RNNForPreTrainingOutput, as_dict, *parts)  # type: ignore[no-any-return]

    def _loss(self, directions: Tensor, sequence: Tensor, valid: Tensor, weights: Tensor) -> Tensor:
        """Compare what states (B, T, D, H) predict with the steps that follow in their direction, all aligned."""
        window, pad = self.config.prediction_window, self.config.pad_token_id
        apart = max(1, min(window, valid.shape[1]) // 3) if self.training else 1  # what is near sees nearly the same
        first = int(torch.randint(apart, ())) if apart > 1 else 0
        if pad is not None:  # the padding token inside a sequence is an item, but none to predict
            unsaid = (sequence == pad) | (sequence >= self.config.prediction_size)
            sequence, weights = sequence.masked_fill(unsaid, pad), weights.masked_fill(unsaid, 0.0)
        weights = weights.to(torch.promote_types(weights.dtype, torch.float32))  # of which many are added
        total, share = weights.new_zeros(()), weights.new_zeros(())
        for place, head in enumerate(cast(Iterable[nn.Linear], self.heads)):
            parts = (directions[:, :, place], valid, sequence, weights)
            states, real, steps, counts = (part.flip(1) for part in parts) if place else parts
            chosen = real & ((torch.arange(real.shape[1], device=real.device) - first) % apart == 0)
            said, came, count = states[chosen], neighbours(steps, window)[chosen], neighbours(counts, window)[chosen]
            if pad is None:
                total = total + vector_loss(said, head, came, count)
            else:
                total = total + vocabulary_loss(said, head, came, count, pad)
            share = share + count.sum()
        return total / torch.where(share > 0, share, torch.ones_like(share))


def _check_step_weights(weights: Tensor, sequence: Tensor) -> None:
    if weights.shape != sequence.shape[:2]:
        raise ValueError(
            f"step_weights must have the shape (B, T) = {tuple(sequence.shape[:2])} of the sequences, got "
            f"{tuple(weights.shape)}. Give each step one weight."
        )
    if not bool(((weights >= 0) & (weights < torch.inf)).all()):
        raise ValueError("step_weights must be finite and at least 0. Give 0 to a step that is not to be predicted.")


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
