"""Labelled data, a recipe and what was chosen instead -> one training, and the directory it leaves."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from transformers import EarlyStoppingCallback, IntervalStrategy, Trainer, TrainingArguments, set_seed

from .bag_fitting import HALF, add_bag, fit_shares, renew_bag
from .calibration import calibration_slopes, fit_calibration
from .checkpoints import (
    Stopwatch,
    describe_run,
    fingerprint,
    remove_checkpoints,
    seconds_of,
    train_or_resume,
)
from .configuration_rnn import RNNConfig
from .embedding_training import EmbeddingStart, settle_start
from .encoding import count_rows, encode, input_fields, learn_processor, make_vectors
from .evaluation import LengthOrderedTrainer, answer, config_of
from .figures import SINGLE
from .label_scale import draw_to_mean
from .labelled_data import LabelledData
from .layerwise_training import GradualUnfreezing, decay_learning_rates
from .logit_adjustment import adjust_logits, check_countable
from .metrics import compute_metrics_for
from .modeling_rnn import RNNForSequenceClassification
from .ngram_votes import NgramVotes, Told, fit_votes
from .pretrained_trunk import PretrainedTrunk, settle_trunk
from .recipe import Recipe
from .run_choices import Choices, loss_fields, ngram_order, training_arguments
from .run_report import draw_pictures, measure, write_card
from .weight_averaging import WeightAveraging

RECOUNTED = (
    "The n-grams were counted anew in training and validation rows together, after the latter had told everything "
    "else; validation figures are from before."
)


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
        slopes: Of regression, fitted on the validation set and part of the weights, see [`calibration_slopes`].
        shares: Of the recurrent layers and of counted n-grams in the answers, see [`fit_shares`].
    """

    directory: Path
    model: RNNForSequenceClassification
    processing_class: Any
    metrics: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    data: LabelledData
    trainer: Trainer
    slopes: Sequence[float] | None = None
    shares: tuple[float, float] | None = None


@dataclass(frozen=True)
class _Counted:
    """N-grams that speak beside the recurrent layers, and how loud both are."""

    votes: NgramVotes
    shares: tuple[float, float]


@dataclass(frozen=True)
class _Start:
    """Where a run starts: what reads the data, and the weights that are not drawn."""

    processor: Any
    config_fields: dict[str, Any]
    embedding: EmbeddingStart
    trunk: PretrainedTrunk | None

    @property
    def description(self) -> dict[str, Any]:
        return {**self.embedding.description, **({} if self.trunk is None else self.trunk.description)}

    def place(self, model: RNNForSequenceClassification) -> None:
        self.embedding.place(model)
        if self.trunk is not None:
            self.trunk.place(model)


