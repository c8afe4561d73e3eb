"""Labelled data -> a classifier trained twice: to find out when to stop, then on the validation rows, too."""

import json
from dataclasses import replace
from math import ceil
from pathlib import Path
from shutil import copy, rmtree
from typing import Any, Literal, TypeAlias

from datasets import Dataset, concatenate_datasets
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .classifier_run import TrainingResult, train_once
from .distillation import label_table
from .labelled_data import LabelledData
from .recipe import FEW, Recipe
from .run_choices import Choices

Refit: TypeAlias = Literal["all", "n-grams", "nothing"]

CURVES = "learning_curves.png"
FIRST = "first"  # where the first run is until the second is finished
BEST = "load_best_model_at_end"


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


def settle_refit(given: Any, data: LabelledData, choices: Choices) -> Refit:
    """What to train anew on the validation rows, too.

    The recipe does where these were drawn from the training set, and a test set tells how good the model is: all of
    the model where they are too few to choose an epoch by, else the n-grams, which are soon counted.

    Args:
        given: As [`train_classifier`] was given it.
        data: The splits.
        choices: What chooses an epoch, or is trained for early answers, whose policy is fitted after training, needs
            the validation set.

    Raises:
        ValueError: Neither a truth value nor `"recipe"`.
    """
    if isinstance(given, bool):
        return "all" if given else "nothing"
    if given != "recipe":
        raise ValueError(f"refit must be True, False or 'recipe', got {given!r}.")
    validation = data.splits["validation"] if "validation" in data.report.drawn else None
    if not isinstance(validation, Dataset) or "test" not in data.splits or choices.args is not None:
        return "nothing"
    needs = choices.early_stopping_patience or choices.config_fields.get("prefix_loss_weight")
    return "n-grams" if needs or len(validation) >= FEW or BEST in choices.arguments else "all"


def train_and_refit(data: LabelledData, output_dir: Path, recipe: Recipe, choices: Choices) -> TrainingResult:
    """Train a classifier, then train it anew on the training and the validation rows together.

    The first run tells after which share of the steps its model was kept, fits temperature and thresholds, and gives
    the validation figures; the second stops after this share. It costs twice the time, and pays where rows are few:
    a validation set of a tenth is a tenth of all that is known. Killed in either run, it goes on from there.

    Args:
        data: Labelled data with a training, a validation and a test set; the first two are tables, not streams.
        output_dir: The directory.
        recipe: What was not chosen, of both runs.
        choices: What was.

    Returns:
        What [`train_once`] returns; the metrics are those of the test set.

    Raises:
        ValueError: A split that is missing, a stream, `args` that decide everything, or whatever [`train_once`]
            refuses.
    """
    missing = [name for name in ("validation", "test") if name not in data.splits]
    if missing or not all(isinstance(data.splits[name], Dataset) for name in ("train", "validation")):
        raise ValueError(
            f"Refitting needs tables of training, validation and test rows, got {', '.join(data.splits)}"
            f"{'' if missing else ', some of them streams'}. Load the data with validation_size= and test_size=."
        )
    if choices.args is not None:
        raise ValueError("Refitting settles some arguments, but args decides all of them. Pass args as a mapping.")
    kept = replace(choices, arguments={"save_total_limit": 1, **choices.arguments})  # until the second is finished
    first = train_once(data, output_dir / FIRST, recipe, kept)
    figures = json.loads((first.directory / "eval_results.json").read_text(encoding="utf-8"))
    second = train_once(_joined(data), output_dir, recipe, _settled(choices, first))
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
    joined = replace(data, splits={"train": both, "test": data.splits["test"]})
    return joined.with_decision(said)  # else the report is of the data as it was loaded


def _settled(choices: Choices, first: TrainingResult) -> Choices:
    """The choices of the second run, which has no validation set: the first has settled what takes one."""
    config, state = first.model.config, first.trainer.state
    kept = state.best_global_step if first.trainer.args.load_best_model_at_end else None
    calibration = {name: getattr(config, name) for name in ("temperature", "thresholds")}
    told = {} if first.slopes else {"calibration": {**calibration, "fitted_on": "validation"}}
    return replace(
        choices,
        arguments={name: value for name, value in choices.arguments.items() if name != BEST},
        config_fields={**choices.config_fields, **calibration},
        slopes=first.slopes,
        shares=first.shares,
        early_stopping_patience=None,
        callbacks=[*choices.callbacks, StopAfter((kept or state.global_step) / state.max_steps)],
        card={**told, **choices.card},
    )
