"""What a caller chose -> options of the data, fields of the config, arguments of the trainer; weights of the loss."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import fields as fields_of
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback, TrainingArguments

from .configuration_rnn import RNNConfig
from .embedding_training import EmbeddingTraining
from .encoding import count_rows, some_rows
from .feature_moments import FeatureMoments
from .labelled_data import LabelledData, load_labelled_data
from .layerwise_training import check_layerwise_lr_decay
from .logit_adjustment import check_countable, check_logit_adjustment, count_labels
from .recipe import Recipe, settle_strategies
from .weight_averaging import WeightAveraging


@dataclass(frozen=True)
class Choices:
    """What the caller of [`train_classifier`] chose for a run, by the names it has there.

    Args:
        args: A whole `TrainingArguments`, or `None`.
        arguments: Arguments of the host's `TrainingArguments` that were chosen one by one.
        config_fields: Fields of [`RNNConfig`].
        slopes: Of regression, where another run has fitted them, see [`calibration_slopes`].
        shares: Of counted n-grams, likewise, see [`fit_shares`].
        recount: Whether these are counted anew, with the validation rows, once it has settled everything else.

    Raises:
        ValueError: `layerwise_lr_decay`, `logit_adjustment`, `weight_averaging` or `count_ngrams` that is none.
    """

    args: TrainingArguments | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    config_fields: Mapping[str, Any] = field(default_factory=dict)
    processing_class: Any = None
    processing_options: Mapping[str, Any] | None = None
    class_weights: str | Sequence[float] | None = None
    pos_weight: str | Sequence[float] | None = None
    early_stopping_patience: int | None = None
    pretrained_model: str | Path | None = None
    pretrained_vectors: Any = "recipe"
    embedding_training: EmbeddingTraining = "tuned"
    weight_averaging: Any = "recipe"
    layerwise_lr_decay: float = 1.0
    gradual_unfreezing: bool = False
    callbacks: Sequence[TrainerCallback] = ()
    resume: bool = True
    count_ngrams: int | str = "recipe"
    logit_adjustment: float = 0.0
    slopes: Sequence[float] | None = None
    shares: tuple[float, float] | None = None
    recount: bool = False
    card: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse before any work what could be told from the choices alone."""
        check_layerwise_lr_decay(self.layerwise_lr_decay)
        check_logit_adjustment(self.logit_adjustment)
        if self.weight_averaging not in (None, "recipe"):
            WeightAveraging(self.weight_averaging)
        order = self.count_ngrams
        if order != "recipe" and (isinstance(order, bool) or not isinstance(order, int) or order < 0):
            raise ValueError(
                "count_ngrams must be the number of tokens in the longest n-gram (2: single tokens and pairs; 0: none "
                f"are counted) or 'recipe', got {order!r}."
            )


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


def join_arguments(
    args: TrainingArguments | Mapping[str, Any] | None, given: Mapping[str, Any]
) -> tuple[TrainingArguments | None, dict[str, Any]]:
    """A whole `TrainingArguments`, or single arguments: those of a mapping, and those given by name."""
    if not isinstance(args, TrainingArguments):
        return None, {**(args or {}), **given}
    if given:
        raise ValueError(
            f"args is a whole TrainingArguments and decides everything, but {', '.join(given)} came too. "
            "Set them there, or pass args as a mapping."
        )
    return args, {}


def training_arguments(
    recipe: Recipe, given: Mapping[str, Any], output_dir: str | Path, validates: bool
) -> TrainingArguments:
    """The host's arguments of a run: the recipe's, with those given in their place."""
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
    if data.problem_type == "regression" and not {"label_mean", "label_scale"} & fields.keys():
        told |= scale_of_labels(data)
    return told


def ngram_order(data: LabelledData, recipe: Recipe, choices: Choices) -> int:
    """The longest n-gram that is counted, 0 if none is; only the recipe gives way where it cannot be.

    Raises:
        ValueError: Counting was chosen, but something stands against it.
    """
    given = choices.count_ngrams
    order = recipe.ngram_order if given == "recipe" and choices.args is None else given
    if order in (0, "recipe"):
        return 0
    counted = [name for name in ("train", "validation") if name in data.splits]
    reasons = {
        "the data has no texts": not data.reads_text,
        "a stream cannot be counted": not all(count_rows(data.splits[name]) for name in counted),
        "the loss is weighed, which counting does not know": choices.class_weights is not None
        or choices.pos_weight is not None
        or any(choices.config_fields.get(name) for name in ("class_weights", "pos_weight", "focal_gamma")),
        "the model is trained for early answers": bool(choices.config_fields.get("prefix_loss_weight")),
        "the labels are a teacher's": _are_soft(data),
        "the config has a bag of n-grams already": bool(choices.config_fields.get("bag_order")),
    }
    against = [reason for reason, holds in reasons.items() if holds]
    if against and given != "recipe":
        raise ValueError(f"count_ngrams={given}, but {against[0]}. Leave count_ngrams out, or pass 0.")
    return 0 if against else int(order)


def _are_soft(data: LabelledData) -> bool:
    """Whether training rows have shares of several labels, as a teacher gives them."""
    train = data.splits["train"]
    if data.problem_type == "regression" or not count_rows(train):
        return False
    labels = np.stack(train.with_format("numpy")["labels"])
    return labels.ndim == 2 and (data.problem_type == "single_label_classification" or bool((labels % 1).any()))


def scale_of_labels(data: LabelledData) -> dict[str, list[float]]:
    """Mean of the training labels, of a stream of its first rows, and a quarter of their deviation; of a constant 1.

    A quarter, as a head whose small weights have to reach 4 learns better than one that has to reach 1.
    """
    train = data.splits["train"]
    rows = train.with_format("numpy")["labels"] if count_rows(train) else [row["labels"] for row in some_rows(train)]
    labels = np.asarray(rows, np.float64).reshape(len(rows), -1)
    moments = FeatureMoments(labels.shape[1])
    moments.add(labels)
    scale = np.where(moments.deviation > 0, moments.deviation / 4, 1.0)
    return {"label_mean": moments.mean.tolist(), "label_scale": scale.tolist()}


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
    check_countable(f"{name}='balanced'", wanted, data, "Pass a list of factors.")
    labels = np.asarray(train.with_format("numpy")["labels"])
    if name == "class_weights":
        size = len(data.label_names)
        counts = count_labels(labels, size)
        return [float(weight) for weight in counts.sum() / (size * counts.clip(min=1))]
    present = labels.sum(axis=0)
    return [float(weight) for weight in (len(labels) - present) / present.clip(min=1)]
