"""Validation logits -> temperature, thresholds, coverage."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit

from transformers_rnn import RNNConfig
from transformers_rnn.calibration import (
    CoveragePoint,
    calibration_slopes,
    coverage_curve,
    find_abstain_below,
    fit_calibration,
)
from transformers_rnn.metrics import evaluate_predictions

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
NUMBERS = st.integers(-1000, 1000).map(lambda number: number / 100)


def config(problem_type: str | None, num_labels: int, **fields) -> RNNConfig:
    return RNNConfig(problem_type=problem_type, num_labels=num_labels, **fields)


def honest(rows: int, width: int, seed: int = 0):
    """Logits and labels that are drawn with just the probabilities that the logits say."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(rows, width)) * 2
    labels = (logits + generator.gumbel(size=logits.shape)).argmax(-1)
    return logits, labels


def honest_table(rows: int, width: int, seed: int = 0):
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(rows, width)) * 2 - 1
    return logits, (generator.random((rows, width)) < expit(logits)).astype(int)


# Temperature


@pytest.mark.parametrize("factor", [0.2, 1.0, 3.0])
@pytest.mark.parametrize(("problem_type", "draw"), [(SINGLE, honest), (MULTI, honest_table)])
def test_the_temperature_undoes_a_factor(problem_type, draw, factor):
    logits, labels = draw(4000, 4)
    settings = config(problem_type, 4)
    fit_calibration(settings, logits * factor, labels)
    assert settings.temperature == pytest.approx(factor, rel=0.1)
    assert type(settings.temperature) is float


def test_overconfidence_is_cured_on_other_rows():
    settings = config(SINGLE, 4)
    logits, labels = honest(1000, 4, seed=1)
    before = evaluate_predictions(settings, logits * 4, labels)
    fit_calibration(settings, honest(1000, 4)[0] * 4, honest(1000, 4)[1])
    after = evaluate_predictions(settings, logits * 4, labels)
    assert after["log_loss"] < before["log_loss"] - 0.3
    assert after["expected_calibration_error"] < before["expected_calibration_error"] / 3
    assert after["accuracy"] == before["accuracy"]


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(2, 4), st.floats(0.05, 20))
def test_a_fit_never_raises_the_log_loss_nor_changes_an_answer(seed, rows, width, factor):
    generator = np.random.default_rng(seed)
    logits, labels = generator.normal(size=(rows, width)) * factor, generator.integers(0, width, rows)
    settings = config(SINGLE, width)
    before = evaluate_predictions(settings, logits, labels)
    fit_calibration(settings, logits, labels)
    after = evaluate_predictions(settings, logits, labels)
    assert after["accuracy"] == before["accuracy"]
    assert 0.01 <= settings.temperature <= 100
    settings.validate_architecture()
    if before["accuracy"] < 1 and rows > 20:  # where the little doubt in the labels (1 / rows) does not decide
        assert after["log_loss"] <= before["log_loss"] + 0.1


def test_where_every_row_is_right_scores_do_not_become_certain():
    settings = config(SINGLE, 2)
    labels = np.arange(50) % 2
    fit_calibration(settings, np.eye(2)[labels] * 3, labels)
    scores = 1 / (1 + np.exp(-3 / settings.temperature))
    assert scores == pytest.approx(51 / 52, abs=1e-4), "Platt's (1999) estimate"


def test_logits_that_say_nothing_leave_it_at_one():
    settings = config(SINGLE, 3)
    fit_calibration(settings, np.zeros((6, 3)), np.arange(6) % 3)
    assert settings.temperature == 1


def test_a_second_fit_changes_nothing():
    logits, labels = honest(300, 3)
    settings = config(SINGLE, 3)
    fit_calibration(settings, logits * 2, labels)
    first = settings.temperature
    fit_calibration(settings, logits * 2, labels)
    assert settings.temperature == first


def test_ignored_rows_do_not_count():
    logits, labels = honest(300, 3)
    kept, all_rows = config(SINGLE, 3), config(SINGLE, 3)
    fit_calibration(kept, logits[::2], labels[::2])
    labels[1::2] = -100
    fit_calibration(all_rows, logits, labels)
    assert kept.temperature == all_rows.temperature


def test_regression_is_left_as_it_is():
    settings = config(REGRESSION, 1)
    fit_calibration(settings, np.ones((4, 1)), np.ones(4))
    assert (settings.temperature, settings.thresholds) == (1.0, None)


def test_noise_is_drawn_to_the_mean_and_truth_is_not():
    generator = np.random.default_rng(0)
    labels = generator.normal(5, 2, (1000, 1))
    noise = generator.normal(5, 2, (1000, 1))
    slopes = calibration_slopes(np.hstack([labels, noise, labels + noise - 5]), np.repeat(labels, 3, 1), [5.0] * 3)
    assert slopes == pytest.approx([1, 0.01, 0.5], abs=0.05)


