"""A teacher, and rows with and without labels -> training rows whose labels are partly its answers."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from datasets import ClassLabel, Dataset, Features, List, Value
from numpy.typing import NDArray
from transformers import pipeline
from transformers.utils import logging

from .configuration_rnn import RNNConfig
from .label_encoding import REGRESSION, SINGLE
from .labelled_data import LabelledData
from .unlabelled_data import load_sequences

Teacher: TypeAlias = str | Path | Callable[[list[Any]], Any]
BATCH = 32  # sequences that a model of the host answers together
EXCHANGED, CUT, JOINED = 0.25, 0.25, 0.2  # of the words; of the altered texts


def distil(
    data: LabelledData,
    teacher: Teacher,
    *,
    unlabelled: Any = None,
    altered_copies: int = 0,
    label_share: float = 0.5,
    seed: int = 42,
) -> LabelledData:
    """Let a larger model teach: its answers join the labels of the training set (Hinton et al., 2015).

    `train_classifier(distil(data, "directory of a classifier"), "small")` learns from both. Sequences without a label
    are welcome: there, the answers are the labels.

    Args:
        data: Labelled data; its validation and test sets stay as they are.
        teacher: Directory or name of a classifier of the host, or of ours, with the labels of the data; or a function
            from a list of texts, or of arrays (T_i, F), to a table (B, L): probabilities in the order of
            `data.label_names`, or for a regression the targets.
        unlabelled: Further sequences, in a list, a file, or whatever else [`load_sequences`] takes.
        altered_copies: How many times each training text is answered once more with a quarter of its words exchanged
            for words of other training texts, and some cut or joined (after Tang et al., 2019, "Distilling
            task-specific knowledge from BERT into simple neural networks").
        label_share: Share of the data's own labels where there are some, from 0 to 1; the rest are the answers.
        seed: Decides what is altered.

    Returns:
        The data with a training set whose labels are tables (B, L).

    Raises:
        TypeError: Unlabelled sequences of another kind than the data, or of another width.
        ValueError: A stream, pairs of texts, labels that are a teacher's already, altered copies of vectors, a number
            out of its range; a teacher of other labels, or answers of another shape or range.
    """
    _check(data, altered_copies, label_share)
    train = data.splits["train"]
    column = "text" if data.reads_text else "input_features"
    known = list(train["text"] if data.reads_text else train.with_format("numpy")["input_features"])
    further = [] if unlabelled is None else _load_further(unlabelled, data)
    altered = _alter(known, altered_copies, np.random.default_rng(seed)) if altered_copies else []
    rows = [*known, *further, *altered]
    labels = _answers(teacher, rows, data)
    labels[: len(known)] = label_share * label_table(train, data) + (1 - label_share) * labels[: len(known)]
    features = Features({column: train.features[column], "labels": List(Value("float32"), length=labels.shape[1])})
    table = Dataset.from_dict({column: rows, "labels": labels.astype(np.float32)}, features)
    name = Path(teacher).name if isinstance(teacher, str | Path) else getattr(teacher, "__name__", "a function")
    said = (
        f"Of the labels of the {len(known)} training rows, {1 - label_share:.0%} are the answers of {name}, "
        f"which also answered {len(further)} sequences without a label and {len(altered)} altered texts."
    )
    sizes = {**data.report.rows, "train": len(rows)}
    report = replace(data.report, rows=sizes, decisions=(*data.report.decisions, said))
    splits = {**data.splits, "train": table if data.reads_text else table.with_format("numpy")}
    return replace(data, splits=splits, report=report)


def label_table(split: Dataset, data: LabelledData) -> NDArray[np.float64]:
    """The labels of a split's rows as a table (B, L), as a teacher answers."""
    own = np.asarray(split.with_format("numpy")["labels"])
    return np.eye(len(data.label_names))[own] if data.problem_type == SINGLE else own.reshape(len(own), -1)


def _check(data: LabelledData, altered_copies: int, label_share: float) -> None:
    train = data.splits["train"]
    if not isinstance(train, Dataset):
        raise ValueError("A teacher answers a table, but the data is a stream. Pass a table of a part of it.")
    if "text_pair" in train.column_names:
        raise ValueError("A teacher answers single texts or vectors, but the data is pairs of texts.")
    if data.problem_type == SINGLE and not isinstance(train.features["labels"], ClassLabel):
        raise ValueError("The training labels are the answers of a teacher already. Pass the data as it was loaded.")
    if not 0 <= label_share <= 1:
        raise ValueError(f"label_share must be from 0 to 1, got {label_share}.")
    if altered_copies < 0 or (altered_copies and not data.reads_text):
        raise ValueError(
            f"altered_copies must be at least 0, and 0 for vectors, got {altered_copies}. Vectors are varied in "
            "training, by input_noise and its kin."
        )


def _load_further(source: Any, data: LabelledData) -> list[Any]:
    rows: list[Any] = list(load_sequences(source)["train"])
    came = "texts" if isinstance(rows[0], str) else f"vectors of {rows[0].shape[1]} numbers"
    wanted = "texts" if data.reads_text else f"vectors of {data.feature_size} numbers"
    if came != wanted:
        raise TypeError(f"The data is {wanted}, but the unlabelled sequences are {came}. Give the same kind.")
    return rows


def _alter(texts: Sequence[str], copies: int, generator: np.random.Generator) -> list[str]:
    """Texts that nobody wrote, near those that somebody did: what a teacher says of them is news to a student."""
    split = [text.split() for text in texts]
    every = np.array([word for words in split for word in words] or [""])
    altered = []
    for _ in range(copies):
        for words in split:
            drawn = generator.choice(every, len(words))
            exchanged = generator.random(len(words)) < EXCHANGED
            mixed = [str(new) if is_new else old for old, new, is_new in zip(words, drawn, exchanged, strict=True)]
            fate, other = generator.random(), split[generator.integers(len(split))]
            if fate < CUT and mixed:
                length = generator.integers((len(mixed) + 1) // 2, len(mixed) + 1)
                begin = generator.integers(len(mixed) - length + 1)
                mixed = mixed[begin : begin + length]
            elif fate < CUT + JOINED and mixed and other:
                mixed = mixed[: generator.integers(1, len(mixed) + 1)] + other[generator.integers(len(other)) :]
            altered.append(" ".join(mixed))
    return altered


def _answers(teacher: Teacher, rows: list[Any], data: LabelledData) -> NDArray[np.float64]:
    """The teacher's table (B, L) for the rows."""
    asked = _ask_classifier(teacher, rows, data) if isinstance(teacher, str | Path) else teacher(rows)
    answers, shape = np.array(asked, np.float64), (len(rows), len(data.label_names))
    fits = answers.shape == shape and bool(np.isfinite(answers).all())
    if fits and data.problem_type != REGRESSION:
        fits = bool(((answers >= 0) & (answers <= 1)).all())
    if fits and data.problem_type == SINGLE:
        fits = bool((np.abs(answers.sum(axis=1) - 1) < 1e-2).all())
    if not fits:
        kinds = {SINGLE: "probabilities with a sum of 1 in each row", REGRESSION: "finite numbers"}
        found = f" from {answers.min():.3g} to {answers.max():.3g}" if answers.size else ""
        raise ValueError(
            f"The teacher must answer a table (B, L) = {shape} of {kinds.get(data.problem_type, 'probabilities')}, "
            f"got {answers.shape}{found}."
        )
    return answers


def _ask_classifier(name: str | Path, rows: list[Any], data: LabelledData) -> NDArray[np.float64]:
    """Ask a saved classifier by its pipeline, long sequences first."""
    function = {SINGLE: "softmax", REGRESSION: "none"}.get(data.problem_type, "sigmoid")
    choices: dict[str, Any] = {"top_k": None, "function_to_apply": function, "batch_size": BATCH}
    task: Any = "text-classification" if data.reads_text else "sequence-classification"
    ask = pipeline(task, model=str(name), **choices)
    config = ask.model.config
    names = [config.id2label[index] for index in range(config.num_labels)]
    if sorted(names) != sorted(data.label_names):
        raise ValueError(
            f"The labels of the teacher, {names}, are not those of the data, {list(data.label_names)}. Name them "
            "alike in id2label and label2id of its config."
        )
    options: dict[str, Any] = {"truncation": True} if data.reads_text else {}
    if config.model_type == RNNConfig.model_type:
        options["abstain_below"] = None
    order = np.argsort([-len(row) for row in rows], kind="stable")
    place = {label: index for index, label in enumerate(data.label_names)}
    table = np.empty((len(rows), len(names)))
    answers = ask((rows[index] for index in order), **options)
    for row, answer in zip(order, logging.tqdm(answers, desc="Asking the teacher", total=len(rows)), strict=True):
        for item in answer:
            table[row, place[item["label"]]] = item["score"]
    return table
