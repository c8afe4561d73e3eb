"""Pictures of labels: which was taken for which, and how well each is found."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from .canvas import BLUE, INK, SKY, Array, canvas, checked_path, counted, paired, short

MATRIX_LABELS, PAIRS, BARS = 30, 20, 30  # more cannot be read


def draw_confusion_matrix(
    references: ArrayLike, predictions: ArrayLike, label_names: Sequence[str], path: str | Path
) -> Path:
    """Draw how often each label was taken for each: counts on colours for the share of the true label.

    Above 30 labels, where a matrix cannot be read, the most frequent confusions are drawn instead; for several labels
    at once (B, L), `draw_label_scores`.

    Args:
        references: true class ids (B,); rows of -100 are left out.
        predictions: class ids (B,).
        label_names: of the L labels, in the order of their ids.
        path: of the PNG.

    Returns:
        The path.

    Raises:
        ValueError: ids that are not whole numbers from 0 to L - 1, other shapes, or no row.
    """
    true, predicted = np.asarray(references), np.asarray(predictions)
    if true.ndim == 2:
        return draw_label_scores(true, predicted, label_names, path)
    target, (true, predicted) = checked_path(path), counted(*paired(true, predicted))
    labels = range(len(label_names))
    if not (true.shape == predicted.shape and np.isin([true, predicted], labels).all()):
        raise ValueError(
            f"references and predictions must be class ids (B,) from 0 to {len(labels) - 1}, one for each of "
            f"label_names, got shapes {true.shape} and {predicted.shape}, with values from "
            f"{min(true.min(), predicted.min())} to {max(true.max(), predicted.max())}"
        )
    counts = confusion_matrix(true, predicted, labels=labels)
    names = [short(name) for name in label_names]
    title = f"Confusion matrix: {accuracy_score(true, predicted):.1%} of {len(true):,} right"
    (_matrix if len(names) <= MATRIX_LABELS else _confusions)(target, counts, names, title)
    return target


def _matrix(target: Path, counts: Array, names: Sequence[str], title: str) -> None:
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    cell = max(0.33, min(0.8, 4 / len(names)))  # inches
    side = 1.8 + cell * len(names)
    size = 10 if cell > 0.4 else 8
    flat = max(map(len, names)) <= cell * 11  # the names fit under their columns
    with canvas(target, side + 0.6, side) as figure:
        axes = figure.subplots()
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for row, column in zip(*np.nonzero(counts), strict=True):
            text = f"{counts[row, column]:,}" + (f"\n{share[row, column]:.0%}" if len(names) <= 5 else "")
            colour = "white" if share[row, column] > 0.5 else INK
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=size - 1)
        axes.set_xticks(range(len(names)), names, fontsize=size)
        for label in () if flat else axes.get_xticklabels():
            label.set(rotation=60, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), names, fontsize=size)
        axes.tick_params(length=0)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.set(xlabel="predicted", ylabel="true")
        figure.suptitle(title, x=0.02, ha="left", fontsize=11)


def _confusions(target: Path, counts: Array, names: Sequence[str], title: str) -> None:
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    order = [int(cell) for cell in np.argsort(-wrong, axis=None, kind="stable")[:PAIRS] if wrong.flat[cell]]
    pairs = [divmod(cell, len(names)) for cell in order]
    with canvas(target, 7, 1.6 + 0.26 * len(pairs)) as figure:
        axes = figure.subplots()
        bars = axes.barh(range(len(pairs)), wrong.flat[order], color=BLUE)
        axes.bar_label(bars, [f"{wrong[pair]:,} of {counts[pair[0]].sum():,}" for pair in pairs], padding=3)
        axes.set_yticks(range(len(pairs)), [f"{names[row]} → {names[column]}" for row, column in pairs])
        axes.set(xlim=(0, 1.2 * wrong.max() or 1), ylim=(len(pairs) - 0.4, -0.6), xlabel="examples")
        axes.grid(False, axis="y")
        figure.suptitle(f"{title}\nThe most frequent confusions, true → predicted", x=0.02, ha="left", fontsize=11)


def draw_label_scores(
    references: ArrayLike,
    predictions: ArrayLike,
    label_names: Sequence[str],
    path: str | Path,
    *,
    thresholds: Sequence[float] | None = None,
) -> Path:
    """Draw F1 of each label of a multi-label classifier, with the label's examples and its threshold if told.

    Above 30 labels, the 15 best and the 15 worst are drawn.

    Args:
        references: zeros and ones (B, L).
        predictions: zeros and ones (B, L).
        label_names: of the L labels.
        path: of the PNG.
        thresholds: (L,), the probability from which a label is given.

    Returns:
        The path.

    Raises:
        ValueError: other shapes or values, or no row.
    """
    target, (true, predicted) = checked_path(path), paired(np.asarray(references), np.asarray(predictions))
    wanted = (len(true), len(label_names))
    if not (true.shape == predicted.shape == wanted and np.isin([true, predicted], (0, 1)).all()):
        raise ValueError(
            f"references and predictions must be zeros and ones of shape (B, {wanted[1]}), one column for each of "
            f"label_names, got shapes {true.shape} and {predicted.shape}"
        )
    scores = [f1_score(*pair, zero_division=0.0) for pair in zip(true.T, predicted.T, strict=True)]
    order = np.argsort(scores, kind="stable")[::-1]
    if len(order) > BARS:
        order = np.concatenate([order[: BARS // 2], order[-BARS // 2 :]])
    with canvas(target, 7, 1.6 + 0.25 * len(order)) as figure:
        axes = figure.subplots()
        places = np.arange(len(order))
        axes.barh(places, np.array(scores)[order], color=SKY, label="F1")
        if thresholds is not None:
            axes.plot(np.asarray(thresholds)[order], places, "|", color=INK, ms=11, mew=2, label="threshold")
        texts = [f"{short(label_names[label])} ({int(true[:, label].sum()):,})" for label in order]
        axes.set_yticks(places, texts)
        axes.set(xlim=(0, 1), ylim=(len(order) - 0.4, -0.6), xlabel="F1" if thresholds is None else "")
        axes.grid(False, axis="y")
        which = "" if len(order) == len(scores) else f", best and worst {BARS // 2} of {len(scores)}"
        axes.set_title(f"F1 of each label (and its examples){which}: mean {np.mean(scores):.2f}")
        if thresholds is not None:
            figure.legend(loc="outside lower center", ncols=2)
    return target
