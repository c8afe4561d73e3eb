"""Logits and labels -> loss, for the three problem types of the host."""

from collections.abc import Sequence
from math import inf
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

ProblemType = Literal["regression", "single_label_classification", "multi_label_classification"]
IGNORED = -100

# What the loss of each problem can be told.
_CHOICES = {
    "single_label_classification": ("class_weights", "focal_gamma", "label_smoothing"),
    "multi_label_classification": ("pos_weight", "focal_gamma", "label_smoothing"),
    "regression": ("label_scale",),
}


def infer_problem_type(labels: Tensor, num_labels: int) -> ProblemType:
    """Tell what kind of problem these labels pose.

    Args:
        labels: (B,) or (B, L).
        num_labels: L.

    Returns:
        One label column is regression; whole numbers (B,) are single-label; a table (B, L) is multi-label.

    Raises:
        ValueError: Labels of a shape that fits none of them.
    """
    if num_labels == 1:
        return "regression"
    if labels.ndim == 2 and labels.shape[1] == num_labels:
        return "multi_label_classification"
    if labels.ndim in (1, 2) and labels.numel() == len(labels) and not labels.is_floating_point():
        return "single_label_classification"
    raise ValueError(
        f"labels of shape {tuple(labels.shape)} and type {labels.dtype} fit no problem with {num_labels} labels. Pass "
        f"whole numbers of shape (B,) for one label a sequence, or a table (B, {num_labels}) of 0 and 1 for several; "
        "for regression on several values set problem_type='regression' in the config."
    )


def classification_loss(
    logits: Tensor,
    labels: Tensor,
    problem_type: ProblemType,
    num_items_in_batch: "Tensor | int | None" = None,
    *,
    class_weights: Sequence[float] | None = None,
    pos_weight: Sequence[float] | None = None,
    focal_gamma: float = 0.0,
    label_smoothing: float = 0.0,
    label_scale: Sequence[float] | None = None,
    row_weights: Tensor | None = None,
) -> Tensor:
    """Mean loss over the labels: cross-entropy, binary cross-entropy of each label, or squared error.

    A weighted loss is divided by the number of labels, not by the sum of their weights as torch does: the host counts
    labels, and only so do parts of a step add up to the whole. Weights whose mean over the data is 1, as `"balanced"`
    ones have, keep the loss on the scale of the plain one either way.

    Args:
        logits: (B, L).
        labels: Single label: whole numbers (B,), -100 for rows to leave out, or probabilities (B, L), such as those
            of a teacher (Hinton et al., 2015). Multi-label: (B, L) from 0 to 1. Regression: (B, L), or (B,) when L
            is 1.
        problem_type: The host's name of the problem.
        num_items_in_batch: How many labels there are in all batches of one optimizer step. With it the loss is the
            sum over this batch divided by that number, so that accumulated gradients are those of one large batch.
        class_weights: L factors, of the terms of each class; single label only.
        pos_weight: L factors, of the term of each label where it is present; multi-label only.
        focal_gamma: Exponent of the factor (1 - p) ** gamma on each term -log p: what is right already counts less
            (Lin et al., 2017, "Focal loss for dense object detection"). 0: the plain loss.
        label_smoothing: Share of the target that is spread evenly over the classes (Szegedy et al., 2016); of a
            multi-label table, over present and absent.
        label_scale: L factors, by which errors are divided before they are squared; regression only.
        row_weights: (B,), a factor of the loss of each row; the sum is then divided by `num_items_in_batch`, or by
            nothing where that is `None`.

    Returns:
        A scalar, in float32 or wider.

    Raises:
        ValueError: Labels of another shape, type or range than the problem type needs, or choices it does not have.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    labels = labels.to(logits.device)
    if problem_type not in get_args(ProblemType):
        raise ValueError(f"problem_type must be one of {', '.join(get_args(ProblemType))}, got {problem_type!r}.")
    choices = (class_weights, pos_weight, focal_gamma, label_smoothing, label_scale)
    check_loss_choices(problem_type, logits.shape[1], *choices)
    reduction = "none" if row_weights is not None else "mean" if num_items_in_batch is None else "sum"
    if problem_type == "single_label_classification":
        if labels.is_floating_point() and labels.shape == logits.shape:
            labels = _check_probabilities(labels).to(logits.dtype)
            if num_items_in_batch is not None:  # the host counts every entry of a table
                num_items_in_batch = torch.as_tensor(num_items_in_batch) / logits.shape[1]
        else:
            labels = _check_classes(labels, logits.shape, needs_one=reduction == "mean")
        if class_weights is None and not focal_gamma:
            loss = functional.cross_entropy(
                logits, labels, ignore_index=IGNORED, reduction=reduction, label_smoothing=label_smoothing
            )
        else:
            losses = _weighted_cross_entropy(logits, labels, class_weights, focal_gamma, label_smoothing)
            loss = _reduced(losses, reduction, len(labels) if labels.ndim == 2 else (labels != IGNORED).sum())
    else:
        labels = _check_table(labels, logits.shape, problem_type).to(logits.dtype)
        if problem_type == "regression":
            loss = _squared_error(logits, labels, label_scale, reduction)
        else:
            losses = _binary_cross_entropy(logits, labels, pos_weight, focal_gamma, label_smoothing)
            loss = _reduced(losses, reduction, losses.numel())
    if row_weights is not None:
        loss = (loss.reshape(len(row_weights), -1).sum(dim=1) * row_weights).sum()
    if num_items_in_batch is None:
        return loss
    return loss / torch.as_tensor(num_items_in_batch, device=loss.device).clamp(min=1)  # 0: no label in the whole step


def _reduced(losses: Tensor, reduction: str, count: "Tensor | int") -> Tensor:
    """As torch's own losses do it."""
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.sum() / count


