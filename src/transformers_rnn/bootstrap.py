"""Predictions -> how far each figure could be from what it is on all data: the bootstrap over rows.

A resample gives each row a weight, how often it was drawn. The figures are written for weights (B, R) of R resamples
at once, which is hundreds of times faster than calling scikit-learn R times; a test holds the two equal.
"""

from collections.abc import Iterator, Sequence
from math import nan

import numpy as np

from .figures import BINS, REGRESSION, SINGLE, Array, Predictions, confidence_bins, row_log_losses

_NUMBERS = 4_000_000  # weights held at once


def bootstrap_intervals(
    found: Predictions, label_names: Sequence[str] | None, *, level: float, resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Percentile intervals (Efron & Tibshirani, 1993) of every figure, NaN where no resample defines it."""
    parts = [weighted_figures(found, label_names, weights) for weights in _weights(found, resamples, seed)]
    tails = [(1 - level) / 2, (1 + level) / 2]
    intervals = {}
    for name in parts[0]:
        values = np.concatenate([part[name] for part in parts])
        values = values[~np.isnan(values)]
        low, high = np.quantile(values, tails).tolist() if len(values) else (nan, nan)
        intervals[name] = (low, high)
    return intervals


def _weights(found: Predictions, resamples: int, seed: int) -> Iterator[Array]:
    """Weights (B, R) of a part of the resamples at a time."""
    generator, rows = np.random.default_rng(seed), len(found.references)
    for start in range(0, resamples, step := max(1, _NUMBERS // rows)):
        count = min(step, resamples - start)
        drawn = generator.integers(rows, size=(count, rows)) * count + np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count).astype(np.float32)


def weighted_figures(found: Predictions, label_names: Sequence[str] | None, weights: Array) -> dict[str, Array]:
    """The figures, (R,) each, of rows that count `weights` (B, R) times."""
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 is what marks an undefined figure
        if found.problem_type == REGRESSION:
            return _regression(found, weights.astype(np.float64))
        return _classification(found, label_names, weights)


def _classification(found: Predictions, label_names: Sequence[str] | None, weights: Array) -> dict[str, Array]:
    true, predicted, scores = found.references, found.predictions, found.scores
    rows = weights.sum(0, dtype=np.float64)
    right = ((true == predicted) if true.ndim == 1 else (true == predicted).all(-1)) @ weights / rows
    if found.problem_type == SINGLE:
        width = max(len(label_names or ()), 1 + max(true.max(), predicted.max()))
        true, predicted = true[:, None] == np.arange(width), predicted[:, None] == np.arange(width)
    hits, actual, claimed = (_counts(table, weights) for table in (true * predicted, true, predicted))
    f1 = 2 * hits / (actual + claimed)
    micro = 2 * hits.sum(0) / (actual + claimed).sum(0)
    if found.problem_type == SINGLE:
        figures = {
            "accuracy": right,
            "macro_f1": _mean_of_defined(f1),
            "micro_f1": micro,
            "weighted_f1": np.nansum(f1 * actual, axis=0) / rows,
            "matthews": _matthews(hits, actual, claimed, rows),
        }
    else:
        figures = {"subset_accuracy": right, "micro_f1": micro, "macro_f1": _mean_of_defined(f1)}
    if scores is not None and found.problem_type == SINGLE:
        losses = row_log_losses(found.references, scores)
        figures |= {
            "roc_auc": _mean_of_defined(np.stack([_roc_auc(*pair, weights) for pair in _columns(true, scores)])),
            "log_loss": losses @ weights / rows,
            "expected_calibration_error": _calibration_error(found.references, scores, weights),
        }
    elif scores is not None:
        precisions = [_average_precision(*pair, weights) for pair in _columns(true, scores)]
        figures["mean_average_precision"] = _mean_of_defined(np.stack(precisions))
    for index, name in enumerate(label_names or ()):
        figures[f"precision_{name}"] = hits[index] / claimed[index]
        figures[f"recall_{name}"] = hits[index] / actual[index]
        figures[f"f1_{name}"] = f1[index]
    return figures


def _counts(table: Array, weights: Array) -> Array:
    """Weight (L, R) of the rows where a table (B, L) is 1."""
    return np.asarray(table.T.astype(weights.dtype) @ weights, dtype=np.float64)


def _columns(true: Array, scores: Array) -> Iterator[tuple[Array, Array]]:
    return zip(true.T, scores.T, strict=False)  # labels beyond those that occur have no figure


def _mean_of_defined(values: Array) -> Array:
    """Mean over the labels (L, R) that are defined."""
    return np.asarray(np.nansum(values, axis=0) / (~np.isnan(values)).sum(0))


def _matthews(hits: Array, actual: Array, claimed: Array, rows: Array) -> Array:
    """Gorodkin (2004); 0 where either side is constant, as scikit-learn has it."""
    covariance = hits.sum(0) * rows - (actual * claimed).sum(0)
    spread = (rows**2 - (actual**2).sum(0)) * (rows**2 - (claimed**2).sum(0))
    return np.where(spread > 0, covariance / np.sqrt(spread), 0.0)


def _groups(values: Array) -> tuple[Array, Array]:
    """The order that sorts the values, and where each run of equal ones begins in it."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    return order, np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])


def _ranked(values: Array, true: Array, weights: Array) -> tuple[Array, Array, Array, Array]:
    """The K rows that have the label, in order of their values, among all.

    Their weights, the weight of all rows below them and up to the last equal one, (K, R) each, and which of the K is
    the last equal one (K,).
    """
    order, starts = _groups(values)
    cumulative = np.cumsum(weights[order], axis=0, dtype=weights.dtype)
    (places,) = np.nonzero(true[order])
    group = np.searchsorted(starts, places, side="right") - 1
    through = cumulative[np.r_[starts[1:], len(order)][group] - 1]
    before = np.where(starts[group, None] > 0, cumulative[starts[group] - 1], 0)
    return weights[order[places]], before, through, np.searchsorted(group, group, side="right") - 1


def _roc_auc(true: Array, scores: Array, weights: Array) -> Array:
    """Mann & Whitney (1947): how often a row that has the label scores above one that has not; ties count half."""
    own, before, through, _ = _ranked(scores, true, weights)
    positive = own.sum(0, dtype=np.float64)
    above = (own * (before + through)).sum(
        0, dtype=np.float64
    ) - positive**2  # twice; rows of the label itself left out
    return np.asarray(above / (2 * positive * (weights.sum(0, dtype=np.float64) - positive)))


def _average_precision(true: Array, scores: Array, weights: Array) -> Array:
    """Mean precision at the rows that have the label, from the best score down."""
    own, _, through, last = _ranked(-scores, true, weights)
    precision = np.cumsum(own, axis=0, dtype=weights.dtype)[last] / through
    return np.asarray(np.nansum(own * precision, axis=0, dtype=np.float64) / own.sum(0, dtype=np.float64))


def _calibration_error(references: Array, scores: Array, weights: Array) -> Array:
    bins, confidence, correct = confidence_bins(references, scores)
    gaps = (bins == np.arange(BINS)[:, None]) * (correct - confidence)
    return np.asarray(np.abs(gaps @ weights).sum(0) / weights.sum(0))


def _regression(found: Predictions, weights: Array) -> dict[str, Array]:
    rows = len(found.references)
    true, predicted = found.references.reshape(rows, -1), found.predictions.reshape(rows, -1)
    total = weights.sum(0)
    pairs = list(zip(true.T, predicted.T, strict=True))
    ranks = ((_ranks(one, weights), _ranks(other, weights)) for one, other in pairs)
    return {
        "mse": ((true - predicted) ** 2).mean(1) @ weights / total,
        "mae": np.abs(true - predicted).mean(1) @ weights / total,
        "pearson": np.mean([_pearson(one[:, None], other[:, None], weights) for one, other in pairs], axis=0),
        "spearman": np.mean([_pearson(*pair, weights) for pair in ranks], axis=0),
    }


def _pearson(one: Array, other: Array, weights: Array) -> Array:
    share = weights / weights.sum(0)
    one, other = one - (share * one).sum(0), other - (share * other).sum(0)
    spread = np.sqrt((share * one**2).sum(0) * (share * other**2).sum(0))
    # What rounding leaves of a constant is no spread.
    defined = spread > 1e-13 * max(float(np.abs(one).max() * np.abs(other).max()), 1e-300)
    return np.where(defined, (share * one * other).sum(0) / spread, nan)


def _ranks(values: Array, weights: Array) -> Array:
    """Rank (B, R) of each row among the resampled ones, the middle one where several are equal."""
    order, starts = _groups(values)
    counts = np.add.reduceat(weights[order], starts, axis=0)
    middle = np.cumsum(counts, axis=0) - (counts - 1) / 2
    ranks = np.empty_like(weights)
    ranks[order] = np.repeat(middle, np.diff(np.r_[starts, len(order)]), axis=0)
    return ranks
