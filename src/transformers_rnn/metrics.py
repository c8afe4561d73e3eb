"""Logits -> named numbers, usable by `Trainer` and as an `evaluate` metric without a network."""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from math import nan
from typing import Any

import evaluate
import numpy as np
from datasets import Features, List, Value
from numpy.typing import NDArray
from scipy.stats import (
    ConstantInputWarning,
    NearConstantInputWarning,
    pearsonr,
    spearmanr,
)
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    mean_absolute_error,
    mean_squared_error,
)
from transformers import EvalPrediction

IGNORED = -100  # the host's label of a row that does not count

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"

Figure = Callable[[NDArray[Any], NDArray[Any]], float]


def _correlation(measure: Callable[[Any, Any], Any], references: NDArray[Any], predictions: NDArray[Any]) -> float:
    """Mean over the L targets of a correlation, NaN where a side never varies."""
    rows = len(references)
    if rows < 2:
        return nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        warnings.simplefilter("ignore", NearConstantInputWarning)
        pairs = zip(references.reshape(rows, -1).T, predictions.reshape(rows, -1).T, strict=True)
        return float(np.mean([measure(*pair).statistic for pair in pairs]))


# A figure is added here: its name and a function of (references, predictions), as scikit-learn orders them.
FIGURES: dict[str, dict[str, Figure]] = {
    SINGLE: {
        "accuracy": accuracy_score,
        "macro_f1": partial(f1_score, average="macro", zero_division=nan),
    },
    MULTI: {
        "subset_accuracy": accuracy_score,
        "micro_f1": partial(f1_score, average="micro", zero_division=nan),
        "macro_f1": partial(f1_score, average="macro", zero_division=nan),
    },
    REGRESSION: {
        "mse": mean_squared_error,
        "mae": mean_absolute_error,
        "pearson": partial(_correlation, pearsonr),
        "spearman": partial(_correlation, spearmanr),
    },
}


class SequenceClassificationMetrics(evaluate.Metric):
    """The figures of one problem type as an `evaluate` metric: no network, and no files unless asked for.

    Predictions and references are class ids (B,) for a single label, zeros and ones (B, L) for several, numbers (B,)
    or (B, L) for regression. Rows whose single label is -100 are left out. A figure that these rows leave undefined
    (the F1 of a label that nobody has or predicts, the correlation with a constant) is NaN, and macro F1 is the mean
    over the labels where F1 is defined.

    Args:
        problem_type: as in the config: it decides the figures, which are listed in `FIGURES`.
        label_names: names of the L labels, for one more figure `f1_<name>` each; regression has none.
        keep_in_memory: `False` for `evaluate`'s cache files, needed with its `num_process` above 1.
        **options: the other arguments of `evaluate.Metric`.

    Raises:
        ValueError: an unknown problem type, or two labels of the same name; on `compute`, values that do not fit.
    """

    def __init__(
        self,
        problem_type: str = SINGLE,
        label_names: Sequence[str] | None = None,
        *,
        keep_in_memory: bool = True,
        **options: Any,
    ) -> None:
        if problem_type not in FIGURES:
            raise ValueError(f"problem_type must be one of {', '.join(map(repr, FIGURES))}, got {problem_type!r}")
        if label_names is not None and len(set(label_names)) < len(label_names):
            raise ValueError(f"label_names must differ from each other, got {list(label_names)}")
        self.problem_type = problem_type
        self.label_names = None if label_names is None or problem_type == REGRESSION else list(label_names)
        super().__init__(config_name=problem_type, keep_in_memory=keep_in_memory, **options)

    def _info(self) -> evaluate.MetricInfo:
        # Numbers of any kind come in as float64, so that a score given for a class id is refused and not cut to 0.
        value = Value("float64")
        return evaluate.MetricInfo(
            description=f"{', '.join(FIGURES[self.problem_type])} of a sequence classifier.",
            citation="",
            features=[Features(predictions=kind, references=kind) for kind in (value, List(value))],
        )

    def _build_data_dir(self) -> str:
        # Kept in memory it writes nothing, so that it works without a writable home directory.
        return "" if self.keep_in_memory else str(super()._build_data_dir())

    def _compute(self, *, predictions: Any, references: Any) -> dict[str, float]:
        predicted, true = np.asarray(predictions), np.asarray(references)
        self._check_shapes(predicted, true)
        if self.problem_type == SINGLE:
            kept = true != IGNORED
            predicted, true = predicted[kept], true[kept]
        if len(true) == 0:
            raise ValueError(f"there must be a row to measure, but every reference is {IGNORED}")
        if self.problem_type != REGRESSION:
            predicted, true = self._class_ids("predictions", predicted), self._class_ids("references", true)
        if self.problem_type == MULTI and true.shape[1] == 1:
            # scikit-learn would read one column as two classes; a second label that never occurs changes no figure.
            predicted, true = np.pad(predicted, ((0, 0), (0, 1))), np.pad(true, ((0, 0), (0, 1)))
        results = {name: float(figure(true, predicted)) for name, figure in FIGURES[self.problem_type].items()}
        if self.label_names:
            labels = range(len(self.label_names))
            scores = f1_score(true, predicted, labels=labels, average=None, zero_division=nan)
            results |= {f"f1_{name}": float(score) for name, score in zip(self.label_names, scores, strict=True)}
        return results

    def _check_shapes(self, predictions: NDArray[Any], references: NDArray[Any]) -> None:
        width = len(self.label_names) if self.label_names else "L"
        shape = {SINGLE: "(B,)", MULTI: f"(B, {width})", REGRESSION: "(B,) or (B, L)"}[self.problem_type]
        dimensions = {SINGLE: (1,), MULTI: (2,), REGRESSION: (1, 2)}[self.problem_type]
        fits = predictions.shape == references.shape and references.ndim in dimensions
        if fits and self.problem_type == MULTI and self.label_names:
            fits = references.shape[1] == width
        if not fits:
            raise ValueError(
                f"{self.problem_type} needs predictions and references of the same shape {shape}, "
                f"got {predictions.shape} and {references.shape}"
            )

    def _class_ids(self, side: str, values: NDArray[Any]) -> NDArray[Any]:
        """The values as integers, refused where scikit-learn would guess another problem or drop them."""
        top = 1 if self.problem_type == MULTI else len(self.label_names) - 1 if self.label_names else np.inf
        wrong = values[(values != np.floor(values)) | (values < 0) | (values > top)]
        if wrong.size:
            upper = "" if top == np.inf else f" to {top}"
            raise ValueError(f"{self.problem_type} needs {side} that are whole numbers from 0{upper}, got {wrong[0]}")
        return values.astype(np.int64)