def check_loss_choices(
    problem_type: str | None,
    num_labels: int,
    class_weights: Sequence[float] | None = None,
    pos_weight: Sequence[float] | None = None,
    focal_gamma: float = 0.0,
    label_smoothing: float = 0.0,
    label_scale: Sequence[float] | None = None,
) -> None:
    """Refuse choices out of their range, and those that the loss of a problem does not have.

    Raises:
        ValueError: A number out of its range; class weights but for a single label, positive weights but for several,
            anything but a scale in regression.
    """
    for name, weights in (("class_weights", class_weights), ("pos_weight", pos_weight)):
        if weights is None:
            continue
        if len(weights) != num_labels or not all(0 <= weight < inf for weight in weights) or not any(weights):
            raise ValueError(
                f"{name} must hold num_labels = {num_labels} finite factors of at least 0, not all 0, got {weights}."
            )
    if label_scale is not None and not (len(label_scale) == num_labels and all(0 < one < inf for one in label_scale)):
        raise ValueError(
            f"label_scale must hold num_labels = {num_labels} positive, finite numbers, got {label_scale}."
        )
    if not 0 <= focal_gamma < inf:
        raise ValueError(f"focal_gamma must be a finite number of at least 0, got {focal_gamma}.")
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing is a share, at least 0 and less than 1, got {label_smoothing}.")
    chosen = {
        "class_weights": class_weights is not None,
        "pos_weight": pos_weight is not None,
        "focal_gamma": focal_gamma != 0,
        "label_smoothing": label_smoothing != 0,
        "label_scale": label_scale is not None,
    }
    for name, is_chosen in chosen.items():
        if is_chosen and problem_type in _CHOICES and name not in _CHOICES[problem_type]:
            takes = ", ".join(_CHOICES[problem_type])
            raise ValueError(f"{name} has no meaning for {problem_type}, whose loss takes {takes}. Leave it out.")


def _weighted_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Sequence[float] | None, gamma: float, smoothing: float
) -> Tensor:
    """Sum over the classes of target * weight * (1 - p) ** gamma * -log p: (B,), 0 in rows to leave out."""
    log_p = functional.log_softmax(logits, dim=-1)
    targets = labels
    if labels.ndim == 1:
        targets = functional.one_hot(labels.clamp(min=0), logits.shape[1]).to(logits.dtype)
    targets = targets * (1 - smoothing) + smoothing / logits.shape[1]
    if labels.ndim == 1:
        targets = targets * (labels != IGNORED)[:, None]
    if weights is not None:
        targets = targets * torch.tensor(weights, dtype=logits.dtype, device=logits.device)
    if gamma:
        # Bounded away from 0, where the derivative of a root is infinite.
        targets = targets * (-torch.expm1(log_p)).clamp(min=torch.finfo(logits.dtype).tiny) ** gamma
    return -(targets * log_p).sum(dim=-1)


