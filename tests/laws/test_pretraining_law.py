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


def plain_loss(model, sequences):
    """The mean over all predictions of all sequences, one at a time; 0 if there are none."""
    size, losses = model.config.hidden_size, [torch.zeros((), dtype=torch.float64)]
    for sequence in sequences:
        states, _ = states_of(model, sequence)
        pairs = [(states[step, :size], sequence[step + 1]) for step in range(len(sequence) - 1)]
        if model.config.bidirectional:
            pairs += [(states[step, size:], sequence[step - 1]) for step in range(1, len(sequence))]
        for state, target in pairs:
            prediction = model.head.weight @ state + model.head.bias
            if not model.config.reads_tokens:
                losses.append(((prediction - target) ** 2).mean())
            elif target != PAD:
                table = model.get_input_embeddings().weight
                scores = {token: table[token] @ prediction for token in range(len(table)) if token != PAD}
                losses.append(torch.logsumexp(torch.stack(list(scores.values())), dim=0) - scores[int(target)])
    return torch.stack(losses).sum() / max(len(losses) - 1, 1)


@given(cases(dtype=torch.float64, max_length=7), st.sampled_from(["right", "left"]), st.booleans())
def test_loss_and_gradients_are_those_of_a_plain_loop(case, side, training):
    model = predictor(case)
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


def test_slices_change_nothing(monkeypatch):
    torch.manual_seed(0)
    predictions, table = torch.randn(7, 4, requires_grad=True), torch.randn(VOCABULARY, 4, requires_grad=True)
    targets = torch.tensor([0, 1, 2, 4, 4, 10, 5])
    scores = (predictions @ table.T).masked_fill(torch.arange(VOCABULARY) == PAD, -torch.inf)
    expected = torch.nn.functional.cross_entropy(scores, targets)
    theirs = torch.autograd.grad(3 * expected, [predictions, table])
    for size in (1, 2 * VOCABULARY, 3 * VOCABULARY, 100):
        monkeypatch.setattr(step_prediction, "SLICE", size)
        found = step_prediction.vocabulary_loss(predictions, table, targets, PAD)
        torch.testing.assert_close(found, expected)
        for one, other in zip(torch.autograd.grad(3 * found, [predictions, table]), theirs, strict=True):
            torch.testing.assert_close(one, other)
        assert not torch.autograd.grad(
            step_prediction.vocabulary_loss(predictions, table, targets, PAD), [table]
        )[0][PAD].any()  # fmt: skip


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
