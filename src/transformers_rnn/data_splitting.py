"""Rows -> parts by seed: stratified, with every label in every part."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = 10


@dataclass(frozen=True)
class SplitPlan:
    """What is made of the splits that came.

    Attributes:
        sizes: split that is to be drawn from the training set -> its share or number of rows.
        seed: decides which rows.
        most: split -> number of rows to keep at most.
        drop_duplicates: whether training rows that repeat another input are left out.
    """

    sizes: Mapping[str, float]
    seed: int
    most: Mapping[str, int | None]
    drop_duplicates: bool


def draw_part(
    labels: NDArray[Any],
    size: float,
    generator: np.random.Generator,
    *,
    names: Sequence[str] = (),
    regression: bool = False,
    parts: int = 2,
    where: Callable[[int], str] = str,
    option: str = "validation_size",
) -> NDArray[np.bool_]:
    """Draw the rows of a part so that every label has its share in it.

    Labels are served from the rarest to the commonest, each with its share of its rows that are still free (after
    Sechidis, Tsoumakas & Vlahavas, 2011, "On the stratification of multi-label data"); the targets of a regression
    are ranked and cut into ten equal parts, which are served like labels.

    Args:
        labels: class ids (rows,), indicators (rows, L), or targets.
        size: share of the rows (a float), or a number of rows (an int).
        generator: decides which.
        names: of the labels, for errors.
        regression: whether labels are targets.
        parts: how many parts every label must reach, this one and those that are drawn later included.
        where: tells how an error names a row.
        option: what the caller calls `size`.

    Returns:
        (rows,) true where a row is drawn. Single label and regression: every group gives its rounded share, and at
        least one row.

    Raises:
        ValueError: a size that leaves a part empty, or a label with fewer rows than parts.
    """
    rows = len(labels)
    share = size if isinstance(size, float) else size / max(rows, 1)
    if not 0 < share < 1 or rows < parts:
        raise ValueError(
            f"{option}={size} of {rows} rows leaves a part empty. Pass a share between 0 and 1 (a float), a "
            "number of rows (an int), or None to leave the set out."
        )
    drawn = np.zeros(rows, bool)
    free = np.ones(rows, bool)
    for label, members in _groups(labels, regression, max(1, int(rows * min(share, 1 - share)))):
        if len(members) < parts:
            kind = f"label {names[label] if label < len(names) else label!r}"
            raise ValueError(
                f"{where(int(members[0]))}: {kind} has only {len(members)} of the {parts} rows that a split into "
                f"{parts} parts needs. Add rows with it, join it with another label, leave it out, or bring a "
                "validation set of your own."
            )
        wanted = min(max(1, round(share * len(members))), len(members) - parts + 1) - int(drawn[members].sum())
        candidates = generator.permutation(members[free[members]])
        drawn[candidates[: max(0, wanted)]] = True
        free[members] = False
    rest = generator.permutation(np.flatnonzero(free))
    drawn[rest[: round(share * len(rest))]] = True
    return drawn


def _groups(labels: NDArray[Any], regression: bool, most: int) -> list[tuple[int, NDArray[np.int64]]]:
    """Label -> its rows, the rarest first; rows without any label are in none."""
    if regression:
        ranks = np.argsort(labels.reshape(len(labels), -1)[:, 0], kind="stable")
        return list(enumerate(np.array_split(ranks, min(QUANTILES, most))))
    if labels.ndim == 1:
        order = np.argsort(labels, kind="stable")
        values, starts = np.unique(labels[order], return_index=True)
        groups = list(zip(values.tolist(), np.split(order, starts[1:]), strict=True))
    else:
        members = (np.flatnonzero(column) for column in (labels > 0.5).T)
        groups = [(label, rows) for label, rows in enumerate(members) if len(rows)]
    return sorted(groups, key=lambda group: len(group[1]))


def draw_streamed(indices: NDArray[np.int64], shares: tuple[float, float], seed: int) -> NDArray[np.bool_]:
    """Whether rows of a stream belong to a part: by seed and place alone, so that no row must be kept."""
    from pandas.util import hash_array  # noqa: PLC0415 - only streams need it

    keys = hash_array(indices.astype(np.uint64) ^ hash_array(np.array([seed], np.uint64))) / 2.0**64
    return np.asarray((shares[0] <= keys) & (keys < shares[1]))