def _binary_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Sequence[float] | None, gamma: float, smoothing: float
) -> Tensor:
    """The loss of each label: (B, L)."""
    labels = labels * (1 - smoothing) + smoothing / 2 if smoothing else labels
    factors = None if weights is None else torch.tensor(weights, dtype=logits.dtype, device=logits.device)
    if not gamma:
        return functional.binary_cross_entropy_with_logits(logits, labels, pos_weight=factors, reduction="none")
    log_p, log_q = functional.logsigmoid(logits), functional.logsigmoid(-logits)
    present = labels if factors is None else labels * factors
    return -(present * (gamma * log_q).exp() * log_p + (1 - labels) * (gamma * log_p).exp() * log_q)


def _squared_error(logits: Tensor, labels: Tensor, scale: Sequence[float] | None, reduction: str) -> Tensor:
    errors = logits - labels
    if scale is not None:
        errors = errors / errors.new_tensor(scale)
    return functional.mse_loss(errors, torch.zeros_like(errors), reduction=reduction)


def _check_classes(labels: Tensor, shape: torch.Size, needs_one: bool) -> Tensor:
    batch_size, num_labels = shape
    if labels.numel() != batch_size or labels.ndim not in (1, 2) or labels.is_floating_point() or labels.is_complex():
        raise ValueError(
            f"Single-label classification needs labels of whole numbers and shape (B,) = ({batch_size},), got "
            f"{tuple(labels.shape)} of {labels.dtype}. For several labels a sequence set "
            "problem_type='multi_label_classification' in the config."
        )
    labels = labels.reshape(-1).long()
    if not torch.compiler.is_compiling():
        wrong = (labels != IGNORED) & ((labels < 0) | (labels >= num_labels))
        if bool(wrong.any()):
            raise ValueError(
                f"labels must be from 0 to {num_labels - 1} (or {IGNORED} to leave a row out), got "
                f"{labels[wrong][0].item()}. Set num_labels in the config to the number of classes."
            )
        if needs_one and bool((labels == IGNORED).all()):
            raise ValueError(
                f"Every label of this batch is {IGNORED}, so there is nothing to learn from and no loss. "
                "Leave such rows out of the data."
            )
    return labels


def _check_probabilities(labels: Tensor) -> Tensor:
    if torch.compiler.is_compiling():
        return labels
    wrong = ~((labels >= 0).all(dim=1) & ((labels.sum(dim=1, dtype=torch.float32) - 1).abs() < 1e-2))
    if bool(wrong.any()):
        raise ValueError(
            "A table of labels (B, L) for single-label classification holds the probabilities of the classes, at "
            f"least 0 with a sum of 1 in each row, got {[round(value, 4) for value in labels[wrong][0].tolist()]}."
        )
    return labels


def _check_table(labels: Tensor, shape: torch.Size, problem_type: ProblemType) -> Tensor:
    if labels.ndim == 1 and shape[1] == 1:
        labels = labels[:, None]
    if labels.shape != shape:
        raise ValueError(
            f"{problem_type} needs labels of shape (B, L) = {tuple(shape)}, got {tuple(labels.shape)}. "
            "Give each sequence one number for each of the model's num_labels."
        )
    if torch.compiler.is_compiling():
        return labels
    if problem_type == "regression" and not bool(torch.isfinite(labels).all()):
        raise ValueError("Regression labels must be finite, got NaN or infinity. Remove rows without a target.")
    if problem_type == "regression" and bool((labels == IGNORED).any()):
        raise ValueError(
            f"A regression label is exactly {IGNORED}, which the Trainer takes for a missing one and does not count. "
            "Remove rows without a target, or shift or rescale the targets."
        )
    if problem_type == "multi_label_classification" and not bool(((labels >= 0) & (labels <= 1)).all()):
        raise ValueError(
            f"Multi-label classification needs labels from 0 (absent) to 1 (present), got values from "
            f"{labels.min().item()} to {labels.max().item()}."
        )
    return labels
