"""Counted n-grams beside the recurrent layers: a mixture of both answers, whatever the texts and labels."""

import numpy as np
import pytest
import torch
from cases import VOCABULARY
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import ngram_numbers
from scipy.sparse import csr_matrix

from transformers_rnn import RNNConfig, RNNForSequenceClassification
from transformers_rnn.bag import NgramBag, count_places, without_conflicts
from transformers_rnn.bag_fitting import add_bag, fit_shares, renew_bag
from transformers_rnn.figures import logit_losses
from transformers_rnn.ngram_votes import fit_votes, weigh_ngrams

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
ids = st.lists(st.integers(1, VOCABULARY - 1), min_size=1, max_size=9)
texts = st.lists(ids, min_size=2, max_size=12)


@st.composite
def tables(draw):
    """Texts of ids, labels of one of the three problems, and the model of a config that fits them."""
    problem, size = draw(st.sampled_from([SINGLE, MULTI, REGRESSION])), draw(st.integers(2, 4))
    sequences, generator = draw(texts), np.random.default_rng(draw(st.integers(0, 99)))
    shape = (len(sequences),) if problem == SINGLE else (len(sequences), size)
    labels = generator.normal(3.0, 5.0, shape) if problem == REGRESSION else generator.integers(0, 2, shape)
    scale = {"label_mean": [3.0] * size, "label_scale": [2.0] * size} if problem == REGRESSION else {}
    config = RNNConfig(vocab_size=VOCABULARY, pad_token_id=0, num_labels=size, problem_type=problem, **scale)
    return RNNForSequenceClassification(config).double().eval(), sequences, labels


def answer(model, sequences):
    with torch.no_grad():
        return torch.stack([model(torch.tensor([sequence])).logits[0] for sequence in sequences])


@settings(max_examples=40)
@given(table=tables(), order=st.integers(1, 4), shares=st.tuples(st.floats(0, 2), st.floats(0, 2)), others=texts)
def test_the_logits_are_the_sum_of_both_shares(table, order, shares, others):
    model, sequences, labels = table
    config = model.config
    votes = fit_votes(config, sequences, labels, order)
    alone = answer(model, others)
    mean, scale = (
        torch.tensor(part or [standard]) for part, standard in ((config.label_mean, 0.0), (config.label_scale, 1.0))
    )
    counted = torch.from_numpy(votes.answer(others))
    add_bag(model, votes, shares)
    expected = ((alone - mean) / scale * shares[0] + counted * shares[1]) * scale + mean
    torch.testing.assert_close(answer(model, others), expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=40)
@given(table=tables(), order=st.integers(1, 4), shares=st.tuples(st.floats(0, 2), st.floats(0, 2)), others=texts)
def test_votes_that_are_renewed_are_as_loud_whatever_the_head_was_told_meanwhile(table, order, shares, others):
    model, sequences, labels = table
    former, votes = (fit_votes(model.config, sequences[:rows], labels[:rows], order) for rows in (-1, None))
    add_bag(model, former, shares)
    with torch.no_grad():
        model.classifier.weight *= 0.7  # as for the calibration slope of a regression
        model.classifier.bias += 1.3
    before = answer(model, others)
    renew_bag(model, former, votes)
    assert model.config.bag_size == len(votes.numbers)
    change = torch.from_numpy(votes.answer(others) - former.answer(others)) * shares[1] * 0.7
    expected = before + change * torch.tensor(model.config.label_scale or [1.0])
    torch.testing.assert_close(answer(model, others), expected, rtol=1e-6, atol=1e-6)


