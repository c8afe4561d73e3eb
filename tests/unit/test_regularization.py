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
@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("weight_dropout", "dropping a recurrent weight"),
        ("token_dropout", "reading the unknown token in place of a token"),
        ("vocabulary_dropout", "dropping a row of the embedding"),
        ("mask_time_prob", "masking a step"),
        ("mask_feature_prob", "masking a feature"),
    ],
)
def test_probabilities_out_of_range(name, meaning, value):
    message = f"{name} is the probability of {meaning} and must be at least 0 and less than 1, got {value}."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RNNConfig(**{name: value})


@pytest.mark.parametrize("name", ["token_dropout", "vocabulary_dropout"])
def test_noise_on_tokens_is_not_for_vectors(name):
    message = (
        f"{name}=0.1 belongs to a model of tokens, but vocab_size is None: the model reads vectors. Leave it out."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RNNConfig(**{name: 0.1})


@pytest.mark.parametrize(
    "name", ["input_noise", "input_scale_noise", "time_warp", "mask_time_prob", "mask_feature_prob"]
)
def test_noise_on_vectors_is_not_for_tokens(name):
    message = f"{name}=0.1 belongs to a model of vectors, but vocab_size is set: the model reads tokens. Leave it out."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RNNConfig(**TOKENS, **{name: 0.1})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"input_noise": -1}, "input_noise is a standard deviation and must be at least 0, got -1."),
        (
            {"input_scale_noise": float("inf")},
            "input_scale_noise is a standard deviation and must be at least 0, got inf.",
        ),
        (
            {"time_warp": 0.5},
            "time_warp is the share of a sequence by which a point of it may move and must be at least 0 and less "
            "than 0.5, got 0.5.",
        ),
        ({"mask_time_length": 0}, "mask_time_length must be a whole number of at least 1, got 0."),
        ({"mask_feature_length": -2}, "mask_feature_length must be a whole number of at least 1, got -2."),
        ({**TOKENS, "token_dropout": 0.1}, UNKNOWN.format(None)),
        ({**TOKENS, "token_dropout": 0.1, "unk_token_id": 9}, UNKNOWN.format(9)),
        ({**TOKENS, "token_dropout": 0.1, "unk_token_id": -1}, UNKNOWN.format(-1)),
    ],
)
def test_contradictions(fields, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RNNConfig(**fields)
