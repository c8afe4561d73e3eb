"""Exported with dynamic batch and length, or compiled in one graph, the model answers as it does eagerly."""

import pytest
import torch
from cases import CELLS, POOLINGS
from torch import nn
from torch.export import Dim
from torch.utils._pytree import tree_flatten, tree_unflatten

from transformers_rnn import RNNConfig, RNNForSequenceClassification, traced_recurrence
from transformers_rnn.traced_recurrence import _Steps

# Each cell in both directions, and each pooling, for tokens and vectors.
CASES = [
    (*cell, bidirectional, POOLINGS[(index + 2 * bidirectional) % 5], (index + bidirectional) % 2 == 0)
    for index, cell in enumerate(CELLS)
    for bidirectional in (False, True)
]
MORE = {"ngram_order": 3, "ngram_buckets": 40, "ngram_width": 2, "layer_norm": True}
CASES += [("rnn", "tanh", False, "last", True, MORE)]


def build(cell, nonlinearity, bidirectional, pooling, tokens, fields=None):
    torch.manual_seed(0)
    model = RNNForSequenceClassification(
        RNNConfig(
            cell_type=cell,
            nonlinearity=nonlinearity,
            bidirectional=bidirectional,
            pooling=pooling,
            problem_type="single_label_classification",
            **({"vocab_size": 30, "pad_token_id": 0} if tokens else {}),
            **{"input_size": 4, "hidden_size": 5, **(fields or {})},
        )
    ).eval()
    for parameter in model.parameters():
        if not parameter.any():  # what starts at zero would hide mistakes
            nn.init.normal_(parameter)
    return model


def batch_of(model, size, length):
    """Ragged, padded to the right or to the left."""
    lengths = torch.randint(1, length + 1, (size, 1))
    mask = (torch.arange(length)[None] < lengths).long()
    if size % 2:
        mask = mask.flip(1)
    if model.config.reads_tokens:
        return {"input_ids": torch.randint(1, 30, (size, length)), "attention_mask": mask}
    return {"input_features": torch.randn(size, length, 4), "attention_mask": mask}


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_exported_with_dynamic_batch_and_length(case):
    model = build(*case)
    example = batch_of(model, 3, 6)
    dynamic = {0: Dim("batch", min=1, max=4096), 1: Dim("length", min=1, max=65_536)}
    program = torch.export.export(
        model, (), kwargs=example, dynamic_shapes=dict.fromkeys(example, dynamic), strict=False
    ).module()
    for size, length in ((1, 1), (5, 3), (2, 17)):
        batch = batch_of(model, size, length)
        torch.testing.assert_close(program(**batch).logits, model(**batch).logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", [CASES[1], CASES[4], CASES[6], *CASES[8:]], ids=str)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_compiled_without_a_graph_break_with_gradients(case):
    torch._dynamo.reset()
    model = build(*case)
    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend="aot_eager")
    for size, length in ((3, 6), (4, 9)):
        batch, labels = batch_of(model, size, length), torch.arange(size) % 2
        gradients = []
        for run in (compiled, model):
            model.zero_grad()
            output = run(**batch, labels=labels)
            output.loss.backward()
            gradients.append([output.logits.detach(), *(p.grad.clone() for p in model.parameters())])
        for found, expected in zip(*gradients, strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def loop(step, carry, sequences):
    """What `scan` means."""
    flat, spec = tree_flatten(sequences)
    outputs = []
    for at in zip(*flat, strict=True):
        carry, output = step(carry, tree_unflatten(list(at), spec))
        outputs.append(output)
    return carry, tuple(torch.stack(each) for each in zip(*outputs, strict=True))


@pytest.mark.parametrize("mode", ["RNN_TANH", "RNN_RELU", "GRU", "LSTM"])
def test_gradients_by_hand_are_those_of_the_equations(mode, monkeypatch):
    monkeypatch.setattr(traced_recurrence, "scan", loop)
    torch.manual_seed(0)
    gates, cells = {"GRU": 3, "LSTM": 4}.get(mode, 1), 2 if mode == "LSTM" else 1
    shapes = [(4, 3, gates * 2), (gates * 2, 2), (gates * 2,), *[(3, 2)] * cells]
    read, *rest = (torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)
    valid = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 0, 0]]).bool()[:, :, None]
    assert torch.autograd.gradcheck(lambda read, *rest: _Steps.apply(mode, read, valid, *rest), (read, *rest))


# Inputs as wide as the states: gradients of one size, which inductor mixed up when torch had derived the scan's.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_the_default_backend_gives_the_same_gradients():
    torch._dynamo.reset()
    model = build("rnn", "tanh", False, "last", False, {"hidden_size": 4})
    batch, gradients = batch_of(model, 6, 10), []
    with torch._dynamo.config.patch(capture_scalar_outputs=True):
        for run in (torch.compile(model), model):
            model.zero_grad()
            output = run(**batch, labels=torch.arange(6) % 2)
            output.loss.backward()
            gradients.append([output.logits.detach(), *(p.grad.clone() for p in model.parameters())])
    for found, expected in zip(*gradients, strict=True):
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_the_default_backend_gives_the_same_answers():
    torch._dynamo.reset()
    torch.manual_seed(0)
    model = RNNForSequenceClassification(RNNConfig(input_size=3, hidden_size=4, cell_type="lstm")).eval()
    features, mask = torch.randn(2, 5, 3), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    with torch.no_grad(), torch._dynamo.config.patch(capture_scalar_outputs=True):
        compiled = torch.compile(model)(input_features=features, attention_mask=mask).logits
    expected = model(input_features=features, attention_mask=mask).logits
    torch.testing.assert_close(compiled, expected, rtol=1e-5, atol=1e-6)
