"""A labelled table -> a trained, calibrated, measured and documented directory, on the host's own `Trainer`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from datasets import Dataset
from transformers import (
    AutoTokenizer,
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)

from .calibration import fit_calibration
from .checkpoints import (
    Stopwatch,
    describe_run,
    fingerprint,
    remove_checkpoints,
    seconds_of,
    train_or_resume,
)
from .configuration_rnn import RNNConfig
from .embedding_training import EmbeddingTraining, settle_start
from .encoding import count_rows, encode, input_fields, learn_processor, make_vectors, recipe_for
from .evaluation import LengthOrderedTrainer, answer, config_of
from .feature_extraction_rnn import SequenceVectorFeatureExtractor
from .labelled_data import LabelledData, load_labelled_data
from .layerwise_training import GradualUnfreezing, check_layerwise_lr_decay, decay_learning_rates
from .metrics import compute_metrics_for
from .modeling_rnn import RNNForSequenceClassification
from .pretrained_trunk import settle_trunk
from .recipe import EVALUATED_TOGETHER, Recipe
from .refitting import settle_refit, train_and_refit
from .run_choices import loss_fields, sort_choices, training_arguments
from .run_report import draw_pictures, measure, write_card
from .weight_averaging import WeightAveraging


@dataclass(frozen=True)
class TrainingResult:
    """What [`train_classifier`] returns.

    Args:
        directory: The saved directory.
        model: The best model, calibrated, in evaluation mode.
        processing_class: Its tokenizer or feature extractor.
        metrics: Of the test set, or of the validation set where there is none; empty without both.
        intervals: The 95 % confidence interval of each metric.
        data: The splits that were used.
        trainer: The host's trainer, for what else it can do; `predict` answers in another order, see [`answer`].
    """

    directory: Path
    model: RNNForSequenceClassification
    processing_class: Any
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    data: LabelledData
    trainer: Trainer


def train_classifier(
    data: Any,
    output_dir: str | Path,
    *,
    args: TrainingArguments | Mapping[str, Any] | None = None,
    processing_class: Any = None,
    processing_options: Mapping[str, Any] | None = None,
    class_weights: str | Sequence[float] | None = None,
    pos_weight: str | Sequence[float] | None = None,
    early_stopping_patience: int | None = None,
    pretrained_model: str | Path | None = None,
    pretrained_vectors: Any = "recipe",
    embedding_training: EmbeddingTraining = "tuned",
    weight_averaging: float | Literal["recipe"] | None = "recipe",
    layerwise_lr_decay: float = 1.0,
    gradual_unfreezing: bool = False,
    refit: bool | Literal["recipe"] = "recipe",
    callbacks: Sequence[TrainerCallback] = (),
    resume: bool = True,
    card: Mapping[str, Any] | None = None,
    **choices: Any,
) -> TrainingResult:
    """Train a classifier of texts or vectors, from a labelled table to a directory to keep, load and show.

    Whatever is left open is chosen from the data (see [`choose_recipe`]). The directory gets the best model of the
    run with a temperature and thresholds fitted on the validation set, its tokenizer or feature extractor, the
    metrics as JSON (`all_results.json`, as the host's scripts write it), pictures, and a model card.

    Killed at any moment and called again with the same arguments, it goes on from the last whole checkpoint and ends
    with the same weights as if nothing had happened. The checkpoints are removed when everything is saved, unless
    `save_total_limit` was given.

    Args:
        data: A [`LabelledData`], or whatever [`load_labelled_data`] takes.
        output_dir: The directory.
        args: A `TrainingArguments` is taken as it is, without a recipe; a mapping is a recipe's arguments to replace.
        processing_class: A tokenizer or feature extractor to use; `None`: one is learned from the training split.
        processing_options: Arguments for what learns it, `train_tokenizer` or [`SequenceVectorFeatureExtractor`].
        class_weights: Factors of the loss of each class, or `"balanced"`: n / (L * n_c), with a mean of 1 over the
            training rows.
        pos_weight: Factors of the loss of each label where it is present, or `"balanced"`: rows without it for each
            row with it.
        early_stopping_patience: Evaluations without improvement until training stops; `None`: the recipe's, 0: never.
            With fewer than 250 validation rows the recipe neither stops early nor goes back to the best epoch.
        pretrained_model: Directory of a model whose embedding and layers the classifier starts from, with its
            tokenizer or feature extractor: what [`pretrain`] saved, or any other saved model of this package.
        pretrained_vectors: What the embedding starts from: `"texts"`, the neighbourhoods of the training texts (see
            [`vectors_from_texts`]); a file of word vectors, the directory or name of any model of the host, or
            whatever else [`settle_vectors`] takes; `None`: random numbers. `input_size` follows if it is not given.
        embedding_training: `"tuned"`, `"frozen"`, or the share of all steps after which the embedding is trained.
        weight_averaging: Decay of a moving average of the weights that is evaluated and kept in their place, such as
            0.99 or 0.999, see [`WeightAveraging`]; `None`: there is none.
        layerwise_lr_decay: Learning rate of each layer as a share of that of the next, from the head down to the
            embedding, see [`decay_learning_rates`]; 1: the same everywhere.
        gradual_unfreezing: Whether to train the head alone in the first epoch and one layer more in each further one,
            see [`GradualUnfreezing`]; what `embedding_training` says of the embedding stands.
        refit: Whether to train anew on the validation rows, too, once a first run has told when to stop and has fitted
            temperature and thresholds; `"recipe"`: where fewer than 250 rows were drawn for validation, and a test
            set tells how good the model is. Validation figures are those of the first run.
        callbacks: Further callbacks of the host.
        resume: Whether to go on from checkpoints in `output_dir`; `False` removes them.
        card: Further arguments of [`write_model_card`], such as `title`, `dataset_name`, `license`; and `command`, if
            it is another than that of this process.
        **choices: By name, any field of [`RNNConfig`], any argument of the host's `TrainingArguments`, and, if `data`
            is not loaded yet, any option of [`load_labelled_data`] (`seed` goes to both).

    Raises:
        TypeError: A name that is none of these.
        ValueError: Data, fields or arguments that do not fit; a stream without `max_steps`; checkpoints of another
            run in `output_dir`.
    """
    asked = {name: value for name, value in locals().items() if name not in ("data", "output_dir", "refit", "choices")}
    check_layerwise_lr_decay(layerwise_lr_decay)
    if weight_averaging not in (None, "recipe"):
        WeightAveraging(weight_averaging)  # type: ignore[arg-type] # refuses what is no decay before any work
    options, config_fields, given = sort_choices(choices, isinstance(data, LabelledData))
    if not isinstance(data, LabelledData):
        data = load_labelled_data(data, **options)
    once = {**asked, **config_fields, **given, "refit": False}
    if settle_refit(refit, data, once):
        return train_and_refit(train_classifier, data, Path(output_dir), once)
    recipe = recipe_for(data)
    if early_stopping_patience:
        recipe = replace(recipe, arguments={**recipe.arguments, "load_best_model_at_end": True})
    if weight_averaging == "recipe":
        weight_averaging = None if isinstance(args, TrainingArguments) else recipe.weight_averaging
    averaging = [] if weight_averaging is None else [WeightAveraging(weight_averaging)]
    arguments = training_arguments(recipe, args, given, output_dir, "validation" in data.splits)
    if not isinstance(data.splits["train"], Dataset) and arguments.max_steps <= 0:
        raise ValueError("A stream has no known length, so max_steps must say how long to train. Pass it.")
    if isinstance(pretrained_vectors, str) and pretrained_vectors == "recipe":
        pretrained_vectors = recipe.pretrained_vectors if pretrained_model is None else None
    trunk = None
    if pretrained_model is not None:
        others = {"processing_class": processing_class, "processing_options": processing_options or None}
        others |= {"pretrained_vectors": pretrained_vectors}
        trunk = settle_trunk(pretrained_model, data.feature_size, config_fields, others)
        config_fields |= trunk.config_fields
        processing_class = trunk.processor
    processor = processing_class or learn_processor(data, recipe, processing_options)
    splits = {name: encode(split, processor) for name, split in data.splits.items()}
    width = config_fields.get("input_size")
    start = settle_start(make_vectors(pretrained_vectors, data, recipe, width), embedding_training, processor, width)
    config_fields |= start.config_fields
    config_fields |= loss_fields(data, class_weights, pos_weight, arguments, config_fields)
    config = RNNConfig(**{**recipe.config, **data.config_fields(), **input_fields(processor), **config_fields})
    set_seed(arguments.seed)
    model = RNNForSequenceClassification(config)
    start.place(model)
    if trunk is not None:
        trunk.place(model)
    patience = _patience(early_stopping_patience, recipe, arguments)
    trainer = LengthOrderedTrainer(
        model=model,
        args=arguments,
        train_dataset=splits["train"],
        eval_dataset=splits.get("validation"),
        processing_class=processor,
        compute_metrics=compute_metrics_for(config),
        callbacks=[
            Stopwatch(),
            *([EarlyStoppingCallback(patience)] if patience else []),
            *([GradualUnfreezing()] if gradual_unfreezing else []),
            *start.callbacks,
            *callbacks,
            *averaging,
        ],
    )
    described = {
        **start.description,
        **({} if trunk is None else trunk.description),
        "weight_averaging": weight_averaging,
        "gradual_unfreezing": gradual_unfreezing or None,
        "layerwise_lr_decay": layerwise_lr_decay if layerwise_lr_decay < 1 else None,
    }
    if layerwise_lr_decay < 1:
        decay_learning_rates(trainer, layerwise_lr_decay)
    run = describe_run(config, arguments, fingerprint(splits["train"]), patience=patience, **described)
    train_or_resume(trainer, run, patience, resume)
    metrics, intervals = _finish(trainer, splits, data, seconds_of(trainer), described, card or {})
    if not isinstance(args, TrainingArguments) and "save_total_limit" not in {**(args or {}), **given}:
        remove_checkpoints(Path(output_dir))
    return TrainingResult(Path(output_dir), model, processor, metrics, intervals, data, trainer)


def evaluate_classifier(
    directory: str | Path, data: Any, split: str | None = None, **options: Any
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Measure a saved classifier on labelled data.

    Args:
        directory: Where it was saved, or its name on the hub.
        data: A [`LabelledData`], or whatever [`load_labelled_data`] takes.
        split: Which split; `None`: the test set, or the validation set where there is none.
        **options: Those of [`load_labelled_data`].

    Returns:
        All metrics, and their 95 % intervals.

    Raises:
        ValueError: Labels that are not the model's, or no such split.
    """
    model = RNNForSequenceClassification.from_pretrained(directory)
    config = model.config
    names = [config.id2label[index] for index in range(config.num_labels)]
    if not isinstance(data, LabelledData):
        known: dict[str, Any] = {"problem_type": config.problem_type}
        if config.problem_type != "regression":
            known["label_names"] = names
        data = load_labelled_data(data, **{**known, **options})
    if list(data.label_names) != names:
        raise ValueError(
            f"The labels of the data, {list(data.label_names)}, are not those of the model, {names}. Load the data "
            "with label_names=, in the order of the model."
        )
    split = split or ("test" if "test" in data.splits else "validation")
    if split not in data.splits:
        raise ValueError(f"There is no split {split!r} among {', '.join(map(repr, data.splits))}. Name one of them.")
    kind = AutoTokenizer if data.reads_text else SequenceVectorFeatureExtractor
    processor = kind.from_pretrained(directory)
    arguments = TrainingArguments(
        str(directory),
        per_device_eval_batch_size=EVALUATED_TOGETHER,
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
    )
    trainer = LengthOrderedTrainer(model, arguments, processing_class=processor)
    return measure(config, answer(trainer, split, encode(data.splits[split], processor)))


def _finish(
    trainer: LengthOrderedTrainer,
    splits: Mapping[str, Any],
    data: LabelledData,
    seconds: float,
    described: Mapping[str, Any],
    card: Mapping[str, Any],
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Calibrate on the validation set, measure, and save everything; the figures of the last split are returned."""
    directory, config = Path(str(trainer.args.output_dir)), config_of(trainer)
    measured: tuple[dict[str, float], dict[str, tuple[float, float]]] = ({}, {})
    answers = None
    for name in ("validation", "test"):
        if name not in splits:
            continue
        answers = answer(trainer, name, splits[name])
        if name == "validation":
            fit_calibration(config, answers.logits, answers.labels)
        measured = measure(config, answers)
        prefix = "eval" if name == "validation" else name
        trainer.save_metrics(prefix, {f"{prefix}_{metric}": value for metric, value in measured[0].items()})
    trainer.save_metrics("train", {"train_runtime": seconds, "train_samples": count_rows(splits["train"])})
    trainer.save_model()
    trainer.save_state()
    pictures = draw_pictures(directory, config, answers, trainer.state)
    write_card(trainer, data, answers, measured, seconds, pictures, described, card)
    return measured


def _patience(given: int | None, recipe: Recipe, arguments: TrainingArguments) -> int | None:
    if not arguments.load_best_model_at_end or given == 0:
        return None
    return recipe.patience if given is None else given
