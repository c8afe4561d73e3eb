"""Logits and labels -> scores and decisions -> named numbers."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from math import nan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logsumexp, softmax
from scipy.stats import ConstantInputWarning, NearConstantInputWarning, pearsonr, spearmanr
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    matthews_corrcoef,
    mean_absolute_error,
    mean_squared_error,
    precision_recall_fscore_support,
    roc_auc_score,
)

IGNORED = -100  # the host's label of a row that does not count

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"

BINS = 15  # of the expected calibration error

Array = NDArray[Any]
Figure = Callable[[Array, Array], float]


class Predictions(NamedTuple):
    """What a model said about rows that count, beside what is true.

    `references` and `predictions` are class ids (B,) for a single label, zeros and ones (B, L) for several, numbers
    (B,) or (B, L) for regression. `scores` are probabilities (B, L), or `None`.
    """

    problem_type: str
    references: Array
    predictions: Array
    scores: Array | None


def logit_losses(problem_type: str, logits: Array, targets: Array) -> Array:
    """What logits (B, L) lose: the log loss of each row, (B,), or of each of several labels, or the squared error.

    Args:
        problem_type: The host's name of the problem.
        logits: Of a regression, its answers.
        targets: (B, L), probabilities, or what should have been answered.
    """
    if problem_type == SINGLE:
        return np.asarray(logsumexp(logits, axis=-1) - (logits * targets).sum(-1))
    if problem_type == MULTI:
        return np.asarray(np.logaddexp(0, logits) - targets * logits)
    return np.asarray((logits - targets) ** 2)


def row_log_losses(references: Array, scores: Array) -> Array:
    """-log of the score of each row's true class, (B,)."""
    true = scores[np.arange(len(references)), references]
    return np.asarray(-np.log(np.clip(true, np.finfo(np.float64).eps, 1.0)))


def confidence_bins(references: Array, scores: Array) -> tuple[Array, Array, Array]:
    """Bin (of 15 of equal width), confidence and correctness of each row's best class, (B,) each."""
    best = scores.argmax(-1)
    confidence = scores[np.arange(len(best)), best]
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    return bins, confidence, best == references


def expected_calibration_error(references: Array, scores: Array) -> float:
    """Guo et al. (2017): mean over the rows of |accuracy - mean confidence| of their bin."""
    bins, confidence, correct = confidence_bins(references, scores)
    return float(np.abs(np.bincount(bins, correct - confidence)).sum() / len(references))


def _log_loss(references: Array, scores: Array) -> float:
    return float(row_log_losses(references, scores).mean())


def _mean_over_labels(measure: Figure, needs_both: bool, references: Array, scores: Array) -> float:
    """Mean of a figure of one label against the rest, over the labels where it is defined."""
    if references.ndim == 1:
        references = references[:, None] == np.arange(scores.shape[1])
    pairs = zip(references.T, scores.T, strict=True)
    found = [measure(true, score) for true, score in pairs if true.any() and not (needs_both and true.all())]
    return float(np.mean(found)) if found else nan


def _correlation(measure: Callable[[Any, Any], Any], references: Array, predictions: Array) -> float:
    """Mean over the L targets of a correlation, NaN where a side never varies."""
    rows = len(references)
    if rows < 2:
        return nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        warnings.simplefilter("ignore", NearConstantInputWarning)
        pairs = zip(references.reshape(rows, -1).T, predictions.reshape(rows, -1).T, strict=True)
        return float(np.mean([measure(*pair).statistic for pair in pairs]))


def _matthews(references: Array, predictions: Array) -> float:
    """Matthews correlation, 0 where a side is constant; scikit-learn warns where both are."""
    constant = (references == references[0]).all() or (predictions == predictions[0]).all()
    return 0.0 if constant else float(matthews_corrcoef(references, predictions))


def _f1(average: str) -> Figure:
    return partial(f1_score, average=average, zero_division=nan)


