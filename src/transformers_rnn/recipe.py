"""The choices that were left open, made from the training data: a recipe that needs no tuning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np

from .text_kind import TextKind, kind_of, telling_order

LONGEST = 1000  # tokens or steps; back-propagation through more costs much and teaches little
EVALUATED_TOGETHER = 32  # rows; sorted by length, a larger batch of a small set computes more padding than it saves
TELLING, TELLING_LONG = 100_000, 10_000  # words; in fewer, which stand near each other says little; in long texts more
LONG_TEXT = 100  # words in the mean
TOPICAL = 50  # words; so near each other they belong to one topic, of which few words tell more than of usage
STEPS = 1_200  # of training, at least
STEPS_PER_LABEL = 60
MOST_EPOCHS = 100
STEPS_APART = 75  # steps that a series is shortened to, about: of more, each with little in it, GRUs learn little
WIDEST = 512  # numbers that are joined to one step, unless a step has more; or their changes added
FEW = 250  # validation rows; fewer cannot tell epochs apart: the end of the run is kept, and they are trained on
MANY_LONG_TEXTS = 8_000  # training rows; of so many, wider states learn more than they cost
FEW_TEXTS, FEW_LONG_TEXTS = 2_000, 1_000  # training rows; of so few, the last and the largest states learn noise


@dataclass(frozen=True)
class Recipe:
    """Choices of a run.

    Args:
        tokenizer: Arguments of `train_tokenizer`; empty for vectors.
        stride: k, steps of vectors that the model reads as one.
        deltas: Whether it reads their changes, too.
        max_length: T at which sequences are truncated; `None`: never.
        pretrained_vectors: What the embedding starts from: `"texts"` or `None`.
        window: How far apart words are neighbours in these texts.
        weight_averaging: Decay of the moving average of the weights that is kept.
        ngram_order: The longest n-gram that is counted beside the recurrent layers, 0 if none is.
        config: Fields of [`RNNConfig`].
        arguments: Fields of the host's `TrainingArguments`.
    """

    config: dict[str, Any]
    arguments: dict[str, Any]
    tokenizer: dict[str, Any] = field(default_factory=dict)
    stride: int = 1
    deltas: bool = False
    max_length: int | None = None
    pretrained_vectors: str | None = None
    window: int = 5
    weight_averaging: float = 0.998
    ngram_order: int = 0


def choose_recipe(
    num_train: int | None,
    num_validation: int | None,
    problem_type: str,
    texts: Sequence[str] | None = None,
    lengths: Sequence[int] = (),
    feature_size: int = 1,
    num_labels: int = 1,
) -> Recipe:
    """Choose a tokenizer, sizes, regularisation and schedule from the size and kind of the data.

    A bidirectional LSTM for texts, a GRU for vectors and for long texts, whose states are pooled, with dropout on what
    it reads and on what is classified; beside it the n-grams of texts are counted, long ones of few symbols. Where the
    training texts have words enough, these start from their neighbourhoods; in long texts they are now and then left
    out. Of few texts the states are averaged; where these are short, words are wider, and some of them unknown; where
    they are long and very few, neighbours are farther apart; of many long ones, states are wider. Texts without
    spaces, and those with far more rare words than usual, are read by characters, and learned faster. Vectors are read
    with their changes from step to step, and of a long series some steps as one. AdamW with a short warm-up and a
    linear decay, and the average of the weights on the way; more passes over less data, stopped early where the
    validation set is large enough to tell.

    The numbers were settled on the validation sets of SMS Spam, TREC, SST-2, BBC News, surnames, VADER, GoEmotions and
    Japanese Vowels, and on parts held out of the training sets of IMDb, 20 Newsgroups, Reuters-8, election tweets,
    given names, Chinese reviews, languages of an interface, ArrowHead, GunPoint, OSULeaf, ACSF1, PickupGestureWiimoteZ
    and ItalyPowerDemand.

    Args:
        num_train: Training sequences; `None` for a stream, which is taken for large.
        num_validation: Validation sequences; `None` or 0 if there are none.
        problem_type: The host's name of the problem.
        texts: Some training texts, for a model of tokens.
        lengths: T_i of some training sequences, for a model of vectors.
        feature_size: F of these.
        num_labels: L; many labels with few rows each take more passes.
    """
    rows = 100_000 if num_train is None else num_train
    batch_size = 8 if rows < 400 else 16 if rows < 2_000 else 32 if rows < 20_000 else 64
    kind: TextKind | None = None
    if texts is None:
        chosen = _for_vectors(lengths, feature_size)
    else:
        kind = kind_of(texts)
        chosen = _for_texts(texts, kind, rows, problem_type)
    fewest = 15 if kind == "letters" else _fewest_epochs(problem_type)  # letters tell little each
    steps = max(STEPS, STEPS_PER_LABEL * num_labels)
    epochs = min(MOST_EPOCHS, max(fewest, ceil(steps / ceil(rows / batch_size))))
    chosen["config"] = {"bidirectional": True, "pooling": "concat", "classifier_dropout": 0.5, **chosen["config"]}
    arguments = {
        "learning_rate": 6e-3 if kind == "characters" else 2e-3,
        "lr_scheduler_type": "linear",
        "warmup_steps": 0.05,  # of all steps
        "max_grad_norm": 1.0,
        "weight_decay": 0.01,
        "num_train_epochs": epochs,
        "per_device_train_batch_size": batch_size,
        "per_device_eval_batch_size": EVALUATED_TOGETHER,
        "train_sampling_strategy": "group_by_length",
        "logging_strategy": "epoch",
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "save_total_limit": 1,
        "load_best_model_at_end": (num_validation or 0) >= FEW,
        **_judged_by(problem_type, num_validation or 0),
    }
    return Recipe(arguments=arguments, **chosen)


def _for_texts(texts: Sequence[str], kind: TextKind, rows: int, problem_type: str) -> dict[str, Any]:
    width = 64 if rows < FEW_TEXTS else 128 if rows < 100_000 else 256
    config: dict[str, Any] = {"cell_type": "lstm", "hidden_size": width, "embedding_dropout": 0.5, "input_size": width}
    tokenizer, mean = _choose_tokenizer(kind, rows), _mean_words(texts)
    words, are_long = rows * mean, mean >= LONG_TEXT
    chosen: dict[str, Any] = {"config": config, "tokenizer": tokenizer, "max_length": LONGEST}
    chosen["ngram_order"] = telling_order(texts, kind, rows)
    if kind != "words":
        if kind == "letters":
            config |= {"input_size": 64, "hidden_size": 2 * width, "embedding_dropout": 0.2}
            config |= {} if problem_type == "regression" else {"label_smoothing": 0.1}
        return chosen
    if rows < (FEW_LONG_TEXTS if are_long else FEW_TEXTS):
        config |= {"pooling": "mean"}
    if words >= (TELLING_LONG if are_long else TELLING):
        chosen |= {"pretrained_vectors": "texts"} | ({"window": TOPICAL} if words < TELLING else {})
        if are_long:
            config |= {"cell_type": "gru", "hidden_size": 256 if rows >= MANY_LONG_TEXTS else width}
            config |= {"variational_dropout": True, "vocabulary_dropout": 0.3}
    elif rows < FEW_TEXTS:  # many words of new texts are unknown, and each known one has to tell much
        config |= {"input_size": 256, "hidden_size": 128, "token_dropout": 0.2}
        tokenizer |= {"min_frequency": 1}
    return chosen


def _for_vectors(lengths: Sequence[int], feature_size: int) -> dict[str, Any]:
    config = {"cell_type": "gru", "hidden_size": 128, "embedding_dropout": 0.2, "input_noise": 0.1}
    apart = round(float(np.median(lengths)) / STEPS_APART) if len(lengths) else 1
    stride = max(1, min(apart, WIDEST // feature_size))
    cut = LONGEST * stride if max(lengths, default=0) > LONGEST * stride else None
    return {"config": config, "stride": stride, "deltas": 2 * feature_size <= WIDEST, "max_length": cut}


def _fewest_epochs(problem_type: str) -> int:
    """Passes over data that is large: of several labels most are rare."""
    return 10 if problem_type == "multi_label_classification" else 5


def _judged_by(problem_type: str, num_validation: int) -> dict[str, Any]:
    """How epochs are compared: by a figure that sees every label, where there are rows enough; else by the loss.

    For several labels this is the mean average precision: it needs no thresholds, which are fitted after training.
    """
    figure = {"single_label_classification": "macro_f1", "multi_label_classification": "mean_average_precision"}
    if problem_type in figure and num_validation >= FEW:
        return {"metric_for_best_model": figure[problem_type], "greater_is_better": True}
    return {"metric_for_best_model": "loss", "greater_is_better": False}


def _choose_tokenizer(kind: TextKind, rows: int) -> dict[str, Any]:
    if kind != "words":
        return {"level": "char", "lowercase": False, "min_frequency": 1, "vocab_size": 5_000}
    # A word must come twice, so that [UNK] is met in training as well; few texts have no word to lose.
    return {"level": "word", "lowercase": True, "min_frequency": 2 if rows >= 200 else 1, "vocab_size": 30_000}


def _mean_words(texts: Sequence[str]) -> float:
    return sum(len(text.split()) for text in texts) / max(1, len(texts))


def settle_strategies(arguments: Mapping[str, Any], given: Mapping[str, Any], validates: bool) -> dict[str, Any]:
    """Join the recipe's arguments and those given, so that they do not contradict each other.

    What is given stands; evaluation and checkpoints follow each other, as the host's best model needs; without a
    validation set nothing is evaluated. Checkpoints within an epoch go with random order: only its generator, and not
    that of the host's grouping by length, is renewed from its seed when a run goes on.
    """
    joined = {**arguments, **given}
    for one, other in (("eval", "save"), ("save", "eval")):
        if f"{one}_strategy" in given and f"{other}_strategy" not in given:
            joined[f"{other}_strategy"] = given[f"{one}_strategy"]
        if f"{one}_steps" in given and f"{other}_steps" not in given:
            joined[f"{other}_steps"] = given[f"{one}_steps"]
    if not validates:
        joined["eval_strategy"] = "no"
    if "no" in (str(joined["eval_strategy"]), str(joined["save_strategy"])):
        joined["load_best_model_at_end"] = given.get("load_best_model_at_end", False)
        if not validates:
            joined = {name: value for name, value in joined.items() if name != "metric_for_best_model"}
    if joined["save_strategy"] == "steps" and "train_sampling_strategy" not in given:
        joined["train_sampling_strategy"] = "random"
    if "metric_for_best_model" in given and "greater_is_better" not in given:
        joined.pop("greater_is_better", None)  # the host knows losses from scores
    return joined
