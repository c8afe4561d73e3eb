"""What a stream carries from one piece of a sequence to the next."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers.utils.generic import ModelOutput

from .configuration_rnn import RNNConfig
from .ngrams import NOTHING

Rows = int | slice | Sequence[int] | Tensor

_CONTENT = "transformers_rnn.RNNState"
_WIDE = frozenset({"total", "attention_peak", "attention_mass", "attention_total", "bag_total", "stopping"})
_OWN_TYPE = {"steps": torch.long, "previous_ids": torch.long, "bag_seen": torch.bool}
_LOWEST = frozenset({"maximum", "attention_peak"})  # they begin at -infinity, all others at zero


@dataclass
class RNNState(ModelOutput):
    """The memory of B streams after the steps read so far; every tensor has the batch first.

    Args:
        hidden: (B, N, H), the last output of each of the N stacked layers.
        cell: (B, N, H), the memory cells of an LSTM.
        steps: (B,), how many steps each stream has read: its position.
        total: (B, S), the sum of the states, for mean pooling (in float64 where there is one).
        maximum: (B, S), their maximum, for max pooling.
        attention_peak: (B, 1), the largest attention score so far, for attention pooling.
        attention_mass: (B, 1), the sum of exp(score - peak).
        attention_total: (B, S), the sum of exp(score - peak) * state.
        previous_ids: (B, N - 1), the last token ids, for n-grams of at most N; -1 where there was none.
        bag_total: (B, W), the sum of the vectors of the n-grams that have come, for a bag of them.
        bag_seen: (B, K + 1), true for those that have come; the first of them stands for what is unknown.
        stopping: (B, 5), the progress of a stopping policy; a `StreamingClassifier` keeps it here, models do not.
    """

    hidden: Tensor | None = None
    cell: Tensor | None = None
    # What the pooling at work needs is there; the rest is None.
    steps: Tensor = None  # type: ignore[assignment]
    total: Tensor = None  # type: ignore[assignment]
    maximum: Tensor = None  # type: ignore[assignment]
    attention_peak: Tensor = None  # type: ignore[assignment]
    attention_mass: Tensor = None  # type: ignore[assignment]
    attention_total: Tensor = None  # type: ignore[assignment]
    previous_ids: Tensor = None  # type: ignore[assignment]
    bag_total: Tensor = None  # type: ignore[assignment]
    bag_seen: Tensor = None  # type: ignore[assignment]
    stopping: Tensor = None  # type: ignore[assignment]

    @classmethod
    def initial(
        cls,
        config: RNNConfig,
        batch_size: int,
        dtype: torch.dtype = torch.float32,
        device: "torch.device | str | None" = None,
    ) -> Self:
        """The memory of streams that have read nothing.

        A model that is given it answers as without a state, and a row may then have no step even in the first piece.

        Args:
            config: Of the model that will read.
            batch_size: B.
            dtype: Of the model; sums over time are kept wider.
            device: Of the model.
        """
        device = torch.empty(0, device=device).device
        fields: dict[str, Tensor] = {}
        for name, width in _widths(config).items():
            kind = _OWN_TYPE.get(name, wide_dtype(device) if name in _WIDE else dtype)
            fields[name] = torch.full((batch_size, *width), _beginning(name, kind), dtype=kind, device=device)
        return cls(**fields)

    @property
    def batch_size(self) -> int:
        """B."""
        return len(self.hidden)  # type: ignore[arg-type]

    def select(self, rows: Rows) -> Self:
        """The memory of some streams, in this order; a copy.

        Args:
            rows: Numbers from 0 to B-1 (a row may be taken twice), a mask (B,), or a slice.
        """
        rows = [rows] if isinstance(rows, int) else rows
        index: Any = rows if isinstance(rows, slice) else torch.as_tensor(rows, device=self.hidden.device)  # type: ignore[union-attr]
        if isinstance(index, Tensor) and not index.numel():
            index = index.long()
        return self._map(lambda _, value: value[index].clone() if isinstance(rows, slice) else value[index])

    @classmethod
    def merge(cls, states: Iterable["RNNState"]) -> Self:
        """One batch of the streams of several states of one model, in this order.

        Raises:
            ValueError: No states, or states of different models.
        """
        states = list(states)
        if not states:
            raise ValueError("merge needs at least one state, got none.")
        wanted = _shape_of_one(states[0])
        for number, state in enumerate(states):
            if _shape_of_one(state) != wanted:
                raise ValueError(
                    f"Only states of one model can be merged, but state {number} holds {_shape_of_one(state)} for "
                    f"each stream and state 0 holds {wanted}. Merge those of each model for itself."
                )
        return cls(**{name: torch.cat([state[name] for state in states]) for name in states[0]})

    def reset(self, rows: Rows | None = None) -> Self:
        """The same memory, but for some streams as if they had read nothing; the given one is not changed.

        Args:
            rows: As in `select`; `None` for all.
        """
        rows = slice(None) if rows is None else rows
        state = self._map(lambda _, value: value.clone())
        for name, value in state.items():
            value[rows] = _beginning(name, value.dtype)
        return state

    def write(self, rows: Rows, state: "RNNState") -> None:
        """Replace the memory of some streams in place.

        Args:
            rows: As in `select`, each row once.
            state: What they remember from now on, in the order of `rows`.
        """
        for name, value in self.items():
            value[rows] = state[name]

    def to(self, device: "torch.device | str | None" = None, dtype: torch.dtype | None = None) -> Self:
        """The same memory on another device or in another floating-point type.

        Args:
            device: `None`: where it is.
            dtype: `None`: as it is. Sums over time stay as wide as the device allows, steps and ids whole numbers.
        """

        def move(name: str, value: Tensor) -> Tensor:
            if name in _OWN_TYPE:
                return value.to(device)
            if name in _WIDE:
                return value.to(device, wide_dtype(value.device if device is None else torch.device(device)))
            return value.to(device, dtype)

        return self._map(move)

    def detach(self) -> Self:
        """The same memory, through which no gradient flows: what truncated back-propagation carries on."""
        return self._map(lambda _, value: value.detach())

    def save(self, path: "str | os.PathLike[str]", notes: dict[str, str] | None = None) -> None:
        """Write the memory to a safetensors file: plain numbers, bit for bit, nothing that can run.

        Args:
            path: The file.
            notes: For the metadata of the file.
        """
        tensors = {name: value.detach().cpu().clone().contiguous() for name, value in self.items()}
        save_file(tensors, path, metadata={**(notes or {}), "format": "pt", "content": _CONTENT})

    @classmethod
    def load(cls, path: "str | os.PathLike[str]", device: "torch.device | str" = "cpu") -> Self:
        """Read what `save` wrote.

        Args:
            path: The file.
            device: Where the memory goes.

        Raises:
            ValueError: A file that holds something else.
        """
        with safe_open(path, framework="pt", device=str(device)) as file:
            content = (file.metadata() or {}).get("content")
            if content != _CONTENT:
                raise ValueError(
                    f"{os.fspath(path)} holds no state of streams (its content is {content!r}). Pass a file that "
                    "RNNState.save wrote."
                )
            return cls(**{name: file.get_tensor(name).clone() for name in file.keys()})  # noqa: SIM118 - no mapping

    def missing(self, config: RNNConfig) -> list[str]:
        """The names of what a model of this config needs and this state does not hold, or in another width."""
        held = _shape_of_one(self)
        return [name for name, width in _widths(config).items() if held.get(name) != width]

    def _map(self, change: Callable[[str, Tensor], Tensor]) -> Self:
        return type(self)(**{name: change(name, value) for name, value in self.items()})


def wide_dtype(device: torch.device) -> torch.dtype:
    """The type of sums over time: wide, so that neither padding nor a million steps move the result."""
    return torch.float32 if device.type == "mps" else torch.float64


def _widths(config: RNNConfig) -> dict[str, tuple[int, ...]]:
    """What a model of this config carries, and its shape without the batch."""
    memory, states = (config.num_hidden_layers, config.hidden_size), (config.state_size,)
    carried: dict[str, tuple[int, ...]] = {"hidden": memory}
    if config.cell_type == "lstm":
        carried["cell"] = memory
    carried["steps"] = ()
    if config.pooling in ("mean", "concat"):
        carried["total"] = states
    if config.pooling in ("max", "concat"):
        carried["maximum"] = states
    if config.pooling == "attention":
        carried.update(attention_peak=(1,), attention_mass=(1,), attention_total=states)
    if config.remembered_ids:
        carried["previous_ids"] = (config.remembered_ids,)
    if config.bag_order:
        carried.update(bag_total=(config.bag_width,), bag_seen=(config.bag_size + 1,))
    return carried


def _beginning(name: str, dtype: torch.dtype) -> float | int:
    if name in _LOWEST:
        return -torch.inf
    if name == "previous_ids":
        return NOTHING
    return 0.0 if dtype.is_floating_point else 0


def _shape_of_one(state: RNNState) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape[1:]) for name, value in state.items()}
