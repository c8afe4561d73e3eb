"""Numbers in lists, tensors or arrays -> one array, checked."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


def to_float32(scaled: NDArray[Any], values: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Scaled values (T, F) in float32, if they fit; `values` and `name` are for the error, see [`check_finite`]."""
    with np.errstate(over="ignore"):
        result = scaled.astype(np.float32, copy=False)
    check_finite(result, values, name, "Scaled, it is too large for float32: check mean and std, or fit again.")
    return result


def check_finite(result: NDArray[Any], values: NDArray[Any], name: str, advice: str) -> None:
    """Refuse what is not finite.

    Args:
        result: (T, F), to be checked.
        values: (T, F), as they came.
        name: What an error calls them.
        advice: What the user can do.

    Raises:
        ValueError: NaN or an infinity, with its step and feature.
    """
    finite = np.isfinite(result)
    if not finite.all():
        step, feature = np.argwhere(~finite)[0].tolist()
        raise ValueError(f"{name}, step {step}, feature {feature} is {values[step, feature]}. {advice}")


def add_deltas(values: NDArray[Any], before: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """Each step and its change from the step before, which is 0 at the first: (T, F) -> (T, 2 F) in float64.

    Args:
        values: The steps.
        before: (T, F), the step before each, where they do not follow each other.
    """
    steps = values.astype(np.float64)
    before = np.concatenate([steps[:1], steps[:-1]]) if before is None else before
    with np.errstate(over="ignore"):
        return np.concatenate([steps, steps - before], axis=1)


def to_numpy(value: Any) -> NDArray[Any]:
    """An array of nested lists, tensors, or arrays of arrays.

    Raises:
        ValueError: They do not form one.
    """
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], torch.Tensor):
        value = torch.stack(tuple(value))
    if isinstance(value, torch.Tensor):
        # numpy has no bfloat16
        array: NDArray[Any] = (value.float() if value.dtype == torch.bfloat16 else value).numpy(force=True)
        return array
    array = np.asarray(value)
    # An array of rows that are arrays themselves, as `datasets` and pandas make them.
    return np.asarray(array.tolist()) if array.dtype.hasobject else array


def depth(value: Any) -> int:
    """Number of axes, seen through the first entry that is not an empty list."""
    if isinstance(value, (list, tuple)) or (isinstance(value, np.ndarray) and value.dtype.hasobject):
        filled = (entry for entry in value if not isinstance(entry, (list, tuple)) or entry)
        return 1 + depth(next(filled, None))
    return int(getattr(value, "ndim", 0))