@settings(max_examples=40)
@given(sequences=texts, order=st.integers(1, 4))
def test_known_are_all_tokens_and_what_is_longer_if_two_sequences_have_it(sequences, order):
    labels = np.arange(len(sequences)) % 2
    config = RNNConfig(vocab_size=VOCABULARY, pad_token_id=0, problem_type=SINGLE)
    votes = fit_votes(config, sequences, labels, order)
    counts = {}
    for sequence in sequences:
        steps = ngram_numbers([*sequence, -1], range(1, order + 1))
        for found in {(number, size) for step in steps for size, number in enumerate(step, start=1)}:
            counts[found] = counts.get(found, 0) + 1
    wanted = [number for (number, size), count in counts.items() if size == 1 or count > 1]
    known = votes.numbers.tolist()
    assert set(known) <= set(wanted)
    often = {number: count for (number, _), count in counts.items()}
    assert [often[number] for number in known] == sorted((often[number] for number in known), reverse=True)
    places = [number % count_places(len(known)) for number in known]
    assert len(set(places)) == len(known), "each has a place of its own"
    lost = set(wanted) - set(known)
    assert len(lost) <= len(wanted) / 2


@settings(max_examples=20)
@given(sequences=texts, seed=st.integers(0, 99))
def test_of_several_labels_each_is_fitted_as_if_it_were_alone(sequences, seed):
    labels = np.random.default_rng(seed).integers(0, 2, (len(sequences), 3))
    several, alone = (
        RNNConfig(vocab_size=VOCABULARY, pad_token_id=0, num_labels=size, problem_type=MULTI) for size in (3, 1)
    )
    votes = fit_votes(several, sequences, labels, 2).answer(sequences)
    for label in range(3):
        expected = fit_votes(alone, sequences, labels[:, [label]], 2).answer(sequences)
        np.testing.assert_allclose(votes[:, [label]], expected, rtol=1e-9)


@given(seed=st.integers(0, 999), rows=st.integers(1, 12), labels=st.integers(1, 4))
def test_an_ngram_weighs_by_how_rare_it_is_and_by_what_it_tells(seed, rows, labels):
    generator = np.random.default_rng(seed)
    there, marks = generator.random((rows, 5)) < 0.4, generator.random((rows, labels)) < generator.random(labels)
    usual = [(sum(marks[:, label]) + 1) / (rows + 2) for label in range(labels)]
    weights = weigh_ngrams(csr_matrix(there), marks)
    for ngram in range(5):
        having = [row for row in range(rows) if there[row, ngram]]
        squares = 0.0
        for label, share in enumerate(usual):
            marked = sum(marks[row, label] for row in having)
            log_odds = np.log((marked + share) / (len(having) - marked + 1 - share))
            squares += (log_odds - np.log(share / (1 - share))) ** 2 * share / sum(usual)
        rarity = np.log((1 + rows) / (1 + len(having))) + 1
        assert weights[ngram] == pytest.approx(rarity * (1 + np.sqrt(squares)))


@pytest.mark.parametrize("problem", [SINGLE, MULTI, REGRESSION])
@settings(max_examples=10)
@given(seed=st.integers(0, 99))
def test_words_that_tell_of_the_labels_are_louder_than_words_that_do_not(problem, seed):
    """How strong the penalty is, held-out sequences tell."""
    generator = np.random.default_rng(seed)
    sequences = generator.integers(1, VOCABULARY, (200, 6))
    told = np.stack([(sequences == token).any(axis=1) for token in (1, 2)], axis=1).astype(int)
    config = RNNConfig(vocab_size=VOCABULARY, pad_token_id=0, num_labels=2, problem_type=problem)
    spread = []
    for table in (told, generator.permutation(told)):
        labels = table[:, 0] if problem == SINGLE else table
        spread.append(fit_votes(config, list(sequences), labels, 1).answer(list(sequences)).std())
    assert spread[0] > 2 * spread[1]


@settings(max_examples=20)
@given(sequences=texts, again=ids)
def test_how_often_a_token_comes_changes_nothing(sequences, again):
    config = RNNConfig(vocab_size=VOCABULARY, pad_token_id=0, problem_type=SINGLE)
    votes = fit_votes(config, sequences, np.arange(len(sequences)) % 2, 1)
    once = votes.answer([sorted(set(again))])
    np.testing.assert_allclose(votes.answer([again, again * 3]), np.repeat(once, 2, axis=0), rtol=1e-9, atol=1e-12)