# A figure is added here: its name and a function of (references, predictions), as scikit-learn orders them.
FIGURES: dict[str, dict[str, Figure]] = {
    SINGLE: {
        "accuracy": accuracy_score,
        "macro_f1": _f1("macro"),
        "micro_f1": _f1("micro"),
        "weighted_f1": _f1("weighted"),
        "matthews": _matthews,
    },
    MULTI: {"subset_accuracy": accuracy_score, "micro_f1": _f1("micro"), "macro_f1": _f1("macro")},
    REGRESSION: {
        "mse": mean_squared_error,
        "mae": mean_absolute_error,
        "pearson": partial(_correlation, pearsonr),
        "spearman": partial(_correlation, spearmanr),
    },
}
# And here if it is a function of (references, scores).
SCORE_FIGURES: dict[str, dict[str, Figure]] = {
    SINGLE: {
        "roc_auc": partial(_mean_over_labels, roc_auc_score, True),
        "log_loss": _log_loss,
        "expected_calibration_error": expected_calibration_error,
    },
    MULTI: {"mean_average_precision": partial(_mean_over_labels, average_precision_score, False)},
    REGRESSION: {},
}


def figures_of(found: Predictions, label_names: Sequence[str] | None = None) -> dict[str, float]:
    """All figures of these predictions; a figure that these rows leave undefined is NaN."""
    problem_type, true, predicted, scores = found
    if problem_type == MULTI and true.shape[1] == 1:
        # scikit-learn would read one column as two classes; a second label that never occurs changes no figure.
        true, predicted = np.pad(true, ((0, 0), (0, 1))), np.pad(predicted, ((0, 0), (0, 1)))
    results = {name: float(figure(true, predicted)) for name, figure in FIGURES[problem_type].items()}
    if scores is not None:
        results |= {
            name: float(figure(found.references, scores)) for name, figure in SCORE_FIGURES[problem_type].items()
        }
    if label_names and problem_type != REGRESSION:
        labels = range(len(label_names))
        columns = precision_recall_fscore_support(true, predicted, labels=labels, average=None, zero_division=nan)
        for name, *row in zip(label_names, *columns[:3], strict=True):
            results |= {f"{kind}_{name}": float(x) for kind, x in zip(PER_CLASS, row, strict=True)}
    return results


PER_CLASS = ("precision", "recall", "f1")


def scores_of(problem_type: str, logits: Array, temperature: float = 1.0) -> Array | None:
    """Probabilities (B, L) of logits (B, L) in float64; regression has none."""
    if problem_type == REGRESSION:
        return None
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    return np.asarray(softmax(scaled, axis=-1) if problem_type == SINGLE else expit(scaled))


def read_predictions(config: Any, logits: Any, labels: Any) -> Predictions:
    """Logits (B, L) and labels (B,) or (B, L) as scores and decisions, by the config's temperature and thresholds.

    The decision is the largest logit for a single label, a score above the label's threshold (0.5 where the config
    has none) for several, the logit itself for regression. A problem type of `None` is settled from the labels.

    Raises:
        ValueError: Logits or labels that do not fit the config, logits that are not finite, no row that counts.
    """
    logits, labels = np.asarray(logits), np.asarray(labels)
    problem_type = config.problem_type or _settled(config.num_labels, labels)
    if problem_type == REGRESSION and labels.ndim == config.num_labels == 1:
        labels = labels[:, None]
    _check_logits(problem_type, config.num_labels, logits, labels)
    scores = scores_of(problem_type, logits, getattr(config, "temperature", 1.0))
    decided = logits
    if problem_type == SINGLE:
        decided = logits.argmax(-1)
    elif scores is not None:
        thresholds = getattr(config, "thresholds", None)
        decided = scores > (0.5 if thresholds is None else np.asarray(thresholds))
    return checked(problem_type, labels, decided, scores, config.num_labels)


