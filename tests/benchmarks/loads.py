"""A load: real sequences, the sizes of the model that reads them, and their batches."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.trainer_pt_utils import get_length_grouped_indices

from transformers_rnn import SequenceVectorFeatureExtractor

WINDOW = 50  # batches: the host sorts by length inside windows of so many


@dataclass(frozen=True)
class Batch:
    """A padded batch: ids (B, T) or vectors (B, T, F), lengths (B,), labels (B,)."""

    sequences: Tensor
    lengths: Tensor
    labels: Tensor

    def inputs(self) -> dict[str, Tensor]:
        """As our models take them, with the mask (B, T)."""
        name = "input_ids" if self.sequences.ndim == 2 else "input_features"
        mask = (torch.arange(self.sequences.shape[1]) < self.lengths[:, None]).long()
        return {name: self.sequences, "attention_mask": mask}

    def cut(self, steps: int) -> "Batch":
        """Only the first steps, for warming up."""
        return Batch(self.sequences[:, :steps], self.lengths.clamp(max=steps), self.labels)


@dataclass(frozen=True)
class Load:
    """Real sequences and the sizes of the model that reads them.

    Args:
        name: Of the data.
        reader: The tokenizer or the feature extractor.
        raw: The texts or arrays (T_i, F) of the training set.
        raw_test: Those of the test set.
        labels: Of the training set.
        input_size: F.
        hidden_size: H.
        num_layers: Stacked recurrent layers.
        bidirectional: Both directions.
        batch_size: B.
    """

    name: str
    reader: Any
    raw: list[Any]
    raw_test: list[Any]
    labels: list[int]
    input_size: int
    hidden_size: int
    num_layers: int = 1
    bidirectional: bool = False
    batch_size: int = 32

    @property
    def vocab_size(self) -> int | None:
        """V, or `None` for vectors."""
        return None if self.is_vectors else len(self.reader)

    @property
    def pad_token_id(self) -> int | None:
        """The id of padding, or `None` for vectors."""
        return None if self.is_vectors else self.reader.pad_token_id

    @property
    def is_vectors(self) -> bool:
        """Whether the sequences are vectors."""
        return isinstance(self.reader, SequenceVectorFeatureExtractor)

    @property
    def num_labels(self) -> int:
        """L."""
        return max(self.labels) + 1

    @property
    def model(self) -> str:
        """The model in words."""
        directions = ", both directions" if self.bidirectional else ""
        return f"{self.num_layers} layer{'s' if self.num_layers > 1 else ''}{directions}, H {self.hidden_size}"

    @cached_property
    def sequences(self) -> list[Any]:
        """The training set as the model reads it: lists of ids or arrays (T_i, F)."""
        return self.read(self.raw)

    def read(self, raw: list[Any]) -> list[Any]:
        """Texts -> ids, arrays -> scaled arrays."""
        name = "input_features" if self.is_vectors else "input_ids"
        options = {} if self.is_vectors else {"truncation": True}
        return list(self.reader(raw, **options)[name])

    @cached_property
    def random_batches(self) -> list[list[int]]:
        """The sequences of one window in random order: indices of full batches."""
        window = sorted(index for batch in self.grouped_batches for index in batch)
        random.Random(0).shuffle(window)
        return _cut(window, self.batch_size)

    @property
    def grouped_batches(self) -> list[list[int]]:
        """The first window of an epoch."""
        return self.epoch[:WINDOW]

    @cached_property
    def epoch(self) -> list[list[int]]:
        """The training set in the order of the host's `group_by_length`: indices of full batches."""
        lengths = [len(sequence) for sequence in self.sequences]
        indices = get_length_grouped_indices(lengths, self.batch_size, generator=torch.Generator().manual_seed(0))
        return _cut(indices, self.batch_size)

    def spread(self, batches: Sequence[list[int]], count: int, index: int, rounds: int) -> list[list[int]]:
        """So many batches spread evenly over a window; in every round others, so that all rounds see all lengths."""
        count = min(count, len(batches))
        return [batches[int((i + (index + 0.5) / rounds) * len(batches) / count)] for i in range(count)]

    def batch(self, indices: Sequence[int]) -> Batch:
        """Pad these sequences to the longest of them."""
        tensors = [torch.as_tensor(np.asarray(self.sequences[index])) for index in indices]
        padded = pad_sequence(tensors, batch_first=True, padding_value=self.pad_token_id or 0)
        lengths = torch.tensor([len(tensor) for tensor in tensors])
        return Batch(padded, lengths, torch.tensor([self.labels[index] for index in indices]))

    def rows(self, batches: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
        """The same sequences as the examples that the host's `Trainer` takes."""
        name = "input_features" if self.is_vectors else "input_ids"
        return [
            {name: self.sequences[index], "labels": self.labels[index]} for indices in batches for index in indices
        ]


def _cut(indices: list[int], size: int) -> list[list[int]]:
    """Full batches only."""
    return [indices[at : at + size] for at in range(0, len(indices) - size + 1, size)]
