"""When to answer: the rule step by step, fitted, saved in the config, and drawn."""

import dataclasses

import numpy as np
import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from hypothesis import given, settings
from hypothesis import strategies as st

from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor
from transformers_rnn.earliness import (
    NEVER,
    EarlyResult,
    earliness_curve,
    evaluate_stopping,
    fit_stopping_policy,
    prefix_probabilities,
)
from transformers_rnn.earliness_picture import draw_earliness
from transformers_rnn.stopping import StoppingPolicy

NUMBERS = r"must be a whole number of steps, at least 1, got"


def table(*confidences: float) -> torch.Tensor:
    """(T, 2): the belief in label 1 after each step."""
    return torch.tensor([[1 - value, value] for value in confidences])


def read(policy, beliefs):
    """The answer and the steps of one sequence, step by step."""
    progress = None
    for row in beliefs:
        progress = policy.step(row[None], progress)
        if progress.stopped:
            break
    return progress.label.item(), progress.steps.item()


@st.composite
def believed(draw):
    """Beliefs on a coarse grid, so that thresholds are met exactly and labels often tie in a row."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    width = draw(st.integers(2, 4))
    lengths = draw(st.lists(st.integers(1, 9), min_size=1, max_size=7))
    tables = [(torch.randint(0, 4, (length, width)).float() + 0.5) for length in lengths]
    tables = [one / one.sum(dim=1, keepdim=True) for one in tables]
    return tables, torch.randint(width, (len(lengths),))


@given(
    data=believed(),
    threshold=st.sampled_from([0.0, 0.4, 0.5, 0.7, NEVER]),
    patience=st.integers(1, 4),
    first=st.integers(1, 5),
)
def test_the_evaluation_stops_where_the_rule_does_step_by_step(data, threshold, patience, first):
    tables, labels = data
    policy = StoppingPolicy(threshold, patience, first)
    found = evaluate_stopping(policy, tables, labels)
    answers = [read(policy, one) for one in tables]
    right = [answer == label for (answer, _), label in zip(answers, labels.tolist(), strict=True)]
    assert found.accuracy == pytest.approx(np.mean(right))
    assert found.mean_steps == pytest.approx(np.mean([steps for _, steps in answers]))
    shares = [steps / len(one) for (_, steps), one in zip(answers, tables, strict=True)]
    assert found.earliness == pytest.approx(np.mean(shares))


@settings(max_examples=20)
@given(data=believed(), cost=st.sampled_from([None, 0.0, 0.1, 1.0, 100.0]))
def test_no_policy_of_the_grid_costs_less_than_the_fitted_one(data, cost):
    def price(policy):
        result = evaluate_stopping(policy, *data)
        return -result.harmonic_mean if cost is None else result.cost(cost)

    fitted = fit_stopping_policy(*data, waiting_cost=cost)
    for threshold in (0.0, *data[0][0].max(dim=1).values.tolist(), NEVER):
        for patience in (1, 2, 3):
            if patience <= max(map(len, data[0])):
                assert price(fitted) <= price(StoppingPolicy(threshold, patience)) + 1e-8


@given(data=believed())
def test_progress_of_a_batch_is_that_of_each_row_alone(data):
    tables, _ = data
    steps = min(map(len, tables))
    policy, batch = StoppingPolicy(0.45, 2), None
    alone = [None] * len(tables)
    for t in range(steps):
        batch = policy.step(torch.stack([one[t] for one in tables]), batch)
        alone = [policy.step(one[t][None], before) for one, before in zip(tables, alone, strict=True)]
    for row, progress in enumerate(alone):
        assert [value[row].item() for value in batch] == [value.item() for value in progress]


def test_the_rule_by_example():
    beliefs = table(0.9, 0.2, 0.8, 0.95, 0.9, 0.1)
    assert read(StoppingPolicy(0.9), beliefs) == (1, 1)
    assert read(StoppingPolicy(0.8, patience=2), beliefs) == (1, 4)
    assert read(StoppingPolicy(0.8, min_steps=2), beliefs) == (0, 2)
    assert read(StoppingPolicy(0.8, patience=3), beliefs) == (1, 5)
    assert read(StoppingPolicy(NEVER), beliefs) == (0, 6)
    progress = StoppingPolicy(0.9).step(beliefs[:1])
    assert progress.stopped.tolist() == [True]
    after = StoppingPolicy(0.9).step(beliefs[5:], progress)
    assert (after.label.item(), after.steps.item()) == (1, 1), "an answer that was given stands"
    assert after.confidence.item() == pytest.approx(0.9)


def test_the_harmonic_mean_by_hand():
    assert EarlyResult(0.9, 0.4, 8.0).harmonic_mean == pytest.approx(2 * 0.9 * 0.6 / 1.5)
    assert EarlyResult(0.0, 1.0, 8.0).harmonic_mean == 0.0
    assert EarlyResult(0.9, 0.4, 8.0).cost(0.5) == pytest.approx(0.3)


def test_waiting_is_worth_what_it_costs():
    """Right after two steps, sure after one: wrong in half of the sequences that stop there."""
    tables = [table(0.8, 0.9, 0.9, 0.9)] * 2 + [table(0.8, 0.1, 0.1, 0.1)] * 2
    labels = [1, 1, 0, 0]
    cheap, dear = (fit_stopping_policy(tables, labels, waiting_cost=cost) for cost in (0.1, 10.0))
    assert evaluate_stopping(cheap, tables, labels) == EarlyResult(1.0, 0.5, 2.0)
    assert evaluate_stopping(dear, tables, labels) == EarlyResult(0.5, 0.25, 1.0)
    patient = fit_stopping_policy(tables, labels, waiting_cost=0.0)
    assert patient.threshold == NEVER, "where reading costs nothing, everything is read"
    assert evaluate_stopping(None, tables, labels) == EarlyResult(1.0, 1.0, 4.0)


def test_the_curve():
    tables = [table(0.8, 0.9, 0.9, 0.9)] * 2 + [table(0.8, 0.1, 0.1, 0.1)] * 2
    policy = StoppingPolicy(0.85)
    curve = earliness_curve(tables, [1, 1, 0, 0], policy)
    assert curve.chosen == EarlyResult(1.0, 0.5, 2.0)
    assert curve.chosen in curve.stopping
    assert [result.earliness for result in curve.stopping] == sorted(result.earliness for result in curve.stopping)
    assert curve.fixed[-1] == EarlyResult(1.0, 1.0, 4.0)
    assert curve.fixed[0] == EarlyResult(0.5, 0.25, 1.0)
    assert earliness_curve(tables, [1, 1, 0, 0]).chosen is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"threshold": -0.1}, r"threshold must be a probability, or more than 1 to never stop, got -0\.1"),
        ({"threshold": float("nan")}, "threshold must be a probability"),
        ({"threshold": "high"}, "threshold must be a probability"),
        ({"threshold": True}, "threshold must be a probability"),
        ({"threshold": float("inf")}, r"threshold must be finite; pass 2\.0 to never stop, got inf"),
        ({"threshold": 0.5, "patience": 0}, f"patience {NUMBERS} 0"),
        ({"threshold": 0.5, "min_steps": 1.5}, rf"min_steps {NUMBERS} 1\.5"),
    ],
)
def test_a_policy_out_of_its_range_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        StoppingPolicy(**fields)
    with pytest.raises(ValueError, match=message):
        RNNConfig(stopping_policy=fields)


def test_fields_of_a_saved_policy():
    policy = StoppingPolicy(0.75, 3, 2)
    assert StoppingPolicy.from_dict(policy.to_dict()) == policy
    for fields, came in (
        ({"patience": 2}, "patience"),
        ({"threshold": 0.5, "wait": 1}, "threshold, wait"),
        ({}, "none"),
    ):
        with pytest.raises(
            ValueError, match=rf"threshold \(required\), patience and min_steps, got {came}\. Pass what"
        ):
            StoppingPolicy.from_dict(fields)


def test_the_config_keeps_the_policy(tmp_path):
    config = RNNConfig(stopping_policy=StoppingPolicy(0.75, 3).to_dict(), prefix_loss_weight=0.5)
    config.save_pretrained(tmp_path)
    loaded = RNNConfig.from_pretrained(tmp_path)
    assert loaded.stopping_policy == {"threshold": 0.75, "patience": 3, "min_steps": 1}
    assert loaded.prefix_loss_weight == 0.5
    loaded.stopping_policy = {"threshold": -1.0}
    with pytest.raises(StrictDataclassClassValidationError, match="threshold must be a probability"):
        loaded.save_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prefix_loss_weight": 1.5}, r"prefix_loss_weight is a share of the loss, from 0 to 1, got 1\.5"),
        ({"prefix_loss_weight": -0.5}, "prefix_loss_weight is a share of the loss"),
        ({"prefix_loss_weight": 0.5, "bidirectional": True}, "prefix_loss_weight needs a belief after each step"),
        (
            {"stopping_policy": {"threshold": 0.5}, "bidirectional": True},
            r"stopping_policy needs a belief after each step, which a bidirectional model does not have: its backward "
            r"direction begins at the end of the sequence\. Pass bidirectional=False, or leave it out\.",
        ),
        (
            {"stopping_policy": {"threshold": 0.5}, "problem_type": "regression"},
            r"stopping_policy waits until one label is sure, which regression does not have\. Leave it out\.",
        ),
    ],
)
def test_a_config_that_cannot_answer_early_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        RNNConfig(**fields)


@pytest.mark.parametrize(
    ("beliefs", "message"),
    [
        (torch.randn(2, 3), r"a sum of 1, got rows that sum from .*\. Pass logits\.softmax\(dim=-1\)\."),
        (torch.full((2, 3), torch.nan), "got rows that sum from nan to nan"),
        (torch.ones(2, 1), r"must be \(B, L\) of at least two single labels, .* got \(2, 1\)"),
        (torch.ones(3), r"got \(3,\)"),
        (torch.ones(2, 3, dtype=torch.long), r"got \(2, 3\)"),
    ],
    ids=["logits", "nan", "one label", "one row", "whole numbers"],
)
def test_what_is_no_probability_is_refused(beliefs, message):
    with pytest.raises(ValueError, match=message):
        StoppingPolicy(0.5).step(beliefs)


def test_progress_of_other_sequences_is_refused():
    policy = StoppingPolicy(0.5)
    progress = policy.step(table(0.1, 0.2))
    with pytest.raises(ValueError, match=r"progress must be that of the same B = 1 sequences, got one of 2\. Select"):
        policy.step(table(0.1), progress)


@pytest.mark.parametrize(
    ("tables", "labels", "message"),
    [
        ([], [], r"at least one table .* got 0 tables and labels of shape \(0,\)"),
        ([table(0.1)], [0, 1], r"got 1 tables and labels of shape \(2,\) and type torch\.int64"),
        ([table(0.1)], [0.5], r"got 1 tables and labels of shape \(1,\) and type torch\.float32"),
        ([table(0.1)], [2], "labels must be from 0 to 1, got 2 to 2"),
        (
            [table(0.1), torch.ones(2, 3) / 3],
            [0, 1],
            "All tables must have a step and the same number of labels, here 2",
        ),
        ([table(0.1), torch.ones(0, 2)], [0, 1], "All tables must have a step"),
        ([torch.randn(2, 3)], [0], r"Probabilities must be \(T_i, L\)"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tables, labels, message):
    for use in (fit_stopping_policy, earliness_curve, lambda *data: evaluate_stopping(None, *data)):
        with pytest.raises(ValueError, match=message):
            use(tables, labels)


@pytest.mark.parametrize("cost", [-0.1, float("inf"), float("nan")])
def test_a_cost_out_of_its_range_is_refused(cost):
    with pytest.raises(ValueError, match="waiting_cost must be a finite number of at least 0, or None, got"):
        fit_stopping_policy([table(0.1)], [0], waiting_cost=cost)


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_beliefs_of_a_dataset(side):
    torch.manual_seed(0)
    model = RNNForSequenceClassification(RNNConfig(input_size=3, pooling="mean", num_labels=4)).train()
    rows = [{"input_features": torch.randn(length, 3).numpy(), "label": 1, "note": "?"} for length in (3, 5, 1)]
    extractor = SequenceVectorFeatureExtractor(feature_size=3, padding_side=side)
    tables = prefix_probabilities(model, rows, extractor, batch_size=2)
    assert model.training
    assert [one.shape for one in tables] == [(3, 4), (5, 4), (1, 4)]
    model.eval()
    for row, one in zip(rows, tables, strict=True):
        logits = model(input_features=torch.tensor(row["input_features"])[None]).logits[0]
        torch.testing.assert_close(one[-1], logits.softmax(dim=-1))
    for fields in ({"num_labels": 1}, {"problem_type": "multi_label_classification"}):
        other = RNNForSequenceClassification(RNNConfig(input_size=3, **fields))
        with pytest.raises(ValueError, match="Answers before the end need a model of single labels, got num_labels="):
            prefix_probabilities(other, rows, extractor)


def test_the_picture(tmp_path):
    curve = earliness_curve([table(0.8, 0.9, 0.9), table(0.7, 0.1, 0.1)], [1, 0], StoppingPolicy(0.85))
    path = draw_earliness(curve, tmp_path / "earliness.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    again = draw_earliness(curve, tmp_path / "again.png")
    assert again.read_bytes() == path.read_bytes()
    without = draw_earliness(dataclasses.replace(curve, chosen=None), tmp_path / "without.png")
    assert without.read_bytes() != path.read_bytes()
    with pytest.raises(ValueError, match=r"path must name a \.png file"):
        draw_earliness(curve, tmp_path / "earliness.jpg")
