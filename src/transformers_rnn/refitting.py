"""Labelled data -> a classifier trained twice: to find out when to stop, then on the validation rows, too."""

import json
from collections.abc import Mapping
from dataclasses import replace
from math import ceil
from pathlib import Path
from shutil import rmtree
from typing import Any

from datasets import Dataset, concatenate_datasets
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .distillation import label_table
from .encoding import recipe_for
from .labelled_data import LabelledData
from .training import TrainingResult, train_classifier

FIRST = "first"  # where the first run is until the second is finished
SIZES = ("num_train_epochs", "per_device_train_batch_size")  # that a recipe chooses by the number of rows
# What the first run has decided.
LEFT_OUT = ("early_stopping_patience", "load_best_model_at_end", "processing_options")


class StopAfter(TrainerCallback):
    """Ends training after a share of all steps; the learning rate falls as if it went on.

    Args:
        share: Of all steps, from 0 to 1.
    """

    def __init__(self, share: float) -> None:
        self.share = share

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stop, by the number of the step alone."""
        if state.global_step >= ceil(self.share * state.max_steps - 1e-6):
            control.should_training_stop = True


def train_and_refit(data: LabelledData, output_dir: str | Path, **choices: Any) -> TrainingResult:
    """Train a classifier, then train it anew on the training and the validation rows together.

    The first run tells after which share of the steps its model was kept, fits temperature and thresholds, and gives
    the validation figures; the second stops after this share. It costs twice the time, and pays where rows are few:
    a validation set of a tenth is a tenth of all that is known. Each run goes on from its checkpoints; killed in the
    second, the first is done again.

    Args:
        data: Labelled data with a training, a validation and a test set; these are tables, not streams.
        output_dir: The directory.
        **choices: Those of [`train_classifier`]; `args`, if given, as a mapping.

    Returns:
        What [`train_classifier`] does; the metrics are those of the test set.

    Raises:
        ValueError: A split that is missing, a stream, or whatever [`train_classifier`] refuses.
    """
    missing = [name for name in ("validation", "test") if name not in data.splits]
    if missing or not all(isinstance(data.splits[name], Dataset) for name in ("train", "validation")):
        raise ValueError(
            f"Refitting needs tables of training, validation and test rows, got {', '.join(data.splits)}"
            f"{'' if missing else ', some of them streams'}. Load the data with validation_size= and test_size=."
        )
    first = train_classifier(data, Path(output_dir) / FIRST, **choices)
    figures = json.loads((first.directory / "eval_results.json").read_text(encoding="utf-8"))
    second = train_classifier(_joined(data), output_dir, **_settled(data, first, choices))
    second.trainer.save_metrics("eval", figures)
    rmtree(first.directory)
    return second


def _joined(data: LabelledData) -> LabelledData:
    train, validation = data.splits["train"], data.splits["validation"]
    if validation.features["labels"] != train.features["labels"]:  # those of a teacher are tables
        table = list(label_table(validation, data))
        validation = validation.remove_columns("labels").add_column("labels", table).cast(train.features)
    both = concatenate_datasets([train, validation])
    said = (
        f"The model was trained anew on the {len(both)} training and validation rows together, after a run without "
        "the latter had told when to stop and fitted the calibration; validation figures are of that run."
    )
    rows = {**data.report.rows, "train": len(both)}
    rows.pop("validation")
    report = replace(data.report, rows=rows, decisions=(*data.report.decisions, said))
    return replace(data, splits={"train": both, "test": data.splits["test"]}, report=report)


def _settled(data: LabelledData, first: TrainingResult, choices: Mapping[str, Any]) -> dict[str, Any]:
    """The choices of the second run: those of the first, also where these came from its recipe."""
    recipe, config = recipe_for(data), first.model.config
    state, arguments = first.trainer.state, first.trainer.args
    kept = state.best_global_step if arguments.load_best_model_at_end else state.global_step
    calibration = {name: getattr(config, name) for name in ("temperature", "thresholds")}
    found = {
        **{name: getattr(config, name) for name in recipe.config},
        **{name: getattr(arguments, name) for name in SIZES},
        "weight_averaging": recipe.weight_averaging,
        "pretrained_vectors": None if choices.get("pretrained_model") else recipe.pretrained_vectors,
    }
    given = {name: value for name, value in choices.items() if name not in LEFT_OUT}
    return {
        **found,
        **given,
        **calibration,
        "processing_class": None if choices.get("pretrained_model") else first.processing_class,
        "callbacks": [*choices.get("callbacks", ()), StopAfter((kept or state.global_step) / state.max_steps)],
        "card": {"calibration": {**calibration, "fitted_on": "validation"}, **(choices.get("card") or {})},
    }
