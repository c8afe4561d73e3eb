"""The only room where time disappears: the states of a sequence -> one vector."""

import torch
from torch import Tensor, nn

from .configuration_rnn import RNNConfig
from .state import RNNState, wide_dtype


class SequencePooling(nn.Module):
    """Pools the states of each sequence's real steps; pieces of a stream give what the whole would give."""

    def __init__(self, config: RNNConfig) -> None:
        super().__init__()
        self.pooling = config.pooling
        if config.pooling == "attention":
            self.attention = AttentionScore(config.state_size)

    def forward(
        self, states: Tensor, valid: Tensor | None, lengths: Tensor, last: Tensor, before: RNNState | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Pool.

        Args:
            states: (B, T, S), aligned.
            valid: (B, T), true on real steps; `None` if all are.
            lengths: (B,), how many real steps there are.
            last: (B, S), the last output of each direction.
            before: What the earlier pieces of these streams left.

        Returns:
            The pooled vectors (B, P), zeros for a stream that has read nothing yet, and the fields of [`RNNState`]
            that this pooling needs of all steps so far.
        """
        steps = lengths if before is None else lengths + before.steps
        after: dict[str, Tensor] = {"steps": steps}
        parts = [last] if self.pooling in ("last", "concat") else []
        if self.pooling in ("mean", "concat"):
            after["total"] = total_of(states, valid) + (0 if before is None else before.total)
            parts.append((after["total"] / steps.clamp(min=1)[:, None]).to(states.dtype))
        if self.pooling in ("max", "concat"):
            after["maximum"] = _maximum(states, valid, None if before is None else before.maximum)
            maximum = after["maximum"]
            parts.append(maximum if before is None else maximum.masked_fill((steps == 0)[:, None], 0.0))
        if self.pooling == "attention":
            parts.append(self._attend(states, valid, before, after))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1), after

    def _attend(
        self, states: Tensor, valid: Tensor | None, before: RNNState | None, after: dict[str, Tensor]
    ) -> Tensor:
        """Softmax-weighted mean of the states, computed so that pieces can be added (Milakov & Gimelshein, 2018)."""
        scores: Tensor = self.attention(states).to(wide_dtype(states.device))
        if valid is not None:
            scores = scores.masked_fill(~valid[:, :, None], -torch.inf)
        peak = scores.detach().amax(dim=1) if scores.shape[1] else scores.new_full((scores.shape[0], 1), -torch.inf)
        if before is not None:
            # Finite also where nothing was read: -infinity minus itself is no number.
            peak = torch.maximum(peak, before.attention_peak).clamp(min=torch.finfo(peak.dtype).min)
        weights = (scores - peak[:, None]).exp()
        mass = weights.sum(dim=1)
        total = (weights * states).sum(dim=1)
        if before is not None:
            faded = (before.attention_peak - peak).exp()
            mass = mass + faded * before.attention_mass
            total = total + faded * before.attention_total
        after.update(attention_peak=peak, attention_mass=mass, attention_total=total)
        return (total / mass.clamp(min=0.5)).to(states.dtype)  # at least 1, or 0 where nothing was read


class AttentionScore(nn.Module):
    """score_t = u . tanh(W h_t + b), the word attention of Yang et al. (2016), equations 5 and 6."""

    def __init__(self, state_size: int) -> None:
        super().__init__()
        self.projection = nn.Linear(state_size, state_size)
        self.context = nn.Linear(state_size, 1, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        """(B, T, S) -> (B, T, 1)."""
        return self.context(torch.tanh(self.projection(states)))  # type: ignore[no-any-return]


def total_of(states: Tensor, valid: Tensor | None) -> Tensor:
    """The sum of the real steps in a wide type: (B, T, S) -> (B, S)."""
    if valid is not None:
        states = states.masked_fill(~valid[:, :, None], 0.0)
    return states.sum(dim=1, dtype=wide_dtype(states.device))


def _maximum(states: Tensor, valid: Tensor | None, before: Tensor | None) -> Tensor:
    if valid is not None:
        states = states.masked_fill(~valid[:, :, None], -torch.inf)
    if before is not None:
        states = torch.cat([before[:, None], states], dim=1)
    return states.amax(dim=1)
