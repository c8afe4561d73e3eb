"""Outputs and every gradient equal a plain loop of the equations, and torch's own module."""

import pytest
import reference
import torch
from cases import CELLS, cases
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from transformers_rnn import RNNConfig, RNNForSequenceClassification


@given(case=cases(dtype=torch.float64, max_length=7), training=st.booleans())
def test_logits_states_and_gradients_equal_the_plain_loop(case, training):
    case.model.train(training)  # in training GRU and RNN take steps of our own
    weights = torch.randn(len(case.sequences), case.model.config.num_labels, dtype=torch.float64)
    output = case.call(*case.padded("left", 1), output_hidden_states=True)
    (output.logits * weights).sum().backward()
    case.model.eval()
    ours = {name: p.grad.clone() for name, p in case.model.named_parameters() if p.grad is not None}

    case.model.zero_grad()
    expected = torch.stack([reference.logits_of(case.model, sequence) for sequence in case.sequences])
    (expected * weights).sum().backward()
    torch.testing.assert_close(output.logits, expected, rtol=1e-10, atol=1e-12)
    theirs = {name: p.grad for name, p in case.model.named_parameters() if p.grad is not None}
    assert ours.keys() == theirs.keys()
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-8, atol=1e-11, msg=name)

    for row, sequence in enumerate(case.sequences):
        states, last = reference.states_of(case.model, sequence)
        found = output.hidden_states[-1][row]
        torch.testing.assert_close(found[len(found) - len(states) :], states, rtol=1e-10, atol=1e-12)
        assert not found[: len(found) - len(states)].any(), "padding must be zero in what is returned"
        if case.model.config.pooling == "last":
            pooled = case.model.rnn(**_inputs(case, sequence)).pooler_output[0]
            torch.testing.assert_close(pooled[: len(last)], last, rtol=1e-10, atol=1e-12)


def _inputs(case, sequence):
    return {"input_ids" if case.tokens else "input_features": sequence[None]}


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_states_equal_torch_on_packed_sequences(cell, nonlinearity, bidirectional):
    torch.manual_seed(1)
    options = {"nonlinearity": nonlinearity} if cell == "rnn" else {}
    theirs = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[cell](
        5, 7, num_layers=2, batch_first=True, bidirectional=bidirectional, **options
    )
    model = RNNForSequenceClassification.from_torch(theirs, nn.Linear(14 if bidirectional else 7, 3)).eval()
    sequences = [torch.randn(n, 5) for n in (6, 2, 9, 1)]
    states, _ = pad_packed_sequence(theirs(pack_sequence(sequences, enforce_sorted=False))[0], batch_first=True)
    mask = torch.tensor([[1] * len(s) + [0] * (9 - len(s)) for s in sequences])
    batch = nn.utils.rnn.pad_sequence(sequences, batch_first=True)
    torch.testing.assert_close(model.rnn(input_features=batch, attention_mask=mask).last_hidden_state, states)


@given(case=cases(dtype=torch.float64))
@torch.no_grad()
def test_packed_and_padded_runs_agree(case):
    """The way taken on a GPU, run on the CPU."""
    from transformers_rnn.padding import align

    cell = case.model.rnn.layers[0].cell
    batch, mask = case.padded("right", 2)
    alignment = align(mask, batch, None, streaming=False)
    if not alignment.full:
        inputs = torch.randn(len(batch), alignment.longest, case.model.config.embedded_size, dtype=torch.float64)
        padded, (hidden, memory) = cell(inputs, alignment, None, True)
        packed, (packed_hidden, packed_memory) = cell._run_packed(inputs, alignment, cell.weights_for_batch())
        real = alignment.valid[:, :, None]
        torch.testing.assert_close(padded * real, packed * real, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(hidden, packed_hidden, rtol=1e-10, atol=1e-12)
        if memory is not None:
            torch.testing.assert_close(memory, packed_memory, rtol=1e-10, atol=1e-12)


def test_gradcheck_of_the_whole_model():
    torch.manual_seed(2)
    for cell, nonlinearity in CELLS:
        config = RNNConfig(input_size=2, hidden_size=2, cell_type=cell, nonlinearity=nonlinearity, bidirectional=True)
        config.pooling = "attention"
        model = RNNForSequenceClassification(config).double()
        mask = torch.tensor([[1, 1, 1], [1, 0, 0]])
        features = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(
            lambda x, model=model, mask=mask: model(input_features=x, attention_mask=mask).logits, (features,)
        )
