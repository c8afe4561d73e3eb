"""Items of some streams, read by the model: one step of each at little cost, or pieces of any lengths."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .modeling_rnn import RNNForSequenceClassification
from .state import RNNState, wide_dtype
from .stopping import StoppingPolicy, StoppingProgress

_BUDGET = 65_536  # steps in one call of the model: what is pushed at once is read in pieces of so many
_ROWS = 1024  # of a step at once: what they need stays in the processor's cache
_CELLS: dict[str, Any] = {
    "RNN_TANH": torch.rnn_tanh_cell,
    "RNN_RELU": torch.rnn_relu_cell,
    "GRU": torch.gru_cell,
    "LSTM": torch.lstm_cell,
}


class StreamReader:
    """Lets a model of one direction read on where it stopped, and its stopping policy follow what it believes.

    Args:
        model: In evaluation mode.
    """

    def __init__(self, model: RNNForSequenceClassification) -> None:
        config = model.config
        self.model, self.device, self.dtype = model, model.device, model.dtype  # the host takes long to tell
        self.temperature, self.num_labels = float(config.temperature), int(config.num_labels)  # type: ignore[arg-type]
        self.policy = None if config.stopping_policy is None else StoppingPolicy.from_dict(config.stopping_policy)
        self._tokens, self._one = config.reads_tokens, torch.ones(1, dtype=torch.long, device=self.device)

    def initial(self, number: int) -> RNNState:
        """The memory of streams that have read nothing."""
        state = RNNState.initial(self.model.config, number, self.dtype, self.device)
        if self.policy is not None:
            width = len(StoppingProgress._fields)
            state.stopping = torch.zeros(number, width, dtype=wide_dtype(self.device), device=self.device)
        return state

    def read(self, state: RNNState, items: Tensor, lengths: Tensor) -> tuple[Tensor, RNNState]:
        """Read the next items of some streams.

        Args:
            state: What they remember, B rows; it may be changed in place.
            items: The items of all, one stream after another: ids (N,) or vectors (N, F).
            lengths: (B,), how many of them each stream has; they may be none.

        Returns:
            The logits (B, L) of all that was read so far, and what the streams remember now.
        """
        if not len(lengths):
            return torch.zeros(0, self.num_labels, device=self.device), state
        if len(items) == len(lengths) and (len(items) == 1 or bool((lengths == 1).all())):
            return self._step(items, state)
        items = torch.cat([items, items.new_zeros(1, *items.shape[1:])])  # something to point at beyond the end
        lengths = lengths.to(items.device)
        starts, logits = lengths.cumsum(0) - lengths, torch.empty(0)
        active, done = torch.arange(len(lengths), device=items.device), 0
        while len(active):
            left = lengths[active] - done
            steps = torch.arange(max(1, min(int(left.max()), _BUDGET // len(active))), device=items.device)
            index = (starts[active, None] + done + steps).clamp(max=len(items) - 1)
            now, after = self._call(items[index], steps < left[:, None], state.select(active))
            if done:
                logits[active] = now
                state.write(active, after)
            else:  # every stream is in the first piece, also one without an item
                logits, state = now, after
            done += len(steps)
            active = active[left > len(steps)]
        return logits, state

    def _call(self, items: Tensor, mask: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        """Read pieces with right padding by the model itself."""
        name = "input_ids" if self._tokens else "input_features"
        open_yet = self.policy is not None and not bool(state.stopping[:, -1].all())
        output: Any = self.model(
            **{name: items}, attention_mask=mask, state=state, return_dict=True, output_prefix_logits=open_yet
        )
        after: RNNState = output.state
        if self.policy is not None:
            after.stopping = self._decide(output.prefix_logits, mask, state.stopping) if open_yet else state.stopping
        return output.logits, after

    def _step(self, items: Tensor, state: RNNState) -> tuple[Tensor, RNNState]:
        """Read one item of each stream, by the cells' own kernels, several times faster than by the model.

        Args:
            items: (B,) ids or (B, F) vectors, checked.
            state: B rows; changed in place.
        """
        model = self.model
        hidden, ids = items, {}
        if self._tokens:
            hidden = model.rnn.embeddings.look_up(items[:, None], state.previous_ids)[:, 0]
            ids = model.rnn.embeddings.carry(items[:, None], self._one, state.previous_ids)
        memory = [state.hidden] if state.cell is None else [state.hidden, state.cell]
        found: list[tuple[Tensor, Tensor]] = []  # where it goes, and what: written when nothing can fail any more
        for index, layer in enumerate(model.rnn.layers):
            before = [part[:, index] for part in memory]  # type: ignore[index]
            after = _run_cell(layer.plain_cell, hidden, before)
            hidden = after[0] if layer.layer_norm is None else layer.layer_norm(after[0])  # type: ignore[operator]
            found.extend(zip(before, after, strict=True))
        pooled, carried = model.rnn.pooling(hidden[:, None], None, self._one, hidden, state)
        carried |= ids
        if model.rnn.bag is not None:
            pooled, carried = model.rnn.bag.join(pooled, carried, items[:, None], self._one, None, state, True)
        logits = model.classify(pooled)
        if self.policy is not None:
            carried["stopping"] = self._decide(logits[:, None], None, state.stopping)
        found.extend((state[name], value) for name, value in carried.items())
        for place, value in found:
            place.copy_(value)
        return logits, state

    def _decide(self, logits: Tensor, mask: Tensor | None, table: Tensor) -> Tensor:
        """Follow the policy through the logits after each step, (B, T, L)."""
        progress = StoppingProgress.from_table(table)
        for step, beliefs in enumerate((logits.float() / self.temperature).softmax(dim=-1).unbind(1)):
            if bool(progress.stopped.all()):
                break
            after = self.policy.advance(beliefs, progress)  # type: ignore[union-attr]
            progress = after if mask is None else after.where(mask[:, step], progress)
        return progress.to_table(table.dtype)


def _run_cell(cell: Any, inputs: Tensor, memory: list[Tensor]) -> Sequence[Tensor]:
    """One step of one layer: (B, F), hidden and cell (B, H) -> hidden and, of an LSTM, cell (B, H)."""
    if len(inputs) > _ROWS:
        blocks = zip(inputs.split(_ROWS), *(part.split(_ROWS) for part in memory), strict=True)
        found = [_run_cell(cell, block, before) for block, *before in blocks]
        return [torch.cat(parts) for parts in zip(*found, strict=True)]
    kernel, weights = _CELLS[cell.mode], cell._flat_weights
    return kernel(inputs, memory, *weights) if len(memory) > 1 else (kernel(inputs, memory[0], *weights),)
