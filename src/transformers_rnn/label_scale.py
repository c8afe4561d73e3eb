"""Regression in the units of its labels: the head gives standard numbers, whatever the labels' mean and deviation."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


def check_label_scale(config: Any) -> None:
    """Refuse a mean and scale of the labels that do not belong together; the loss looks at the scale."""
    mean, scale = config.label_mean, config.label_scale
    if mean is None and scale is None:
        return
    if mean is None or scale is None or len(mean) != config.num_labels or not all(map(isfinite, mean)):
        raise ValueError(
            f"label_mean and label_scale belong together, num_labels = {config.num_labels} finite numbers each, got "
            f"{mean} and {scale}. Pass both or neither."
        )


def to_label_units(logits: Tensor, config: Any) -> Tensor:
    """Standard numbers (..., L) as labels, in float32 or wider; where the config has no scale, they stay as they are.

    A half-precision number could not tell one label from the next where their mean is far from 0.
    """
    if config.label_scale is None:
        return logits
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return wide * wide.new_tensor(config.label_scale) + wide.new_tensor(config.label_mean)


def to_head_units(values: Any, config: Any) -> NDArray[np.float64]:
    """Answers or labels (..., L) as the head gives them: the reverse of `to_label_units`."""
    wide: NDArray[np.float64] = np.asarray(values, np.float64)
    return wide if config.label_scale is None else (wide - np.asarray(config.label_mean)) / config.label_scale


@torch.no_grad()
def draw_to_mean(head: nn.Linear, slopes: Sequence[float]) -> None:
    """Multiply the distance of all answers from the mean of the labels by the slope of each target."""
    factors = head.weight.new_tensor(slopes)
    head.weight.mul_(factors[:, None])
    head.bias.mul_(factors)
