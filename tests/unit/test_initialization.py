"""Each weight starts as the docstring of `initialize_module` says."""

import math

import pytest
import torch
from cases import CELLS
from torch import nn
from transformers import AutoModelForSequenceClassification, set_seed

from transformers_rnn import RNNConfig, RNNForSequenceClassification
from transformers_rnn.initialization import initialize_module

F, H, V, PAD = 48, 64, 500, 7


def built(cell="lstm", nonlinearity="tanh", seed=0, **fields):
    torch.manual_seed(seed)
    config = RNNConfig(
        vocab_size=V,
        pad_token_id=PAD,
        input_size=F,
        hidden_size=H,
        cell_type=cell,
        nonlinearity=nonlinearity,
        bidirectional=True,
        num_hidden_layers=2,
        pooling="attention",
        **fields,
    )
    return RNNForSequenceClassification(config)


def parameters_of(model, name):
    """The named parameter of each layer and direction."""
    found = [value for key, value in model.rnn.layers.named_parameters() if name in key]
    assert len(found) == 4
    return found


def assert_uniform(values, bound):
    """Many draws, all within the bound, spread as uniform ones are."""
    assert values.abs().max() <= bound
    assert values.abs().max() > 0.9 * bound
    assert values.mean().abs() < 4 * bound / math.sqrt(3 * values.numel())
    spread = 4 * math.sqrt(0.2 / values.numel())  # four standard errors of a uniform sample's deviation
    assert values.std().item() == pytest.approx(bound / math.sqrt(3), rel=spread)


CELL = pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)


@CELL
def test_recurrent_weights_are_orthogonal_or_the_identity_in_each_gate(cell, nonlinearity):
    for weight in parameters_of(built(cell, nonlinearity), "weight_hh"):
        gates = weight.split(H)
        for gate in gates:
            torch.testing.assert_close(gate @ gate.T, torch.eye(H), rtol=0, atol=1e-5)
            assert torch.equal(gate, torch.eye(H)) == (nonlinearity == "relu")
        assert len(gates) == {"rnn": 1, "gru": 3, "lstm": 4}[cell]
        assert not any(torch.equal(gates[0], gate) for gate in gates[1:]), "each gate draws its own"


@CELL
def test_input_weights_are_xavier_uniform_in_each_gate(cell, nonlinearity):
    for weight, width in zip(parameters_of(built(cell, nonlinearity), "weight_ih"), (F, F, 2 * H, 2 * H), strict=True):
        assert weight.shape[1] == width
        for gate in weight.split(H):
            assert_uniform(gate, math.sqrt(6 / (width + H)))


@CELL
def test_biases_are_zero_but_for_the_forget_gate(cell, nonlinearity):
    model = built(cell, nonlinearity)
    for read, recalled in zip(parameters_of(model, "bias_ih"), parameters_of(model, "bias_hh"), strict=True):
        expected = torch.zeros_like(read)
        if cell == "lstm":
            expected[H : 2 * H] = 1  # torch's order is input, forget, cell, output
        assert torch.equal(read + recalled, expected)


def test_the_forget_gate_starts_open():
    """What the bias is for: a cell that holds 1 and reads nothing still holds sigmoid(1) of it after a step."""
    torchs = nn.LSTM(F, H, batch_first=True, bidirectional=True)
    torchs.load_state_dict(built().rnn.layers[0].cell.state_dict())
    nothing, zeros = torch.zeros(1, 1, F), torch.zeros(2, 1, H)
    _, (_, kept) = torchs(nothing, (zeros, torch.ones(2, 1, H)))
    torch.testing.assert_close(kept, torch.sigmoid(torch.ones(2, 1, H)))


def test_linear_layers_are_xavier_uniform_with_zero_biases():
    model = built(num_labels=40)
    score = model.rnn.pooling.attention
    for linear in (model.classifier, score.projection, score.context):
        assert_uniform(linear.weight, math.sqrt(6 / sum(linear.weight.shape)))
        assert linear.bias is None or not linear.bias.any()
    assert score.context.bias is None


def test_embeddings_are_normal_with_a_zero_row_for_padding():
    weight = built().get_input_embeddings().weight
    assert not weight[PAD].any()
    others = torch.cat([weight[:PAD], weight[PAD + 1 :]])
    assert others.abs().sum(dim=1).min() > 0
    assert others.std().item() == pytest.approx(0.1, rel=0.02)
    assert others.mean().abs() < 0.003
    assert (others.abs() > 0.2).float().mean().item() == pytest.approx(0.0455, abs=0.005), "not a normal distribution"


@pytest.mark.parametrize("seed", [torch.manual_seed, set_seed])
def test_a_seed_repeats_every_weight_and_another_gives_others(seed):
    config, models = built().config, []
    for number in (1, 1, 2):
        seed(number)
        models.append(RNNForSequenceClassification(config))
    one, same, other = (model.state_dict() for model in models)
    assert all(torch.equal(one[name], same[name]) for name in one)
    drawn = [name for name in one if "bias" not in name]
    assert not any(torch.equal(one[name], other[name]) for name in drawn)


def test_layers_and_directions_differ():
    for name in ("weight_hh", "weight_ih"):
        first, reverse, *_ = parameters_of(built(), name)
        assert not torch.equal(first, reverse)
    recurrent = parameters_of(built(), "weight_hh")
    assert not torch.equal(recurrent[0], recurrent[2])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types_of_numbers_start_alike(dtype):
    model = AutoModelForSequenceClassification.from_config(built().config, dtype=dtype)
    for weight in parameters_of(model, "weight_hh"):
        assert weight.dtype == dtype
        for gate in weight.float().split(H):
            torch.testing.assert_close(gate @ gate.T, torch.eye(H), rtol=0, atol=0.02)
    assert_uniform(parameters_of(model, "weight_ih")[0].float(), math.sqrt(6 / (F + H)) * 1.01)


def test_signals_neither_fade_nor_grow_where_recurrence_is_orthogonal():
    """What orthogonal recurrence is for: without input, 100 linear steps keep the length of any state."""
    weight = parameters_of(built("rnn"), "weight_hh")[0]
    state = torch.randn(H)
    end = torch.linalg.matrix_power(weight.double(), 100) @ state.double()
    assert end.norm().item() == pytest.approx(state.norm().item(), rel=1e-3)


def test_weights_that_were_loaded_are_left_alone():
    module = nn.LSTM(3, 4)
    for parameter in module.parameters():
        nn.init.constant_(parameter, 0.125)
    module.weight_hh_l0._is_hf_initialized = True
    module.bias_ih_l0._is_hf_initialized = True
    assert initialize_module(module)
    assert module.weight_hh_l0.eq(0.125).all()
    assert module.bias_ih_l0.eq(0.125).all()
    assert not module.bias_hh_l0.any()
    assert not module.weight_ih_l0.eq(0.125).any()


def test_modules_of_other_kinds_are_left_to_the_host():
    norm = nn.LayerNorm(3)
    nn.init.constant_(norm.weight, 5.0)
    assert not initialize_module(norm)
    assert norm.weight.eq(5.0).all()
    model = built()
    model._init_weights(norm)
    assert norm.weight.eq(1.0).all()
