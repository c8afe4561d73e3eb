"""How wrong the prediction of a step is: over the whole vocabulary, in little memory, or of a vector."""

from typing import Any

import torch
from torch import Tensor

SLICE = 2**21  # scores that are in memory at once


def vocabulary_loss(predictions: Tensor, table: Tensor, targets: Tensor, pad_token_id: int) -> Tensor:
    """Mean cross-entropy of tokens whose scores are products with the rows of the embedding itself.

    The tied softmax of Inan et al. (2017) and Press & Wolf (2017): score = prediction . embedding, over all tokens
    but the padding. The scores (M, V) never exist at once: each slice of them gives its gradients at once and is
    forgotten.

    Args:
        predictions: (M, F).
        table: (V, F), the embedding.
        targets: (M,), the tokens that came; none of them the padding.
        pad_token_id: The token that is never predicted.

    Returns:
        A scalar; 0 without predictions. It has first derivatives only.
    """
    total = _SlicedCrossEntropy.apply(
        predictions.to(table.dtype), table, targets, pad_token_id, torch.is_grad_enabled()
    )
    return total / max(len(targets), 1)  # type: ignore[no-any-return]


def vector_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean squared error of vectors, (M, F) each -> a scalar; 0 without predictions."""
    return (predictions - targets).square().sum() / max(targets.numel(), 1)


class _SlicedCrossEntropy(torch.autograd.Function):
    """Sum of the cross-entropies, with the gradients computed on the way."""

    @staticmethod
    def forward(
        ctx: Any, predictions: Tensor, table: Tensor, targets: Tensor, pad_token_id: int, learning: bool
    ) -> Tensor:
        total = predictions.new_zeros((), dtype=torch.promote_types(table.dtype, torch.float32))
        gradients = (torch.empty_like(predictions), torch.zeros_like(table)) if learning else None
        size = max(1, SLICE // len(table))
        for start in range(0, len(targets), size):
            part = predictions[start : start + size]
            wanted = targets[start : start + size, None]
            scores = part @ table.T
            scores[:, pad_token_id] = -torch.inf
            scores = scores.log_softmax(dim=1)
            total -= scores.gather(1, wanted).sum()
            if gradients is not None:
                wrong = scores.exp_().scatter_add_(1, wanted, scores.new_full((1, 1), -1.0).expand(wanted.shape))
                torch.mm(wrong, table, out=gradients[0][start : start + size])
                gradients[1].addmm_(wrong.T, part)
        if gradients is not None:
            ctx.save_for_backward(*gradients)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *outputs: Any) -> Any:
        of_predictions, of_table = ctx.saved_tensors
        return of_predictions * outputs[0], of_table * outputs[0], None, None, None