@given(
    answers=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20),
    unit=st.floats(1e-3, 1e3),
    mean=NUMBERS,
)
def test_slopes_lie_between_almost_none_and_one_in_any_unit(answers, unit, mean):
    logits, labels = np.array(answers).T
    (slope,) = calibration_slopes(logits[:, None], labels, [mean])
    assert 0.01 <= slope <= 1
    (other,) = calibration_slopes(logits[:, None] * unit, labels * unit, [mean * unit])
    assert other == pytest.approx(slope, rel=1e-6)


def test_few_rows_do_not_decide_alone():
    opposite = np.array([[1.0], [-1.0]])
    assert calibration_slopes(0 * opposite, opposite, [0.0]) == [1.0], "an answer that is the mean already"
    assert calibration_slopes(opposite, 0 * opposite, [0.0]) == [0.01]
    assert calibration_slopes(0 * opposite, 0 * opposite, [0.0]) == [1.0], "nothing is known"
    assert calibration_slopes(2 * opposite, opposite, [0.0]) == [pytest.approx((4 + 1) / (8 + 1))]


@pytest.mark.parametrize("logits", [np.zeros((4, 3)), np.full((4, 2), np.nan)])
def test_what_does_not_fit_is_refused(logits):
    settings = config(SINGLE, 2)
    with pytest.raises(ValueError, match=r"needs logits \(B, 2\) and labels|logits must be finite"):
        fit_calibration(settings, logits, np.zeros(4, int))
    assert settings.temperature == 1


# Thresholds


def f1(labels, given) -> float:
    return 2 * (labels & given).sum() / (labels.sum() + given.sum())


def best_cut(labels, scores) -> tuple[float, float]:
    """The highest F1 on these very rows, and where it is."""
    return max((f1(labels, scores > cut), cut) for cut in [0.0, *scores])


@pytest.mark.parametrize("shift", [0.0, 2.0])  # as a pos_weight shifts the logits of a label
def test_thresholds_have_nearly_the_best_f1_of_other_rows(shift):
    settings = config(MULTI, 3)
    shifts = np.array([0.0, 0.0, shift])
    logits, labels = honest_table(1000, 3)
    fit_calibration(settings, logits + shifts, labels)
    logits, labels = honest_table(4000, 3, seed=1)
    scores = expit((logits + shifts) / settings.temperature)
    for label, threshold in enumerate(settings.thresholds):
        found = f1(labels[:, label], scores[:, label] > threshold)
        assert found == pytest.approx(best_cut(labels[:, label], scores[:, label])[0], abs=0.01)
    before = evaluate_predictions(config(MULTI, 3), logits, labels)
    assert evaluate_predictions(settings, logits + shifts, labels)["macro_f1"] > before["macro_f1"]


def test_of_few_rows_probabilities_tell_more_than_the_cut_that_happens_to_be_best():
    gains = []
    for seed in range(5):
        logits, labels = honest_table(60, 10, seed)
        settings = config(MULTI, 10)
        fit_calibration(settings, logits, labels)
        scores = expit(logits / settings.temperature)
        assert np.abs(scores - settings.thresholds).min() > 1e-9, "between two scores, not on one"
        lucky = [best_cut(has, score)[1] for has, score in zip(labels.T, scores.T, strict=True)]
        logits, labels = honest_table(2000, 10, seed + 100)
        found = evaluate_predictions(settings, logits, labels)["macro_f1"]
        settings.thresholds = lucky
        gains.append(found - evaluate_predictions(settings, logits, labels)["macro_f1"])
    assert np.mean(gains) > 0.005
    assert min(gains) > 0


@given(st.integers(0, 2**32 - 1), st.integers(2, 40))
def test_a_threshold_has_the_highest_expected_f1(seed, rows):
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(rows, 1)) * 3
    labels = np.r_[1, generator.integers(0, 2, rows - 1)][:, None]
    settings = config(MULTI, 1)
    fit_calibration(settings, logits, labels)
    logits = logits / settings.temperature

    def away(line):
        scaled = line[0] * logits + line[1]
        return -np.log(expit(np.where(labels, scaled, -scaled))).sum() + 2 * ((line[0] - 1) ** 2 + line[1] ** 2)

    slope, shift = minimize(away, (1.0, 0.0), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).x
    likely = expit(slope * logits + shift)[:, 0]
    score, threshold = expit(logits)[:, 0], settings.thresholds[0]

    def expected(cut):
        return 2 * likely[score > cut].sum() / ((score > cut).sum() + likely.sum())

    assert expected(threshold) == pytest.approx(max(expected(cut) for cut in [0.0, *score]), abs=1e-4)


