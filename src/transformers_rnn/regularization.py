"""Noise on what a model reads, in training only, and what a config may say of it."""

from typing import Any

import torch
from torch import Tensor

# Probabilities, and of what.
_PROBABILITIES = {
    "embedding_dropout": "dropping a value",
    "hidden_dropout": "dropping a value",
    "classifier_dropout": "dropping a value",
    "token_dropout": "reading the unknown token in place of a token",
}
_OF_TOKENS = ("token_dropout",)


def check_regularization(config: Any) -> None:
    """Refuse probabilities out of their range, and noise that has no meaning for what the model reads."""
    for name, meaning in _PROBABILITIES.items():
        if not 0 <= getattr(config, name) < 1:
            raise ValueError(
                f"{name} is the probability of {meaning} and must be at least 0 and less than 1, "
                f"got {getattr(config, name)}."
            )
    for name in _OF_TOKENS:
        if getattr(config, name) and not config.reads_tokens:
            raise ValueError(
                f"{name}={getattr(config, name)} belongs to a model of tokens, but vocab_size is None: the model "
                "reads vectors. Leave it out."
            )
    if config.token_dropout and (config.unk_token_id is None or not 0 <= config.unk_token_id < config.vocab_size):
        raise ValueError(
            f"token_dropout={config.token_dropout} needs an unk_token_id from 0 to {config.vocab_size - 1}, got "
            f"{config.unk_token_id}. Pass unk_token_id=tokenizer.unk_token_id, or leave token_dropout out."
        )


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
