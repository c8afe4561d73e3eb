"""GRU and plain RNN with gradients by hand, against torch's own modules."""

import pytest
import torch
from torch import nn

from transformers_rnn import RNNConfig, RNNForSequenceClassification
from transformers_rnn.recurrence import run_steps

MODES = {"GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def parts(mode: str, directions: tuple[int, ...], dtype: torch.dtype) -> list[torch.Tensor]:
    """read, start, weight and bias of a random cell: T 5, B 3, H 4."""
    torch.manual_seed(0)
    gates = MODES[mode] * 4
    shapes = [(5, 3, gates), (3, 4), (gates, 4), (gates,)]
    return [torch.randn(*directions, *shape, dtype=dtype, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize("directions", [(), (2,)])
@pytest.mark.parametrize("mode", MODES)
def test_gradients_by_hand_are_those_of_finite_differences(mode, directions):
    inputs = parts(mode, directions, torch.float64)
    assert torch.autograd.gradcheck(lambda *given: run_steps(mode, *given), inputs)


@pytest.mark.parametrize("mode", MODES)
def test_both_directions_at_once_are_each_alone(mode):
    inputs = parts(mode, (2,), torch.float64)
    both = run_steps(mode, *inputs)
    for direction in range(2):
        alone = run_steps(mode, *(part[direction] for part in inputs))
        torch.testing.assert_close(both[direction], alone, rtol=1e-12, atol=1e-12)


def test_a_second_derivative_is_refused_not_wrong():
    inputs = parts("GRU", (), torch.float64)
    (gradient,) = torch.autograd.grad(run_steps("GRU", *inputs).square().sum(), inputs[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


@pytest.mark.parametrize("cell", ["gru", "rnn"])
def test_it_trains_in_bfloat16_and_under_autocast(cell):
    config = RNNConfig(cell_type=cell, bidirectional=True, problem_type="single_label_classification")
    batch = {"input_features": torch.randn(3, 5, 10), "labels": torch.tensor([0, 1, 0])}
    mask = torch.tensor([[1, 1, 1, 0, 0], [1] * 5, [1, 0, 0, 0, 0]])
    model = RNNForSequenceClassification(config).train()
    exact = model(**batch, attention_mask=mask).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = model(**batch, attention_mask=mask).loss
    mixed.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    torch.testing.assert_close(mixed, exact, rtol=0.05, atol=0.05)
    batch["input_features"] = batch["input_features"].bfloat16()
    torch.testing.assert_close(model.bfloat16()(**batch, attention_mask=mask).loss, exact, rtol=0.05, atol=0.05)
    model.eval()


def test_full_sequences_train_with_the_gradients_of_torch():
    torch.manual_seed(0)
    features = torch.randn(4, 6, 5)
    for bidirectional in (False, True):
        theirs = nn.GRU(5, 7, batch_first=True, bidirectional=bidirectional)
        head = nn.Linear(theirs.hidden_size * (1 + bidirectional), 3)
        ours = RNNForSequenceClassification.from_torch(theirs, head, pooling="mean").train()
        ours(input_features=features).logits.square().sum().backward()
        head(theirs(features)[0].mean(dim=1)).square().sum().backward()
        found = dict(ours.rnn.layers[0].cell.named_parameters())
        for name, parameter in theirs.named_parameters():
            torch.testing.assert_close(found[name].grad, parameter.grad, rtol=1e-5, atol=1e-6)
        ours.eval()
