"""What a config says of tokens: how many there are, which is the padding, which are predicted in pretraining."""

from typing import Any


def check_tokens(config: Any) -> None:
    """Refuse sizes and ids that do not fit each other, or a model of vectors."""
    if config.vocab_size is None:
        for name in ("pad_token_id", "prediction_vocab_size"):
            if getattr(config, name) is not None:
                raise ValueError(
                    f"{name}={getattr(config, name)} belongs to a model of tokens, but vocab_size is None: "
                    f"the model reads vectors. Pass vocab_size (usually len(tokenizer)), or leave {name} out."
                )
        return
    if config.vocab_size < 1:
        raise ValueError(
            f"vocab_size must be at least 1, got {config.vocab_size}. Pass len(tokenizer), or None for vectors."
        )
    if config.pad_token_id is None or not 0 <= config.pad_token_id < config.vocab_size:
        raise ValueError(
            f"A model of tokens (vocab_size={config.vocab_size}) needs a pad_token_id from 0 to "
            f"{config.vocab_size - 1}, got {config.pad_token_id}. Pass pad_token_id=tokenizer.pad_token_id."
        )
    said = config.prediction_vocab_size
    if said is not None and not config.pad_token_id < said <= config.vocab_size:
        raise ValueError(
            f"prediction_vocab_size={said} must be more than pad_token_id={config.pad_token_id} and at most "
            f"vocab_size={config.vocab_size}. Leave it out to predict all tokens."
        )