@given(rows=st.integers(20, 40), period=st.integers(2, 4))
@settings(max_examples=10)
def test_labels_that_come_in_turn_are_heard(rows, period):
    """As in tables that were written one class after the other, again and again."""
    labels = np.arange(rows * period) % period
    sequences = [[int(label) + 1, 9] for label in labels]
    config = RNNConfig(vocab_size=VOCABULARY, pad_token_id=0, num_labels=period, problem_type=SINGLE)
    logits = fit_votes(config, sequences, labels, 1).answer(sequences)
    assert logit_losses(SINGLE, logits, np.eye(period)[labels]).mean() < 0.05


@pytest.mark.parametrize(("sure", "most"), [(0.5, np.log(2) + 0.08), (1.0, 0.002)])
@settings(max_examples=10)
@given(seed=st.integers(0, 99))
def test_votes_are_as_loud_as_what_they_say_holds(sure, most, seed):
    """Of noise nearly silent, and loud where a token decides: the loss of sequences that were not seen."""
    generator = np.random.default_rng(seed)
    sequences, labels = generator.integers(2, 200, (1000, 20)), generator.integers(0, 2, 1000)
    sequences[:, 0] = np.where(generator.random(1000) < sure, labels, 1 - labels)
    config = RNNConfig(vocab_size=200, pad_token_id=0, problem_type=SINGLE)
    logits = fit_votes(config, list(sequences[:100]), labels[:100], 1).answer(list(sequences[100:]))
    assert logit_losses(SINGLE, logits, np.eye(2)[labels[100:]]).mean() < most


@given(st.lists(st.integers(0, 2**31 - 2), min_size=1, max_size=50, unique=True))
def test_what_a_bag_has_learned_it_finds_and_nothing_else(numbers):
    kept = without_conflicts(torch.tensor(numbers))
    assert kept[0] == numbers[0], "the commonest keeps its place"
    bag = NgramBag(len(kept) + 3, 1, 1)  # it may know fewer than it could
    bag.learn(kept)
    places = bag.places[kept % len(bag.places)]
    assert bag.numbers[places].tolist() == kept.tolist()
    assert (bag.numbers >= 0).sum() == len(kept)


@pytest.mark.parametrize("problem", [SINGLE, MULTI, REGRESSION])
@given(seed=st.integers(0, 99))
def test_what_knows_the_labels_is_heard_and_noise_is_not(problem, seed):
    """Whichever of the two it is, and in whatever units the labels are."""
    generator = np.random.default_rng(seed)
    config = RNNConfig(vocab_size=VOCABULARY, pad_token_id=0, num_labels=3, problem_type=problem)
    truth = np.eye(3)[generator.integers(0, 3, 300)] if problem == SINGLE else generator.integers(0, 2, (300, 3))
    labels, scale, mean = truth.argmax(1) if problem == SINGLE else truth, 1.0, 0.0
    if problem == REGRESSION:
        config.label_mean, config.label_scale = [7.0] * 3, [100.0] * 3
        truth, scale, mean = generator.normal(size=(300, 3)), 100.0, 7.0
        labels = truth * scale + mean
    knows = truth if problem == REGRESSION else truth * 4.0 - 2.0 + generator.normal(size=(300, 3))
    noise = generator.normal(size=(300, 3))
    before = config.to_dict()
    own, counted = fit_shares(config, knows * scale + mean, noise, labels)
    assert own > 2 * counted
    own, counted = fit_shares(config, noise * scale + mean, knows, labels)
    assert counted > 2 * own
    assert config.to_dict() == before


def test_of_no_rows_that_tell_both_have_the_same_share():
    config = RNNConfig(vocab_size=VOCABULARY, pad_token_id=0, problem_type=SINGLE)
    assert fit_shares(config, np.zeros((4, 2)), np.zeros((4, 2)), np.array([0, 1, 0, 1])) == pytest.approx((0.5, 0.5))
