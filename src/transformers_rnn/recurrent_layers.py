"""The recurrent cells over the true lengths of a batch."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_rnn import RNNConfig
from .padding import Alignment

Memory = tuple[Tensor, Tensor | None]  # hidden (B, D, H) and, of an LSTM, cell (B, D, H)

_CELLS: dict[str, Any] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
_KERNELS: dict[str, Any] = {
    "RNN_TANH": torch.rnn_tanh,
    "RNN_RELU": torch.rnn_relu,
    "GRU": torch.gru,
    "LSTM": torch.lstm,
}
_CLOSED = 1e4  # saturates a sigmoid to exactly 0 or 1 in every floating-point type


def build_cell(config: RNNConfig, input_size: int) -> nn.RNNBase:
    """The torch module of one layer that reads vectors of width `input_size`."""
    options = {"nonlinearity": config.nonlinearity} if config.cell_type == "rnn" else {}
    sizes = (input_size, config.hidden_size)
    cell: nn.RNNBase = _CELLS[config.cell_type](
        *sizes, batch_first=True, bidirectional=config.bidirectional, **options
    )
    return cell


class RecurrentLayer(GradientCheckpointingLayer):
    """One recurrent layer, in one or both directions, that sees nothing but real steps."""

    def __init__(self, config: RNNConfig, input_size: int) -> None:
        super().__init__()
        self.cell = build_cell(config, input_size)

    def forward(
        self, inputs: Tensor, alignment: Alignment, initial: Memory | None = None, keep_cell: bool = False
    ) -> tuple[Tensor, Memory]:
        """Read aligned sequences.

        A batch without padding goes to torch's module as it is. With padding on a GPU the sequences are packed, which
        is the fast way there. On other devices packing loses torch's fused kernels: there the forward direction runs
        over the right padding (which no real step can see), and the backward direction is a forward run over each
        sequence reversed within its own length.

        Args:
            inputs: (B, T, F), aligned.
            alignment: Where the real steps are.
            initial: What the states were before the first step; zeros by default.
            keep_cell: Whether the memory cells of an LSTM at each sequence's own end are wanted.

        Returns:
            The states (B, T, S), arbitrary but finite on padding, and the memory after each sequence's last step.
        """
        if alignment.full:
            return self._run_full(inputs, initial)
        if inputs.is_cuda and initial is None:
            return self._run_packed(inputs, alignment)
        outputs = [self._run_direction(0, inputs, alignment, initial, keep_cell)]
        if self.cell.bidirectional:
            states, memory = self._run_direction(1, alignment.reverse(inputs), alignment, None, keep_cell)
            outputs.append((alignment.reverse(states), memory))
        hidden = torch.stack([memory[0] for _, memory in outputs], dim=1)
        cells = [memory[1] for _, memory in outputs if memory[1] is not None]
        states = torch.cat([states for states, _ in outputs], dim=-1)
        return states, (hidden, torch.stack(cells, dim=1) if cells else None)

    def _run_full(self, inputs: Tensor, initial: Memory | None) -> tuple[Tensor, Memory]:
        states, memory = self.cell(inputs, self._torch_memory(initial))
        return states, self._batch_first(memory)

    def _run_packed(self, inputs: Tensor, alignment: Alignment) -> tuple[Tensor, Memory]:
        packed = pack_padded_sequence(inputs, alignment.lengths.cpu(), batch_first=True, enforce_sorted=False)
        states, memory = self.cell(packed)
        states, _ = pad_packed_sequence(states, batch_first=True, total_length=inputs.shape[1])
        return states, self._batch_first(memory)

    def _run_direction(
        self, direction: int, inputs: Tensor, alignment: Alignment, initial: Memory | None, keep_cell: bool
    ) -> tuple[Tensor, tuple[Tensor, Tensor | None]]:
        """Run one direction over right padding -> states (B, T, H), hidden (B, H), cell (B, H) if wanted."""
        weights: list[Tensor] = list(self.cell.all_weights[direction])
        is_lstm = self.cell.mode == "LSTM"
        if is_lstm and keep_cell:
            inputs, weights[0] = self._hold_cell(inputs, weights[0], alignment)
        start = self._torch_memory(initial) if initial is not None else self._zeros(inputs)
        run = _KERNELS[self.cell.mode]
        states, _, *cell = run(inputs, start, weights, True, 1, 0.0, self.training, False, True)
        hidden = alignment.take_last(states)
        if initial is not None:  # a row without a step keeps what it had
            hidden = torch.where(alignment.lengths[:, None] > 0, hidden, initial[0][:, 0])
        return states, (hidden, cell[0][0] if is_lstm and keep_cell else None)

    def _hold_cell(self, inputs: Tensor, weight: Tensor, alignment: Alignment) -> tuple[Tensor, Tensor]:
        """Make an LSTM keep its cell through the padding, exactly.

        One more input, 1 on padding, closes the input gate (i = 0) and opens the forget gate (f = 1), so that
        c_t = f * c_{t-1} + i * g = c_{t-1}, and the cell after the padding is the cell after the last real step.
        """
        size = self.cell.hidden_size
        column = weight.new_zeros(4 * size, 1)
        column[:size], column[size : 2 * size] = -_CLOSED, _CLOSED
        on_padding = (~alignment.valid)[:, :, None].to(inputs.dtype)
        return torch.cat([inputs, on_padding], dim=2), torch.cat([weight, column], dim=1)

    def _zeros(self, inputs: Tensor) -> "Tensor | tuple[Tensor, Tensor]":
        zeros = inputs.new_zeros(1, len(inputs), self.cell.hidden_size)
        return (zeros, zeros) if self.cell.mode == "LSTM" else zeros

    def _torch_memory(self, memory: Memory | None) -> "Tensor | tuple[Tensor, Tensor] | None":
        """(B, D, H) -> torch's (D, B, H), and a pair of them for an LSTM."""
        if memory is None:
            return None
        hidden, cell = (None if part is None else part.transpose(0, 1).contiguous() for part in memory)
        return hidden if cell is None else (hidden, cell)  # type: ignore[return-value]

    def _batch_first(self, memory: "Tensor | tuple[Tensor, Tensor]") -> Memory:
        if isinstance(memory, tuple):
            return memory[0].transpose(0, 1), memory[1].transpose(0, 1)
        return memory.transpose(0, 1), None
