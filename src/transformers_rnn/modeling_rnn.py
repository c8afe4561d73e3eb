"""Embed, recur, pool, classify: the recurrent sequence classifier as `PreTrainedModel`s of the host."""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers.utils.generic import ModelOutput

from .adoption import adopted_config, copy_recurrent_weights
from .bag import NgramBag
from .configuration_rnn import RNNConfig
from .denormals import flush_denormals
from .embedding import SequenceEmbedding
from .freed_memory import keep_freed_memory
from .label_scale import to_label_units
from .losses import classification_loss, infer_problem_type
from .modeling_pretrained import RNNPreTrainedModel
from .padding import align
from .pooling import SequencePooling
from .prefixes import pool_prefixes, prefix_loss
from .recurrent_layers import Memory, RecurrentLayer
from .regularization import SequenceDropout
from .state import RNNState


@dataclass
class RNNModelOutput(ModelOutput):
    """What [`RNNModel`] returns.

    Args:
        last_hidden_state: (B, T, S), the states of the last layer, zero on padding.
        pooler_output: (B, P), the pooled states.
        state: The memory after the last steps, to be continued from; only with `use_cache`.
        hidden_states: With `output_hidden_states`, the embedding and the states of each layer, (B, T, F or S).
    """

    last_hidden_state: Tensor | None = None
    pooler_output: Tensor | None = None
    state: RNNState | None = None
    hidden_states: tuple[Tensor, ...] | None = None