def checked(
    problem_type: str, references: Array, predictions: Array, scores: Array | None, num_labels: int | None
) -> Predictions:
    """The rows that count, or an error that says what does not fit."""
    _check_shapes(problem_type, predictions, references, num_labels)
    if scores is not None:
        scores = _check_scores(problem_type, scores, len(references), num_labels)
        num_labels = scores.shape[1]
    if problem_type == SINGLE:
        kept = references != IGNORED
        predictions, references = predictions[kept], references[kept]
        scores = None if scores is None else scores[kept]
    if len(references) == 0:
        raise ValueError(f"there must be a row to measure, but every reference is {IGNORED}")
    if problem_type != REGRESSION:
        predictions = _class_ids(problem_type, "predictions", predictions, num_labels)
        references = _class_ids(problem_type, "references", references, num_labels)
    return Predictions(problem_type, references, predictions, scores)


def _settled(num_labels: int, labels: Array) -> str:
    if num_labels == 1:
        return REGRESSION
    several = labels.ndim == 2 or np.issubdtype(labels.dtype, np.floating)
    return MULTI if several else SINGLE


def _check_logits(problem_type: str, num_labels: int, logits: Array, labels: Array) -> None:
    rows = len(labels)
    wanted = (rows,) if problem_type == SINGLE else (rows, num_labels)
    if logits.shape != (rows, num_labels) or labels.shape != wanted:
        raise ValueError(
            f"{problem_type} with num_labels={num_labels} needs logits (B, {num_labels}) and labels "
            f"{'(B,)' if len(wanted) == 1 else f'(B, {num_labels})'}, got {logits.shape} and {labels.shape}"
        )
    bad = int((~np.isfinite(logits)).any(-1).sum())
    if bad:
        raise ValueError(
            f"logits must be finite, got NaN or infinity in {bad} of {rows} rows: "
            "the training diverged (lower the learning rate or clip gradients) or the inputs are not finite"
        )


def _check_shapes(problem_type: str, predictions: Array, references: Array, num_labels: int | None) -> None:
    shape = {SINGLE: "(B,)", MULTI: f"(B, {num_labels or 'L'})", REGRESSION: "(B,) or (B, L)"}[problem_type]
    dimensions = {SINGLE: (1,), MULTI: (2,), REGRESSION: (1, 2)}[problem_type]
    fits = predictions.shape == references.shape and references.ndim in dimensions
    if fits and problem_type == MULTI and num_labels:
        fits = references.shape[1] == num_labels
    if not fits:
        raise ValueError(
            f"{problem_type} needs predictions and references of the same shape {shape}, "
            f"got {predictions.shape} and {references.shape}"
        )


def _check_scores(problem_type: str, scores: Array, rows: int, num_labels: int | None) -> Array:
    scores = np.asarray(scores, dtype=np.float64)
    if problem_type == REGRESSION:
        raise ValueError("regression has no prediction_scores: its predictions are numbers already. Leave them out")
    if scores.ndim != 2 or scores.shape != (rows, num_labels or scores.shape[1]):
        raise ValueError(
            f"prediction_scores must be of shape ({rows}, {num_labels or 'L'}), one probability a label, "
            f"got {scores.shape}"
        )
    total = scores.sum(-1)
    if not ((scores >= 0) & (scores <= 1)).all() or (problem_type == SINGLE and (abs(total - 1) > 1e-3).any()):
        sums = " that sum to 1 in each row" if problem_type == SINGLE else ""
        raise ValueError(
            f"prediction_scores must be probabilities from 0 to 1{sums}, got {scores.min()} to {scores.max()} with "
            f"sums from {total.min()} to {total.max()}. Apply softmax or sigmoid to logits first"
        )
    return scores


def _class_ids(problem_type: str, side: str, values: Array, num_labels: int | None) -> NDArray[np.int64]:
    """The values as integers, refused where scikit-learn would guess another problem or drop them."""
    values = np.asarray(values, dtype=np.float64)
    top = 1 if problem_type == MULTI else num_labels - 1 if num_labels else np.inf
    wrong = values[(values != np.floor(values)) | (values < 0) | (values > top)]
    if wrong.size:
        upper = "" if top == np.inf else f" to {top}"
        raise ValueError(f"{problem_type} needs {side} that are whole numbers from 0{upper}, got {wrong[0]}")
    return values.astype(np.int64)
