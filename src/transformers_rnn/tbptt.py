"""Training on sequences longer than memory: back-propagation through time, truncated to pieces, on the host's Trainer.

Gradients flow through `piece_length` steps and no further; the state goes on (Williams & Peng, 1990, "An efficient
gradient-based algorithm for on-line training of recurrent network trajectories"; Mikolov et al., 2010).
"""

from collections.abc import Iterator
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from transformers import Trainer

from .padding import Alignment, align
from .state import RNNState

LossAt = Literal["every_piece", "end"]

_SEQUENCES = ("input_ids", "inputs_embeds", "input_features")


class TBPTTTrainer(Trainer):
    """The host's `Trainer`, reading every sequence in pieces of at most `piece_length` steps.

    Each piece starts from the state that the piece before it left, detached: of all layers, and of the pooling (its
    running sum, maximum or attention sums are constants for the pieces after it). Only one piece's activations are in
    memory at a time, in training and in evaluation; the sequence itself is kept whole. A batch of sequences no longer
    than a piece trains as in `Trainer`, to the last bit. Pieces are counted from the end of each sequence: the first
    one takes what is left over, and all others are whole.

    Args:
        *args: As of `Trainer`.
        piece_length: The most steps that gradients flow through.
        loss_at: `"every_piece"`: the label is asked for after every piece, and a sequence's loss is the mean over its
            pieces. So every step of the sequence teaches, and the model learns to say what it believes so far; this is
            the default. `"end"`: only after the last one, which is the loss of `Trainer`, but its gradient sees the
            last `piece_length` steps only: what came earlier counts as given, and nobody learns to remember it.
        **kwargs: As of `Trainer`.

    Raises:
        ValueError: A choice out of its range, or a model of two directions.
    """

    def __init__(self, *args: Any, piece_length: int = 256, loss_at: LossAt = "every_piece", **kwargs: Any) -> None:
        if type(piece_length) is not int or piece_length < 1:
            raise ValueError(f"piece_length must be a whole number of at least 1, got {piece_length!r}.")
        if loss_at not in get_args(LossAt):
            raise ValueError(f"loss_at must be one of {', '.join(map(repr, get_args(LossAt)))}, got {loss_at!r}.")
        super().__init__(*args, **kwargs)
        self.piece_length = piece_length
        self.loss_at = loss_at
        self._carried: RNNState | None = None
        if self._config.bidirectional:
            raise ValueError(
                "A bidirectional model cannot be trained in pieces: its backward direction begins at the end of the "
                "sequence. Pass bidirectional=False, or use Trainer."
            )

    @property
    def _config(self) -> Any:
        return self.accelerator.unwrap_model(self.model).config

    def training_step(
        self, model: Any, inputs: dict[str, Any], num_items_in_batch: "Tensor | int | None" = None
    ) -> Tensor:
        """Train on one batch, a piece at a time; see `Trainer.training_step`."""
        name, alignment = self._alignment(inputs)
        if alignment.longest <= self.piece_length or num_items_in_batch is None:  # no labels: the host says so
            return super().training_step(model, inputs, num_items_in_batch)  # type: ignore[no-any-return]
        model.train()
        counts = -(-alignment.lengths // self.piece_length)
        losses = []
        for count in counts.unique().tolist():  # sequences of as many pieces go together
            rows = (counts == count).nonzero().flatten()
            self._carried = None
            pieces = self._pieces(inputs, name, alignment, rows, count)
            for index, piece in enumerate(pieces, start=1):
                if self.loss_at == "end" and index < count:
                    self._read(model, piece)
                    continue
                weight = count if self.loss_at == "every_piece" else 1
                whole = {**piece, **_rows_of(inputs, self.label_names, rows)}
                losses.append(super().training_step(model, whole, num_items_in_batch * weight))
        self._carried = None
        return torch.stack(losses).sum()

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: "Tensor | int | None" = None,
    ) -> Any:
        """The host's loss; what the piece has left is kept for the next one."""
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if inputs.get("use_cache"):
            self._carried = outputs.state.detach()
        return (loss, outputs) if return_outputs else loss

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> Any:
        """Evaluate one batch, a piece at a time; see `Trainer.prediction_step`."""
        name, alignment = self._alignment(inputs)
        if alignment.longest > self.piece_length:
            self._carried = None
            for begin in range(0, alignment.longest, self.piece_length):
                steps = torch.arange(begin, min(begin + self.piece_length, alignment.longest))
                piece = self._piece(inputs, name, steps, alignment.first, alignment.lengths)
                if begin + self.piece_length < alignment.longest:
                    self._read(model, piece)
            labels = {label: inputs[label] for label in self.label_names if label in inputs}
            inputs = {**piece, **labels, "use_cache": False}
        return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)

    def _alignment(self, inputs: dict[str, Any]) -> tuple[str, Alignment]:
        """Which input is the sequence, and where each row of it begins and ends."""
        name = next(name for name in _SEQUENCES if inputs.get(name) is not None)
        pad = self._config.pad_token_id if name == "input_ids" else None
        return name, align(inputs.get("attention_mask"), inputs[name], pad, streaming=False)

    def _pieces(
        self, inputs: dict[str, Any], name: str, alignment: Alignment, rows: Tensor, count: int
    ) -> Iterator[dict[str, Any]]:
        """The pieces of some rows, each with the state that the one before it left."""
        lengths = alignment.lengths[rows]
        over = lengths - (count - 1) * self.piece_length  # the first piece, 1 to piece_length steps
        first = alignment.first[rows]
        yield self._piece(inputs, name, torch.arange(int(over.max())), first, over, rows)
        for index in range(count - 1):
            steps = torch.arange(self.piece_length) + index * self.piece_length
            yield self._piece(inputs, name, steps, first + over, lengths - over, rows)

    def _piece(
        self,
        inputs: dict[str, Any],
        name: str,
        steps: Tensor,
        first: Tensor,
        lengths: Tensor,
        rows: Tensor | None = None,
    ) -> dict[str, Any]:
        """Cut `steps`, counted from `first`, out of some rows."""
        sequence = inputs[name]
        steps = steps.to(sequence.device)
        rows = torch.arange(len(first), device=sequence.device) if rows is None else rows
        index = (first[:, None] + steps).clamp(max=sequence.shape[1] - 1)
        piece = {name: sequence[rows[:, None], index], "attention_mask": (steps < lengths[:, None]).long()}
        return {**piece, "state": self._carried, "use_cache": True, "return_dict": True}

    @torch.no_grad()
    def _read(self, model: Any, piece: dict[str, Any]) -> None:
        """Let the model read a piece that nothing is learned from."""
        with self.compute_loss_context_manager():
            self._carried = model(**self._prepare_inputs(piece)).state


def _rows_of(inputs: dict[str, Any], names: list[str], rows: Tensor) -> dict[str, Any]:
    return {name: inputs[name][rows.to(inputs[name].device)] for name in names if name in inputs}
