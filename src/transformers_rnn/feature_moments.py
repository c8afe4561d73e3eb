"""Steps of many sequences -> the mean and deviation of each feature, in one pass."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


class FeatureMoments:
    """Sums up sequences one at a time.

    Args:
        width: F.
    """

    def __init__(self, width: int) -> None:
        self.steps = 0
        self._origin, self._mean, self._squares = np.zeros((3, width))

    def add(self, values: NDArray[Any]) -> None:
        """Count one sequence (T, F)."""
        if self.steps == 0:
            # Seen from a value of its own, a constant is exactly 0 and a large offset costs no digits.
            self._origin = values[0].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            seen = values.astype(np.float64) - self._origin
            steps, mean = len(seen), seen.mean(axis=0)
            away = mean - self._mean
            # Chan, Golub & LeVeque (1983): joins the moments of two parts without cancellation.
            apart = away**2 * (self.steps * steps / (self.steps + steps))
            self._squares += ((seen - mean) ** 2).sum(axis=0) + apart
            self._mean += away * (steps / (self.steps + steps))
        self.steps += steps

    @property
    def mean(self) -> NDArray[np.float64]:
        """(F,)."""
        return self._origin + self._mean

    @property
    def deviation(self) -> NDArray[np.float64]:
        """(F,), of the population; not finite where it is too large for float64."""
        return np.sqrt(self._squares / self.steps)
