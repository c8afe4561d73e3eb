"""The token embedding as the host's tools see it: get, set, resize, replace by `inputs_embeds`, save and load."""

import re

import pytest
import torch
from torch import nn

from transformers_rnn import RNNConfig, RNNForSequenceClassification, RNNModel

IDS = torch.tensor([[1, 2, 4, 5], [6, 7, 3, 3]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
PAD = 3
NONE = (
    "This model reads vectors (vocab_size is None) and has no token embeddings to get, set or resize. "
    "Pass vocab_size and pad_token_id to RNNConfig for a model of tokens."
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = RNNConfig(vocab_size=11, pad_token_id=PAD, input_size=5, hidden_size=6, bidirectional=True)
    return RNNForSequenceClassification(config).eval()


@pytest.fixture
def vectors():
    return RNNForSequenceClassification(RNNConfig(input_size=5)).eval()


def reloaded(model, directory):
    model.save_pretrained(directory)
    return RNNForSequenceClassification.from_pretrained(directory)


def test_getting(model):
    embedding = model.get_input_embeddings()
    assert isinstance(embedding, nn.Embedding)
    assert embedding is model.base_model.get_input_embeddings()
    assert (embedding.weight.shape, embedding.padding_idx) == ((11, 5), PAD)
    assert model.get_output_embeddings() is None


@pytest.mark.parametrize("rows", [11, 20])
def test_setting(model, rows, tmp_path):
    replacement = nn.Embedding(rows, 5)
    model.set_input_embeddings(replacement)
    assert model.get_input_embeddings() is replacement
    assert model.base_model.get_input_embeddings() is replacement
    logits = model(IDS, MASK).logits
    assert torch.equal(logits, model(inputs_embeds=replacement(IDS), attention_mask=MASK).logits)
    assert model.config.vocab_size == rows, "a config that tells other sizes cannot be loaded again"
    assert torch.equal(reloaded(model, tmp_path)(IDS, MASK).logits, logits)


def test_setting_what_does_not_fit(model):
    message = (
        "The embedding must have the width input_size = 5 that the recurrent layers read, got 6. "
        "Build a model with input_size=6 instead."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model.set_input_embeddings(nn.Embedding(11, 6))
    with pytest.raises((TypeError, ValueError), match="Embedding"):
        model.set_input_embeddings(nn.Linear(11, 5))
    assert isinstance(model.get_input_embeddings(), nn.Embedding)


@pytest.mark.parametrize("build", [RNNModel, RNNForSequenceClassification])
def test_a_model_of_vectors_has_none(build):
    model = build(RNNConfig())
    for call in (
        model.get_input_embeddings,
        lambda: model.set_input_embeddings(nn.Embedding(3, 10)),
        lambda: model.resize_token_embeddings(12),
    ):
        with pytest.raises(NotImplementedError, match=f"^{re.escape(NONE)}$"):
            call()


@pytest.mark.parametrize("mean_resizing", [False, True])
@pytest.mark.parametrize("rows", [15, 11, 8, PAD + 1])
def test_resizing(model, rows, mean_resizing, tmp_path):
    before, kept = model.get_input_embeddings().weight.detach().clone(), min(rows, 11)
    ids, mask = torch.tensor([[1, 2, 0], [2, PAD, PAD]]), torch.tensor([[1, 1, 1], [1, 0, 0]])
    with torch.no_grad():  # a graph that is alive would hold the old shape
        logits = model(ids, mask).logits
    returned = model.resize_token_embeddings(rows, mean_resizing=mean_resizing)
    weight = returned.weight
    assert returned is model.get_input_embeddings()
    assert weight.shape == (rows, 5)
    assert weight.requires_grad
    assert returned.padding_idx == PAD
    assert torch.equal(weight[:kept], before[:kept])
    assert torch.isfinite(weight).all()
    assert not weight[PAD].any()
    assert model.config.vocab_size == model.base_model.config.vocab_size == rows
    assert torch.equal(model(ids, mask).logits, logits)
    assert torch.equal(reloaded(model, tmp_path)(ids, mask).logits, logits)
    if rows > 11:
        model(torch.tensor([[rows - 1]])).logits.sum().backward()
        assert weight.grad[rows - 1].any()
    else:
        with pytest.raises(ValueError, match=rf"input_ids must be from 0 to {rows - 1} .* got {rows}\."):
            model(torch.tensor([[rows]]))


def test_resizing_to_a_multiple(model):
    model.resize_token_embeddings(13, pad_to_multiple_of=8, mean_resizing=False)
    assert model.config.vocab_size == 16
    model.resize_token_embeddings(pad_to_multiple_of=24, mean_resizing=False)
    assert model.config.vocab_size == 24
    with pytest.raises(ValueError, match="which is not and integer"):
        model.resize_token_embeddings(30, pad_to_multiple_of=1.5)


def test_resizing_without_a_number_changes_nothing(model):
    before = model.get_input_embeddings()
    assert model.resize_token_embeddings() is before
    assert model.config.vocab_size == 11


@pytest.mark.parametrize("rows", [PAD, 1])
def test_a_vocabulary_without_the_pad_token_is_refused(model, rows):
    with pytest.raises(ValueError, match="pad_token_id"):
        model.resize_token_embeddings(rows)
    assert model.get_input_embeddings().num_embeddings == model.config.vocab_size == 11


def test_embedded_ids_in_place_of_ids(model):
    embedded = model.get_input_embeddings()(IDS)
    assert torch.equal(model(inputs_embeds=embedded, attention_mask=MASK).logits, model(IDS, MASK).logits)
    assert torch.equal(model(inputs_embeds=embedded[:1]).logits, model(IDS[:1]).logits)


def test_gradients_of_inputs(model, vectors, capfd):
    model.enable_input_require_grads()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    output = model(IDS, MASK, output_hidden_states=True)
    assert output.hidden_states[0].requires_grad
    output.logits.sum().backward()
    model.disable_input_require_grads()
    assert not model(IDS, MASK).logits.requires_grad
    vectors.enable_input_require_grads()  # nothing to hook; the host says so in its log


def test_the_name_of_the_main_input(model, vectors):
    assert (model.main_input_name, model.base_model.main_input_name) == ("input_ids", "input_ids")
    assert (vectors.main_input_name, vectors.base_model.main_input_name) == ("input_features", "input_features")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_smallest_legal_input(model, vectors, dtype):
    for either in (model.to(dtype), vectors.to(dtype)):
        assert next(iter(either.dummy_inputs)) == either.main_input_name
        assert either(**either.dummy_inputs).logits.shape == (1, 2)
