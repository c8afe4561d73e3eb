"""Logits of streams -> labels, scores and confidence."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from .configuration_rnn import RNNConfig

Key = Hashable


@dataclass(frozen=True, slots=True)
class StreamAnswer:
    """What is believed of one stream so far.

    Args:
        label: The best label; `None` before the first step.
        score: Its score: the probability by softmax, or by sigmoid for several labels at once or a single label; for
            regression the number itself.
        confidence: From 0 (undecided) to 1: how far the best score is ahead of the second, or, of sigmoids, twice its
            distance from one half. NaN for regression.
        steps: How many steps were read.
        scores: (L,), the scores of all labels.
    """

    label: str | None
    score: float
    confidence: float
    steps: int
    scores: tuple[float, ...]


class StreamAnswers(Mapping[Key, StreamAnswer]):
    """The answers of some streams by key; arrays for all of them at once, without a loop.

    Args:
        keys: Of the streams.
        scores: (B, L).
        confidence: (B,).
        steps: (B,), how many steps each stream has read.
        id2label: The names of the labels.
    """

    def __init__(
        self,
        keys: Sequence[Key],
        scores: NDArray[Any],
        confidence: NDArray[Any],
        steps: NDArray[Any],
        id2label: Mapping[Any, str],
    ) -> None:
        self.scores, self.confidence, self.steps, self.id2label = scores, confidence, steps, id2label
        self.best: NDArray[Any] = scores.argmax(axis=1)
        self._keys = keys

    @classmethod
    def of(cls, config: RNNConfig, keys: Sequence[Key], logits: Tensor, steps: Tensor) -> Self:
        """The answers of a model to streams.

        Args:
            config: Of the model.
            keys: Of the streams.
            logits: (B, L).
            steps: (B,).
        """
        scores, confidence = _score(config, logits.float())
        return cls(keys, scores.cpu().numpy(), confidence.cpu().numpy(), steps.cpu().numpy(), config.id2label or {})

    def __getitem__(self, key: Key) -> StreamAnswer:
        """The answer of one stream."""
        return self.at(self._places[key])

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def at(self, place: int) -> StreamAnswer:
        """The answer in one place of the arrays."""
        scores, steps, best = tuple(self.scores[place].tolist()), int(self.steps[place]), int(self.best[place])
        if not steps:
            return StreamAnswer(None, 0.0, 0.0, 0, scores)
        return StreamAnswer(self.id2label[best], scores[best], float(self.confidence[place]), steps, scores)

    @cached_property
    def _places(self) -> dict[Key, int]:
        return {key: place for place, key in enumerate(self._keys)}


def _score(config: RNNConfig, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (B, L) as the pipelines give them, and confidence (B,)."""
    if config.problem_type == "regression":
        return logits, logits.new_full((len(logits),), torch.nan)
    if config.problem_type == "multi_label_classification" or logits.shape[1] == 1:
        scores = logits.sigmoid()
        return scores, (2 * scores.amax(dim=1) - 1).abs()
    scores = logits.softmax(dim=1)
    best = scores.topk(2, dim=1).values
    return scores, best[:, 0] - best[:, 1]
