"""A model of regression answers in the units of its labels, and learns the same in any."""

import re

import numpy as np
import pytest
import torch
from cases import cases
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from transformers_rnn import RNNConfig, RNNForSequenceClassification
from transformers_rnn.label_scale import draw_to_mean
from transformers_rnn.labelled_data import load_labelled_data
from transformers_rnn.losses import classification_loss
from transformers_rnn.run_choices import scale_of_labels
from transformers_rnn.training import train_classifier

REGRESSION = "regression"
numbers = st.floats(-1e6, 1e6)
deviations = st.floats(1e-6, 1e6)


@given(case=cases(dtype=torch.float64), data=st.data())
def test_the_scale_is_put_on_the_logits_and_taken_from_the_loss(case, data):
    model, size = case.model, case.model.config.num_labels
    mean, std = (data.draw(st.lists(each, min_size=size, max_size=size)) for each in (numbers, deviations))
    batch, mask = case.padded()
    standard = torch.randn(len(batch), size, dtype=torch.float64)
    model.config.problem_type = REGRESSION
    plain = case.call(batch, mask, labels=standard)
    model.config.label_mean, model.config.label_scale = mean, std
    moved, scale = torch.tensor(mean, dtype=torch.float64), torch.tensor(std, dtype=torch.float64)
    scaled = case.call(batch, mask, labels=standard * scale + moved)
    torch.testing.assert_close(scaled.logits, plain.logits * scale + moved)
    # Labels far from 0 in small units have lost digits.
    lost = float((1e-15 * (moved.abs() / scale + 1)).max())
    torch.testing.assert_close(scaled.loss, plain.loss, rtol=1e-9, atol=1e3 * lost * (1 + lost))


@given(case=cases(bidirectional=False, dtype=torch.float64), cut=st.integers(1, 11))
@torch.no_grad()
def test_pieces_and_prefixes_have_the_same_units(case, cut):
    config = case.model.config
    config.problem_type = REGRESSION
    config.label_mean, config.label_scale = [500.0] * config.num_labels, [100.0] * config.num_labels
    for sequence in case.sequences:
        whole = case.alone(sequence)
        prefixes = case.call(sequence[None], output_prefix_logits=True).prefix_logits
        torch.testing.assert_close(prefixes[0, -1], whole)
        if cut < len(sequence):
            state = case.call(sequence[None, :cut], use_cache=True).state
            torch.testing.assert_close(case.call(sequence[None, cut:], state=state).logits[0], whole)


def trained_on(factor, moved, directory):
    """The answers of a model that learned labels in other units, in those of the labels, and its correlation."""
    generator = np.random.default_rng(0)
    series = [generator.normal(size=(int(length), 2)) for length in generator.integers(2, 9, 48)]
    table = {"series": series, "label": [float(each.mean()) * factor + moved for each in series]}
    options = {"vector_column": "series", "test_size": 0.25, "num_train_epochs": 2, "hidden_size": 8}
    result = train_classifier(table, directory, disable_tqdm=True, refit=False, **options)
    with torch.no_grad():
        answers = result.model(**result.processing_class(series, padding=True, return_tensors="pt")).logits[:, 0]
    return (answers.double() - moved) / factor, result.metrics["pearson"]


def test_training_is_the_same_in_any_unit(tmp_path):
    answers, correlation = trained_on(1.0, 0.0, tmp_path / "one")
    for factor, moved in ((1e-4, 0.0), (1e4, 2e5)):
        others, figure = trained_on(factor, moved, tmp_path / f"times-{factor}")
        torch.testing.assert_close(others, answers, rtol=0, atol=1e-3 * float(answers.std()))
        assert figure == pytest.approx(correlation, abs=1e-3)


def test_several_targets_in_units_of_their_own_count_alike():
    labels, logits = torch.randn(5, 2) * torch.tensor([1.0, 1e4]), torch.randn(5, 2)
    std = labels.std(dim=0, correction=0)
    expected = functional.mse_loss(logits / std, labels / std)
    torch.testing.assert_close(classification_loss(logits, labels, REGRESSION, label_scale=std.tolist()), expected)
    parts = sum(
        classification_loss(logits[[i]], labels[[i]], REGRESSION, 10, label_scale=std.tolist()) for i in range(5)
    )
    torch.testing.assert_close(parts, expected)


@pytest.mark.parametrize("is_stream", [False, True])
def test_the_scale_is_that_of_the_training_labels(is_stream):
    assert np.std([0.1] * 6) > 0, "what rounding makes of a constant"
    rows = {"text": list("abcdef"), "label": [[1.0, 0.1], [3.0, 0.1]] * 3}
    splits = {
        "train": Dataset.from_dict(rows),
        "validation": Dataset.from_dict({"text": ["e"], "label": [[9.0, 9.0]]}),
    }
    if is_stream:
        splits = {name: split.to_iterable_dataset() for name, split in splits.items()}
    data = load_labelled_data(splits, problem_type=REGRESSION)
    assert scale_of_labels(data) == {"label_mean": [2.0, pytest.approx(0.1)], "label_scale": [0.25, 1.0]}


