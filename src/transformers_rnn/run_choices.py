"""What a caller chose -> options of the data, fields of the config, arguments of the trainer; weights of the loss."""

import inspect
from collections.abc import Mapping
from copy import copy
from dataclasses import fields as fields_of
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainingArguments

from .configuration_rnn import RNNConfig
from .labelled_data import LabelledData, load_labelled_data
from .recipe import Recipe, settle_strategies


def sort_choices(
    choices: Mapping[str, Any], is_loaded: bool, caller: str = "train_classifier"
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Options of the data, fields of the config and arguments of the trainer, told apart by their names."""
    parameters = [] if is_loaded else list(inspect.signature(load_labelled_data).parameters)[1:]
    own = [name for name in RNNConfig.__annotations__ if not name.startswith("_")]
    kinds = [parameters, own, [argument.name for argument in fields_of(TrainingArguments) if argument.init]]
    for name in choices:
        if not any(name in kind for kind in kinds):
            meant = get_close_matches(name, [known for kind in kinds for known in kind], n=1)
            advice = f"Did you mean {meant[0]!r}?" if meant else "Leave it out."
            raise TypeError(
                f"{caller} has no choice {name!r}: it is no field of RNNConfig, no argument of "
                f"TrainingArguments{'' if is_loaded else ' and no option of load_labelled_data'}. {advice}"
            )
    kinds[2] = [name for name in kinds[2] if name == "seed" or name not in parameters]  # label_names are the data's
    data, config, arguments = ({name: choices[name] for name in kind if name in choices} for kind in kinds)
    return data, config, arguments


def training_arguments(
    recipe: Recipe, args: TrainingArguments | Mapping[str, Any] | None, given: dict[str, Any], output_dir: str | Path,
    validates: bool,
) -> TrainingArguments:  # fmt: skip
    if isinstance(args, TrainingArguments):
        if given:
            raise ValueError(
                f"args is a whole TrainingArguments and decides everything, but {', '.join(given)} came too. "
                "Set them there, or pass args as a mapping."
            )
        decided = copy(args)
        decided.output_dir = str(output_dir)
        return decided
    given = {**(args or {}), **given}
    joined = settle_strategies(recipe.arguments, given, validates)
    joined.setdefault("restore_callback_states_from_checkpoint", True)
    joined.setdefault("dataloader_pin_memory", torch.cuda.is_available())
    return TrainingArguments(**{**joined, "output_dir": str(output_dir)})


def loss_fields(
    data: LabelledData, class_weights: Any, pos_weight: Any, arguments: TrainingArguments, fields: Mapping[str, Any]
) -> dict[str, Any]:
    """What the loss is told, as fields of the config: there it is saved, and every training respects it."""
    told: dict[str, Any] = {}
    for name, weights in (("class_weights", class_weights), ("pos_weight", pos_weight)):
        if isinstance(weights, str):
            told[name] = balanced_weights(name, weights, data)
        elif weights is not None:
            told[name] = [float(weight) for weight in weights]
    smoothing = arguments.label_smoothing_factor
    if smoothing:
        if fields.get("label_smoothing", smoothing) != smoothing:
            raise ValueError(
                f"label_smoothing={fields['label_smoothing']} contradicts label_smoothing_factor={smoothing}. "
                "Pass one of them."
            )
        # With its own factor the host takes the labels away from the model, and with them weights and focal loss.
        told["label_smoothing"], arguments.label_smoothing_factor = smoothing, 0.0
    return told


def balanced_weights(name: str, choice: str, data: LabelledData) -> list[float]:
    """Weights that make up for unequal numbers of rows.

    Args:
        name: `"class_weights"`: n / (L * n_c), their mean over the training rows is 1. `"pos_weight"`: rows without
            a label for each row with it.
        choice: `"balanced"`.
        data: The training split counts.

    Raises:
        ValueError: Another choice, or labels that cannot be counted.
    """
    if choice != "balanced":
        raise ValueError(f"{name} must be 'balanced', a list of factors or None, got {choice!r}.")
    wanted = {"class_weights": "single_label_classification", "pos_weight": "multi_label_classification"}[name]
    train = data.splits["train"]
    if data.problem_type != wanted:
        raise ValueError(f"{name}='balanced' is for {wanted}, but this is {data.problem_type}. Leave it out.")
    if not hasattr(train, "__len__"):
        raise ValueError(f"{name}='balanced' needs counted rows, but the data is a stream. Pass a list of factors.")
    labels = np.asarray(train.with_format("numpy")["labels"])
    if name == "class_weights":
        size = len(data.label_names)
        # Of a teacher's answers, the sum of the probabilities.
        counts = np.bincount(labels, minlength=size) if labels.ndim == 1 else labels.sum(axis=0)
        return [float(weight) for weight in counts.sum() / (size * counts.clip(min=1))]
    present = labels.sum(axis=0)
    return [float(weight) for weight in (len(labels) - present) / present.clip(min=1)]
