"""Noise on what a model reads, in training only, and what a config may say of it."""

from math import inf
from typing import Any

import torch
from torch import Tensor, nn

# Probabilities, and of what.
_PROBABILITIES = {
    "embedding_dropout": "dropping a value",
    "hidden_dropout": "dropping a value",
    "classifier_dropout": "dropping a value",
    "weight_dropout": "dropping a recurrent weight",
    "token_dropout": "reading the unknown token in place of a token",
    "vocabulary_dropout": "dropping a row of the embedding",
    "mask_time_prob": "masking a step",
    "mask_feature_prob": "masking a feature",
}
# What there may be in training only; 0 or false is none.
NOISE = (*_PROBABILITIES, "variational_dropout", "input_noise", "input_scale_noise", "time_warp")
_OF_TOKENS: tuple[str, ...] = ("token_dropout", "vocabulary_dropout")
_OF_VECTORS = ("input_noise", "input_scale_noise", "time_warp", "mask_time_prob", "mask_feature_prob")


def check_regularization(config: Any) -> None:
    """Refuse probabilities out of their range, and noise that has no meaning for what the model reads."""
    for name, meaning in _PROBABILITIES.items():
        if not 0 <= getattr(config, name) < 1:
            raise ValueError(
                f"{name} is the probability of {meaning} and must be at least 0 and less than 1, "
                f"got {getattr(config, name)}."
            )
    wrong, why = _OF_TOKENS, "tokens, but vocab_size is None: the model reads vectors"
    if config.reads_tokens:
        wrong, why = _OF_VECTORS, "vectors, but vocab_size is set: the model reads tokens"
    for name in wrong:
        if getattr(config, name):
            raise ValueError(f"{name}={getattr(config, name)} belongs to a model of {why}. Leave it out.")
    if config.token_dropout and (config.unk_token_id is None or not 0 <= config.unk_token_id < config.vocab_size):
        raise ValueError(
            f"token_dropout={config.token_dropout} needs an unk_token_id from 0 to {config.vocab_size - 1}, got "
            f"{config.unk_token_id}. Pass unk_token_id=tokenizer.unk_token_id, or leave token_dropout out."
        )
    for name in ("input_noise", "input_scale_noise"):
        if not 0 <= getattr(config, name) < inf:
            raise ValueError(f"{name} is a standard deviation and must be at least 0, got {getattr(config, name)}.")
    if not 0 <= config.time_warp < 0.5:
        raise ValueError(
            f"time_warp is the share of a sequence by which a point of it may move and must be at least 0 and less "
            f"than 0.5, got {config.time_warp}."
        )
    for name in ("mask_time_length", "mask_feature_length"):
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {getattr(config, name)}.")


class SequenceDropout(nn.Dropout):
    """Dropout on (B, T, F), at each step anew or, if `variational`, alike at all steps (Gal & Ghahramani, 2016).

    Args:
        p: Probability of dropping a value.
        variational: Whether one mask (B, 1, F) is for all steps of a sequence.
    """

    def __init__(self, p: float, variational: bool) -> None:
        super().__init__(p)
        self.variational = variational

    def forward(self, sequence: Tensor) -> Tensor:
        """Drop in training, and scale up what is left."""
        if not (self.variational and self.training and self.p):
            return super().forward(sequence)
        return sequence * super().forward(torch.ones_like(sequence[:, :1]))


def drop_tokens(ids: Tensor, valid: Tensor, probability: float, unk_token_id: int) -> Tensor:
    """Let real tokens become the unknown token, each for itself (Iyyer et al., 2015; Dai & Le, 2015).

    Args:
        ids: (B, T), aligned.
        valid: (B, T), true on real steps; padding stays as it is.
        probability: Of each token.
        unk_token_id: What it becomes.
    """
    dropped = torch.rand(ids.shape, device=ids.device) < probability
    return ids.masked_fill(dropped & valid, unk_token_id)


def perturb(vectors: Tensor, valid: Tensor, config: Any) -> Tensor:
    """Warp, scale, jitter and mask vectors, each sequence by draws of its own, as far as the config asks for it.

    Args:
        vectors: (B, T, F), aligned, zero on padding, where they stay zero.
        valid: (B, T), true on real steps.
        config: Of the model.
    """
    if not any(getattr(config, name) for name in _OF_VECTORS):
        return vectors
    size, _, features = vectors.shape
    if config.time_warp:
        vectors = _warp(vectors, valid.sum(dim=1), config.time_warp)
    if config.input_scale_noise:
        vectors = vectors * (1 + config.input_scale_noise * torch.randn_like(vectors[:, :1]))
    if config.input_noise:
        vectors = vectors + config.input_noise * torch.randn_like(vectors)
    hidden = ~valid[:, :, None]
    if config.mask_time_prob:
        hidden = hidden | _spans(valid, config.mask_time_prob, config.mask_time_length)[:, :, None]
    if config.mask_feature_prob:
        row = valid.new_empty(size, features)
        hidden = hidden | _spans(row, config.mask_feature_prob, config.mask_feature_length)[:, None]
    return vectors.masked_fill(hidden, 0.0)


def _spans(like: Tensor, probability: float, length: int) -> Tensor:
    """True in spans (Park et al., 2019): one begins at each place, and at those just before the first, by chance.

    Args:
        like: (B, N).
        probability: Of a place, where spans do not overlap.
        length: Of a span.
    """
    begins = torch.rand(like.shape[0], like.shape[1] + length - 1, device=like.device) < probability / length
    return begins.unfold(1, length, 1).any(dim=2)


def _warp(vectors: Tensor, lengths: Tensor, share: float) -> Tensor:
    """Move one inner point of each sequence's time and stretch what lies before and behind it (Park et al., 2019).

    Args:
        vectors: (B, T, F), aligned.
        lengths: (B,), which stay as they are.
        share: The most that the point may move, as a share of the sequence.
    """
    lengths = lengths[:, None]
    target, shift = torch.rand(2, *lengths.shape, device=vectors.device)
    target = share + (1 - 2 * share) * target
    source = target + share * (2 * shift - 1)
    last = (lengths - 1).clamp(min=0)
    now = (torch.arange(vectors.shape[1], device=vectors.device) / last.clamp(min=1)).clamp(max=1)
    before, behind = now * (source / target), source + (now - target) * ((1 - source) / (1 - target))
    place = torch.where(now < target, before, behind).clamp(0, 1) * last
    left = place.floor()
    steps = left.long(), torch.minimum(left.long() + 1, last)
    one, next_one = (vectors.gather(1, step[:, :, None].expand_as(vectors)) for step in steps)
    return torch.lerp(one, next_one, (place - left)[:, :, None].to(vectors.dtype))