@given(case=cases(dtype=torch.float64), slope=st.floats(0.01, 1))
@torch.no_grad()
def test_drawn_to_the_mean(case, slope):
    config, size = case.model.config, case.model.config.num_labels
    config.problem_type, config.label_mean, config.label_scale = REGRESSION, [500.0] * size, [100.0] * size
    batch, mask = case.padded()
    before = case.call(batch, mask).logits
    draw_to_mean(case.model.classifier, [slope] * size)
    torch.testing.assert_close(case.call(batch, mask).logits, 500 + slope * (before - 500))


def test_labels_that_say_nothing_are_answered_with_about_their_mean(tmp_path):
    generator = np.random.default_rng(1)
    series, noise = generator.normal(size=(100, 3, 1)), generator.normal(500, 100, 100)
    table = {"series": list(series), "label": list(noise)}
    options = {"vector_column": "series", "test_size": 0.2, "validation_size": 0.3, "learning_rate": 0.02}
    result = train_classifier(table, tmp_path, disable_tqdm=True, refit=False, num_train_epochs=30, **options)
    assert 0 < result.slopes[0] < 0.5
    test = result.data.splits["test"]
    with torch.no_grad():
        inputs = result.processing_class(test["input_features"], padding=True, return_tensors="pt")
        errors = result.model(**inputs).logits[:, 0].double() - torch.tensor(test["labels"]).double().flatten()
    assert float((errors**2).mean()) == pytest.approx(result.metrics["mse"], rel=1e-4), "measured as it answers"
    assert f"is multiplied by {result.slopes[0]:.4g}, fitted on the `validation` split" in (
        tmp_path / "README.md"
    ).read_text(encoding="utf-8")


def test_a_chosen_scale_stays(tmp_path):
    table = {"text": ["a b", "b c"] * 8, "label": [10.0, 20.0] * 8}
    fields = {"label_mean": [1.0], "label_scale": [2.0], "hidden_size": 4, "num_train_epochs": 1, "disable_tqdm": True}
    result = train_classifier(table, tmp_path, **fields)
    assert (result.model.config.label_mean, result.model.config.label_scale) == ([1.0], [2.0])


def test_a_half_precision_model_tells_labels_far_from_zero_apart():
    config = RNNConfig(input_size=2, problem_type=REGRESSION, num_labels=1, label_mean=[1e6], label_scale=[10.0])
    model = RNNForSequenceClassification(config).to(torch.bfloat16).eval()
    logits = model(input_features=torch.randn(6, 3, 2).to(torch.bfloat16)).logits
    assert logits.dtype == torch.float32
    assert len(set(logits.flatten().tolist())) == 6


def test_another_head_has_no_scale_of_this_one(tmp_path):
    config = RNNConfig(problem_type=REGRESSION, num_labels=1, label_mean=[5.0], label_scale=[2.0])
    RNNForSequenceClassification(config).save_pretrained(tmp_path)
    assert RNNConfig.from_pretrained(tmp_path).label_mean == [5.0]
    other = RNNConfig.from_pretrained(tmp_path, num_labels=3, problem_type="single_label_classification")
    assert (other.label_mean, other.label_scale) == (None, None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"label_mean": [0.0], "num_labels": 1},
            "label_mean and label_scale belong together, num_labels = 1 finite numbers each, got [0.0] and None. Pass "
            "both or neither.",
        ),
        (
            {"label_mean": [np.inf], "label_scale": [1.0], "num_labels": 1},
            "label_mean and label_scale belong together, num_labels = 1 finite numbers each, got [inf] and [1.0]. "
            "Pass both or neither.",
        ),
        (
            {"label_mean": [0.0], "label_scale": [0.0], "num_labels": 1},
            "label_scale must hold num_labels = 1 positive, finite numbers, got [0.0].",
        ),
        (
            {"label_mean": [0.0], "label_scale": [1.0], "num_labels": 2, "problem_type": REGRESSION},
            "label_scale must hold num_labels = 2 positive, finite numbers, got [1.0].",
        ),
        (
            {"label_mean": [0.0, 0.0], "label_scale": [1.0, 1.0], "problem_type": "multi_label_classification"},
            "label_scale has no meaning for multi_label_classification, whose loss takes pos_weight, focal_gamma, "
            "label_smoothing. Leave it out.",
        ),
    ],
)
def test_what_is_no_scale(fields, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RNNConfig(**fields)
