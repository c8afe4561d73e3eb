"""Logits and labels -> loss, for the three problem types of the host."""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

ProblemType = Literal["regression", "single_label_classification", "multi_label_classification"]
IGNORED = -100


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
    logits: Tensor, labels: Tensor, problem_type: ProblemType, num_items_in_batch: "Tensor | int | None" = None
) -> Tensor:
    """Mean loss over the labels: cross-entropy, binary cross-entropy of each label, or squared error.

    Args:
        logits: (B, L).
        labels: Single label: whole numbers (B,), -100 for rows to leave out. Multi-label: (B, L) from 0 to 1.
            Regression: (B, L), or (B,) when L is 1.
        problem_type: The host's name of the problem.
        num_items_in_batch: How many labels there are in all batches of one optimizer step. With it the loss is the
            sum over this batch divided by that number, so that accumulated gradients are those of one large batch.

    Returns:
        A scalar, in float32 or wider.

    Raises:
        ValueError: Labels of another shape, type or range than the problem type needs.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    labels = labels.to(logits.device)
    if problem_type not in get_args(ProblemType):
        raise ValueError(f"problem_type must be one of {', '.join(get_args(ProblemType))}, got {problem_type!r}.")
    reduction = "mean" if num_items_in_batch is None else "sum"
    if problem_type == "single_label_classification":
        labels = _check_classes(labels, logits.shape, needs_one=num_items_in_batch is None)
        loss = functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction=reduction)
    else:
        labels = _check_table(labels, logits.shape, problem_type).to(logits.dtype)
        compare = functional.mse_loss if problem_type == "regression" else functional.binary_cross_entropy_with_logits
        loss = compare(logits, labels, reduction=reduction)
    if num_items_in_batch is None:
        return loss
    return loss / torch.as_tensor(num_items_in_batch, device=loss.device).clamp(min=1)  # 0: no label in the whole step


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