def test_a_label_that_no_row_has_shares_the_threshold_of_all():
    logits, labels = honest_table(400, 3)
    labels[:, 1] = 0
    labels[:9, 2], labels[9:, 2] = 1, 0  # nine rows are enough for a threshold of its own
    settings = config(MULTI, 3)
    fit_calibration(settings, logits, labels)
    usual, shared, rare = settings.thresholds
    assert len({usual, shared, rare}) == 3
    assert 0.2 < shared < 0.6


def test_without_any_label_the_threshold_is_one_half():
    settings = config(MULTI, 2)
    fit_calibration(settings, np.ones((20, 2)), np.zeros((20, 2)))
    assert settings.thresholds == [0.5, 0.5]


# Coverage


def test_coverage_by_hand():
    # Scores of the best class, surest first: right, wrong, right, right.
    logits = np.array([[4.0, 0.0], [3.0, 0.0], [0.0, 2.0], [1.0, 0.0]])
    labels = np.array([0, 1, 1, 0])
    curve = coverage_curve(config(SINGLE, 2), logits, labels)
    scores = expit([4.0, 3.0, 2.0, 1.0])
    middle = (scores[1:] + scores[:-1]) / 2
    assert curve == [
        CoveragePoint(0.0, 1.0, 0.75),
        CoveragePoint(pytest.approx(middle[2]), 0.75, 2 / 3),
        CoveragePoint(pytest.approx(middle[1]), 0.5, 0.5),
        CoveragePoint(pytest.approx(middle[0]), 0.25, 1.0),
    ]
    assert coverage_curve(config(SINGLE, 2), logits, labels, points=2) == curve[::2]
    assert find_abstain_below(config(SINGLE, 2), logits, labels, accuracy=0.75) == 0
    assert find_abstain_below(config(SINGLE, 2), logits, labels, accuracy=0.9) == curve[3].abstain_below


@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.booleans())
def test_a_curve_says_what_abstaining_does(seed, rows, ties):
    logits, labels = honest(rows, 3, seed)
    logits = np.round(logits) if ties else logits
    settings = config(SINGLE, 3, temperature=1.5)
    scores = np.exp(logits / 1.5) / np.exp(logits / 1.5).sum(-1, keepdims=True)
    curve = coverage_curve(settings, logits, labels)
    assert (curve[0].abstain_below, curve[0].coverage) == (0, 1)
    for one, other in pairwise(curve):
        assert one.coverage > other.coverage
        assert one.abstain_below < other.abstain_below
    for point in curve:
        answered = scores.max(-1) >= point.abstain_below
        assert answered.mean() == pytest.approx(point.coverage)
        assert (scores.argmax(-1) == labels)[answered].mean() == pytest.approx(point.accuracy)
    best = max(point.accuracy for point in curve)
    limit = find_abstain_below(settings, logits, labels, accuracy=best)
    answered = scores.max(-1) >= limit
    assert (scores.argmax(-1) == labels)[answered].mean() >= best - 1e-12
    assert answered.mean() >= max(point.coverage for point in curve if point.accuracy == best) - 1e-12


def test_an_accuracy_that_is_never_reached():
    message = (
        r"^no share of these rows is answered with an accuracy of 0\.9: the best is 0\.6667, on 3 of 4 rows\. "
        "Ask for less$"
    )
    logits = np.array([[4.0, 0.0], [3.0, 0.0], [0.0, 2.0], [1.0, 0.0]])
    with pytest.raises(ValueError, match=message):
        find_abstain_below(config(SINGLE, 2), logits, np.array([1, 0, 1, 1]), accuracy=0.9)


@pytest.mark.parametrize("accuracy", [-0.1, 95])
def test_the_accuracy_is_checked(accuracy):
    with pytest.raises(ValueError, match=rf"^accuracy must be from 0 to 1, got {accuracy}$"):
        find_abstain_below(config(SINGLE, 2), np.eye(2), np.arange(2), accuracy=accuracy)


@pytest.mark.parametrize(("problem_type", "labels"), [(MULTI, np.eye(2)), (REGRESSION, np.eye(2))])
def test_abstaining_needs_a_single_label(problem_type, labels):
    message = (
        f"^abstaining needs {SINGLE}, but the problem is {problem_type}. For several labels there are thresholds, "
        "see fit_calibration$"
    )
    for function in (coverage_curve, lambda *case: find_abstain_below(*case, accuracy=0.5)):
        with pytest.raises(ValueError, match=message):
            function(config(problem_type, 2), np.eye(2), labels)
