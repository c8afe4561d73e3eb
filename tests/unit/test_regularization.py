"""Which regularization a config takes, and what it says of the rest."""

import re

import pytest

from transformers_rnn import RNNConfig

TOKENS = {"vocab_size": 9, "pad_token_id": 0}
UNKNOWN = (
    "token_dropout=0.1 needs an unk_token_id from 0 to 8, got {}. Pass unk_token_id=tokenizer.unk_token_id, or leave "
    "token_dropout out."
)


@pytest.mark.parametrize("value", [1, 1.5, -0.1, float("nan")])
@pytest.mark.parametrize(("name", "meaning"), [("token_dropout", "reading the unknown token in place of a token")])
def test_probabilities_out_of_range(name, meaning, value):
    message = f"{name} is the probability of {meaning} and must be at least 0 and less than 1, got {value}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RNNConfig(**{name: value})


@pytest.mark.parametrize("name", ["token_dropout"])
def test_noise_on_tokens_is_not_for_vectors(name):
    message = (
        f"{name}=0.1 belongs to a model of tokens, but vocab_size is None: the model reads vectors. Leave it out."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RNNConfig(**{name: 0.1})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({**TOKENS, "token_dropout": 0.1}, UNKNOWN.format(None)),
        ({**TOKENS, "token_dropout": 0.1, "unk_token_id": 9}, UNKNOWN.format(9)),
        ({**TOKENS, "token_dropout": 0.1, "unk_token_id": -1}, UNKNOWN.format(-1)),
    ],
)
def test_contradictions(fields, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RNNConfig(**fields)
