"""The three real loads: long text, short text, vectors; read from a folder, each when it is asked for."""

import gzip
import json
import random
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from loads import Load

from transformers_rnn import SequenceVectorFeatureExtractor, train_tokenizer


class Loads:
    """The loads, each read when it is asked for.

    Args:
        data: The folder with imdb/, sst2/ and aeon_ts/.
        quick: Tiny sizes, to see that everything works.
    """

    def __init__(self, data: Path, quick: bool = False) -> None:
        self.data = data
        self.quick = quick
        self.rounds = 1 if quick else 5

    @cached_property
    def long(self) -> Load:
        """IMDb reviews, 256 tokens, two layers in both directions."""
        (texts, labels), (test_texts, _) = (self._imdb(part) for part in ("train", "test"))
        tokenizer = train_tokenizer(texts, min_frequency=2, max_length=32 if self.quick else 256)
        sizes = self._sizes(input_size=300, hidden_size=256)
        return Load("IMDb", tokenizer, texts, test_texts, labels, **sizes, num_layers=2, bidirectional=True)

    @cached_property
    def short(self) -> Load:
        """SST-2 sentences, one layer."""
        (texts, labels), (test_texts, _) = (self._sst2(part) for part in ("train", "test"))
        tokenizer = train_tokenizer(texts, max_length=128)
        return Load("SST-2", tokenizer, texts, test_texts, labels, **self._sizes(input_size=128, hidden_size=128))

    @cached_property
    def vectors(self) -> Load:
        """Japanese Vowels, 7 to 29 steps of 12 numbers, one layer."""
        (series, labels), (test_series, _) = (self.labelled_vowels(part) for part in ("TRAIN", "TEST"))
        extractor = SequenceVectorFeatureExtractor(feature_size=12).fit(series)
        sizes = self._sizes(input_size=12, hidden_size=64)
        return Load("Japanese Vowels", extractor, series, test_series, labels, **(sizes | {"input_size": 12}))

    @property
    def all(self) -> list[Load]:
        """The three."""
        return [self.long, self.short, self.vectors]

    def _sizes(self, **sizes: int) -> dict[str, int]:
        return {"input_size": 16, "hidden_size": 16, "batch_size": 8} if self.quick else sizes

    def _some(self, rows: list[tuple[Any, int]]) -> tuple[list[Any], list[int]]:
        random.Random(0).shuffle(rows)
        rows = rows[:200] if self.quick else rows
        return [raw for raw, _ in rows], [label for _, label in rows]

    def _imdb(self, part: str) -> tuple[list[str], list[int]]:
        with gzip.open(self.data / "imdb" / f"{part}.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        return self._some([(row["text"], row["label"]) for row in rows])

    def _sst2(self, part: str) -> tuple[list[str], list[int]]:
        text = (self.data / "sst2" / f"stsa.binary.{part}").read_text(encoding="latin-1")
        return self._some([(line[2:], int(line[0])) for line in text.split("\n") if line])

    def labelled_vowels(self, part: str) -> tuple[list[Any], list[int]]:
        """The series (T_i, 12) of a part and the numbers of their speakers, shuffled."""
        text = (self.data / "aeon_ts" / "JapaneseVowels" / f"JapaneseVowels_{part}.ts").read_text()
        lines = text.partition("@data")[2].split()
        cases = [line.rsplit(":", 1) for line in lines]
        series = [
            np.array([[float(value) for value in channel.split(",")] for channel in channels.split(":")]).T
            for channels, _ in cases
        ]
        return self._some([(one, int(label) - 1) for one, (_, label) in zip(series, cases, strict=True)])
