"""Labelled data -> a classifier trained twice: to find out when to stop, then on the validation rows, too."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import ceil
from pathlib import Path
from shutil import copy, rmtree
from typing import Any, Protocol, TypeVar

from datasets import Dataset, concatenate_datasets
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .distillation import label_table
from .encoding import reading_options, recipe_for
from .labelled_data import LabelledData
from .recipe import FEW

CURVES = "learning_curves.png"
FIRST = "first"  # where the first run is until the second is finished
SIZES = ("num_train_epochs", "per_device_train_batch_size")  # that a recipe chooses by the number of rows
DECIDED = ("early_stopping_patience", "load_best_model_at_end")  # by the first run


class Trained(Protocol):
    """What a run returns, as far as the second needs it."""

    @property
    def directory(self) -> Path:
        """Where everything was saved."""

    @property
    def model(self) -> Any:
        """The model that was kept, calibrated."""

    @property
    def trainer(self) -> Any:
        """The host's trainer."""


Result = TypeVar("Result", bound=Trained)


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


def settle_refit(given: Any, data: LabelledData, choices: Mapping[str, Any]) -> bool:
    """Whether to train anew on the validation rows, too.

    The recipe does where they are too few to choose an epoch by, were drawn from the training set, and a test set
    tells how good the model is.

    Args:
        given: As [`train_classifier`] was given it.
        data: The splits.
        choices: Those of [`train_classifier`]; what chooses an epoch, or is trained for early answers, whose policy is
            fitted after training, needs the validation set.

    Raises:
        ValueError: Neither a truth value nor `"recipe"`.
    """
    if isinstance(given, bool):
        return given
    if given != "recipe":
        raise ValueError(f"refit must be True, False or 'recipe', got {given!r}.")
    validation, args = data.splits.get("validation"), choices["args"]
    if "validation" not in data.report.drawn or "test" not in data.splits or isinstance(args, TrainingArguments):
        return False
    needs = choices["early_stopping_patience"] or choices.get("prefix_loss_weight")
    needs = needs or "load_best_model_at_end" in {**(args or {}), **choices}
    return isinstance(validation, Dataset) and len(validation) < FEW and not needs


def train_and_refit(
    train: Callable[..., Result], data: LabelledData, output_dir: Path, choices: Mapping[str, Any]
) -> Result:
    """Train a classifier, then train it anew on the training and the validation rows together.

    The first run tells after which share of the steps its model was kept, fits temperature and thresholds, and gives
    the validation figures; the second stops after this share. It costs twice the time, and pays where rows are few:
    a validation set of a tenth is a tenth of all that is known. Each run goes on from its checkpoints; killed in the
    second, the first is done again.

    Args:
        train: [`train_classifier`], once.
        data: Labelled data with a training, a validation and a test set; these are tables, not streams.
        output_dir: The directory.
        choices: Those of [`train_classifier`].

    Returns:
        What it returns; the metrics are those of the test set.

    Raises:
        ValueError: A split that is missing, a stream, `args` that decide everything, or whatever
            [`train_classifier`] refuses.
    """
    missing = [name for name in ("validation", "test") if name not in data.splits]
    if missing or not all(isinstance(data.splits[name], Dataset) for name in ("train", "validation")):
        raise ValueError(
            f"Refitting needs tables of training, validation and test rows, got {', '.join(data.splits)}"
            f"{'' if missing else ', some of them streams'}. Load the data with validation_size= and test_size=."
        )
    if isinstance(choices["args"], TrainingArguments):
        raise ValueError("Refitting settles some arguments, but args decides all of them. Pass args as a mapping.")
    first = train(data, output_dir / FIRST, **choices)
    figures = json.loads((first.directory / "eval_results.json").read_text(encoding="utf-8"))
    second = train(_joined(data), output_dir, **_settled(data, first, choices))
    second.trainer.save_metrics("eval", figures)
    if (first.directory / CURVES).is_file():  # with those of the validation set, which the second run has not
        copy(first.directory / CURVES, output_dir)
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
    report = replace(data.report, decisions=(*data.report.decisions, said))  # else as the data was loaded
    return replace(data, splits={"train": both, "test": data.splits["test"]}, report=report)


def _settled(data: LabelledData, first: Trained, choices: Mapping[str, Any]) -> dict[str, Any]:
    """The choices of the second run: those of the first, also where these came from its recipe."""
    recipe, config = recipe_for(data), first.model.config
    state, arguments = first.trainer.state, first.trainer.args
    kept = state.best_global_step if arguments.load_best_model_at_end else state.global_step
    calibration = {name: getattr(config, name) for name in ("temperature", "thresholds")}
    found: dict[str, Any] = {
        **{name: getattr(config, name) for name in recipe.config},
        **{name: getattr(arguments, name) for name in SIZES},
        "weight_averaging": recipe.weight_averaging,
        "pretrained_vectors": None if choices["pretrained_model"] else recipe.pretrained_vectors,
    }
    open_ones = [name for name, value in choices.items() if isinstance(value, str) and value == "recipe"]
    given = {name: value for name, value in choices.items() if name not in (*DECIDED, *open_ones)}
    if not (choices["pretrained_model"] or choices["processing_class"]):  # learned anew, in the same way
        options = choices["processing_options"] or {}
        given["processing_options"] = {**reading_options(recipe, data.reads_text), **options}
    share = (kept or state.global_step) / state.max_steps
    return {
        **found,
        **given,
        **calibration,
        "callbacks": [*choices["callbacks"], StopAfter(share)],
        "card": {"calibration": {**calibration, "fitted_on": "validation"}, **(choices["card"] or {})},
    }
