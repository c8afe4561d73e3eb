"""Where each sequence of a padded batch truly begins and ends: the only room that reads the attention mask."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Alignment:
    """The true place of every sequence in a batch, left-padded, right-padded or full.

    Inside the model all sequences begin at step 0 ("aligned"): right padding is cut to the longest sequence of the
    batch, left padding is shifted to the right end.

    Args:
        lengths: (B,), each T_i.
        first: (B,), where each sequence begins in the given batch.
        total_length: T of the given batch.
        longest: The largest T_i (but at least 1), or T while a graph is traced.
        full: All sequences fill the batch: there is no padding, and nothing to do.
        right: All sequences begin at step 0 of the given batch.
        valid: (B, longest), true on real steps of aligned sequences.
    """

    lengths: Tensor
    first: Tensor
    total_length: int
    longest: int
    full: bool
    right: bool
    valid: Tensor

    @property
    def last(self) -> Tensor:
        """(B,), the index of each aligned sequence's last real step; 0 for an empty piece of a stream."""
        return (self.lengths - 1).clamp(min=0)

    @property
    def _reversal(self) -> Tensor:
        steps = self._steps(self.longest)
        return torch.where(self.valid, self.lengths[:, None] - 1 - steps, steps)

    def _steps(self, length: int) -> Tensor:
        return torch.arange(length, device=self.lengths.device)[None, :]

    def align(self, sequence: Tensor, fill: float) -> Tensor:
        """Shift every sequence to step 0 and put `fill` on what is no real step: (B, T, ...) -> (B, longest, ...)."""
        if self.full:
            return sequence
        if self.right:
            aligned = sequence[:, : self.longest]
        else:
            aligned = _take_steps(sequence, (self.first[:, None] + self._steps(self.longest)) % self.total_length)
        return aligned.masked_fill(~_as_mask_of(self.valid, aligned), fill)

    def restore(self, states: Tensor) -> Tensor:
        """Put aligned states back where their items were given, zeros on padding: (B, longest, S) -> (B, T, S)."""
        if self.full:
            return states
        if self.right and self.longest == self.total_length:
            return states.masked_fill(~_as_mask_of(self.valid, states), 0.0)
        position = self._steps(self.total_length) - self.first[:, None]
        real = (position >= 0) & (position < self.lengths[:, None])
        restored = _take_steps(states, position.clamp(0, self.longest - 1))
        return restored.masked_fill(~real[:, :, None], 0.0)

    def reverse(self, sequence: Tensor) -> Tensor:
        """Reverse each aligned sequence within its own length: (B, longest, F) -> (B, longest, F)."""
        return sequence.flip(1) if self.full else _take_steps(sequence, self._reversal)

    def take_last(self, states: Tensor) -> Tensor:
        """The state after each aligned sequence's own last step: (B, longest, S) -> (B, S)."""
        if self.full:
            return states[:, -1]
        return states[torch.arange(states.shape[0], device=states.device), self.last]

    def ends(self, states: Tensor, hidden_size: int) -> Tensor:
        """The last output of each direction, (B, S): the backward direction ends at step 0.

        On full batches of one direction it is the very view that textbooks take, `out[:, -1]`: the last bits of a
        product depend on where its factors lie in memory.
        """
        forward = self.take_last(states[..., :hidden_size])
        if states.shape[2] == hidden_size:
            return forward
        return torch.cat([forward, states[:, 0, hidden_size:]], dim=-1)


