"""Cut a sequence anywhere, carry the state: the same states, the same logits."""

import pytest
import torch
from cases import cases
from hypothesis import given
from hypothesis import strategies as st

from transformers_rnn import RNNConfig, RNNForSequenceClassification, RNNModel


@given(case=cases(bidirectional=False, dtype=torch.float64), data=st.data())
@torch.no_grad()
def test_pieces_give_what_the_whole_gives(case, data):
    """Every row is cut at its own places; a piece may be empty in some rows, and padded on either side."""
    whole = case.call(*case.padded(), use_cache=True)
    pieces = data.draw(st.integers(1, 4))
    first = [data.draw(st.integers(1, len(sequence))) for sequence in case.sequences]
    cuts = [
        [0, start, *sorted(data.draw(st.lists(st.integers(start, len(sequence)), min_size=pieces, max_size=pieces)))]
        for start, sequence in zip(first, case.sequences, strict=True)
    ]
    state, states = None, [[] for _ in case.sequences]
    for piece in range(pieces + 2):
        ends = [cut[piece + 1] if piece < pieces + 1 else len(s) for cut, s in zip(cuts, case.sequences, strict=True)]
        starts = [cut[piece] for cut in cuts]
        parts = [s[a:b] for s, a, b in zip(case.sequences, starts, ends, strict=True)]
        side = data.draw(st.sampled_from(["left", "right"]))
        batch, mask = type(case)(case.model, parts).padded(side, 1)
        output = case.call(batch, mask, state=state, use_cache=True, output_hidden_states=True)
        state = output.state
        for row, part in enumerate(parts):
            states[row].append(output.hidden_states[-1][row][mask[row].bool()])
            assert len(states[row][-1]) == len(part)
    torch.testing.assert_close(output.logits, whole.logits, rtol=1e-10, atol=1e-12)
    for name, value in whole.state.items():
        torch.testing.assert_close(state[name], value, rtol=1e-10, atol=1e-12, msg=name)
    full_states = case.call(*case.padded(), output_hidden_states=True).hidden_states[-1]
    for row, sequence in enumerate(case.sequences):
        torch.testing.assert_close(torch.cat(states[row]), full_states[row, : len(sequence)], rtol=1e-10, atol=1e-12)


@given(case=cases(bidirectional=False), cut=st.integers(1, 11))
@torch.no_grad()
def test_in_float32_too(case, cut):
    sequence = torch.cat(case.sequences)
    before = case.call(sequence[None, :cut], use_cache=True)
    if cut < len(sequence):
        after = case.call(sequence[None, cut:], state=before.state)
        torch.testing.assert_close(after.logits[0], case.alone(sequence), rtol=1e-5, atol=1e-6)
        assert after.state is not None, "a call with a state goes on streaming"


@pytest.mark.parametrize("training", [False, True])  # in training GRU and RNN take steps of our own
def test_gradients_flow_through_the_state(training):
    torch.manual_seed(0)
    for cell in ("rnn", "gru", "lstm"):
        model = RNNForSequenceClassification(RNNConfig(cell_type=cell, pooling="attention")).double().train(training)
        features = torch.randn(2, 6, 10, dtype=torch.float64)
        model(input_features=features).logits.sum().backward()
        expected = [p.grad.clone() for p in model.parameters()]
        model.zero_grad()
        state = model(input_features=features[:, :2], use_cache=True).state
        model(input_features=features[:, 2:], state=state).logits.sum().backward()
        for parameter, gradient in zip(model.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient)
        model.eval()


def test_a_bidirectional_model_refuses_with_the_reason():
    model = RNNModel(RNNConfig(bidirectional=True))
    features = torch.randn(1, 3, 10)
    assert model(input_features=features).state is None
    with pytest.raises(ValueError, match="its backward direction begins at the end of the sequence"):
        model(input_features=features, use_cache=True)


def test_a_state_that_does_not_fit_is_refused():
    model = RNNModel(RNNConfig(cell_type="gru"))
    state = model(input_features=torch.randn(2, 3, 10)).state
    with pytest.raises(ValueError, match=r"need hidden \(B, N, H\) = \(3, 1, 20\), got hidden \(2, 1, 20\)"):
        model(input_features=torch.randn(3, 3, 10), state=state)
    with pytest.raises(
        ValueError, match=r"need hidden .* and cell, got hidden \(2, 1, 20\)\. Continue with the model"
    ):
        RNNModel(RNNConfig(cell_type="lstm"))(input_features=torch.randn(2, 3, 10), state=state)
    with pytest.raises(ValueError, match="that an earlier call of this model returned, got tuple"):
        model(input_features=torch.randn(2, 3, 10), state=(state.hidden,))
