"""The recurrent cells over the true lengths of a batch."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from transformers.modeling_layers import GradientCheckpointingLayer

from .configuration_rnn import RNNConfig
from .padding import Alignment
from .recurrence import run_steps
from .traced_recurrence import run_traced

Memory = tuple[Tensor, Tensor | None]  # hidden (B, D, H) and, of an LSTM, cell (B, D, H)
Weights = list[list[Tensor]]  # of each direction: weight_ih, weight_hh, bias_ih, bias_hh

_KERNELS: dict[str, Any] = {
    "RNN_TANH": torch.rnn_tanh,
    "RNN_RELU": torch.rnn_relu,
    "GRU": torch.gru,
    "LSTM": torch.lstm,
}
_SUPPORTED = {
    torch.bfloat16: torch.ops.mkldnn._is_mkldnn_bf16_supported,
    torch.float16: torch.ops.mkldnn._is_mkldnn_fp16_supported,
}
_CLOSED = 1e4  # saturates a sigmoid to exactly 0 or 1 in every floating-point type


class RecurrentCell(nn.RNNBase):
    """The weights of one layer, named as torch names them, and torch's kernels on them.

    It does the work of `nn.RNN`, `nn.GRU` and `nn.LSTM`, but `torch.compile` refuses to look at those.
    """

    def __init__(self, config: RNNConfig, input_size: int) -> None:
        mode = {"rnn": f"RNN_{config.nonlinearity.upper()}", "gru": "GRU", "lstm": "LSTM"}[config.cell_type]
        super().__init__(mode, input_size, config.hidden_size, batch_first=True, bidirectional=config.bidirectional)
        self.weight_dropout = config.weight_dropout

    def weights_for_batch(self) -> Weights:
        """The weights to use, in training with entries of the recurrent ones dropped (Merity et al., 2018).

        The parameters themselves stay whole, and get the gradients of what was left of them.
        """
        weights: Weights = [list(each) for each in self.all_weights]
        if self.training and self.weight_dropout:
            for each in weights:
                each[1] = nn.functional.dropout(each[1], self.weight_dropout)
        return weights

    def forward(
        self, inputs: Tensor, alignment: Alignment, initial: Memory | None, keep_memory: bool
    ) -> tuple[Tensor, Memory | None]:
        """Read aligned sequences (B, T, F) -> states (B, T, S), and the memory if it is wanted or costs nothing.

        All use of the weights is in here, so that what puts others in their place for the time of a call (adapters,
        parametrizations) is not passed by.
        """
        weights = self.weights_for_batch()
        if torch.compiler.is_compiling():
            return self._run_traced(inputs, alignment, initial, weights)
        by_steps = self._by_steps(inputs, alignment)
        if alignment.full and not by_steps:
            return self.run_full(inputs, initial, weights)
        if inputs.is_cuda and initial is None:
            return self._run_packed(inputs, alignment, weights)
        read = [inputs, alignment.reverse(inputs)] if self.bidirectional else [inputs]
        cells: list[Tensor | None] = []
        if by_steps:
            states = self.run_by_steps(read, initial, weights)
        else:
            parts = zip(read, weights, strict=True)
            runs = [self._run_direction(*part, alignment, initial, keep_memory) for part in parts]
            states, cells = [each for each, _ in runs], [cell for _, cell in runs]
        memory = None
        if keep_memory:
            hidden = torch.stack([alignment.take_last(each) for each in states], dim=1)
            if initial is not None:  # a row without a step keeps what it had
                hidden = torch.where(alignment.lengths[:, None, None] > 0, hidden, initial[0])
            kept = [cell for cell in cells if cell is not None]
            memory = hidden, torch.stack(kept, dim=1) if kept else None
        states[1:] = [alignment.reverse(each) for each in states[1:]]
        return torch.cat(states, dim=-1) if len(states) > 1 else states[0], memory

    def _by_steps(self, inputs: Tensor, alignment: Alignment) -> bool:
        """Whether our own steps are the fast way: for gradients on a CPU, where torch has no fused kernel.

        One direction over full sequences is the textbook's model, to the last bit: it stays with torch.
        """
        textbook = alignment.full and not self.bidirectional
        learning = self.training and torch.is_grad_enabled() and inputs.device.type == "cpu"
        return learning and self.mode != "LSTM" and not textbook

    def run_full(self, inputs: Tensor, memory: Memory | None, weights: Weights) -> tuple[Tensor, Memory]:
        """Run both directions over full sequences: (B, T, F) -> (B, T, S), memory (B, D, H)."""
        start = self.torch_memory(memory, inputs, self.num_directions)
        options = (True, 1, 0.0, self.training, self.bidirectional, True)
        states, *after = self._call_kernel(inputs, start, _flat(weights), *options)
        return states, _batch_first(after)

    def run_packed(self, packed: PackedSequence, weights: Weights) -> tuple[PackedSequence, Memory]:
        """Run both directions over packed sequences, from zeros."""
        start = self.torch_memory(None, packed.data[: int(packed.batch_sizes[0])], self.num_directions)
        options = (True, 1, 0.0, self.training, self.bidirectional)
        states, *after = _KERNELS[self.mode](packed.data, packed.batch_sizes, start, _flat(weights), *options)
        after = [part.index_select(1, packed.unsorted_indices) for part in after]
        return packed._replace(data=states), _batch_first(after)

    def run_by_steps(self, inputs: list[Tensor], memory: Memory | None, weights: Weights) -> list[Tensor]:
        """Run a GRU or plain RNN in training, each direction over its own (B, T, F) -> states (B, T, H) each."""
        stack = torch.stack if self.bidirectional else _only
        w_ih, w_hh, b_ih, b_hh = (stack(each) for each in zip(*weights, strict=True))
        steps = stack([each.transpose(0, 1) for each in inputs])  # (D, T, B, F) or (T, B, F)
        read = steps.flatten(-3, -2) @ w_ih.mT + b_ih.unsqueeze(-2)
        start = steps.new_zeros(*steps.shape[:-3], steps.shape[-2], self.hidden_size)
        if memory is not None:
            start = memory[0][:, 0]  # a stream has one direction
        states = run_steps(self.mode, read.unflatten(-2, steps.shape[-3:-1]), start, w_hh, b_hh)
        return [each.transpose(0, 1) for each in (states if self.bidirectional else [states])]

    def run_direction(
        self, inputs: Tensor, memory: Memory | None, weights: list[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        """Run one direction with its own weights -> states (B, T, H) and, of an LSTM, the last cell (B, H)."""
        start = self.torch_memory(memory, inputs, 1)
        options = (True, 1, 0.0, self.training, False, True)
        states, _, *cell = self._call_kernel(inputs, start, weights, *options)
        return states, cell[0][0] if cell else None

    def _call_kernel(self, inputs: Tensor, start: Any, weights: Any, *options: Any) -> Any:
        kernel = _KERNELS[self.mode]
        if self.mode != "LSTM" or inputs.is_cuda or not torch.is_autocast_enabled("cpu"):
            return kernel(inputs, start, weights, *options)
        if _SUPPORTED.get(torch.get_autocast_dtype("cpu"), lambda: False)():
            return kernel(inputs, start, weights, *options)
        # Autocast would choose the fused kernel in a type that this processor has not.
        dtype = weights[0].dtype
        with torch.autocast("cpu", enabled=False):
            return kernel(inputs.to(dtype), tuple(part.to(dtype) for part in start), weights, *options)

    def torch_memory(self, memory: Memory | None, inputs: Tensor, directions: int) -> Any:
        """(B, D, H), or zeros, in torch's form: (D, B, H), and a pair of them for an LSTM."""
        if memory is None:
            zeros = inputs.new_zeros(directions, inputs.shape[0], self.hidden_size)
            return (zeros, zeros) if self.mode == "LSTM" else zeros
        hidden, cell = (None if part is None else part.transpose(0, 1).contiguous() for part in memory)
        return hidden if cell is None else (hidden, cell)

    @property
    def num_directions(self) -> int:
        """D."""
        return 2 if self.bidirectional else 1

    def _run_traced(
        self, inputs: Tensor, alignment: Alignment, initial: Memory | None, weights: Weights
    ) -> tuple[Tensor, Memory]:
        before = None if initial is None else tuple(part[:, 0] for part in initial if part is not None)
        states, memory = run_traced(self.mode, weights[0], inputs, alignment.valid, before)
        outputs = [(states, memory)]
        if self.bidirectional:
            states, memory = run_traced(self.mode, weights[1], alignment.reverse(inputs), alignment.valid, None)
            outputs.append((alignment.reverse(states), memory))
        parts = [torch.stack(part, dim=1) for part in zip(*(memory for _, memory in outputs), strict=True)]
        return torch.cat([states for states, _ in outputs], dim=-1), (parts[0], parts[1] if len(parts) > 1 else None)

    def _run_packed(self, inputs: Tensor, alignment: Alignment, weights: Weights) -> tuple[Tensor, Memory]:
        packed = pack_padded_sequence(inputs, alignment.lengths.cpu(), batch_first=True, enforce_sorted=False)
        packed_states, memory = self.run_packed(packed, weights)
        states, _ = pad_packed_sequence(packed_states, batch_first=True, total_length=inputs.shape[1])
        return states, memory

    def _run_direction(
        self,
        inputs: Tensor,
        weights: list[Tensor],
        alignment: Alignment,
        initial: Memory | None,
        keep_memory: bool,
    ) -> tuple[Tensor, Tensor | None]:
        """Run one direction over right padding -> states (B, T, H) and, if wanted, the cell (B, H)."""
        if keep_memory and self.mode == "LSTM":
            inputs, weight = self._hold_cell(inputs, weights[0], alignment)
            weights = [weight, *weights[1:]]
        states, cell = self.run_direction(inputs, initial, weights)
        return states, cell if keep_memory else None

    def _hold_cell(self, inputs: Tensor, weight: Tensor, alignment: Alignment) -> tuple[Tensor, Tensor]:
        """Make an LSTM keep its cell through the padding, exactly.

        One more input, 1 on padding, closes the input gate (i = 0) and opens the forget gate (f = 1), so that
        c_t = f * c_{t-1} + i * g = c_{t-1}, and the cell after the padding is the cell after the last real step.
        """
        size = self.hidden_size
        column = weight.new_zeros(4 * size, 1)
        column[:size], column[size : 2 * size] = -_CLOSED, _CLOSED
        on_padding = (~alignment.valid)[:, :, None].to(inputs.dtype)
        return torch.cat([inputs, on_padding], dim=2), torch.cat([weight, column], dim=1)


