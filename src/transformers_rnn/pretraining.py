"""Sequences without labels -> a saved trunk that a classifier starts from, on the host's own `Trainer`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, exp
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from torch import nn
from transformers import DataCollatorWithPadding, PreTrainedTokenizerBase, Trainer, TrainerCallback, set_seed

from .checkpoints import Stopwatch, describe_run, fingerprint, remove_checkpoints, seconds_of, train_or_resume
from .configuration_rnn import RNNConfig
from .data_files import from_columns
from .embedding_training import settle_start
from .encoding import apart, input_fields, learn_from, make_vectors_from
from .evaluation import LengthOrderedTrainer, config_of
from .feature_extraction_rnn import SequenceVectorFeatureExtractor
from .modeling_pretraining import RNNForPreTraining
from .recipe import Recipe, choose_recipe
from .regularization import NOISE
from .run_choices import sort_choices, training_arguments
from .unlabelled_data import Rows, load_sequences

STEPS = 1_000  # at least; fewer sequences are read several times
PIECE = 200  # tokens, at most
WINDOW = 24  # words; which come near tells what a passage is about
RATE = 6e-3  # of learning windows of words; with less, one pass ends before they are learned
TOGETHER = 1_000  # texts that are tokenized at once
PREDICTED = 8_192  # of the commonest tokens; scores of more cost time, and each of them comes too rarely to teach much
COMMON = 2e-4  # of all tokens; what comes oftener tells less, and counts less in a window


@dataclass(frozen=True)
class PretrainingResult:
    """What [`pretrain`] returns.

    Args:
        directory: The saved directory.
        model: The model, in evaluation mode.
        processing_class: Its tokenizer or feature extractor.
        metrics: Of the validation set: `loss` and, where single tokens are predicted, `perplexity`; empty without one.
        trainer: The host's trainer.
    """

    directory: Path
    model: RNNForPreTraining
    processing_class: Any
    metrics: dict[str, float]
    trainer: Trainer


def pretrain(
    data: Any,
    output_dir: str | Path,
    *,
    column: str | None = None,
    validation_size: float | None = 0.02,
    args: Mapping[str, Any] | None = None,
    processing_class: Any = None,
    processing_options: Mapping[str, Any] | None = None,
    pretrained_vectors: Any = "recipe",
    callbacks: Sequence[TrainerCallback] = (),
    resume: bool = True,
    **choices: Any,
) -> PretrainingResult:
    """Train the layers below a classifier on sequences without labels, to start one from.

    The model predicts the next step of each text or series and, with two directions, the previous one, see
    [`RNNForPreTraining`] (Dai & Le, 2015; Howard & Ruder, 2018); of texts of words, which of the 8,192 commonest are
    among the next and the previous 24 (`prediction_vocab_size`, `prediction_window`; Johnson & Zhang, 2016), where a
    word counts as much less as it is commoner than one in 5,000, by the root. Texts are cut into pieces of 200 tokens,
    series into such of the feature extractor's `max_length`; pieces of a single step are left out.
    `train_classifier(data, ..., pretrained_model=output_dir)` goes on from what is saved here.

    Whatever is left open is chosen as for a classifier of as much data (see [`choose_recipe`]), one layer in both
    directions, but for less dropout, as many passes as make 1,000 steps and, for windows of words, three times the
    learning rate. Killed and called again, it goes on from the last whole checkpoint: one an epoch, or
    `save_strategy="steps"`.

    Args:
        data: A list of texts or of (T_i, F) arrays, a file, a table, or whatever else [`load_sequences`] takes.
        output_dir: The directory.
        column: Which column of a table holds the sequences; `None`: found.
        validation_size: Share or number of sequences whose loss is measured and that are not trained on.
        args: Arguments of the host's `TrainingArguments`.
        processing_class: A tokenizer or feature extractor to use; `None`: one is learned from the training set.
        processing_options: Arguments for what learns it, `train_tokenizer` or [`SequenceVectorFeatureExtractor`].
        pretrained_vectors: What the embedding starts from, as `train_classifier` takes it.
        callbacks: Further callbacks of the host.
        resume: Whether to go on from checkpoints in `output_dir`; `False` removes them.
        **choices: By name, any field of [`RNNConfig`] or argument of the host's `TrainingArguments`.

    Raises:
        TypeError: A name that is none of these.
        ValueError: Data, fields or arguments that do not fit; two directions in several layers; checkpoints of another
            run in `output_dir`.
    """
    _, config_fields, given = sort_choices(choices, True, caller="pretrain")
    given = {**(args or {}), **given}
    rows = load_sequences(data, column, validation_size, given.get("seed", 42))
    recipe = _recipe_for(rows, config_fields.get("prediction_window"))
    processor = processing_class or learn_from(rows["train"], _feature_size(rows["train"]), recipe, processing_options)
    splits = {name: _pieces(part, processor) for name, part in rows.items()}
    if not len(splits["train"]):
        raise ValueError("No training sequence has two steps, so there is nothing to predict. Give longer ones.")
    splits = {name: split for name, split in splits.items() if len(split)}
    schedule = _schedule(recipe, len(splits["train"]), given)
    arguments = training_arguments(schedule, given, output_dir, "validation" in splits)
    width = config_fields.get("input_size")
    texts = cast(list[str], rows["train"]) if _are_texts(rows["train"]) else None
    vectors = make_vectors_from(texts, pretrained_vectors, recipe, width)
    embedding = settle_start(vectors, "tuned", processor, width)
    fields = {**recipe.config, **input_fields(processor), **embedding.config_fields, **config_fields}
    config = RNNConfig(**{**_predicted(fields), **fields})
    set_seed(arguments.seed)
    model = RNNForPreTraining(config)
    embedding.place(model)
    collator = None
    if config.reads_tokens and config.prediction_window > 1:
        collator = _RareWordsCollator(processor, splits["train"]["input_ids"])
        collator.start(model)
    trainer = LengthOrderedTrainer(
        model=model,
        args=arguments,
        train_dataset=splits["train"],
        eval_dataset=splits.get("validation"),
        processing_class=processor,
        data_collator=collator,
        callbacks=[Stopwatch(), *callbacks],
    )
    run = describe_run(config, arguments, fingerprint(splits["train"]), **embedding.description)
    train_or_resume(trainer, run, None, resume)
    metrics = _measure(trainer) if "validation" in splits else {}
    trainer.save_metrics("train", {"train_runtime": seconds_of(trainer), "train_samples": len(splits["train"])})
    trainer.save_model()
    trainer.save_state()
    if "save_total_limit" not in given:
        remove_checkpoints(Path(output_dir))
    return PretrainingResult(Path(output_dir), model.eval(), processor, metrics, trainer)


class _RareWordsCollator:
    """Pads a batch, and says how much each token counts where it is predicted: common ones less, unknown ones not."""

    def __init__(self, tokenizer: Any, pieces: Any) -> None:
        counts = np.bincount(np.concatenate(list(pieces)), minlength=len(tokenizer))
        self.counts = torch.from_numpy(counts).float()
        self.weights = (COMMON * counts.sum() / self.counts.clamp(min=1)).sqrt().clamp(max=1)
        if tokenizer.unk_token_id is not None:
            self.weights[tokenizer.unk_token_id] = 0
        self.pad = DataCollatorWithPadding(tokenizer)

    def start(self, model: RNNForPreTraining) -> None:
        """Let the model know how often each token comes, before it has seen a text."""
        shares = (self.counts * self.weights)[: model.config.prediction_size].clamp(min=1)
        with torch.no_grad():
            for head in cast(Iterable[nn.Linear], model.heads):
                head.bias.copy_((shares / shares.sum()).log())

    def __call__(self, rows: list[dict[str, Any]]) -> Any:
        batch = self.pad(rows)
        batch["step_weights"] = self.weights[batch["input_ids"]]
        return batch


def _recipe_for(rows: Mapping[str, Rows], window: int | None) -> Recipe:
    train = rows["train"]
    seen = train[:: apart(len(train))]
    recipe = choose_recipe(
        len(train),
        len(rows.get("validation", ())),
        "single_label_classification",
        texts=[row for row in seen if isinstance(row, str)] if _are_texts(train) else None,
        lengths=[] if _are_texts(train) else [len(row) for row in seen],
        feature_size=_feature_size(train) or 1,
    )
    none = {name: type(value)() for name, value in recipe.config.items() if name in NOISE}
    config = {**recipe.config, **none, "embedding_dropout": 0.1}
    if recipe.tokenizer.get("level") != "word" or window == 1:
        return replace(recipe, config=config)
    arguments = {**recipe.arguments, "learning_rate": RATE}
    return replace(recipe, config={**config, "prediction_window": WINDOW}, arguments=arguments)


def _predicted(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Which tokens a window is asked for: tokenizers number the commonest first."""
    asked = fields.get("prediction_window", 1) > 1 and fields.get("pad_token_id", PREDICTED) < PREDICTED
    return {"prediction_vocab_size": min(PREDICTED, fields["vocab_size"])} if asked else {}


