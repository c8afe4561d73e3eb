"""What a finished run leaves beside the weights: calibration, metrics, pictures and the model card."""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import Trainer
from transformers.utils import logging

from .calibration import coverage_curve
from .evaluation import Answers, config_of
from .figures import read_predictions
from .labelled_data import LabelledData
from .metrics import confidence_intervals, evaluate_predictions
from .model_card import describe_hardware, write_model_card
from .model_card_sections import PER_LABEL
from .pictures import (
    draw_confusion_matrix,
    draw_coverage,
    draw_learning_curves,
    draw_length_accuracy,
    draw_regression,
    draw_reliability,
)

logger = logging.get_logger(__name__)

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
TOLD = (  # what the card tells of the arguments
    "learning_rate", "lr_scheduler_type", "warmup_steps", "num_train_epochs", "max_steps", "optim", "weight_decay",
    "max_grad_norm", "per_device_train_batch_size", "gradient_accumulation_steps", "metric_for_best_model",
)  # fmt: skip
STEPS = {"stride": 1, "deltas": False}  # of vectors
TOLD_FIELDS = ("embedding_dropout", "hidden_dropout", "classifier_dropout")


def measure(config: Any, answers: Answers) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """All metrics of a split and their 95 % intervals."""
    metrics = evaluate_predictions(config, answers.logits, answers.labels)
    intervals = confidence_intervals(config, answers.logits, answers.labels)
    return metrics, {name: pair for name, pair in intervals.items() if name in metrics and np.isfinite(pair).all()}


def draw_pictures(directory: Path, config: Any, answers: Answers | None, state: Any) -> dict[str, str]:
    """Draw what the answers and the log show; without matplotlib nothing is drawn, and said how to get it.

    Returns:
        File name -> what it shows, as the card takes it.
    """
    try:
        return dict(_draw(directory, config, answers, state))
    except ModuleNotFoundError as error:
        logger.warning(f"No pictures in {directory}: {error}")
        return {}


def _draw(directory: Path, config: Any, answers: Answers | None, state: Any) -> Iterator[tuple[str, str]]:
    if any("loss" in row or "eval_loss" in row for row in state.log_history):
        draw_learning_curves(
            _of_all_labels(state.log_history, config),
            directory / "learning_curves.png",
            kept_step=state.best_global_step or None,
        )
        yield "learning_curves.png", "Learning curves"
    if answers is None:
        return
    found = read_predictions(config, answers.logits, answers.labels)
    true, predicted = found.references, found.predictions
    kept = answers.labels != -100 if found.problem_type == SINGLE else np.ones(len(answers.lengths), bool)
    if found.problem_type == REGRESSION:
        draw_regression(true, predicted, directory / "regression.png")
        yield "regression.png", f"Predicted against true values, {answers.split} set"
        errors = np.abs(true - predicted).reshape(len(true), -1).mean(1)
    else:
        names = [config.id2label[index] for index in range(config.num_labels)]
        draw_confusion_matrix(true, predicted, names, directory / "confusion_matrix.png")
        several = found.problem_type == MULTI
        what = "How well each label is found" if several else "Which label is taken for which"
        yield "confusion_matrix.png", f"{what}, {answers.split} set"
        draw_reliability(np.asarray(found.scores), true, directory / "reliability.png")
        yield "reliability.png", f"How right the model is against how sure it is, {answers.split} set"
        errors = (true == predicted).reshape(len(true), -1).all(1)
    if len(np.unique(answers.lengths[kept])) > 1:
        draw_length_accuracy(answers.lengths[kept], errors, directory / "length_accuracy.png")
        yield "length_accuracy.png", f"How right the model is on short and long sequences, {answers.split} set"
    if found.problem_type == SINGLE:
        curve = coverage_curve(config, answers.logits, answers.labels)
        draw_coverage([p.coverage for p in curve], [p.accuracy for p in curve], directory / "coverage.png")
        yield "coverage.png", f"How right the model is if it may abstain, {answers.split} set"


def _of_all_labels(log_history: Sequence[Mapping[str, Any]], config: Any) -> list[dict[str, Any]]:
    """The log without the figures of single labels, which would hide the others."""
    single = {f"eval_{kind}_{name}" for kind in PER_LABEL for name in (config.id2label or {}).values()}
    return [{name: value for name, value in row.items() if name not in single} for row in log_history]


def write_card(
    trainer: Trainer,
    data: LabelledData,
    answers: Answers | None,
    measured: tuple[Mapping[str, float], Mapping[str, tuple[float, float]]],
    seconds: float,
    pictures: Mapping[str, str],
    described: Mapping[str, Any],
    given: Mapping[str, Any],
) -> Path:
    """Write the model card of a finished run; what is `given` stands before what the run knows, its `command`, too.

    `described` are choices that are neither the host's arguments nor fields of the config.
    """
    directory, config = Path(str(trainer.args.output_dir)), config_of(trainer)
    told = {name: getattr(trainer.args, name) for name in TOLD}
    told = {name: getattr(value, "value", value) for name, value in told.items()}  # enums of the host
    told |= {name: getattr(config, name) for name in TOLD_FIELDS}
    told |= {name: value for name, value in {**config.loss_choices, **described}.items() if value}
    calibrated = "validation" in data.splits and data.problem_type != REGRESSION
    calibration: dict[str, Any] = {}
    if calibrated:
        calibration = {"temperature": config.temperature, "fitted_on": "validation"}
        calibration |= {"thresholds": config.thresholds} if config.thresholds else {}
        calibration |= {"abstain_below": config.abstain_below} if config.abstain_below else {}
        if answers is not None and data.problem_type == SINGLE:
            calibration["coverage"] = [
                tuple(p) for p in coverage_curve(config, answers.logits, answers.labels, points=5)
            ]
    script, given = Path(sys.argv[0]), dict(given)
    ran = shlex.join(["python", script.name, *sys.argv[1:]]) if script.suffix == ".py" else None
    command = given.pop("command", ran)
    known = {
        "title": directory.resolve().name,
        "dataset_name": "A labelled table",
        "dataset_sizes": data.report.rows,
        "label_counts": data.report.class_counts,
        "dataset_notes": " ".join(data.report.decisions),
        "split": None if answers is None else answers.split,
        "num_parameters": trainer.model.num_parameters(),  # type: ignore[union-attr, operator]
        "training": {"arguments": told, "seconds": seconds, **({"command": command} if command else {})},
        "calibration": calibration,
        **(
            {} if data.reads_text else {name: getattr(trainer.processing_class, name) for name in ("stride", "deltas")}
        ),
        "seed": trainer.args.seed,
        "hardware": describe_hardware(),
    }
    metrics, intervals = measured
    return write_model_card(
        directory, metrics=metrics, intervals=intervals, pictures=pictures, config=config, **{**known, **given}
    )
