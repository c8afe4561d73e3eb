"""When to answer before the end of a sequence: a rule on what a model believes after each step."""

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor


class StoppingProgress(NamedTuple):
    """What the rule knows of B sequences after the steps read so far; each (B,).

    Args:
        steps: How many steps were read until the answer.
        label: The most probable label; once stopped, the answer.
        confidence: Its probability.
        run: For how many steps in a row this label has been sure.
        stopped: Whether the answer is given; nothing changes afterwards.
    """

    steps: Tensor
    label: Tensor
    confidence: Tensor
    run: Tensor
    stopped: Tensor

    @classmethod
    def from_table(cls, table: Tensor) -> Self:
        """What `to_table` gave; a row of zeros has read nothing."""
        steps, label, confidence, run, stopped = table.unbind(dim=1)
        return cls(steps.long(), label.long(), confidence.float(), run.long(), stopped.bool())

    def to_table(self, dtype: torch.dtype = torch.float64) -> Tensor:
        """(B, 5), all of it as numbers of one type."""
        return torch.stack([part.to(dtype) for part in self], dim=1)

    def where(self, chosen: Tensor, other: "StoppingProgress") -> "StoppingProgress":
        """This where `chosen` (B,), `other` elsewhere."""
        return StoppingProgress(*(torch.where(chosen, one, two) for one, two in zip(self, other, strict=True)))


@dataclass(frozen=True)
class StoppingPolicy:
    """Stop as soon as one label has been sure for some steps in a row.

    A model believes p_t after step t. The answer is given at the first t >= `min_steps` at which the last `patience`
    steps all had the same most probable label with a probability of at least `threshold`; at the end of the sequence
    the last belief is the answer anyway. A threshold on the probability is the baseline of early classification, the
    demand for several equal answers in a row is TEASER's (Schäfer & Leser, 2020, "TEASER: early and accurate time
    series classification").

    Args:
        threshold: Probability from which a label is sure. More than 1: never, read everything.
        patience: How many steps in a row, at least 1.
        min_steps: How many steps to read in any case, at least 1.

    Raises:
        ValueError: A number out of its range.
    """

    threshold: float
    patience: int = 1
    min_steps: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.threshold, bool) or not isinstance(self.threshold, int | float) or not self.threshold >= 0:
            raise ValueError(f"threshold must be a probability, or more than 1 to never stop, got {self.threshold!r}.")
        if not isfinite(self.threshold):
            raise ValueError(f"threshold must be finite; pass 2.0 to never stop, got {self.threshold!r}.")
        for name in ("patience", "min_steps"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a whole number of steps, at least 1, got {value!r}.")

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """The policy that `to_dict` wrote, as it stands in the config of a model.

        Raises:
            ValueError: A field too many, or no threshold, or a number out of its range.
        """
        names = set(cls.__dataclass_fields__)
        if "threshold" not in fields or not fields.keys() <= names:
            raise ValueError(
                "A stopping policy has the fields threshold (required), patience and min_steps, got "
                f"{', '.join(map(str, fields)) or 'none'}. Pass what StoppingPolicy.to_dict() gives."
            )
        return cls(**fields)

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers, for `config.stopping_policy`."""
        return asdict(self)

    def step(self, probabilities: Tensor, progress: StoppingProgress | None = None) -> StoppingProgress:
        """Take in what the model believes after one more step of each sequence.

        Args:
            probabilities: (B, L), of single labels; each row sums to 1.
            progress: What the step before returned for the same sequences; `None` at the first. All its tensors have
                the batch first, so that rows can be selected.

        Returns:
            The progress after this step; `stopped` tells which sequences need no further one.

        Raises:
            ValueError: No probabilities of at least two labels, or progress of another number of sequences.
        """
        check_probabilities(probabilities, "(B, L)")
        if progress is not None and progress.steps.shape != probabilities.shape[:1]:
            raise ValueError(
                f"progress must be that of the same B = {len(probabilities)} sequences, got one of "
                f"{len(progress.steps)}. Select its rows first."
            )
        return self.advance(probabilities, progress)

    def advance(self, probabilities: Tensor, progress: StoppingProgress | None = None) -> StoppingProgress:
        """What `step` does, without its checks."""
        confidence, label = probabilities.max(dim=-1)
        run = (confidence >= self.threshold).long()
        steps = torch.ones_like(label)
        if progress is not None:
            run = torch.where(label == progress.label, run * (progress.run + 1), run)
            steps = progress.steps + 1
        stopped = (run >= self.patience) & (steps >= self.min_steps)
        after = StoppingProgress(steps, label, confidence, run, stopped)
        return after if progress is None else progress.where(progress.stopped, after)


def check_probabilities(probabilities: Tensor, shape: str) -> None:
    """Refuse what is no table of probabilities of single labels.

    Raises:
        ValueError: Another rank than `shape` says, fewer than two labels, values outside 0 to 1, or rows that do not
            sum to 1.
    """
    came = f"{tuple(probabilities.shape)}"
    if probabilities.ndim == 2 and probabilities.shape[1] > 1 and probabilities.is_floating_point():
        sums = probabilities.sum(dim=-1)
        if bool((probabilities >= 0).all()) and bool(((sums - 1).abs() < 1e-2).all()):
            return
        came = f"rows that sum from {sums.min().item():.3g} to {sums.max().item():.3g}" if len(sums) else came
    raise ValueError(
        f"Probabilities must be {shape} of at least two single labels, each row at least 0 with a sum of 1, got "
        f"{came}. Pass logits.softmax(dim=-1)."
    )