def train_once(data: LabelledData, output_dir: Path, recipe: Recipe, choices: Choices) -> TrainingResult:
    """Train a classifier in one run, go on with it where it was killed, and save, measure and describe it.

    Args:
        data: The splits.
        output_dir: The directory.
        recipe: What was not chosen.
        choices: What was.

    Raises:
        ValueError: As [`train_classifier`].
    """
    if choices.logit_adjustment:
        check_countable(f"logit_adjustment={choices.logit_adjustment}", SINGLE, data, "Leave it out.")
    order = ngram_order(data, recipe, choices)
    if order and choices.recount:
        data = data.with_decision(RECOUNTED)
    arguments = _arguments(data, output_dir, recipe, choices)
    start = _start(data, recipe, choices)
    splits = {name: encode(split, start.processor) for name, split in data.splits.items()}
    weights = loss_fields(data, choices.class_weights, choices.pos_weight, arguments, choices.config_fields)
    fields = {**recipe.config, **data.config_fields(), **input_fields(start.processor), **start.config_fields}
    config = RNNConfig(**{**fields, **weights})
    set_seed(arguments.seed)
    model = RNNForSequenceClassification(config)
    start.place(model)
    patience = _patience(choices.early_stopping_patience, arguments, splits["train"])
    averaging = _averaging(recipe, choices)
    trainer = LengthOrderedTrainer(
        model=model,
        args=arguments,
        train_dataset=splits["train"],
        eval_dataset=splits.get("validation"),
        processing_class=start.processor,
        compute_metrics=compute_metrics_for(config),
        callbacks=[
            Stopwatch(),
            *([EarlyStoppingCallback(patience)] if patience else []),
            *([GradualUnfreezing()] if choices.gradual_unfreezing else []),
            *start.embedding.callbacks,
            *choices.callbacks,
            *([] if averaging is None else [WeightAveraging(averaging)]),
        ],
    )
    decay = choices.layerwise_lr_decay if choices.layerwise_lr_decay < 1 else None
    if decay is not None:
        decay_learning_rates(trainer, decay)
    described = {
        **start.description,
        "weight_averaging": averaging,
        "gradual_unfreezing": choices.gradual_unfreezing or None,
        "layerwise_lr_decay": decay,
        "logit_adjustment": choices.logit_adjustment or None,
    }
    run = describe_run(config, arguments, fingerprint(splits["train"]), patience=patience, **described)
    train_or_resume(trainer, run, patience, choices.resume)
    counted, slopes = _settle_answers(trainer, splits, order, choices)
    card = {"calibration": {"slopes": slopes, "fitted_on": "validation"}} if slopes else {}
    former = counted.votes if counted and choices.recount else None
    metrics, intervals = _finish(trainer, splits, data, former, described, {**card, **choices.card})
    if choices.args is None and "save_total_limit" not in choices.arguments:
        remove_checkpoints(output_dir)
    shares = counted.shares if counted else None
    return TrainingResult(output_dir, model, start.processor, metrics, intervals, data, trainer, slopes, shares)


def _arguments(data: LabelledData, output_dir: Path, recipe: Recipe, choices: Choices) -> TrainingArguments:
    if choices.early_stopping_patience:
        recipe = replace(recipe, arguments={**recipe.arguments, "load_best_model_at_end": True})
    if choices.args is None:
        arguments = training_arguments(recipe, choices.arguments, output_dir, "validation" in data.splits)
    else:
        arguments = copy(choices.args)
        arguments.output_dir = str(output_dir)
    if not isinstance(data.splits["train"], Dataset) and arguments.max_steps <= 0:
        raise ValueError("A stream has no known length, so max_steps must say how long to train. Pass it.")
    return arguments


def _start(data: LabelledData, recipe: Recipe, choices: Choices) -> _Start:
    fields, processor, vectors = dict(choices.config_fields), choices.processing_class, choices.pretrained_vectors
    trunk = None
    if choices.pretrained_model is not None:
        vectors = None if isinstance(vectors, str) and vectors == "recipe" else vectors  # it has them
        others = {"processing_class": processor, "processing_options": choices.processing_options or None}
        others |= {"pretrained_vectors": vectors}
        trunk = settle_trunk(choices.pretrained_model, data.feature_size, fields, others)
        fields |= trunk.config_fields
        processor = trunk.processor
    processor = processor or learn_processor(data, recipe, choices.processing_options)
    width = fields.get("input_size")
    made = make_vectors(vectors, data, recipe, width)
    embedding = settle_start(made, choices.embedding_training, processor, width)
    return _Start(processor, fields | embedding.config_fields, embedding, trunk)


