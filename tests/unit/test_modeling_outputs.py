"""What a call returns: the same as a tuple and as an object, deterministic where it must be, differentiable."""

import pytest
import torch
from cases import CELLS, POOLINGS
from torch import Tensor

from transformers_rnn import RNNConfig, RNNForSequenceClassification, RNNModel, RNNState

IDS = torch.tensor([[1, 2, 4, 5], [6, 7, 3, 3], [8, 3, 3, 3]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
TOKENS = {"vocab_size": 11, "pad_token_id": 3}


def config_of(**fields):
    return RNNConfig(**{"input_size": 5, "hidden_size": 6, "num_hidden_layers": 2, "cell_type": "lstm", **fields})


def inputs_of(model, mask: bool = True):
    features = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    inputs = {"input_ids": IDS} if model.config.reads_tokens else {"input_features": features}
    return {**inputs, "attention_mask": MASK} if mask else inputs


def assert_same(one, other):
    """Equal through tuples and objects of tensors."""
    assert type(one) is type(other)
    if isinstance(one, Tensor):
        assert torch.equal(one, other)
    elif one is not None:
        parts = (one.to_tuple(), other.to_tuple()) if isinstance(one, RNNState) else (one, other)
        for part, twin in zip(*parts, strict=True):
            assert_same(part, twin)


MODELS = pytest.mark.parametrize("build", [RNNModel, RNNForSequenceClassification])
KINDS = pytest.mark.parametrize("kind", [TOKENS, {}], ids=["tokens", "vectors"])


@MODELS
@KINDS
@pytest.mark.parametrize("choices", [{}, {"output_hidden_states": True}, {"use_cache": True}])
def test_a_tuple_holds_what_the_object_holds(build, kind, choices):
    model = build(config_of(**kind)).eval()
    whole = model(**inputs_of(model), **choices)
    assert_same(model(**inputs_of(model), **choices, return_dict=False), whole.to_tuple())
    model.config.return_dict = False
    assert_same(model(**inputs_of(model), **choices), whole.to_tuple())
    assert_same(model(**inputs_of(model), **choices, return_dict=True).to_tuple(), whole.to_tuple())


@KINDS
def test_the_order_of_the_parts(kind):
    model = RNNForSequenceClassification(config_of(**kind)).eval()
    inputs, labels = inputs_of(model), torch.tensor([0, 1, 0])
    assert list(model(**inputs)) == ["logits"]
    assert list(model(**inputs, labels=labels)) == ["loss", "logits"]
    everything = model(**inputs, labels=labels, use_cache=True, output_hidden_states=True)
    assert list(everything) == ["loss", "logits", "state", "hidden_states"]
    assert everything[0] is everything.loss
    assert everything.loss.shape == ()
    assert everything.logits.shape == (3, 2)
    assert list(model.base_model(**inputs)) == ["last_hidden_state", "pooler_output", "state"]
    assert list(model.base_model(**inputs, use_cache=False)) == ["last_hidden_state", "pooler_output"]


@pytest.mark.parametrize("bidirectional", [False, True])
@KINDS
def test_hidden_states_by_argument_and_by_config(kind, bidirectional):
    model = RNNModel(config_of(**kind, bidirectional=bidirectional)).eval()
    inputs, real = inputs_of(model), MASK[:, :, None]
    assert model(**inputs).hidden_states is None
    by_argument = model(**inputs, output_hidden_states=True)
    model.config.output_hidden_states = True
    by_config = model(**inputs)
    assert_same(by_argument.hidden_states, by_config.hidden_states)
    assert model(**inputs, output_hidden_states=False).hidden_states is None
    embedded, *states = by_config.hidden_states
    assert [tuple(state.shape) for state in states] == [(3, 4, 12 if bidirectional else 6)] * 2
    assert torch.equal(states[-1], by_config.last_hidden_state)
    vectors = model.get_input_embeddings()(IDS) if kind else inputs["input_features"]
    assert torch.equal(embedded, vectors * real)
    assert not any((state * (1 - real)).any() for state in by_config.hidden_states), "padding must be zero"


@MODELS
@pytest.mark.parametrize("mask", [False, True], ids=["full", "padded"])
def test_hidden_states_can_keep_their_gradients(build, mask):
    """As `retain_grad_hidden_states_attentions` of the host's common tests."""
    model = build(config_of(**TOKENS))
    inputs = {"input_ids": IDS.clamp(min=4)} | ({"attention_mask": MASK} if mask else {})
    output = model(**inputs, output_hidden_states=True)
    for states in output.hidden_states[:2]:
        states.retain_grad()
    output[0].flatten()[0].backward()
    assert all(states.grad is not None for states in output.hidden_states[:2])


def test_there_are_no_attentions():
    model = RNNForSequenceClassification(config_of(pooling="attention"))
    output = model(**inputs_of(model), output_attentions=False, output_hidden_states=True)
    assert "attentions" not in output
    assert model.config.output_attentions is False


@KINDS
def test_evaluation_is_deterministic_whatever_the_dropout(kind):
    dropouts = {"embedding_dropout": 0.5, "hidden_dropout": 0.5, "classifier_dropout": 0.5}
    model = RNNForSequenceClassification(config_of(**kind, **dropouts)).eval()
    inputs = inputs_of(model)
    assert torch.equal(model(**inputs).logits, model(**inputs).logits)
    without = RNNForSequenceClassification(config_of(**kind)).eval()
    without.load_state_dict(model.state_dict())
    assert torch.equal(model(**inputs).logits, without(**inputs).logits)


@pytest.mark.parametrize("dropout", ["embedding_dropout", "hidden_dropout", "classifier_dropout"])
@KINDS
def test_training_is_random_where_there_is_dropout(kind, dropout):
    model = RNNForSequenceClassification(config_of(**kind, **{dropout: 0.5})).train()
    inputs = inputs_of(model)
    assert not torch.equal(model(**inputs).logits, model(**inputs).logits)
    torch.manual_seed(3)
    first = model(**inputs).logits
    torch.manual_seed(3)
    assert torch.equal(model(**inputs).logits, first)


def test_training_is_deterministic_where_there_is_none():
    model = RNNForSequenceClassification(config_of()).train()
    assert torch.equal(model(**inputs_of(model)).logits, model(**inputs_of(model)).logits)
    one_layer = RNNForSequenceClassification(config_of(num_hidden_layers=1, hidden_dropout=0.9)).train()
    inputs = inputs_of(one_layer)
    assert torch.equal(one_layer(**inputs).logits, one_layer(**inputs).logits), "hidden dropout is between layers"


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_every_parameter_learns(cell, nonlinearity, pooling):
    torch.manual_seed(0)
    fields = {"cell_type": cell, "nonlinearity": nonlinearity, "pooling": pooling, "bidirectional": True}
    model = RNNForSequenceClassification(config_of(**TOKENS, **fields))
    model(**inputs_of(model), labels=torch.tensor([0, 1, 0])).loss.backward()
    still = [
        name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert not still


def test_gradients_with_respect_to_the_input_stop_at_padding():
    model = RNNForSequenceClassification(config_of(bidirectional=True)).eval()
    inputs = inputs_of(model)
    inputs["input_features"].requires_grad_()
    model(**inputs).logits[:, 1].sum().backward()
    moved = inputs["input_features"].grad.abs().sum(dim=2) > 0
    assert torch.equal(moved, MASK.bool())


@pytest.mark.parametrize(
    ("problem_type", "num_labels", "labels"),
    [
        ("single_label_classification", 3, torch.tensor([2, 0, 1])),
        ("multi_label_classification", 3, torch.tensor([[1.0, 0, 1], [0, 0, 0], [0, 1, 1]])),
        ("regression", 1, torch.tensor([0.3, -0.7, 1.1])),
        ("regression", 2, torch.tensor([[0.3, 1.0], [-0.7, 0.1], [0.0, -1.0]])),
    ],
)
@KINDS
def test_training_reduces_the_loss_of_every_problem(kind, problem_type, num_labels, labels):
    torch.manual_seed(0)
    model = RNNForSequenceClassification(config_of(**kind, problem_type=problem_type, num_labels=num_labels))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    inputs, losses = inputs_of(model), []
    for _ in range(25):
        loss = model(**inputs, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 4


@KINDS
def test_a_seed_repeats_a_training(kind):
    def trained():
        torch.manual_seed(7)
        model = RNNForSequenceClassification(config_of(**kind, hidden_dropout=0.3, pooling="attention")).train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            model(**inputs_of(model), labels=torch.tensor([0, 1, 1])).loss.backward()
            optimizer.step()
        return model.state_dict()

    assert all(torch.equal(one, other) for one, other in zip(trained().values(), trained().values(), strict=True))
