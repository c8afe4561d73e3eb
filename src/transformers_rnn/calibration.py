"""Validation logits -> scores that can be trusted, labels worth giving, and when to give no answer.

What is learned here is stored in the config and applied by both pipelines and the metrics; the model's logits stay
what they are. Slopes of regression alone go into its head.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit

from .figures import IGNORED, MULTI, SINGLE, Array, Predictions, logit_losses, read_predictions

TRUST = 4.0  # in the model's own probabilities, until the rows of a label say otherwise: inverse variance of a prior
POINTS = 20  # of a coverage curve
FLATTEST = 0.01  # slope: answers keep their order


class CoveragePoint(NamedTuple):
    """What `abstain_below` does: which share of the rows is answered, and how many of these answers are right."""

    abstain_below: float
    coverage: float
    accuracy: float


def fit_calibration(config: Any, logits: Any, labels: Any) -> None:
    """Learn `config.temperature`, and for several labels `config.thresholds`, from validation rows.

    The temperature (Guo et al., 2017) is the one with the lowest log loss; it changes no decision for a single label.
    True labels count as a little less than sure (Platt, 1999), so that it stays finite where every row is right. It
    stays at 1 where no other lowers the loss.

    The threshold of a label is the one with the highest F1 that is to be expected of its probabilities (Lipton,
    Elkan & Naryanaswamy, 2014, "Optimal thresholding of classifiers to maximize F1 measure"): the one that happens to
    be best on a few rows is mostly noise. The probabilities are the model's, scaled and shifted for each label (Platt,
    1999) as far as its rows speak for it. A label that no row has gets the threshold of all labels together.
    Regression is left as it is, see [`calibration_slopes`].

    Use rows that the model was not trained on, and fit again after any further training.

    Args:
        config: With `problem_type`, `num_labels`, and the fields to write.
        logits: (B, L).
        labels: (B,) for a single label, -100 for rows to leave out; zeros and ones (B, L) for several.

    Raises:
        ValueError: Logits or labels that do not fit the config, or logits that are not finite.
    """
    found = read_predictions(config, logits, labels)
    if found.scores is None:
        return
    logits = np.asarray(logits, dtype=np.float64)
    if found.problem_type == SINGLE:
        logits = logits[np.asarray(labels) != IGNORED]
    config.temperature = _temperature(found, logits)
    if found.problem_type == MULTI:
        config.thresholds = _thresholds(found.references.astype(bool), logits / config.temperature)


def calibration_slopes(logits: Any, labels: Any, label_mean: Any) -> list[float]:
    """What to multiply the distance of answers from the mean of the labels by, for each target of regression.

    A model of few and noisy rows learns noise, and answers farther from the mean than it knows. The slope of the
    labels over the answers tells by how much (Copas, 1983, "Regression, prediction and shrinkage"): it is fitted with
    one more row that speaks for the answers as they are, and lies from 0.01 to 1.

    Args:
        logits: (B, L), in the units of the labels, of rows that the model was not trained on.
        labels: (B,) or (B, L).
        label_mean: (L,), see [`RNNConfig`].

    Returns:
        The slopes (L,).
    """
    answered = np.asarray(logits, dtype=np.float64) - label_mean
    true = np.asarray(labels, dtype=np.float64).reshape(answered.shape) - label_mean
    row = (true**2).mean(0)
    agreement, spread = (answered * true).sum(0) + row, (answered**2).sum(0) + row
    slopes = np.divide(agreement, spread, out=np.ones_like(spread), where=spread > 0)
    return [float(slope) for slope in slopes.clip(FLATTEST, 1.0)]


def coverage_curve(config: Any, logits: Any, labels: Any, *, points: int = POINTS) -> list[CoveragePoint]:
    """What answering only the rows with the highest scores would give, from all rows down to the surest few.

    Args:
        config: Of a single-label model; its temperature is used, its `abstain_below` is not.
        logits: (B, L).
        labels: (B,), -100 for rows to leave out.
        points: At how many equal steps of coverage, the first being 1. Equal scores can make it fewer.

    Raises:
        ValueError: Another problem type, or logits or labels that do not fit.
    """
    thresholds, sizes, accuracies = _coverage(config, logits, labels)
    wanted = sizes[-1] * np.arange(1, points + 1) / points
    chosen = np.unique(np.searchsorted(sizes, wanted - 1e-9))[::-1]
    return [
        CoveragePoint(float(thresholds[index]), float(sizes[index] / sizes[-1]), float(accuracies[index]))
        for index in chosen
    ]


def find_abstain_below(config: Any, logits: Any, labels: Any, *, accuracy: float) -> float:
    """The `abstain_below` that answers as many rows as it can with at least this accuracy.

    On these rows, which should be many and not those of training; store it as `config.abstain_below`.

    Args:
        config: Of a single-label model; its temperature is used.
        logits: (B, L).
        labels: (B,), -100 for rows to leave out.
        accuracy: The share of right answers among those given, from 0 to 1.

    Raises:
        ValueError: No share of the rows is answered with this accuracy, or as [`coverage_curve`].
    """
    if not 0 <= accuracy <= 1:
        raise ValueError(f"accuracy must be from 0 to 1, got {accuracy}")
    thresholds, sizes, accuracies = _coverage(config, logits, labels)
    reached = np.flatnonzero(accuracies >= accuracy)
    if not len(reached):
        best = int(accuracies.argmax())
        raise ValueError(
            f"no share of these rows is answered with an accuracy of {accuracy}: the best is {accuracies[best]:.4g}, "
            f"on {sizes[best]} of {sizes[-1]} rows. Ask for less"
        )
    return float(thresholds[reached[-1]])


def _coverage(config: Any, logits: Any, labels: Any) -> tuple[Array, Array, Array]:
    """For every number of rows that can be answered, surest first: `abstain_below`, that number, the accuracy."""
    found = read_predictions(config, logits, labels)
    if found.problem_type != SINGLE or found.scores is None:
        raise ValueError(
            f"abstaining needs {SINGLE}, but the problem is {found.problem_type}. For several labels there are "
            "thresholds, see fit_calibration"
        )
    scores = found.scores.max(-1)
    order = np.argsort(-scores, kind="stable")
    scores, correct = scores[order], (found.predictions == found.references)[order]
    sizes = _cuts(scores)
    lowest = scores[sizes - 1]
    thresholds = np.r_[(lowest[:-1] + lowest[1:]) / 2, 0.0]
    return thresholds, sizes, np.cumsum(correct)[sizes - 1] / sizes


def _cuts(scores: Array) -> Array:
    """After how many scores, highest first, they can be cut: where the pipelines' float32 tells both sides apart."""
    return np.flatnonzero(np.r_[scores[1:] < scores[:-1] - 1e-6, True]) + 1


