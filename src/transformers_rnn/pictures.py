"""What a run saw -> PNG files for its model card. Needs the extra `pictures` (matplotlib).

Dark ink on a white ground, for light and dark pages, in colours that the colour-blind can tell apart. The same numbers
give the same bytes with the same matplotlib, whatever style is set.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest, pearsonr, sem, t
from sklearn.metrics import mean_absolute_error

from .canvas import BLUE, GREEN, INK, ORANGE, PURPLE, SKY, Array, canvas, checked_path, counted, paired, percent
from .label_pictures import draw_confusion_matrix, draw_label_scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "draw_confusion_matrix",
    "draw_coverage",
    "draw_label_scores",
    "draw_learning_curves",
    "draw_length_accuracy",
    "draw_regression",
    "draw_reliability",
]

LINES = ((BLUE, "-", "o"), (ORANGE, "--", "s"), (GREEN, "-.", "^"), (PURPLE, ":", "D"), (SKY, "-", "v"))
METRICS = len(LINES)  # more cannot be told apart
NOT_METRICS = ("loss", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time")


def draw_learning_curves(
    log_history: Sequence[Mapping[str, Any]],
    path: str | Path,
    *,
    metrics: Sequence[str] | None = None,
    kept_step: int | None = None,
) -> Path:
    """Draw the losses, and the validation metrics if there are any, against steps and epochs.

    Args:
        log_history: `trainer.state.log_history`.
        path: of the PNG.
        metrics: which to draw, without `eval_`; by default the first five that stay within -1 and 1.
        kept_step: the step whose weights were kept, `trainer.state.best_global_step`.

    Returns:
        The path.

    Raises:
        ValueError: there is no loss in the history, or a metric that is not there.
    """
    target = checked_path(path)
    curves = {name: _curve(log_history, name) for name in dict.fromkeys(key for row in log_history for key in row)}
    curves = {name: points for name, points in curves.items() if len(points)}
    losses = {name: curves[key] for name, key in (("training", "loss"), ("validation", "eval_loss")) if key in curves}
    if not losses:
        raise ValueError(
            "log_history must hold a finite loss or eval_loss, as trainer.state.log_history does after training with "
            f"logging_strategy or eval_strategy set; got {', '.join(curves) or 'nothing'}"
        )
    measured = _measured_curves(curves, metrics)
    with canvas(target, 9 if measured else 5, 3.8) as figure:
        panels = figure.subplots(1, 2 if measured else 1, squeeze=False)[0]
        for axes, title, lines in zip(panels, ("Loss", "Validation metrics"), (losses, measured), strict=False):
            for (name, points), (colour, dash, marker) in zip(lines.items(), LINES, strict=False):
                style = {"marker": marker, "markersize": 4} if len(points) <= 40 else {}
                axes.plot(*points.T, color=colour, linestyle=dash, label=name, **style)
            axes.set(title=title, xlabel="step")
            if kept_step is not None:
                axes.axvline(kept_step, color=INK, linewidth=1, linestyle=(0, (1, 2)), label="weights kept")
            axes.legend(fontsize=9)
            _epochs_on_top(axes, log_history)
    return target


def _curve(log_history: Sequence[Mapping[str, Any]], name: str) -> Array:
    """(N, 2): step and value, where the value is a finite number."""
    rows = [
        (row["step"], row[name]) for row in log_history if "step" in row and isinstance(row.get(name), int | float)
    ]
    points: Array = np.array(rows, dtype=float).reshape(-1, 2)
    return points[np.isfinite(points).all(1)]


def _measured_curves(curves: Mapping[str, Array], metrics: Sequence[str] | None) -> dict[str, Array]:
    found = {name.removeprefix("eval_"): points for name, points in curves.items() if name.startswith("eval_")}
    found = {name: points for name, points in found.items() if name not in NOT_METRICS}
    if metrics is None:
        scores = {name: points for name, points in found.items() if np.abs(points[:, 1]).max() <= 1}
        return dict(list((scores or found).items())[:METRICS])
    missing = [name for name in metrics if name not in found]
    if missing or len(metrics) > METRICS:
        raise ValueError(f"metrics must name up to {METRICS} of {', '.join(found)}, got {', '.join(metrics)}")
    return {name: found[name] for name in metrics}


def _epochs_on_top(axes: "Axes", log_history: Sequence[Mapping[str, Any]]) -> None:
    ends = [(row["step"], row["epoch"]) for row in log_history if row.get("step") and row.get("epoch")]
    if ends:
        steps = max(ends)[0] / max(ends)[1]  # in an epoch
        top = axes.secondary_xaxis("top", functions=(lambda x: x / steps, lambda x: x * steps))
        top.set_xlabel("epoch")


def draw_reliability(probabilities: ArrayLike, references: ArrayLike, path: str | Path, *, bins: int = 15) -> Path:
    """Draw how often the model is right against how sure it is (Guo et al. 2017, arXiv 1706.04599, figure 1).

    A single label: the confidence is the largest probability. Several: each probability counts alone, against the
    share of examples that do have the label.

    Args:
        probabilities: (B, L), between 0 and 1.
        references: class ids (B,), rows of -100 are left out; or zeros and ones (B, L).
        path: of the PNG.
        bins: of equal width from 0 to 1.

    Returns:
        The path.

    Raises:
        ValueError: other shapes or values, or no row.
    """
    given, true = np.asarray(probabilities, dtype=float), np.asarray(references)
    if given.ndim != 2 or true.shape not in (given.shape, given.shape[:1]) or not ((given >= 0) & (given <= 1)).all():
        raise ValueError(
            "probabilities must be (B, L) from 0 to 1, with references (B,) or (B, L), got "
            f"{given.shape} and {true.shape}" + (f", from {given.min()} to {given.max()}" if given.size else "")
        )
    target, (true, given) = checked_path(path), counted(*paired(true, given))
    several = true.ndim == 2
    confidence, right = (given.ravel(), true.ravel()) if several else (given.max(1), given.argmax(1) == true)
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.digitize(confidence, edges, right=True) - 1, 0, bins - 1)  # Guo's bins are open on the left
    number = np.bincount(place, minlength=bins)
    filled = np.maximum(number, 1)
    sure = np.bincount(place, confidence, bins) / filled
    accuracy = np.bincount(place, right, bins) / filled
    error = float((number / len(confidence)) @ np.abs(accuracy - sure))
    with canvas(target, 5, 5.4) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        style = {"width": 1 / bins, "align": "edge"}
        top.bar(edges[:-1], accuracy, color=BLUE, edgecolor="white", label="share right", **style)
        gap = {"facecolor": "none", "edgecolor": ORANGE, "hatch": "////", "label": "gap to the confidence"}
        top.bar(edges[:-1], np.where(number, sure - accuracy, 0), bottom=accuracy, **gap, **style)
        top.plot([0, 1], [0, 1], "--", color=INK, linewidth=1, label="perfectly calibrated")
        top.set(ylim=(0, 1), xlim=(0, 1), ylabel="share with the label" if several else "accuracy")
        top.set_title(f"Expected calibration error {error:.3f}")
        top.legend(fontsize=9)
        bottom.bar(edges[:-1], number / len(confidence), color=SKY, edgecolor="white", **style)
        bottom.axvline(
            confidence.mean(), color=ORANGE, linestyle="--", label=f"mean confidence {confidence.mean():.3f}"
        )
        bottom.axvline(right.mean(), color=BLUE, label=f"mean share right {right.mean():.3f}")
        bottom.legend(fontsize=8)
        bottom.set(ylabel="examples", xlabel="probability" if several else "confidence")
        percent(bottom, "y")
    return target


def draw_length_accuracy(lengths: ArrayLike, correct: ArrayLike, path: str | Path, *, parts: int = 8) -> Path:
    """Draw accuracy against the length of the sequences, in parts of about as many sequences each.

    The whiskers are 95 % intervals: Wilson's for accuracy, Student's for the mean absolute error.

    Args:
        lengths: steps of each sequence, (B,).
        correct: (B,), true or false; for regression the absolute errors as floats.
        path: of the PNG.
        parts: how many at most; sequences of one length stay together.

    Returns:
        The path.

    Raises:
        ValueError: other shapes, or no row.
    """
    target, (steps, values) = checked_path(path), paired(np.asarray(lengths), np.asarray(correct))
    if steps.ndim != 1 or values.shape != steps.shape:
        raise ValueError(f"lengths and correct must both be (B,), got {steps.shape} and {values.shape}")
    regression = np.issubdtype(values.dtype, np.floating)
    edges = np.unique(np.quantile(steps, np.arange(1, parts + 1) / parts, method="higher"))
    place = np.searchsorted(edges, steps)  # a part ends with its edge
    groups = [values[place == part] for part in range(len(edges))]
    spans = [(steps[place == part].min(), edge) for part, edge in enumerate(edges)]
    low, middle, high = np.array([_student(group) if regression else _wilson(group) for group in groups]).T
    with canvas(target, 6, 3.8) as figure:
        axes = figure.subplots()
        places = np.arange(len(groups))
        axes.axhline(values.mean(), color=ORANGE, linestyle="--", label=f"all {len(values):,}: {values.mean():.3f}")
        style: dict[str, Any] = {"color": BLUE, "capsize": 4, "markersize": 7}
        axes.errorbar(places, middle, [middle - low, high - middle], fmt="o", label="95 % interval", **style)
        texts = [f"{a}" if a == b else f"{a}-{b}" for a, b in spans]
        axes.set_xticks(places, [f"{text}\nn={len(group):,}" for text, group in zip(texts, groups, strict=True)])
        axes.tick_params(axis="x", labelsize=9)
        axes.set(xlabel="steps of the sequence", xlim=(-0.5, len(groups) - 0.5))
        axes.set_title("Mean absolute error by length" if regression else "Accuracy by length")
        axes.grid(False, axis="x")
        axes.legend(fontsize=9)
    return target


def draw_regression(references: ArrayLike, predictions: ArrayLike, path: str | Path) -> Path:
    """Draw what was predicted against what is true.

    Args:
        references: numbers (B,) or (B, L); all targets are drawn in one field.
        predictions: numbers of the same shape.
        path: of the PNG.

    Returns:
        The path.

    Raises:
        ValueError: other shapes, numbers that are not finite, or no row.
    """
    target = checked_path(path)
    true, predicted = paired(np.asarray(references, dtype=float), np.asarray(predictions, dtype=float))
    if true.shape != predicted.shape or not np.isfinite([true, predicted]).all():
        raise ValueError(
            f"references and predictions must be finite and of the same shape, got {true.shape} and {predicted.shape}"
        )
    true, predicted = true.ravel(), predicted.ravel()
    title = f"Mean absolute error {mean_absolute_error(true, predicted):.3g}"
    if min(np.ptp(true), np.ptp(predicted)) > 0:
        title += f", correlation {pearsonr(true, predicted).statistic:.3f}"
    with canvas(target, 5, 5) as figure:
        axes = figure.subplots()
        ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
        axes.plot(ends, ends, "--", color=INK, linewidth=1, label="perfect", zorder=3)
        shade = float(np.clip(100 / len(true) ** 0.8, 0.05, 0.8))  # many points: only their crowds are dark
        axes.scatter(true, predicted, s=18, color=BLUE, alpha=shade, linewidths=0)
        axes.set(xlabel="true", ylabel="predicted", title=title)
        axes.set_aspect("equal", adjustable="datalim")
        axes.legend(loc="upper left")
    return target


def draw_coverage(
    coverage: ArrayLike, accuracy: ArrayLike, path: str | Path, *, chosen: tuple[float, float] | None = None
) -> Path:
    """Draw how right the model is on what it answers against how much it answers.

    Args:
        coverage: shares of the examples that are answered, (N,).
        accuracy: the shares of right answers among them, (N,).
        path: of the PNG.
        chosen: coverage and accuracy at the config's `abstain_below`.

    Returns:
        The path.

    Raises:
        ValueError: other shapes, or values outside 0 to 1.
    """
    target = checked_path(path)
    shares = np.asarray(coverage, dtype=float), np.asarray(accuracy, dtype=float)
    answered, right = paired(*shares)
    if (
        answered.ndim != 1
        or right.shape != answered.shape
        or not ((np.stack(shares) >= 0) & (np.stack(shares) <= 1)).all()
    ):
        raise ValueError(f"coverage and accuracy must be (N,), from 0 to 1, got {answered.shape} and {right.shape}")
    order = np.argsort(answered, kind="stable")
    with canvas(target, 5.5, 3.8) as figure:
        axes = figure.subplots()
        axes.plot(answered[order], right[order], color=BLUE, linewidth=2)
        if chosen is not None:
            axes.plot(*chosen, "o", color=ORANGE, ms=9, label=f"chosen: {chosen[1]:.1%} of {chosen[0]:.1%} answered")
            axes.legend()
        axes.set(xlim=(0, 1.01), xlabel="answered", ylabel="right among the answered", title="What abstention buys")
        percent(axes, "x")
        percent(axes, "y")
    return target


def _wilson(right: Array) -> tuple[float, float, float]:
    """Low end, accuracy, high end."""
    test = binomtest(int(right.sum()), len(right))
    low, high = test.proportion_ci(0.95, method="wilson")
    return low, test.statistic, high


def _student(errors: Array) -> tuple[float, float, float]:
    """Low end, mean, high end; one error alone has no interval."""
    mean = float(errors.mean())
    reach = t.ppf(0.975, len(errors) - 1) * sem(errors) if len(errors) > 1 else 0.0
    return mean - reach, mean, mean + reach