def _schedule(recipe: Recipe, pieces: int, given: Mapping[str, Any]) -> Recipe:
    """The recipe's arguments for so many pieces."""
    judged = ("metric_for_best_model", "greater_is_better")
    arguments = {name: value for name, value in recipe.arguments.items() if name not in judged}
    steps = ceil(pieces / given.get("per_device_train_batch_size", arguments["per_device_train_batch_size"]))
    arguments |= {
        "num_train_epochs": ceil(STEPS / steps),
        "load_best_model_at_end": False,
        "prediction_loss_only": True,
    }
    return replace(recipe, arguments=arguments)


def _pieces(rows: Rows, processor: Any) -> Dataset:
    """What the model reads, in pieces of at least two steps."""
    name = processor.model_input_names[0]
    read = _pieces_of_texts if isinstance(processor, PreTrainedTokenizerBase) else _pieces_of_vectors
    pieces = [piece for piece in read(rows, processor) if len(piece) > 1]
    return from_columns({name: pieces}).with_format("numpy" if name == "input_features" else None)


def _pieces_of_texts(texts: Any, tokenizer: Any) -> Iterator[NDArray[np.int32]]:
    longest = min(PIECE, tokenizer.model_max_length)
    for start in range(0, len(texts), TOGETHER):
        for ids in tokenizer(texts[start : start + TOGETHER], verbose=False)["input_ids"]:
            yield from np.split(np.array(ids, np.int32), range(longest, len(ids), longest))


def _pieces_of_vectors(arrays: Any, extractor: SequenceVectorFeatureExtractor) -> Iterator[NDArray[np.float32]]:
    for array in arrays:
        (scaled,) = extractor([array], truncation=False)["input_features"]
        longest = -(-extractor.max_length // extractor.stride) if extractor.max_length else len(scaled)
        yield from np.split(scaled, range(longest, len(scaled), longest))


def _measure(trainer: Trainer) -> dict[str, float]:
    metrics = {"loss": trainer.evaluate()["eval_loss"]}
    config = config_of(trainer)
    if config.reads_tokens and config.prediction_window == 1:
        metrics["perplexity"] = exp(metrics["loss"])
    trainer.save_metrics("eval", {f"eval_{name}": value for name, value in metrics.items()})
    return metrics


def _are_texts(rows: Rows) -> bool:
    return _feature_size(rows) is None


def _feature_size(rows: Rows) -> int | None:
    """F; `None` for texts."""
    return None if isinstance(rows[0], str) else int(rows[0].shape[1])
