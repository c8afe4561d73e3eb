"""What a stream carries from one piece of a sequence to the next."""

from dataclasses import dataclass

from torch import Tensor
from transformers.utils.generic import ModelOutput


@dataclass
class RNNState(ModelOutput):
    """The memory of B streams after the steps read so far; every tensor has the batch first.

    Args:
        hidden: (B, N, H), the last output of each of the N stacked layers.
        cell: (B, N, H), the memory cells of an LSTM.
        steps: (B,), how many steps each stream has read, for mean pooling.
        total: (B, S), the sum of the states, for mean pooling (in float64 where there is one).
        maximum: (B, S), their maximum, for max pooling.
        attention_peak: (B, 1), the largest attention score so far, for attention pooling.
        attention_mass: (B, 1), the sum of exp(score - peak).
        attention_total: (B, S), the sum of exp(score - peak) * state.
    """

    hidden: Tensor | None = None
    cell: Tensor | None = None
    # What the pooling at work needs is there; the rest is None.
    steps: Tensor = None  # type: ignore[assignment]
    total: Tensor = None  # type: ignore[assignment]
    maximum: Tensor = None  # type: ignore[assignment]
    attention_peak: Tensor = None  # type: ignore[assignment]
    attention_mass: Tensor = None  # type: ignore[assignment]
    attention_total: Tensor = None  # type: ignore[assignment]
