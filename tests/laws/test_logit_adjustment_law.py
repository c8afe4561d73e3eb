"""Common labels answered less readily: what the logits lose, whatever the labels."""

import re

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from transformers_rnn.labelled_data import load_labelled_data
from transformers_rnn.logit_adjustment import adjust_logits
from transformers_rnn.training import train_classifier

TEXTS = [f"{word} film number {number % 7}" for number in range(10) for word in ("good", "fine", "nice", "bad")]
LABELS = ["yes", "yes", "yes", "no"] * 10
TINY = {"hidden_size": 4, "num_train_epochs": 2, "disable_tqdm": True, "log_level": "error", "refit": False}


def head(size):
    return torch.nn.Linear(3, size).double()


def adjusted(labels, strength, size):
    """What each logit gains."""
    layer = head(size)
    before = layer.bias.detach().clone()
    adjust_logits(layer, labels, strength)
    return (layer.bias.detach() - before).numpy()


@given(counts=st.lists(st.integers(0, 9), min_size=2, max_size=5), strength=st.floats(0, 2))
def test_a_logit_loses_the_log_of_its_labels_share(counts, strength):
    labels = np.repeat(np.arange(len(counts)), counts)
    gains = adjusted(labels, strength, len(counts))
    for first in range(len(counts)):
        for second in range(len(counts)):
            odds = np.log((counts[first] + 1) / (counts[second] + 1))
            assert gains[first] - gains[second] == pytest.approx(-strength * odds, abs=1e-9)
    assert adjusted(np.append(labels, -100), strength, len(counts)) == pytest.approx(gains, abs=1e-9)
    assert adjusted(np.eye(len(counts))[labels], strength, len(counts)) == pytest.approx(gains, abs=1e-9)


@given(seed=st.integers(0, 99), share=st.floats(0.05, 0.95))
def test_with_a_strength_of_one_the_labels_are_equally_common(seed, share):
    """Whatever the shares, answers of a model that knows the likelihoods are those of equal shares."""
    generator, rows = np.random.default_rng(seed), 10**6
    likelihoods = generator.normal(size=(50, 2))
    prior = np.array([share, 1 - share])
    labels = np.repeat([0, 1], (prior * rows).round().astype(int))
    logits = likelihoods + np.log(prior) + adjusted(labels, 1.0, 2)
    differences = logits[:, 0] - logits[:, 1]
    assert differences == pytest.approx(likelihoods[:, 0] - likelihoods[:, 1], abs=1e-3)


def test_a_run_adjusts_before_it_is_calibrated_and_says_so(tmp_path):
    data = load_labelled_data({"text": TEXTS, "label": LABELS}, validation_size=0.3)
    plain, half = (
        train_classifier(data, tmp_path / str(strength), logit_adjustment=strength, **TINY) for strength in (0, 0.5)
    )
    counts = np.bincount(data.splits["train"]["labels"], minlength=2) + 1
    gained = (half.model.classifier.bias - plain.model.classifier.bias).detach().numpy()
    assert gained == pytest.approx(-0.5 * np.log(counts / counts.sum()), abs=1e-5)
    assert torch.equal(half.model.classifier.weight, plain.model.classifier.weight)
    assert half.shares == plain.shares
    cards = [(tmp_path / name / "README.md").read_text(encoding="utf-8") for name in ("0", "0.5")]
    assert ["| logit_adjustment | 0.5 |" in card for card in cards] == [False, True]


@pytest.mark.parametrize("strength", [-0.5, float("nan"), float("inf"), True, "balanced", None])
def test_strengths_that_are_none(strength, tmp_path):
    message = (
        "logit_adjustment must be a number of at least 0 (0: labels as common as they are; 1: all equally common), "
        f"got {strength!r}."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        train_classifier({"text": TEXTS, "label": LABELS}, tmp_path, logit_adjustment=strength)


def test_labels_that_cannot_be_counted(tmp_path):
    numbers = {"text": TEXTS, "label": np.linspace(0, 1, len(TEXTS))}
    message = "logit_adjustment=0.5 is for single_label_classification, but this is regression. Leave it out."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        train_classifier(numbers, tmp_path, logit_adjustment=0.5)
    table = Dataset.from_dict({"text": TEXTS, "label": [int(label == "yes") for label in LABELS]})
    stream = load_labelled_data({"train": table.to_iterable_dataset()}, label_names=["no", "yes"])
    message = "logit_adjustment=0.5 needs counted rows, but the data is a stream. Leave it out."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        train_classifier(stream, tmp_path, logit_adjustment=0.5, max_steps=2)
    assert not list(tmp_path.iterdir()), "before any work"