class RecurrentLayer(GradientCheckpointingLayer):
    """One recurrent layer, in one or both directions, that sees nothing but real steps."""

    def __init__(self, config: RNNConfig, input_size: int) -> None:
        super().__init__()
        self.cell = RecurrentCell(config, input_size)
        self.layer_norm = nn.LayerNorm(config.state_size) if config.layer_norm else None

    def forward(
        self,
        inputs: Tensor,
        alignment: Alignment,
        hidden: Tensor | None = None,
        cell: Tensor | None = None,
        keep_memory: bool = False,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Read aligned sequences.

        A batch without padding goes to torch's kernel as it is. With padding on a GPU the sequences are packed, which
        is the fast way there. On other devices packing loses torch's fused kernels: there the forward direction runs
        over the right padding (which no real step can see), and the backward direction is a forward run over each
        sequence reversed within its own length. A GRU and a plain RNN in training on a CPU take steps of our own.

        Args:
            inputs: (B, T, F), aligned.
            alignment: Where the real steps are.
            hidden: (B, D, H), the states before the first step; zeros by default.
            cell: (B, D, H), the memory cells of an LSTM before the first step.
            keep_memory: Whether the memory after each sequence's own last step is wanted.

        Returns:
            The states (B, T, S), arbitrary but finite on padding, and, if wanted, after each sequence's last step
            hidden (B, D, H) and, of an LSTM, cell (B, D, H). All are tensors side by side, as reentrant checkpoints
            need them.
        """
        before = None if hidden is None else (hidden, cell)
        states, memory = self.cell(inputs, alignment, before, keep_memory)
        if self.layer_norm is not None:  # of what is read on; the memory is as the cell left it
            states = self.layer_norm(states)
        hidden, cell = memory if keep_memory and memory is not None else (None, None)
        return states, hidden, cell

    def recall(self, hidden: Tensor, steps: Tensor) -> Tensor:
        """What this layer of one direction gave last, (B, S), from its memory (B, 1, H) after (B,) steps."""
        if self.layer_norm is None:
            return hidden[:, 0]
        return self.layer_norm(hidden[:, 0]).masked_fill((steps == 0)[:, None], 0.0)  # type: ignore[no-any-return]

    @property
    def plain_cell(self) -> RecurrentCell:
        """The cell, for what uses its weights as they are.

        Raises:
            ValueError: Adapters stand on its weights.
        """
        if not isinstance(self.cell, RecurrentCell):
            raise ValueError(
                f"Streams step by step and export need the recurrent weights themselves, but a "
                f"{type(self.cell).__name__} stands on them. Merge the adapters first: model.merge_and_unload()."
            )
        return self.cell


def _flat(weights: Weights) -> list[Tensor]:
    return [weight for direction in weights for weight in direction]


def _only(tensors: "list[Tensor] | tuple[Tensor, ...]") -> Tensor:
    (tensor,) = tensors
    return tensor


def _batch_first(memory: list[Tensor]) -> Memory:
    hidden, *cell = (part.transpose(0, 1) for part in memory)
    return hidden, cell[0] if cell else None
