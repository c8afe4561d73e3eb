"""Logits -> named numbers, usable by `Trainer` and as an `evaluate` metric without a network.

`evaluate.load(transformers_rnn.metrics.__file__, problem_type, label_names=[...])` loads this file, too.
"""

from collections.abc import Callable, Sequence
from typing import Any

import evaluate
import numpy as np
from datasets import Features, List, Value
from transformers import EvalPrediction

from .bootstrap import bootstrap_intervals
from .figures import FIGURES, REGRESSION, SCORE_FIGURES, SINGLE, checked, figures_of, read_predictions

__all__ = [
    "FIGURES",
    "SCORE_FIGURES",
    "SequenceClassificationMetrics",
    "compute_metrics_for",
    "confidence_intervals",
    "evaluate_predictions",
]


class SequenceClassificationMetrics(evaluate.Metric):
    """The figures of one problem type as an `evaluate` metric: no network, and no files unless asked for.

    Predictions and references are class ids (B,) for a single label, zeros and ones (B, L) for several, numbers (B,)
    or (B, L) for regression. Rows whose single label is -100 are left out. `compute` also takes `prediction_scores`,
    probabilities (B, L), for the figures that need them. A figure that these rows leave undefined (the F1 of a label
    that nobody has or predicts, the correlation with a constant) is NaN, and a macro figure is the mean over the
    labels where it is defined.

    | problem | figures | with `prediction_scores` |
    |---|---|---|
    | single label | accuracy; macro, micro and weighted F1; Matthews correlation | ROC AUC (mean of each label against
      the rest), log loss, expected calibration error (Guo et al., 2017: 15 bins of equal width) |
    | several labels | subset accuracy; micro and macro F1 | mean average precision over the labels |
    | regression | MSE, MAE, Pearson, Spearman | |

    Args:
        problem_type: as in the config: it decides the figures, which are listed in `FIGURES` and `SCORE_FIGURES`.
            `None`: `config_name`, which `evaluate.load` passes, or `"single_label_classification"`.
        label_names: names of the L labels, for `precision_<name>`, `recall_<name>` and `f1_<name>` of each;
            regression has none.
        config_name: another name of `problem_type`.
        keep_in_memory: `False` for `evaluate`'s cache files, needed with its `num_process` above 1.
        **options: the other arguments of `evaluate.Metric`.

    Raises:
        ValueError: an unknown problem type, or two labels of the same name; on `compute`, values that do not fit.
    """

    def __init__(
        self,
        problem_type: str | None = None,
        label_names: Sequence[str] | None = None,
        *,
        config_name: str | None = None,
        keep_in_memory: bool = True,
        **options: Any,
    ) -> None:
        problem_type = problem_type or config_name or SINGLE
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

    def _compute(self, *, predictions: Any, references: Any, prediction_scores: Any = None) -> dict[str, float]:
        found = checked(
            self.problem_type,
            np.asarray(references),
            np.asarray(predictions),
            None if prediction_scores is None else np.asarray(prediction_scores),
            len(self.label_names) if self.label_names else None,
        )
        return figures_of(found, self.label_names)


def compute_metrics_for(config: Any) -> Callable[[EvalPrediction], dict[str, float]]:
    """A `compute_metrics` for `Trainer` from a config with `problem_type`, `num_labels` and `id2label`.

    The function takes logits (B, L), or a tuple that begins with them, and labels (B,) or (B, L), and returns what
    [`evaluate_predictions`] does. The config is read when it is called.

    Raises:
        ValueError: on the call, logits or labels that do not fit the config, or logits that are not finite.
    """

    def compute_metrics(evaluation: EvalPrediction) -> dict[str, float]:
        outputs = evaluation.predictions
        logits = outputs[0] if isinstance(outputs, tuple | list) else outputs
        return evaluate_predictions(config, logits, evaluation.label_ids)

    return compute_metrics


def evaluate_predictions(config: Any, logits: Any, labels: Any) -> dict[str, float]:
    """All figures of some logits, those of each label and those that need scores included.

    The prediction is the largest logit for a single label, a probability above the label's threshold for several
    (`config.thresholds`, or 0.5), the logit itself for regression. Probabilities are those of the logits over
    `config.temperature`. A problem type of `None` is settled from the labels.

    Args:
        config: With `problem_type`, `num_labels` and `id2label`.
        logits: (B, L).
        labels: (B,), or (B, L) for several labels and regression.

    Raises:
        ValueError: Logits or labels that do not fit the config, or logits that are not finite.
    """
    return figures_of(read_predictions(config, logits, labels), _label_names(config))


def confidence_intervals(
    config: Any, logits: Any, labels: Any, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """An interval for each figure of [`evaluate_predictions`]: the percentile bootstrap (Efron & Tibshirani, 1993).

    The rows are drawn anew with replacement, and the interval spans the middle `level` of what the figure is then.
    Resamples that leave a figure undefined do not count for it; (NaN, NaN) if all do. It says how much the choice of
    these rows matters, not what another training run would change.

    Args:
        config: With `problem_type`, `num_labels` and `id2label`.
        logits: (B, L).
        labels: (B,), or (B, L) for several labels and regression.
        level: Share of the resamples inside the interval.
        resamples: How many times the rows are drawn.
        seed: Of the draws.

    Raises:
        ValueError: As [`evaluate_predictions`], or a level or number of resamples out of its range.
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, such as 0.95, got {level}")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    found = read_predictions(config, logits, labels)
    return bootstrap_intervals(found, _label_names(config), level=level, resamples=resamples, seed=seed)


def _label_names(config: Any) -> list[str] | None:
    return [config.id2label[index] for index in range(config.num_labels)] if config.id2label else None