@dataclass
class RNNSequenceClassifierOutput(ModelOutput):
    """What [`RNNForSequenceClassification`] returns.

    Args:
        loss: A scalar; only with `labels`.
        logits: (B, L).
        state: The memory after the last steps, to be continued from; only with `use_cache`.
        hidden_states: With `output_hidden_states`, the embedding and the states of each layer, (B, T, F or S).
        prefix_logits: With `output_prefix_logits`, (B, T, L): after each step the logits of all that was read so far,
            zeros on padding.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    state: RNNState | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    prefix_logits: Tensor | None = None


class RNNModel(RNNPreTrainedModel):
    """Stacked recurrent layers over token ids or vectors: all states, the pooled states and the final state.

    Args:
        config: Every choice.
    """

    def __init__(self, config: RNNConfig) -> None:
        super().__init__(config)
        self.embeddings = SequenceEmbedding(config)
        widths = [config.embedded_size] + [config.state_size] * (config.num_hidden_layers - 1)
        self.layers = nn.ModuleList(RecurrentLayer(config, width) for width in widths)
        self.dropout = SequenceDropout(config.hidden_dropout, config.variational_dropout)
        self.pooling = SequencePooling(config)
        self.bag = NgramBag(config.bag_size, config.bag_width, config.bag_order) if config.bag_order else None
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        input_features: Tensor | None = None,
        state: RNNState | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        token_type_ids: Tensor | None = None,
        **kwargs: Any,
    ) -> "RNNModelOutput | tuple[Any, ...]":
        """Read a batch of sequences.

        Args:
            input_ids: (B, T) token ids, for a model of tokens.
            attention_mask: (B, T), 1 on real steps and 0 on padding, to the right or left. Without it all steps are
                real, but for leading and trailing `pad_token_id`s of `input_ids`.
            inputs_embeds: (B, T, F), in place of the embedding of `input_ids`.
            input_features: (B, T, F), for a model of vectors.
            state: What an earlier call returned: the sequences continue where they stopped. A row may then have no
                step; its state stays as it is.
            use_cache: Whether to return `state`; by default if there is one direction.
            output_hidden_states: Whether to return the states of every layer; by default as the config says.
            return_dict: Whether to return an output object or a tuple; by default as the config says.
            token_type_ids: Accepted and ignored: an RNN has no segments.
            **kwargs: Names of attention models are refused with the reason, unless `None` or false.

        Returns:
            [`RNNModelOutput`] or a tuple of its parts that are not `None`.

        Raises:
            TypeError: An argument without meaning for a recurrent model.
            ValueError: No or several inputs, a wrong shape, width or type, ids outside the vocabulary, vectors that
                are not finite, an empty sequence, a mask with holes, a state that does not fit.
        """
        with_states, as_dict = self._output_choices(output_hidden_states, return_dict, kwargs)
        sequence = self.embeddings.choose(input_ids, inputs_embeds, input_features)
        if use_cache is None:
            use_cache = not self.config.bidirectional
        self._check_streaming(state, use_cache, sequence)
        alignment = align(attention_mask, sequence, self.config.pad_token_id, streaming=state is not None)
        if self.training and sequence.device.type == "cpu" and torch.is_grad_enabled():
            flush_denormals()
            keep_freed_memory()
        aligned = alignment.align(sequence, self.config.pad_token_id or 0 if sequence.ndim == 2 else 0)
        previous_ids = None if state is None else state.previous_ids
        hidden = self.embeddings(aligned, alignment.valid, previous_ids)
        if self.training and not hidden.requires_grad and self.is_activation_checkpointing:
            hidden = hidden.detach().requires_grad_()  # reentrant checkpoints need something to begin with
        all_states: list[Tensor] = []
        memories: list[Memory] = []
        keep_memory = use_cache or state is not None
        for index, layer in enumerate(self.layers):
            if with_states:  # on the way, not beside it, so that they can keep gradients
                all_states.append(alignment.restore(hidden))
                hidden = alignment.align(all_states[-1], 0.0)
            hidden = self.dropout(hidden) if index else hidden
            hidden, *memory = layer(hidden, alignment, *_layer_memory(state, index), keep_memory)
            memories.append((memory[0], memory[1]))
        restored = alignment.restore(hidden)
        if with_states:
            all_states.append(restored)
            hidden = alignment.align(restored, 0.0)
        last = alignment.ends(hidden, self.config.hidden_size)
        if state is not None:  # a row may have no step here
            last = self.layers[-1].recall(memories[-1][0], state.steps + alignment.lengths)  # type: ignore[operator]
        valid, lengths = None if alignment.full else alignment.valid, alignment.lengths
        pooled, carried = self.pooling(hidden, valid, lengths, last, state)
        carried |= self.embeddings.carry(aligned, lengths, previous_ids)
        if self.bag is not None:
            pooled, carried = self.bag.join(pooled, carried, aligned, lengths, valid, state, keep_memory)
        after = _new_state(memories, carried) if use_cache else None
        shown = tuple(all_states) if with_states else None
        return make_output(RNNModelOutput, as_dict, restored, pooled, after, shown)  # type: ignore[no-any-return]

    def _check_streaming(self, state: RNNState | None, use_cache: bool, sequence: Tensor) -> None:
        if state is None and not use_cache:
            return
        if self.config.bidirectional:
            raise ValueError(
                "A bidirectional model cannot stream: its backward direction begins at the end of the sequence, which "
                "a stream does not have yet. Train with bidirectional=False, or leave out state and use_cache."
            )
        if state is None:
            return
        if not isinstance(state, RNNState):
            raise ValueError(
                f"state must be the `state` that an earlier call of this model returned, got {type(state).__name__}."
            )
        expected = (len(sequence), self.config.num_hidden_layers, self.config.hidden_size)
        came = None if state.hidden is None else tuple(state.hidden.shape)
        if came != expected or (state.cell is not None) != (self.config.cell_type == "lstm"):
            raise ValueError(
                f"state does not fit: this batch and model need hidden (B, N, H) = {expected}"
                f"{' and cell' if self.config.cell_type == 'lstm' else ''}, got hidden {came}"
                f"{'' if state.cell is None else ' and cell'}. Continue with the model and the rows it came from."
            )
        missing = state.missing(self.config)
        if missing:
            raise ValueError(
                f"state does not fit: this model pools with {self.config.pooling!r} and needs {' and '.join(missing)} "
                "of the steps read so far, which this state does not hold. Continue with the model it came from."
            )


class RNNForSequenceClassification(RNNPreTrainedModel):
    """A recurrent model with one linear layer on the pooled states: one label, several, or numbers per sequence.

    Args:
        config: Every choice.
    """

    accepts_loss_kwargs = True  # all three losses honour `num_items_in_batch`

    def __init__(self, config: RNNConfig) -> None:
        super().__init__(config)
        self.rnn = RNNModel(config)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.classifier = nn.Linear(config.pooled_size, config.num_labels)  # type: ignore[arg-type]
        self.post_init()

    @classmethod
    def from_torch(
        cls, rnn: nn.RNNBase, classifier: nn.Linear, embedding: nn.Embedding | None = None, **config: Any
    ) -> Self:
        """Adopt a hand-written model: the same logits from the same weights, copied.

        The textbook model takes the last output, `classifier(rnn(x)[0][:, -1])`, which on full-length input is
        pooling `"last"`, the default here. Pass for example `pooling="mean"` if yours pools otherwise.

        Args:
            rnn: An `nn.RNN`, `nn.GRU` or `nn.LSTM`; its `batch_first` does not matter, missing biases become zeros.
            classifier: The linear layer that reads the pooled states.
            embedding: The token embedding, for a model of tokens.
            **config: Further fields of [`RNNConfig`], such as `id2label`.

        Returns:
            A model in the mode (training or evaluation), dtype and place of `rnn`.

        Raises:
            TypeError: A module of another kind.
            ValueError: Modules that do not fit each other or the fields given.
        """
        model = cls(adopted_config(rnn, classifier, embedding, config))
        nn.Module.to(model, classifier.weight)
        copy_recurrent_weights(rnn, [layer.cell for layer in model.rnn.layers])  # type: ignore[misc]
        model.classifier.load_state_dict({**model.classifier.state_dict(), **classifier.state_dict()})
        if embedding is not None:
            model.get_input_embeddings().load_state_dict(embedding.state_dict())
        model.train(rnn.training)
        return model

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoModelForSequenceClassification") -> None:
        """Let `save_pretrained` put the code beside the weights, for `trust_remote_code=True`; the config's too."""
        super().register_for_auto_class(auto_class)
        RNNConfig.register_for_auto_class()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        input_features: Tensor | None = None,
        labels: Tensor | None = None,
        state: RNNState | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        token_type_ids: Tensor | None = None,
        num_items_in_batch: "Tensor | int | None" = None,
        output_prefix_logits: bool = False,
        **kwargs: Any,
    ) -> "RNNSequenceClassifierOutput | tuple[Any, ...]":
        """Classify a batch of sequences.

        Args:
            input_ids: (B, T) token ids, for a model of tokens.
            attention_mask: (B, T), 1 on real steps and 0 on padding, to the right or left. Without it all steps are
                real, but for leading and trailing `pad_token_id`s of `input_ids`.
            inputs_embeds: (B, T, F), in place of the embedding of `input_ids`.
            input_features: (B, T, F), for a model of vectors.
            labels: Single label: whole numbers (B,), -100 for rows to leave out. Multi-label: (B, L) from 0 to 1.
                Regression: (B, L), or (B,) when L is 1. The first labels a model meets settle `config.problem_type`
                where it is `None`.
            state: What an earlier call returned: the sequences continue where they stopped, and the logits are those
                of all that was read so far.
            use_cache: Whether to return `state`; by default if a `state` was given.
            output_hidden_states: Whether to return the states of every layer; by default as the config says.
            return_dict: Whether to return an output object or a tuple; by default as the config says.
            token_type_ids: Accepted and ignored: an RNN has no segments.
            num_items_in_batch: How many labels all batches of one optimizer step have; the `Trainer` passes it.
            output_prefix_logits: Whether to return the logits after each step, too; for one direction only.
            **kwargs: Names of attention models are refused with the reason, unless `None` or false.

        Returns:
            [`RNNSequenceClassifierOutput`] or a tuple of its parts that are not `None`.

        Raises:
            TypeError: An argument without meaning for a recurrent model.
            ValueError: Bad input (see [`RNNModel`]), or labels that do not fit the problem.
        """
        with_states, as_dict = self._output_choices(output_hidden_states, return_dict, kwargs)
        use_cache = state is not None if use_cache is None else use_cache
        states, pooled, *rest = self.rnn(
            input_ids=input_ids,
            attention_mask=attention_mask,
            inputs_embeds=inputs_embeds,
            input_features=input_features,
            state=state,
            use_cache=use_cache,
            output_hidden_states=with_states,
            return_dict=False,
        )
        logits = self.classify(self.dropout(pooled))
        loss, share = None, self.config.prefix_loss_weight
        if output_prefix_logits or (share and labels is not None):
            sequence = self.rnn.embeddings.choose(input_ids, inputs_embeds, input_features)
            alignment = align(attention_mask, sequence, self.config.pad_token_id, streaming=state is not None)
            prefix_logits = self._prefix_logits(alignment.align(states, 0.0), alignment.align(sequence, 0), state)
        if labels is not None:
            problem_type = self.config.problem_type or infer_problem_type(labels, logits.shape[1])
            choices = (problem_type, num_items_in_batch)
            loss = classification_loss(logits, labels, *choices, **self.config.loss_choices)
            if share:
                early = prefix_loss(prefix_logits, labels, alignment.lengths, *choices, **self.config.loss_choices)
                loss = (1 - share) * loss + share * early
            if self.config.problem_type is None:
                self.config.problem_type = problem_type  # only once the labels have proved to fit
        early_logits = alignment.restore(prefix_logits) if output_prefix_logits else None
        parts = (loss, logits, rest[0] if use_cache else None, rest[-1] if with_states else None, early_logits)
        return make_output(RNNSequenceClassifierOutput, as_dict, *parts)  # type: ignore[no-any-return]

    def classify(self, pooled: Tensor) -> Tensor:
        """The logits of pooled states, (B, ..., P) -> (B, ..., L); of regression in the units of the labels."""
        return to_label_units(self.classifier(pooled), self.config)

    def _prefix_logits(self, states: Tensor, sequence: Tensor, before: RNNState | None) -> Tensor:
        """The logits after each step of aligned sequences, (B, longest, L)."""
        if self.config.bidirectional:
            raise ValueError(
                "A bidirectional model has no logits after each step: its backward direction begins at the end of the "
                "sequence. Train with bidirectional=False, or leave out output_prefix_logits."
            )
        pooled = pool_prefixes(self.rnn.pooling, states, before)
        if self.rnn.bag is not None:
            pooled = self.rnn.bag.join_prefixes(pooled, sequence, before)
        return self.classify(self.dropout(pooled))


def make_output(kind: type[ModelOutput], as_dict: bool, *parts: Any) -> Any:
    """An output object, which costs as much as a short sequence, only where one is wanted."""
    return kind(*parts) if as_dict else tuple(part for part in parts if part is not None)


def _layer_memory(state: RNNState | None, index: int) -> tuple[Tensor | None, Tensor | None]:
    """What one layer left: hidden and cell, (B, 1, H) each."""
    if state is None:
        return None, None
    at = slice(index, index + 1)
    return state.hidden[:, at], None if state.cell is None else state.cell[:, at]  # type: ignore[index]


def _new_state(memories: list[Memory], carried: dict[str, Tensor]) -> RNNState:
    """The memories of all layers and what the pooling carries."""
    hidden = torch.cat([hidden for hidden, _ in memories], dim=1)
    cells = [cell for _, cell in memories if cell is not None]
    return RNNState(hidden, torch.cat(cells, dim=1) if cells else None, **carried)
