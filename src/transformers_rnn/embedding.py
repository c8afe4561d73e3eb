"""Token ids or vectors -> what the first recurrent layer reads."""

import torch
from torch import Tensor, nn

from .configuration_rnn import RNNConfig
from .ngrams import NgramEmbedding, last_ids
from .regularization import SequenceDropout, drop_tokens, perturb


class SequenceEmbedding(nn.Module):
    """Turns the one given input into vectors (B, T, F), after checking that it is what the model reads."""

    def __init__(self, config: RNNConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = (
            nn.Embedding(config.vocab_size, config.input_size, padding_idx=config.pad_token_id)
            if config.vocab_size is not None
            else None
        )
        self.ngrams = (
            NgramEmbedding(config.ngram_buckets, config.ngram_width, config.ngram_order)
            if config.ngram_order > 1
            else None
        )
        self.dropout = SequenceDropout(config.embedding_dropout, config.variational_dropout)

    def forward(self, sequence: Tensor, valid: Tensor, previous_ids: Tensor | None = None) -> Tensor:
        """Embed aligned ids (B, T), or take aligned vectors (B, T, F) as they are.

        Args:
            sequence: The ids or vectors.
            valid: (B, T), true on real steps.
            previous_ids: (B, N - 1), the ids before these, for n-grams of at most N; `None` at the beginning.

        Raises:
            ValueError: An id outside the vocabulary, or a vector that is not finite.
        """
        if sequence.ndim == 3:
            _check_finite(sequence)
            if self.training and self.embed_tokens is None:
                sequence = perturb(sequence, valid, self.config)
            return self.dropout(sequence)  # type: ignore[no-any-return]
        dropping = self.training and self.config.token_dropout
        if dropping or sequence.device.type != "cpu":  # where a wrong id would be hidden, or may end the process
            _check_vocabulary(sequence, self.embed_tokens.num_embeddings)  # type: ignore[union-attr]
        if dropping:
            sequence = drop_tokens(sequence, valid, self.config.token_dropout, self.config.unk_token_id)  # type: ignore[arg-type]
        return self.dropout(self.look_up(sequence, previous_ids))  # type: ignore[no-any-return]

    def look_up(self, ids: Tensor, previous_ids: Tensor | None) -> Tensor:
        """The vectors of aligned ids (B, T) and of their n-grams."""
        table: nn.Embedding = self.embed_tokens  # type: ignore[assignment]
        try:
            embedded: Tensor = table(ids)
        except IndexError:
            _check_vocabulary(ids, table.num_embeddings)
            raise
        if self.training and self.config.vocabulary_dropout:
            rows = table.weight.new_ones(table.num_embeddings, 1)
            left = nn.functional.dropout(rows, self.config.vocabulary_dropout)
            embedded = embedded * nn.functional.embedding(ids, left)
        return embedded if self.ngrams is None else torch.cat([embedded, self.ngrams(ids, previous_ids)], dim=-1)

    def carry(self, ids: Tensor, lengths: Tensor, previous_ids: Tensor | None) -> dict[str, Tensor]:
        """The fields of [`RNNState`] that the pieces after aligned ids (B, T) need."""
        count = self.config.remembered_ids
        return {"previous_ids": last_ids(ids, lengths, previous_ids, count)} if count else {}

    def choose(self, input_ids: Tensor | None, inputs_embeds: Tensor | None, input_features: Tensor | None) -> Tensor:
        """Return the one input that was given, ids (B, T) or vectors (B, T, F).

        Raises:
            ValueError: None or several inputs, the wrong kind for this model, a wrong shape, width or dtype.
        """
        inputs = {"input_ids": input_ids, "inputs_embeds": inputs_embeds, "input_features": input_features}
        given = [name for name, value in inputs.items() if value is not None]
        reads, legal = "vectors (vocab_size is None)", ["input_features"]
        if self.embed_tokens is not None:
            reads, legal = "token ids (vocab_size is set)", ["input_ids", "inputs_embeds"]
            for name, without in (("ngram_order", 1), ("bag_order", 0)):
                order = getattr(self.config, name)
                if order > without:
                    reads, legal = f"token ids and their n-grams ({name} is {order})", ["input_ids"]
        if len(given) != 1 or given[0] not in legal:
            raise ValueError(
                f"This model reads {reads}: pass exactly one of {' or '.join(legal)}, "
                f"got {' and '.join(given) or 'none'}."
            )
        sequence: Tensor = inputs[given[0]]  # type: ignore[assignment]
        if given[0] == "input_ids":
            _check_ids(sequence)
        else:
            _check_vectors(given[0], sequence, self.config.input_size)
        return sequence


def _check_ids(ids: Tensor) -> None:
    if ids.ndim != 2:
        raise ValueError(
            f"input_ids must have the shape (B, T), got {tuple(ids.shape)}. For one text add a batch axis: ids[None]."
        )
    # An empty text comes out of a tokenizer as floats; that it is empty is said elsewhere, and better.
    if ids.shape[1] and (ids.is_floating_point() or ids.dtype == torch.bool):
        raise ValueError(f"input_ids must be whole numbers, got {ids.dtype}. Vectors go to inputs_embeds (B, T, F).")


def _check_vectors(name: str, vectors: Tensor, input_size: int) -> None:
    if vectors.ndim != 3 or vectors.shape[2] != input_size:
        raise ValueError(
            f"{name} must have the shape (B, T, F) with F = input_size = {input_size}, got {tuple(vectors.shape)}. "
            "Check the order of the axes (time before features), or build the model with another input_size."
        )
    if not vectors.is_floating_point():
        raise ValueError(f"{name} must be floating point, got {vectors.dtype}. Convert with .float().")


def _check_vocabulary(ids: Tensor, vocab_size: int) -> None:
    """Refuse ids outside 0..V-1."""
    if torch.compiler.is_compiling() or ids.numel() == 0:
        return
    low, high = (int(value) for value in torch.stack(torch.aminmax(ids)).tolist())
    if low < 0 or high >= vocab_size:
        raise ValueError(
            f"input_ids must be from 0 to {vocab_size - 1} (the vocabulary of this model), got "
            f"{low if low < 0 else high}. Use the tokenizer the model was trained with, or "
            "model.resize_token_embeddings(len(tokenizer))."
        )


def _check_finite(vectors: Tensor) -> None:
    if torch.compiler.is_compiling():
        return
    if bool(torch.isfinite(vectors.detach().sum())):  # one pass; the exact answer only where there is doubt
        return
    bad = ~torch.isfinite(vectors.detach())
    if bool(bad.any()):
        row, step, feature = bad.nonzero()[0].tolist()
        raise ValueError(
            f"The vectors must be finite, got {vectors[row, step, feature].item()} in sequence {row}, step {step} "
            f"(counted from its first real step), feature {feature}. Repair or remove missing values first."
        )
