"""How wrong the prediction of a step is: over the whole vocabulary, in little memory, or of a vector."""

from typing import Any

import torch
from torch import Tensor

SLICE = 2**21  # scores that are in memory at once


def neighbours(steps: Tensor, window: int) -> Tensor:
    """The `window` steps after each of them, zeros or `False` beyond the end: (B, T, ...) -> (B, T, W, ...)."""
    beyond = steps.new_zeros(len(steps), window, *steps.shape[2:])
    return torch.cat([steps[:, 1:], beyond], dim=1).unfold(1, window, 1).movedim(-1, 2)


def vocabulary_loss(predictions: Tensor, table: Tensor, targets: Tensor, weights: Tensor, pad_token_id: int) -> Tensor:
    """Weighted mean cross-entropy of tokens whose scores are products with the rows of the embedding itself.

    The tied softmax of Inan et al. (2017) and Press & Wolf (2017): score = prediction . embedding, over all tokens
    but the padding. The scores (M, V) never exist at once: each slice of them gives its gradients at once and is
    forgotten.

    Args:
        predictions: (M, F).
        table: (V, F), the embedding.
        targets: (M, W), the tokens that came near, each of which one prediction is for.
        weights: (M, W), how much each of these counts; 0 where it is the padding.
        pad_token_id: The token that is never predicted.

    Returns:
        A scalar; 0 without predictions. It has first derivatives only.
    """
    weights = weights.to(table.dtype)
    total = _SlicedCrossEntropy.apply(
        predictions.to(table.dtype), table, targets, weights, pad_token_id, torch.is_grad_enabled()
    )
    return total / _or_one(weights.sum(dtype=total.dtype))  # type: ignore[no-any-return]


def vector_loss(predictions: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean squared error of vectors, (M, F), (M, W, F) and (M, W) -> a scalar; 0 without predictions."""
    errors = (predictions.unsqueeze(1) - targets).square().mean(dim=-1)
    return (errors * weights).sum() / _or_one(weights.sum())


def _or_one(total: Tensor) -> Tensor:
    return torch.where(total > 0, total, torch.ones_like(total))


class _SlicedCrossEntropy(torch.autograd.Function):
    """Sum of the cross-entropies, with the gradients computed on the way."""

    @staticmethod
    def forward(
        ctx: Any,
        predictions: Tensor,
        table: Tensor,
        targets: Tensor,
        weights: Tensor,
        pad_token_id: int,
        learning: bool,
    ) -> Tensor:
        total = predictions.new_zeros((), dtype=torch.promote_types(table.dtype, torch.float32))
        gradients = (torch.empty_like(predictions), torch.zeros_like(table)) if learning else None
        size = max(1, SLICE // len(table))
        for start in range(0, len(targets), size):
            part = predictions[start : start + size]
            wanted, weight = targets[start : start + size], weights[start : start + size]
            scores = part @ table.T
            scores[:, pad_token_id] = -torch.inf
            scores = scores.log_softmax(dim=1)
            # The padding itself may stand where the weight is 0.
            total -= scores.gather(1, wanted).masked_fill(weight == 0, 0.0).mul(weight).sum()
            if gradients is not None:
                wrong = scores.exp_().mul_(weight.sum(dim=1, keepdim=True)).scatter_add_(1, wanted, -weight)
                torch.mm(wrong, table, out=gradients[0][start : start + size])
                gradients[1].addmm_(wrong.T, part)
        if gradients is not None:
            ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *outputs: Any) -> Any:
        of_predictions, of_table = ctx.saved_tensors
        return of_predictions * outputs[0], of_table * outputs[0], None, None, None, None
