"""Every prefix of every sequence in one pass: what a model of one direction believes after each step, and its loss."""

from typing import Any

import torch
from torch import Tensor

from .losses import IGNORED, ProblemType, classification_loss
from .pooling import SequencePooling
from .state import RNNState, wide_dtype

_SPAN = {torch.float64: 600.0, torch.float32: 60.0}  # of attention scores whose exponentials are numbers side by side


def pool_prefixes(pooling: SequencePooling, states: Tensor, before: RNNState | None = None) -> Tensor:
    """Pool each sequence as if it ended after each of its steps, in time linear in T.

    Args:
        pooling: Of the model.
        states: (B, T, S), aligned: what follows a sequence's own steps is read by no prefix of it.
        before: What the earlier pieces of these streams left.

    Returns:
        (B, T, P); at step t what `pooling` gives for the first t steps.
    """
    wide = wide_dtype(states.device)
    parts = [states] if pooling.pooling in ("last", "concat") else []
    if pooling.pooling in ("mean", "concat"):
        total = states.cumsum(dim=1, dtype=wide)
        steps = torch.arange(1, states.shape[1] + 1, device=states.device)[None, :, None]
        if before is not None:
            total, steps = total + before.total[:, None], steps + before.steps[:, None, None]
        parts.append((total / steps).to(states.dtype))
    if pooling.pooling in ("max", "concat"):
        first = states[:, :1] if before is None else torch.maximum(states[:, :1], before.maximum[:, None])
        parts.append(torch.cat([first, states[:, 1:]], dim=1).cummax(dim=1).values)
    if pooling.pooling == "attention":
        parts.append(_attend_prefixes(pooling.attention(states).to(wide), states, before).to(states.dtype))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)


def _attend_prefixes(scores: Tensor, states: Tensor, before: RNNState | None) -> Tensor:
    """Softmax-weighted mean of the states up to each step.

    A prefix is weighed relative to its own largest score, rounded up to a multiple of a span that the exponential can
    cover. There is nearly always one such level, and one cumulative sum; scores far apart take one sum a level (but
    in a traced graph, whose shape cannot depend on the scores, the first level stands for all).
    """
    span = _SPAN[scores.dtype]
    peak = scores.detach().cummax(dim=1).values
    if before is not None:
        peak = torch.maximum(peak, before.attention_peak[:, None])
    top = peak[:, -1:]
    levels = ((peak - top) / span).ceil()
    found = [0.0] if torch.compiler.is_compiling() else levels.unique().tolist()
    pooled = None
    for level in found:
        reference = top + level * span
        weights = (scores - reference).clamp(max=0.0).exp()  # larger ones come later, and belong to another level
        mass, total = weights.cumsum(dim=1), (weights * states).cumsum(dim=1)
        if before is not None:
            faded = (before.attention_peak[:, None] - reference).clamp(max=0.0).exp()
            mass = mass + faded * before.attention_mass[:, None]
            total = total + faded * before.attention_total[:, None]
        mean = total / mass.clamp(min=torch.finfo(mass.dtype).tiny)
        pooled = mean if pooled is None else torch.where(levels == level, mean, pooled)
    return pooled  # type: ignore[return-value]


def prefix_loss(
    logits: Tensor,
    labels: Tensor,
    lengths: Tensor,
    problem_type: ProblemType,
    num_items_in_batch: "Tensor | int | None" = None,
    **choices: Any,
) -> Tensor:
    """The mean over the sequences of the mean loss over each sequence's prefixes.

    Each sequence counts once, however long it is. A loss at every step is how recurrent models learn to be right
    early (Ma et al., 2016, "Learning activity progression in LSTMs for activity detection and early detection").

    Args:
        logits: (B, T, L), aligned, after each step.
        labels: As in `classification_loss`.
        lengths: (B,), each T_i.
        problem_type: The host's name of the problem.
        num_items_in_batch: As in `classification_loss`.
        **choices: Further arguments of `classification_loss`.

    Returns:
        A scalar, in float32 or wider.
    """
    batch_size, steps, num_labels = logits.shape
    if num_items_in_batch is None:
        num_items_in_batch = (labels != IGNORED).sum()
    valid = torch.arange(steps, device=lengths.device) < lengths[:, None]
    weights = valid / lengths.clamp(min=1)[:, None]
    if labels.numel() == batch_size:
        labels = labels.reshape(-1)
    return classification_loss(
        logits.reshape(-1, num_labels),
        labels.repeat_interleave(steps, dim=0),
        problem_type,
        num_items_in_batch,
        row_weights=weights.reshape(-1),
        **choices,
    )
