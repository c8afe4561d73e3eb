"""Logits of streams -> labels, scores, confidence and decisions."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from .configuration_rnn import RNNConfig
from .state import RNNState
from .stopping import StoppingProgress

Key = Hashable


@dataclass(frozen=True, slots=True)
class StreamAnswer:
    """What is believed of one stream so far.

    Args:
        label: The best label; `None` before the first step, or where its score is under the config's `abstain_below`.
        score: Of the best label: the probability by softmax, or by sigmoid for several labels at once or a single
            label, calibrated as the pipelines' scores are; for regression the number itself.
        confidence: From 0 (undecided) to 1: how far the best score is ahead of the second, or, of sigmoids, twice its
            distance from one half. NaN for regression.
        steps: How many steps were read.
        scores: (L,), the scores of all labels.
        decision: The label on which the config's `stopping_policy` has settled, and stays; `None`: not yet, or there
            is no policy.
        decided_after: The number of steps after which it did.
    """

    label: str | None
    score: float
    confidence: float
    steps: int
    scores: tuple[float, ...]
    decision: str | None = None
    decided_after: int | None = None


class StreamAnswers(Mapping[Key, StreamAnswer]):
    """The answers of some streams by key; arrays for all of them at once, without a loop.

    Args:
        keys: Of the streams.
        scores: (B, L).
        confidence: (B,).
        steps: (B,), how many steps each stream has read.
        id2label: The names of the labels.
        abstain_below: Best scores under it have no label.
        decision: (B,), the number of the label that a stopping policy has settled on, -1: none yet; `None`: there is
            no policy.
        decided_after: (B,), after how many steps it did.
    """

    def __init__(
        self,
        keys: Sequence[Key],
        scores: NDArray[Any],
        confidence: NDArray[Any],
        steps: NDArray[Any],
        id2label: Mapping[Any, str],
        abstain_below: float | None = None,
        decision: NDArray[Any] | None = None,
        decided_after: NDArray[Any] | None = None,
    ) -> None:
        self.scores, self.confidence, self.steps, self.id2label = scores, confidence, steps, id2label
        self.abstain_below, self.decision, self.decided_after = abstain_below, decision, decided_after
        self.best: NDArray[Any] = scores.argmax(axis=1)
        self._keys = keys

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
        unsure = self.abstain_below is not None and scores[best] < self.abstain_below
        label = None if unsure else self.id2label[best]
        decided: tuple[str, int] | tuple[()] = ()
        if self.decision is not None and self.decided_after is not None and self.decision[place] >= 0:
            decided = (self.id2label[int(self.decision[place])], int(self.decided_after[place]))
        return StreamAnswer(label, scores[best], float(self.confidence[place]), steps, scores, *decided)

    @cached_property
    def _places(self) -> dict[Key, int]:
        return {key: place for place, key in enumerate(self._keys)}


class StreamScores:
    """Turns logits into answers as a config says.

    Args:
        config: Of the model.
        stride: How many steps of a stream the model reads at once.
    """

    def __init__(self, config: RNNConfig, stride: int = 1) -> None:
        several = config.problem_type == "multi_label_classification" or config.num_labels == 1
        self.function = "none" if config.problem_type == "regression" else "sigmoid" if several else "softmax"
        self.temperature, self.abstain_below = float(config.temperature), config.abstain_below
        self.id2label: Mapping[Any, str] = dict(config.id2label or {})
        self.stride = stride

    def answers(
        self, keys: Sequence[Key], logits: Tensor, state: RNNState, left: NDArray[Any] | int = 0
    ) -> StreamAnswers:
        """The answers to streams.

        Args:
            keys: Of the streams.
            logits: (B, L).
            state: What they remember, B rows.
            left: (B,), how many steps were read beyond those that the state remembers.

        Raises:
            FloatingPointError: Logits that are not finite, with the first such stream.
        """
        if not bool(torch.isfinite(logits.sum())) and not bool(torch.isfinite(logits).all()):  # mostly one pass
            row, label = (~torch.isfinite(logits)).nonzero()[0].tolist()
            raise FloatingPointError(
                f"The logits must be finite, got {logits[row, label].item()} in stream {keys[row]!r}: its states "
                "overflow. Reset or drop it, and scale what is pushed, or train again."
            )
        scores, confidence = self._score(logits.float())
        decided: list[NDArray[Any]] = []
        if state.stopping is not None:
            progress = StoppingProgress.from_table(state.stopping)
            decision = progress.label.masked_fill(~progress.stopped, -1)
            decided = [part.cpu().numpy() for part in (decision, self.stride * progress.steps)]
        return StreamAnswers(
            keys,
            scores.cpu().numpy(),
            confidence.cpu().numpy(),
            state.steps.cpu().numpy() * self.stride + left,
            self.id2label,
            self.abstain_below,
            *decided,
        )

    def _score(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Scores (B, L) as the pipelines give them, and confidence (B,)."""
        if self.function == "none":
            return logits, logits.new_full((len(logits),), torch.nan)
        if self.temperature != 1:
            logits = logits / self.temperature
        if self.function == "sigmoid":
            scores = logits.sigmoid()
            return scores, (2 * scores.amax(dim=1) - 1).abs()
        scores = logits.softmax(dim=1)
        best = scores.topk(2, dim=1).values
        return scores, best[:, 0] - best[:, 1]