def _temperature(found: Predictions, logits: Array) -> float:
    """The temperature with the lowest log loss, which is convex in its inverse."""
    true = found.references
    if found.problem_type == SINGLE:
        doubt = 1 / (len(true) + 2)
        targets = np.full(logits.shape, doubt / max(1, logits.shape[1] - 1))
        targets[np.arange(len(true)), true] = 1 - doubt
    else:
        positive = true.sum(0)
        targets = np.where(true, (positive + 1) / (positive + 2), 1 / (len(true) - positive + 2))

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.mean(logit_losses(found.problem_type, scaled, targets)))

    best = minimize_scalar(loss, bounds=(np.log(1e-2), np.log(1e2)), method="bounded", options={"xatol": 1e-6})
    return float(np.exp(best.x)) if best.fun < loss(0.0) - 1e-12 else 1.0


def _thresholds(true: Array, logits: Array) -> list[float]:
    scores = expit(logits)
    likely = np.column_stack([_probabilities(has, logit) for has, logit in zip(true.T, logits.T, strict=True)])
    shared = _best_threshold(likely.ravel(), scores.ravel()) if true.any() else 0.5
    return [
        _best_threshold(likely[:, label], scores[:, label]) if has.any() else shared
        for label, has in enumerate(true.T)
    ]


def _probabilities(true: Array, logits: Array) -> Array:
    """The probabilities of one label: its logits, scaled and shifted to the largest posterior probability."""

    def loss(line: Array) -> tuple[float, Array]:
        slope, shift = line
        scaled = slope * logits + shift
        away = line - (1.0, 0.0)
        wrong = expit(scaled) - true
        value = np.sum(np.logaddexp(0, scaled) - true * scaled) + TRUST / 2 * away @ away
        return float(value), np.array([wrong @ logits, wrong.sum()]) + TRUST * away

    slope, shift = minimize(loss, (1.0, 0.0), jac=True, method="BFGS").x
    return np.asarray(expit(slope * logits + shift))


def _best_threshold(likely: Array, scores: Array) -> float:
    """Halfway between the two scores where cutting gives the highest F1 that is to be expected."""
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(likely[order])
    sizes = _cuts(scores)
    f1 = 2 * hits[sizes - 1] / (sizes + hits[-1])
    cut = sizes[int(f1.argmax())]
    return float((scores[cut - 1] + (scores[cut] if cut < len(scores) else 0.0)) / 2)
