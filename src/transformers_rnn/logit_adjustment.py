"""How common each label is in training -> a head that answers common labels less readily."""

from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import nn

from .encoding import count_rows
from .figures import Array
from .labelled_data import LabelledData


def check_logit_adjustment(strength: Any) -> None:
    """Refuse a strength that is none."""
    number = isinstance(strength, int | float) and not isinstance(strength, bool) and isfinite(strength)
    if not number or strength < 0:
        raise ValueError(
            "logit_adjustment must be a number of at least 0 (0: labels as common as they are; 1: all equally "
            f"common), got {strength!r}."
        )


def check_countable(choice: str, wanted: str, data: LabelledData, advice: str) -> None:
    """Refuse a choice that counts the labels of a problem type where they are others, or those of a stream."""
    if data.problem_type != wanted:
        raise ValueError(f"{choice} is for {wanted}, but this is {data.problem_type}. Leave it out.")
    if count_rows(data.splits["train"]) is None:
        raise ValueError(f"{choice} needs counted rows, but the data is a stream. {advice}")


def count_labels(labels: Array, size: int) -> Array:
    """How many rows have each class, (L,): of classes (N,), or of a teacher's (N, L) the sum of the probabilities."""
    return labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=size)


@torch.no_grad()
def adjust_logits(head: nn.Linear, labels: Any, strength: float) -> None:
    """Subtract from each logit the log of its label's share of the training rows, times a strength.

    With 1, answers are those of equally common labels, which are best for the mean recall of the labels (Menon et al.,
    2021, "Long-tail learning via logit adjustment"); a little of it finds more of the rare labels at little cost to
    the common ones.

    Args:
        head: Of a trained model.
        labels: (N,) classes, negative ones are left out; or a teacher's (N, L).
        strength: 0 changes nothing.
    """
    labels, size = np.asarray(labels), head.out_features
    counts = count_labels(labels if labels.ndim == 2 else labels[labels >= 0], size)
    shares = (counts + 1) / (counts.sum() + size)  # a label without a row has a share, too
    head.bias.sub_(head.bias.new_tensor(strength * np.log(shares)))