def align(attention_mask: Tensor | None, sequence: Tensor, pad_token_id: int | None, streaming: bool) -> Alignment:
    """Find where each sequence truly begins and ends, and refuse a mask that does not say so.

    Args:
        attention_mask: (B, T) of 1 (or true) on real steps and 0 on padding, left or right. Without it every step is
            real, except that leading and trailing `pad_token_id`s of token ids are padding.
        sequence: (B, T) token ids or (B, T, F) vectors.
        pad_token_id: What fills up token ids; `None` for vectors.
        streaming: Whether the batch continues a stream: then a row may have no step (its state stays as it is).

    Raises:
        ValueError: A mask of another shape, of other values, with holes, or a sequence without a step.
    """
    batch_size, total_length = sequence.shape[:2]
    if batch_size == 0 or total_length == 0:
        raise ValueError(
            _empty_message(range(batch_size)) if batch_size else "The batch is empty: pass B >= 1 sequences."
        )
    if attention_mask is None and pad_token_id is not None and sequence.ndim == 2:
        attention_mask = _between_padding(sequence != pad_token_id)
    tracing = torch.compiler.is_compiling()
    if attention_mask is None or (not tracing and _is_full(attention_mask, batch_size, total_length)):
        lengths = torch.full((batch_size,), total_length, device=sequence.device)
        valid = torch.ones(batch_size, total_length, dtype=torch.bool, device=sequence.device)
        return Alignment(lengths, torch.zeros_like(lengths), total_length, total_length, True, True, valid)
    real = attention_mask.to(device=sequence.device, dtype=torch.bool)
    lengths = real.sum(dim=1)
    first = real.int().argmax(dim=1)
    longest, shifted = total_length, 1
    if not tracing:
        _check_sequences(real, lengths, first, streaming)
        longest, shifted = (int(value) for value in torch.stack([lengths.max(), first.max()]).tolist())
        longest = max(longest, 1)
    valid = torch.arange(longest, device=sequence.device)[None, :] < lengths[:, None]
    return Alignment(lengths, first, total_length, longest, False, not shifted, valid)


def _between_padding(not_pad: Tensor) -> Tensor:
    """True from the first to the last step that is no padding: a pad token inside a sequence is an item of it."""
    begun = not_pad.cumsum(dim=1) > 0
    not_ended = not_pad.flip(1).cumsum(dim=1).flip(1) > 0
    return begun & not_ended


def _is_full(mask: Tensor, batch_size: int, total_length: int) -> bool:
    """Whether all steps are real; a mask that does not say which are is refused."""
    if mask.shape != (batch_size, total_length):
        raise ValueError(
            f"attention_mask must have the shape (B, T) of its sequences, here {(batch_size, total_length)}, "
            f"got {tuple(mask.shape)}. Pass the mask that the tokenizer or feature extractor made with them."
        )
    low, high = torch.stack(torch.aminmax(mask)).tolist()
    if low == 1 and high == 1:
        return True
    if mask.dtype != torch.bool and not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError(
            "attention_mask must be 1 on real steps and 0 on padding, got other values "
            f"(from {low} to {high}). Additive masks of attention models are not taken."
        )
    return False


def _check_sequences(real: Tensor, lengths: Tensor, first: Tensor, streaming: bool) -> None:
    """Refuse rows without a step and rows whose real steps are not in one piece."""
    steps = torch.arange(real.shape[1], device=real.device)
    last = torch.where(real, steps, -1).amax(dim=1)
    holes = (lengths > 0) & (last - first + 1 != lengths)
    empty = lengths == 0
    if bool(holes.any()):
        row = int(holes.int().argmax())
        raise ValueError(
            f"attention_mask must be one run of 1s in each row, with padding to its left or right, but row {row} has "
            f"holes: {real[row].int().tolist()}. Remove the masked items from the sequence instead."
        )
    if not streaming and bool(empty.any()):
        raise ValueError(_empty_message(empty.nonzero().flatten().tolist()))


def _empty_message(rows: "range | list[int]") -> str:
    return (
        f"Every sequence must have at least one real step, but of this batch these rows have none: {list(rows)[:10]}. "
        "An empty text or series has no class: leave it out, or give it one item that stands for 'nothing'."
    )


def _take_steps(sequence: Tensor, index: Tensor) -> Tensor:
    """Take for each row the steps of `index` (B, N): (B, T) -> (B, N) or (B, T, F) -> (B, N, F)."""
    if sequence.ndim == 2:
        return sequence.gather(1, index)
    return sequence.gather(1, index[:, :, None].expand(-1, -1, sequence.shape[2]))


def _as_mask_of(mask: Tensor, sequence: Tensor) -> Tensor:
    return mask if sequence.ndim == 2 else mask[:, :, None]
