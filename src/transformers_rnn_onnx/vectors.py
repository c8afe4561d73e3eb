"""Sequences of vectors -> checked, with deltas, scaled and joined, as `SequenceVectorFeatureExtractor` does it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FILE = "preprocessor_config.json"


class VectorReader:
    """Reads (T_i, F) tables, or mappings with `input_features`.

    Args:
        directory: Holds `preprocessor_config.json`.
        width: Of what the model reads at once: k F, or 2 k F with deltas.

    Raises:
        ValueError: There is no such file, or it is for vectors of another width.
    """

    name = "input_features"

    def __init__(self, directory: Path, width: int) -> None:
        if not (directory / _FILE).is_file():
            raise ValueError(
                f"This model reads vectors, but {directory} holds no {_FILE}. Export the model together with its "
                "feature extractor: export_onnx(model, directory, feature_extractor)."
            )
        choices: dict[str, Any] = json.loads((directory / _FILE).read_text(encoding="utf-8"))
        self.stride: int = choices.get("stride", 1)
        self.deltas: bool = choices.get("deltas", False)
        at_once = self.stride * (2 if self.deltas else 1)  # times F
        self.width: int = choices.get("feature_size", width // at_once)
        self.input_size = self.width * at_once
        if self.input_size != width:
            raise ValueError(
                f"{_FILE} is for vectors of {self.input_size} numbers, but this model reads {width}. Export "
                "the model with the feature extractor that was saved with it."
            )
        self.longest: int | None = choices.get("max_length")
        self.mean, self.std = (
            None if choices.get(name) is None else np.asarray(choices[name], np.float64) for name in ("mean", "std")
        )

    def as_many(self, inputs: Any) -> Any:
        """The sequences to go through; `None` if the input is one sequence."""
        if isinstance(inputs, Mapping):
            return None
        if isinstance(inputs, str) or not isinstance(inputs, Iterable):
            raise ValueError(
                f"Sequences must be arrays or nested lists of numbers, got {type(inputs).__name__}. Pass the vectors."
            )
        if not isinstance(inputs, list | tuple):
            if not hasattr(inputs, "__array__"):
                return inputs
            inputs = np.asarray(inputs)
        if isinstance(inputs, list | tuple) and (not inputs or isinstance(inputs[0], Mapping)):
            return inputs
        return inputs if _depth(inputs) > 2 else None

    def read(
        self, items: Sequence[Any], truncation: bool | None = None, max_length: int | None = None, first: int = 0
    ) -> list[NDArray[Any]]:
        """Scaled sequences, float32 (ceil(T_i / k), input_size) each.

        Args:
            items: Tables or mappings.
            truncation: Whether sequences are cut; `None`: if there is a `max_length`.
            max_length: In steps; `None`: the feature extractor's.
            first: The number of the first of them, for messages.

        Raises:
            ValueError: No steps, a wrong rank, width or dtype, or a value that is not finite; with its place.
        """
        limit = self.longest if max_length is None else max_length
        if truncation and limit is None:
            raise ValueError("truncation=True needs a max_length: pass it here, or to the feature extractor.")
        cut = None if truncation is False else limit
        names = (f"Sequence {index}" for index in range(first, first + len(items)))
        return [
            self._stack(self._scale(self._check(item, name)[:cut], name))
            for item, name in zip(items, names, strict=True)
        ]

    def advance(
        self, steps: Any, held: NDArray[Any] | None
    ) -> tuple[NDArray[Any], NDArray[Any] | None, NDArray[Any] | None]:
        """Go on in a stream.

        Args:
            steps: The next, one (F,) or some (T, F).
            held: What is held of those before.

        Returns:
            Full groups of k steps, the last one if it is not full (filled with its last step; or `None`), and what is
            held now: the step before, for deltas, and those that fill no group.

        Raises:
            ValueError: As `read`.
        """
        piece = np.asarray(steps)
        if piece.size:
            piece = self._check(piece[None] if piece.ndim == 1 and self.width > 1 else piece, "A piece")
        else:
            piece = np.zeros((0, self.width), np.float32)
        if held is None:  # before the first step stands the first step
            held = piece[:1] if self.deltas else piece[:0]
        known = np.concatenate([held, piece])
        if not len(known):
            return self._stack(known), None, None
        name = f"A piece with {len(held)} steps before it" if len(held) else "A piece"
        ready = self._scale(known, name)[1 if self.deltas else 0 :]
        full = len(ready) - len(ready) % self.stride
        unfilled = self._stack(ready[full:]) if full < len(ready) else None
        return self._stack(ready[:full]), unfilled, known[full:].copy() if full < len(known) else None

    def waiting(self, held: NDArray[Any] | None) -> int:
        """How many steps of a stream fill no group yet."""
        return 0 if held is None else len(held) - (1 if self.deltas else 0)

    def _stack(self, steps: NDArray[Any]) -> NDArray[Any]:
        """Join each k steps to one; the last one fills a group that is not full."""
        missing = -len(steps) % self.stride
        if missing:
            steps = np.concatenate([steps, np.repeat(steps[-1:], missing, axis=0)])
        return steps.reshape(-1, self.input_size)

    def pad(self, sequences: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """(B, T, input_size)."""
        padded = np.zeros((len(sequences), max(1, *map(len, sequences)), self.input_size), np.float32)
        for row, steps in zip(padded, sequences, strict=True):
            row[: len(steps)] = steps
        return padded

    def _check(self, sequence: Any, name: str) -> NDArray[Any]:
        """A sequence as an array (T, F) of finite numbers."""
        if isinstance(sequence, Mapping):
            if self.name not in sequence:
                raise ValueError(f"A mapping needs the key {self.name!r}, got the keys {list(sequence)}.")
            sequence = sequence[self.name]
        wanted = f"{name} must have the shape (T, F) with F = feature_size = {self.width}"
        try:
            array = np.asarray(sequence)
            array = np.asarray(array.tolist()) if array.dtype.hasobject else array
        except (TypeError, ValueError) as error:
            raise ValueError(f"{wanted}, but its steps cannot be joined: {error}.") from error
        if array.dtype.kind not in "biuf":
            raise ValueError(
                f"{name} must hold numbers, got dtype {array.dtype}. Encode or fill in other values first."
            )
        if array.shape[:1] == (0,):
            raise ValueError(f"{name} has no steps, but at least one is needed. Remove it.")
        if array.ndim == 1 and self.width == 1:
            array = array[:, None]
        if array.ndim != 2 or array.shape[1] != self.width:
            raise ValueError(f"{wanted}, got {array.shape}. Check the order of the axes (time before features).")
        _check_finite(array, array, name, "Repair or remove missing values first.")
        return array

    def _scale(self, values: NDArray[Any], name: str) -> NDArray[np.float32]:
        """Of steps (T, F) in their order: with deltas, scaled, in float32."""
        if self.deltas:
            steps = values.astype(np.float64)
            with np.errstate(over="ignore"):
                values = np.concatenate([steps, np.diff(steps, axis=0, prepend=steps[:1])], axis=1)
        scaled = values
        with np.errstate(over="ignore"):
            if self.mean is not None:
                scaled = scaled - self.mean
            if self.std is not None:
                scaled = scaled / self.std
            result = scaled.astype(np.float32, copy=False)
        _check_finite(result, values, name, "Scaled, it is too large for float32: check mean and std.")
        return result


def _check_finite(result: NDArray[Any], values: NDArray[Any], name: str, advice: str) -> None:
    finite = np.isfinite(result)
    if not finite.all():
        step, feature = np.argwhere(~finite)[0].tolist()
        raise ValueError(f"{name}, step {step}, feature {feature} is {values[step, feature]}. {advice}")


def _depth(value: Any) -> int:
    """Number of axes, seen through the first entry that is not an empty list."""
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.dtype.hasobject):
        filled = (entry for entry in value if not isinstance(entry, list | tuple) or entry)
        return 1 + _depth(next(filled, None))
    return int(getattr(value, "ndim", 0))
