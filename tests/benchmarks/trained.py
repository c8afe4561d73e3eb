"""Real classifiers, trained here by `train_classifier` with nothing chosen but the data, for what is done to them after."""

import atexit
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, DatasetDict
from real_data import Loads

from transformers_rnn import RNNForSequenceClassification
from transformers_rnn.training import train_classifier


@dataclass(frozen=True)
class Trained:
    """A saved classifier and its test set.

    Args:
        name: Of the data and the cell.
        directory: Where it was saved.
        model: In evaluation mode.
        reader: The tokenizer or the feature extractor.
        train: The raw training items and their labels.
        test: The raw test items and their labels.
    """

    name: str
    directory: Path
    model: RNNForSequenceClassification
    reader: Any
    train: tuple[list[Any], list[str]]
    test: tuple[list[Any], list[str]]


@cache  # two sections ask for it
def train_sst2(loads: Loads) -> Trained:
    """SST-2: 6,920 sentences, whole; the official parts."""
    parts = {"train": "train", "validation": "dev", "test": "test"}
    return _train(loads, "SST-2", {name: _sentences(loads, part) for name, part in parts.items()})


def train_vowels(loads: Loads, **choices: Any) -> Trained:
    """Japanese Vowels: 270 utterances, the official test part; a fifth of the training part chooses the epoch."""
    parts = {"train": loads.labelled_vowels("TRAIN"), "test": loads.labelled_vowels("TEST")}
    named = {name: (items, [f"speaker {label + 1}" for label in labels]) for name, (items, labels) in parts.items()}
    choices = {"cell_type": "lstm", **choices}
    return _train(loads, f"Japanese Vowels, {choices['cell_type'].upper()}", named, validation_size=0.2, **choices)


def _train(loads: Loads, name: str, parts: dict[str, tuple[list[Any], list[str]]], **choices: Any) -> Trained:
    directory = Path(tempfile.mkdtemp(dir=_home()))
    kind = "text" if isinstance(parts["train"][0][0], str) else "series"
    data = DatasetDict({part: Dataset.from_dict({kind: rows, "label": ls}) for part, (rows, ls) in parts.items()})
    quick = {"max_steps": 2, "hidden_size": 8} if loads.quick else {}
    with one_thread():
        result = train_classifier(data, directory, disable_tqdm=True, log_level="error", **choices, **quick)
    return Trained(name, directory, result.model, result.processing_class, parts["train"], parts["test"])


@contextmanager
def one_thread() -> Iterator[None]:
    """What is small is trained and timed on one thread of torch."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@cache
def _home() -> str:
    home = tempfile.TemporaryDirectory()
    atexit.register(home.cleanup)
    return home.name


def _sentences(loads: Loads, part: str) -> tuple[list[str], list[str]]:
    text = (loads.data / "sst2" / f"stsa.binary.{part}").read_text(encoding="latin-1")
    rows = [line.split(" ", 1) for line in text.splitlines()]
    return [row[1] for row in rows], ["np"[int(row[0])] for row in rows]


def accuracy(answers: list[dict[str, Any]], labels: list[str]) -> float:
    """The share of right labels, in percent."""
    return float(100 * np.mean([answer["label"] == label for answer, label in zip(answers, labels, strict=True)]))
