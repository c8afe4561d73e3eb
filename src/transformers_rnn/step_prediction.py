"""How wrong the prediction of a step is: over the whole vocabulary, in little memory, or of a vector."""

from typing import Any

import torch
from torch import Tensor, nn

SLICE = 2**21  # scores that are in memory at once


def neighbours(steps: Tensor, window: int) -> Tensor:
    """The `window` steps after each of them, zeros or `False` beyond the end: (B, T, ...) -> (B, T, W, ...)."""
    beyond = steps.new_zeros(len(steps), window, *steps.shape[2:])
    return torch.cat([steps[:, 1:], beyond], dim=1).unfold(1, window, 1).movedim(-1, 2)


def vocabulary_loss(states: Tensor, head: nn.Linear, targets: Tensor, weights: Tensor, pad_token_id: int) -> Tensor:
    """Weighted sum of the cross-entropies of tokens, of which the head makes the scores.

    The scores (M, V) of all tokens but the padding never exist at once: each slice of them gives its gradients at once
    and is forgotten.

    Args:
        states: (M, H).
        head: From H numbers to V scores.
        targets: (M, W), the tokens that came near, each of which one state predicts.
        weights: (M, W), how much each of these counts; 0 where it is the padding.
        pad_token_id: The token that is never predicted.

    Returns:
        A scalar; it has first derivatives only.
    """
    table, bias = head.weight, head.bias
    states, weights = states.to(table.dtype), weights.to(table.dtype)
    learning = torch.is_grad_enabled()
    return _SlicedCrossEntropy.apply(states, table, bias, targets, weights, pad_token_id, learning)  # type: ignore[no-any-return]


def vector_loss(states: Tensor, head: nn.Linear, targets: Tensor, weights: Tensor) -> Tensor:
    """Weighted sum of the mean squared errors of vectors, (M, H), (M, W, F) and (M, W) -> a scalar."""
    errors: Tensor = (head(states).unsqueeze(1) - targets).square().mean(dim=-1)
    return (errors * weights).sum()


class _SlicedCrossEntropy(torch.autograd.Function):
    """Sum of the cross-entropies, with the gradients computed on the way."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Tensor,
        table: Tensor,
        bias: Tensor,
        targets: Tensor,
        weights: Tensor,
        pad_token_id: int,
        learning: bool,
    ) -> Tensor:
        total = states.new_zeros((), dtype=torch.promote_types(table.dtype, torch.float32))
        gradients = (torch.empty_like(states), torch.zeros_like(table), torch.zeros_like(bias)) if learning else None
        size = max(1, SLICE // len(table))
        for start in range(0, len(targets), size):
            part = states[start : start + size]
            wanted, weight = targets[start : start + size], weights[start : start + size]
            scores = torch.addmm(bias, part, table.T)
            scores[:, pad_token_id] = -torch.inf
            scores = scores.log_softmax(dim=1)
            # The padding itself may stand where the weight is 0.
            total -= scores.gather(1, wanted).masked_fill(weight == 0, 0.0).mul(weight).sum()
            if gradients is not None:
                wrong = scores.exp_().mul_(weight.sum(dim=1, keepdim=True)).scatter_add_(1, wanted, -weight)
                torch.mm(wrong, table, out=gradients[0][start : start + size])
                gradients[1].addmm_(wrong.T, part)
                gradients[2].add_(wrong.sum(dim=0))
        if gradients is not None:
            ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *outputs: Any) -> Any:
        return *(gradient * outputs[0] for gradient in ctx.saved_tensors), None, None, None, None
