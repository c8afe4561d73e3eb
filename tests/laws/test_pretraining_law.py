"""Prediction of steps: losses and gradients are a plain loop's, padding never counts, nothing sees what it says."""

import re

import pytest
import torch
from cases import PAD, VOCABULARY, cases
from hypothesis import assume, given
from hypothesis import strategies as st
from reference import states_of
from transformers import AutoModelForPreTraining

from transformers_rnn import RNNConfig, RNNForPreTraining, RNNForSequenceClassification, RNNModel, step_prediction

TOKENS = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "input_size": 4, "hidden_size": 3}
VECTORS = {"input_size": 4, "hidden_size": 3}


def predictor(case):
    """Put a model that predicts steps in the place of the drawn classifier."""
    config = case.model.config
    assume(
        not config.bidirectional or (config.num_hidden_layers, config.ngram_order, config.layer_norm) == (1, 1, False)
    )
    case.model = RNNForPreTraining(config).double().eval()
    return case.model


def plain_loss(model, sequences, weights=None):
    """The weighted mean over all predictions of all sequences, one at a time; 0 if there are none."""
    size, window, losses, shares = model.config.hidden_size, model.config.prediction_window, [], []
    for row, sequence in enumerate(sequences):
        states, _ = states_of(model, sequence)
        near = [(step, other) for step in range(len(sequence)) for other in range(len(sequence))]
        pairs = [(0, states[step, :size], other) for step, other in near if step < other <= step + window]
        if model.config.bidirectional:
            pairs += [(1, states[step, size:], other) for step, other in near if step - window <= other < step]
        for direction, state, other in pairs:
            head, target = model.heads[direction], sequence[other]
            prediction = head.weight @ state + head.bias
            if not model.config.reads_tokens:
                losses.append(((prediction - target) ** 2).mean())
            elif target != PAD and target < len(prediction):
                scores = {token: score for token, score in enumerate(prediction) if token != PAD}
                losses.append(torch.logsumexp(torch.stack(list(scores.values())), dim=0) - scores[int(target)])
            else:
                continue
            shares.append(1.0 if weights is None else float(weights[row][other]))
    if not sum(shares):
        return torch.zeros((), dtype=torch.float64)
    return sum(loss * share for loss, share in zip(losses, shares, strict=True)) / sum(shares)


@given(
    cases(dtype=torch.float64, max_length=7),
    st.sampled_from(["right", "left"]),
    st.booleans(),
    st.sampled_from([1, 2, 3, 9]),
    st.sampled_from([None, PAD + 1, VOCABULARY - 3]),
)
def test_loss_and_gradients_are_those_of_a_plain_loop(case, side, training, window, said):
    case.model.config.prediction_window = window
    case.model.config.prediction_vocab_size = said if case.model.config.reads_tokens else None
    model = predictor(case)
    training = training and window < 6  # of longer windows, training takes a part
    weights = {name: each for name, each in model.named_parameters() if not name.startswith("rnn.pooling")}
    expected = plain_loss(model, case.sequences)
    model.train(training)  # in training GRU and RNN take steps of our own
    found = case.call(*case.padded(side, extra=2)).loss
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-9)
    if any(len(sequence) > 1 for sequence in case.sequences):
        ours = torch.autograd.grad(found, list(weights.values()), materialize_grads=True)
        theirs = torch.autograd.grad(expected, list(weights.values()), materialize_grads=True)
        for name, one, other in zip(weights, ours, theirs, strict=True):
            torch.testing.assert_close(one, other, atol=1e-11, rtol=1e-8, msg=name)
    model.eval()
    with torch.no_grad():
        torch.testing.assert_close(case.call(*case.padded(side)).loss, expected, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_prediction_depends_on_no_step_that_it_predicts(bidirectional):
    torch.manual_seed(0)
    model = RNNForPreTraining(RNNConfig(**VECTORS, bidirectional=bidirectional, cell_type="gru")).eval()
    steps = torch.randn(1, 6, 4, requires_grad=True)
    predictions = model(input_features=steps).predictions
    assert predictions.shape == (1, 6, 2 if bidirectional else 1, 4)
    for step in range(6):
        for direction, seen in ((0, range(step + 1)), (1, range(step, 6)))[: predictions.shape[2]]:
            (gradient,) = torch.autograd.grad(predictions[0, step, direction].sum(), steps, retain_graph=True)
            assert gradient[0].any(dim=1).nonzero().flatten().tolist() == list(seen)


@pytest.mark.parametrize("kind", [TOKENS, VECTORS])
@pytest.mark.parametrize("window", [1, 5])
def test_steps_count_as_much_as_they_are_told_to(kind, window):
    torch.manual_seed(0)
    model = RNNForPreTraining(RNNConfig(**kind, bidirectional=True, prediction_window=window)).double().eval()
    lengths, name = (7, 3, 1), "input_ids" if kind is TOKENS else "input_features"
    whole = [torch.randn(length, 4).double() for length in lengths]
    if kind is TOKENS:
        whole = [torch.randint(PAD + 1, VOCABULARY, (length,)) for length in lengths]
    weights = [torch.rand(length).double() for length in lengths]
    batch, mask, counts = (
        torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_side="left")
        for rows in (whole, [torch.ones(length) for length in lengths], weights)
    )
    found = model(**{name: batch}, attention_mask=mask, step_weights=counts).loss
    torch.testing.assert_close(found, plain_loss(model, whole, weights), atol=1e-12, rtol=1e-9)
    nothing = model(**{name: batch}, attention_mask=mask, step_weights=torch.zeros_like(counts)).loss
    assert nothing == 0
    whole_numbers = model(**{name: batch}, attention_mask=mask, step_weights=mask.long() * 2).loss
    torch.testing.assert_close(whole_numbers, model(**{name: batch}, attention_mask=mask).loss)