def _patience(given: int | None, arguments: TrainingArguments, train: Any) -> int | None:
    """Evaluations without improvement until training stops; half of all, unless it was chosen."""
    if not arguments.load_best_model_at_end or given == 0:
        return None
    return max(3, int(_evaluations(arguments, train)) // 2) if given is None else given


def _evaluations(arguments: TrainingArguments, train: Any) -> float:
    """How many the whole training asks for."""
    batch = arguments.train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    a_pass = ceil(len(train) / batch) if isinstance(train, Dataset) else 0  # a stream has no length, but max_steps
    steps = arguments.max_steps if arguments.max_steps > 0 else arguments.num_train_epochs * a_pass
    if arguments.eval_strategy == IntervalStrategy.STEPS:
        every = arguments.eval_steps or arguments.logging_steps
        return steps / every if every >= 1 else 1 / every  # below 1 it is a share of all steps
    return steps / a_pass if a_pass else arguments.num_train_epochs


def _averaging(recipe: Recipe, choices: Choices) -> Any:
    if choices.weight_averaging != "recipe":
        return choices.weight_averaging
    return recipe.weight_averaging if choices.args is None else None


def _settle_answers(
    trainer: LengthOrderedTrainer, splits: Mapping[str, Any], order: int, choices: Choices
) -> tuple[_Counted | None, Sequence[float] | None]:
    """What the trained head is told before it is calibrated: counted n-grams, and the slopes of a regression."""
    counted = _count_ngrams(trainer, splits, order, choices) if order else None
    if choices.logit_adjustment:
        labels = np.stack(splits["train"].with_format("numpy")["labels"])
        adjust_logits(trainer.model.classifier, labels, choices.logit_adjustment)  # type: ignore[union-attr, arg-type]
    return counted, _settle_slopes(trainer, splits.get("validation"), choices)


def _count_ngrams(trainer: LengthOrderedTrainer, splits: Mapping[str, Any], order: int, choices: Choices) -> _Counted:
    """Let counted n-grams speak beside the recurrent layers, as loudly as the validation set tells."""
    config, shares = config_of(trainer), choices.shares
    votes = _votes_of(config, [splits["train"]], order)
    if shares is None and "validation" in splits:
        answers = answer(trainer, "validation", splits["validation"])
        counted = votes.answer(list(splits["validation"].with_format("numpy")["input_ids"]))
        shares = fit_shares(config, answers.logits, counted, answers.labels)
    shares = shares or (HALF, HALF)
    add_bag(trainer.model, votes, shares)  # type: ignore[arg-type]
    return _Counted(votes, shares)


def _votes_of(
    config: RNNConfig, parts: Sequence[Dataset], order: int, told: Sequence[Told] | None = None
) -> NgramVotes:
    rows = [part.with_format("numpy") for part in parts]
    sequences = [ids for part in rows for ids in part["input_ids"]]
    return fit_votes(config, sequences, np.concatenate([np.stack(part["labels"]) for part in rows]), order, told)


def _settle_slopes(trainer: LengthOrderedTrainer, validation: Any, choices: Choices) -> Sequence[float] | None:
    """Draw the answers of a regression to the mean of the labels, as far as the validation set tells."""
    config, slopes = config_of(trainer), choices.slopes
    if config.label_mean is None:
        return None
    if validation is not None:
        answers = answer(trainer, "validation", validation)
        slopes = calibration_slopes(answers.logits, answers.labels, config.label_mean)
    if slopes is not None:
        draw_to_mean(trainer.model.classifier, slopes)  # type: ignore[union-attr, arg-type]
    return slopes


def _finish(
    trainer: LengthOrderedTrainer,
    splits: Mapping[str, Any],
    data: LabelledData,
    former: NgramVotes | None,
    described: Mapping[str, Any],
    card: Mapping[str, Any],
) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    """Calibrate on the validation set, measure, and save everything; the figures of the last split are returned.

    Once it is measured, votes of n-grams that are given are fitted anew, to its rows, too.
    """
    directory, config, seconds = Path(str(trainer.args.output_dir)), config_of(trainer), seconds_of(trainer)
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
        if name == "validation" and former is not None:
            votes = _votes_of(config, [splits["train"], splits["validation"]], former.order, former.told)
            renew_bag(trainer.model, former, votes)  # type: ignore[arg-type]
    trainer.save_metrics("train", {"train_runtime": seconds, "train_samples": count_rows(splits["train"])})
    trainer.save_model()
    trainer.save_state()
    pictures = draw_pictures(directory, config, answers, trainer.state)
    write_card(trainer, data, answers, measured, seconds, pictures, described, card)
    return measured