def compute_metrics_for(config: Any) -> Callable[[EvalPrediction], dict[str, float]]:
    """A `compute_metrics` for `Trainer` from a config with `problem_type`, `num_labels` and `id2label`.

    The function takes logits (B, L), or a tuple that begins with them, and labels (B,) or (B, L). The prediction is
    the largest logit for a single label, a probability above 0.5 for several, the logit itself for regression. The
    config is read when it is called; a problem type of `None` is settled from the labels then.

    Raises:
        ValueError: on the call, logits or labels that do not fit the config, or logits that are not finite.
    """

    def compute_metrics(evaluation: EvalPrediction) -> dict[str, float]:
        outputs = evaluation.predictions
        logits = np.asarray(outputs[0] if isinstance(outputs, tuple | list) else outputs)
        labels = np.asarray(evaluation.label_ids)
        problem_type = config.problem_type or _settled(config.num_labels, labels)
        if problem_type == REGRESSION and labels.ndim == config.num_labels == 1:
            labels = labels[:, None]
        _check_logits(problem_type, config.num_labels, logits, labels)
        names = [config.id2label[i] for i in range(config.num_labels)] if config.id2label else None
        metric = SequenceClassificationMetrics(problem_type, names)
        return dict(metric.compute(predictions=_decided(problem_type, logits), references=labels))

    return compute_metrics


def _settled(num_labels: int, labels: NDArray[Any]) -> str:
    if num_labels == 1:
        return REGRESSION
    several = labels.ndim == 2 or np.issubdtype(labels.dtype, np.floating)
    return MULTI if several else SINGLE


def _decided(problem_type: str, logits: NDArray[Any]) -> NDArray[Any]:
    if problem_type == SINGLE:
        return np.asarray(logits.argmax(-1))
    return logits > 0 if problem_type == MULTI else logits


def _check_logits(problem_type: str, num_labels: int, logits: NDArray[Any], labels: NDArray[Any]) -> None:
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
