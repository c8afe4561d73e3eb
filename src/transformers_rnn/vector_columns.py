"""Columns of vectors -> arrays (T_i, F) in float32, at numpy speed: whole columns, never number by number."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Where = Callable[[int], str]  # row -> how an error names it
INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class Vectors:
    """Rows of vectors, end to end.

    Attributes:
        steps: float32 of shape (sum of all T_i, F).
        offsets: (rows + 1,); row i is `steps[offsets[i]:offsets[i + 1]]`.
    """

    steps: NDArray[np.float32]
    offsets: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """T_i of each row."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> list[NDArray[np.float32]]:
        """An array (T_i, F) a row."""
        return np.split(self.steps, self.offsets[1:-1]) if len(self.offsets) > 1 else []

    def take(self, rows: NDArray[np.int64]) -> "Vectors":
        """Some of the rows, in that order."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        steps = np.repeat(self.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Vectors(self.steps[steps], offsets)

    def to_arrow(self) -> pa.ChunkedArray:
        """A column of lists of lists, the layout of `Array2D((None, F), "float32")`."""
        size = self.steps.shape[1]
        rows = len(self.offsets) - 1
        # A list array counts its values in 32 bits: more of them need further chunks.
        limits = np.searchsorted(self.offsets, np.arange(0, len(self.steps), INT32_MAX // (2 * size)), side="left")
        limits = np.unique([0, *limits, rows])
        return pa.chunked_array(
            [self._chunk(int(first), int(last)) for first, last in pairwise(limits)],
            pa.list_(pa.list_(pa.float32())),
        )

    def _chunk(self, first: int, last: int) -> pa.Array:
        offsets = self.offsets[first : last + 1]
        steps = self.steps[offsets[0] : offsets[-1]]
        inner = np.arange(0, steps.size + 1, steps.shape[1], dtype=np.int32)
        return pa.ListArray.from_arrays(
            pa.array((offsets - offsets[0]).astype(np.int32)),
            pa.ListArray.from_arrays(pa.array(inner), pa.array(steps.reshape(-1))),
        )


def vector_rank(kind: pa.DataType) -> int:
    """Axes of a column's values: 2 for vectors, 1 for a series of numbers, 0 for anything else."""
    if isinstance(kind, pa.ExtensionType):
        kind = kind.storage_type
    rank = 0
    while _is_list(kind):
        kind, rank = kind.value_type, rank + 1
    numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return rank if numeric and rank <= 2 else 0


def row_lengths(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """T_i of each row; a missing row has none."""
    counts = [_list_lengths(chunk) for chunk in column.chunks]
    return np.concatenate([np.zeros(0, np.int64), *counts])


def read_vectors(columns: dict[str, pa.ChunkedArray], where: Where, feature_size: int | None = None) -> Vectors:
    """Read one column of vectors or series, or several columns of series side by side.

    Args:
        columns: name -> column. Each row is (T_i, F), or (T_i,) for one feature of its own.
        where: tells how an error names a row.
        feature_size: F that every row must have; `None`: that of the first step.

    Raises:
        ValueError: a missing row or step, steps of another width, a number that is not finite in float32, or columns
            of unequal lengths in a row.
    """
    parts = {name: _read_column(name, column, where) for name, column in columns.items()}
    (first, vectors), *others = parts.items()
    for name, other in others:
        unequal = np.flatnonzero(other.lengths != vectors.lengths)
        if len(unequal):
            row = int(unequal[0])
            raise ValueError(
                f"{where(row)}: column {first!r} has {vectors.lengths[row]} steps, {name!r} has {other.lengths[row]}. "
                "Series that are features of one sequence must be equally long."
            )
    if others:
        vectors = Vectors(np.concatenate([part.steps for part in parts.values()], axis=1), vectors.offsets)
    width = vectors.steps.shape[1]
    if feature_size is not None and len(vectors.steps) and width != feature_size:
        raise ValueError(
            f"{where(0)}, column {first!r}: the steps have {width} numbers, those of the training set {feature_size}. "
            "Give every sequence the same features."
        )
    return vectors


def _read_column(name: str, column: pa.ChunkedArray, where: Where) -> Vectors:
    offsets = [np.zeros(1, np.int64)]
    steps: list[NDArray[np.float32]] = []
    row = 0
    for chunk in column.chunks:
        if len(chunk):
            part = _read_chunk(chunk, partial(_place, where, name, row), steps[:1])
            offsets.append(part.offsets[1:] + offsets[-1][-1])
            steps.append(part.steps)
            row += len(chunk)
    filled = [part for part in steps if len(part)] or [np.zeros((0, 1), np.float32)]
    return Vectors(filled[0] if len(filled) == 1 else np.concatenate(filled), np.concatenate(offsets))


def _place(where: Where, column: str, start: int, row: int) -> str:
    return f"{where(start + row)}, column {column!r}"


def _read_chunk(array: pa.Array, where: Where, before: Sequence[NDArray[Any]]) -> Vectors:
    array = _storage(array)
    _refuse_missing(array, where)
    lengths, inner = _list_lengths(array), array.flatten()
    offsets = np.concatenate([[0], np.cumsum(lengths)])

    def step_of(index: int) -> str:
        row = int(np.searchsorted(offsets, index, side="right")) - 1
        return f"{where(row)}, step {index - offsets[row]}"

    width = 1
    if _is_list(inner.type):
        _refuse_missing(inner, step_of)
        widths = _list_lengths(inner)
        expected = before[0].shape[1] if before and len(before[0]) else None
        width = int(expected or (widths[0] if len(widths) else 1))
        other = np.flatnonzero(widths != width)
        if len(other) or width == 0:
            index = int(other[0]) if len(other) else 0
            raise ValueError(
                f"{step_of(index)} has {widths[index]} numbers, the steps before have {width}. Give every step the "
                "same features (F of them); only the number of steps may differ."
            )
        inner = inner.flatten()
    values = inner.to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        steps = values.astype(np.float32, copy=False).reshape(-1, width)
    finite = np.isfinite(steps)
    if not finite.all():
        index, feature = np.argwhere(~finite)[0].tolist()
        raise ValueError(
            f"{step_of(index)}, feature {feature} is {values[index * width + feature]}, which is not a finite "
            "float32. Fill it in, scale it, or leave the row out."
        )
    return Vectors(steps, offsets)


def _refuse_missing(array: pa.Array, where: Where) -> None:
    if array.null_count:
        row = int(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0])
        raise ValueError(f"{where(row)} is missing. Fill it in, or leave the row out.")


def _storage(array: pa.Array) -> pa.Array:
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _list_lengths(array: pa.Array) -> NDArray[np.int64]:
    counts = pc.fill_null(pc.list_value_length(_storage(array)), 0)
    return np.asarray(counts.to_numpy(zero_copy_only=False), np.int64)