def test_weights_that_fit_no_step_are_refused():
    model, ids = RNNForPreTraining(RNNConfig(**TOKENS)), torch.tensor([[1, 2, 5]])
    message = (
        "step_weights must have the shape (B, T) = (1, 3) of the sequences, got (1, 2). Give each step one weight."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model(input_ids=ids, step_weights=torch.ones(1, 2))
    message = "step_weights must be finite and at least 0. Give 0 to a step that is not to be predicted."
    for bad in (-1.0, torch.nan, torch.inf):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            model(input_ids=ids, step_weights=torch.tensor([[1.0, bad, 1.0]]))


def test_training_of_a_window_asks_some_steps_and_all_in_turn():
    torch.manual_seed(0)
    model = RNNForPreTraining(RNNConfig(**VECTORS, prediction_window=9)).double().train()
    steps = torch.randn(1, 12, 4, dtype=torch.float64)
    with torch.no_grad():
        guess = model.heads[0](model.rnn(input_features=steps).last_hidden_state[0])
    expected = set()
    for first in range(3):
        errors = [
            (guess[step] - steps[0, other]).square().mean()
            for step in range(first, 12, 3)
            for other in range(step + 1, min(step + 10, 12))
        ]
        expected.add(round(float(torch.stack(errors).mean()), 9))
    found = {round(model(input_features=steps).loss.item(), 9) for _ in range(40)}
    assert found == expected


def test_slices_change_nothing(monkeypatch):
    torch.manual_seed(0)
    states, head = torch.randn(7, 4, requires_grad=True), torch.nn.Linear(4, VOCABULARY)
    targets = torch.tensor([0, 1, 2, 4, 4, 10, 5, 0, PAD, PAD, 1, 2, 4, 5]).view(7, 2)
    weights = torch.rand(7, 2) * (targets != PAD)
    scores = head(states).masked_fill(torch.arange(VOCABULARY) == PAD, -torch.inf).repeat_interleave(2, 0)
    losses = torch.nn.functional.cross_entropy(scores, targets.flatten(), reduction="none")
    expected = losses[targets.flatten() != PAD] @ weights[targets != PAD]
    learned = [states, head.weight, head.bias]
    theirs = torch.autograd.grad(3 * expected, learned)
    for size in (1, 2 * VOCABULARY, 3 * VOCABULARY, 100):
        monkeypatch.setattr(step_prediction, "SLICE", size)
        found = step_prediction.vocabulary_loss(states, head, targets, weights, PAD)
        torch.testing.assert_close(found, expected)
        for one, other in zip(torch.autograd.grad(3 * found, learned), theirs, strict=True):
            torch.testing.assert_close(one, other)
        total = step_prediction.vocabulary_loss(states, head, targets, weights, PAD)
        assert not torch.autograd.grad(total, [head.weight])[0][PAD].any()


def test_a_padding_token_within_a_sequence_is_read_but_never_predicted():
    torch.manual_seed(0)
    model = RNNForPreTraining(RNNConfig(**TOKENS, bidirectional=True)).double().eval()
    sequence = torch.tensor([1, PAD, 5, 2])
    found = model(input_ids=sequence[None], attention_mask=torch.ones(1, 4)).loss
    torch.testing.assert_close(found, plain_loss(model, [sequence]))


@pytest.mark.parametrize("kind", [TOKENS, VECTORS])
def test_saved_the_trunk_is_that_of_a_classifier_bit_for_bit(kind, tmp_path):
    torch.manual_seed(0)
    model = RNNForPreTraining(RNNConfig(**kind, cell_type="lstm", bidirectional=True)).eval()
    model.save_pretrained(tmp_path)
    again = AutoModelForPreTraining.from_pretrained(tmp_path)
    assert type(again) is RNNForPreTraining
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    classifier = RNNForSequenceClassification.from_pretrained(tmp_path)
    trunk = RNNModel.from_pretrained(tmp_path)
    for name, weight in model.rnn.state_dict().items():
        assert torch.equal(weight, classifier.rnn.state_dict()[name]), name
        assert torch.equal(weight, trunk.state_dict()[name]), name


def test_outputs():
    model = RNNForPreTraining(RNNConfig(**VECTORS)).eval()
    steps = torch.randn(2, 5, 4)
    output = model(input_features=steps, output_hidden_states=True)
    assert output.loss.ndim == 0
    assert [tuple(states.shape) for states in output.hidden_states] == [(2, 5, 4), (2, 5, 3)]
    (predictions,) = model(input_features=steps, return_loss=False, return_dict=False)
    assert torch.equal(predictions, output.predictions)
    assert model(input_features=steps[:, :1]).loss == 0  # nothing to predict
    with pytest.raises(
        TypeError, match=r"^RNNForPreTraining\.forward does not take labels: there is no such argument"
    ):
        model(input_features=steps, labels=torch.zeros(2))


def test_tokens_have_scores_where_no_loss_is_asked_for():
    config = RNNConfig(**TOKENS, bidirectional=True, prediction_vocab_size=5, prediction_window=2)
    model, ids = RNNForPreTraining(config).eval(), torch.tensor([[1, 2, 4]])
    assert model(input_ids=ids).predictions is None, "scores of a whole vocabulary are not made for nothing"
    (states,) = model.rnn(input_ids=ids).last_hidden_state
    scores = model(input_ids=ids, return_loss=False).predictions
    assert scores.shape == (1, 3, 2, 5)
    torch.testing.assert_close(scores[0, :, 1], model.heads[1](states[:, 3:]))


def test_two_directions_in_several_layers_are_refused():
    message = (
        "A bidirectional model of several layers cannot be pretrained by prediction: the second layer reads both "
        "directions of the first and sees what it has to predict (num_hidden_layers is 2). Pass num_hidden_layers=1, "
        "or bidirectional=False."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RNNForPreTraining(RNNConfig(bidirectional=True, num_hidden_layers=2))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {**TOKENS, "bidirectional": True, "ngram_order": 2, "ngram_buckets": 9, "ngram_width": 2},
            "ngram_order=2 cannot be pretrained by prediction: an n-gram holds the tokens before its step, which the "
            "backward direction has to predict. Pass bidirectional=False, or leave it out.",
        ),
        (
            {**VECTORS, "bidirectional": True, "layer_norm": True},
            "layer_norm=True cannot be pretrained by prediction: it is over both directions at once, and so each "
            "knows something of what it has to predict. Pass bidirectional=False, or leave it out.",
        ),
        (
            {**VECTORS, "time_warp": 0.1},
            "time_warp=0.1 cannot be pretrained by prediction: a step that is moved lies between two steps, of which "
            "it has to predict one. Leave it out.",
        ),
    ],
)
def test_choices_that_see_what_is_to_be_predicted_are_refused(fields, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RNNForPreTraining(RNNConfig(**fields))
