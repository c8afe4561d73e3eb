"""Save, load in a fresh process: the same logits bit for bit; a partial checkpoint keeps what it has."""

import subprocess
import sys

import pytest
import torch
from cases import CELLS, POOLINGS
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForSequenceClassification

from transformers_rnn import RNNConfig, RNNForSequenceClassification, RNNModel

MORE = {"ngram_order": 3, "ngram_buckets": 40, "ngram_width": 2, "layer_norm": True}
LOAD = """
import sys, torch, transformers_rnn
from pathlib import Path
from transformers import AutoModelForSequenceClassification
for directory in map(Path, sys.argv[1:]):
    model = AutoModelForSequenceClassification.from_pretrained(directory)
    assert not model.training
    for inputs, logits in torch.load(directory / "batches.pt"):
        assert torch.equal(model(**inputs).logits, logits), directory
print("all equal")
"""


def config_of(cell, nonlinearity, bidirectional=True, pooling="last", **fields):
    return RNNConfig(
        cell_type=cell,
        nonlinearity=nonlinearity,
        bidirectional=bidirectional,
        pooling=pooling,
        num_hidden_layers=2,
        hidden_size=4,
        **{"input_size": 3, **fields},
    )


def batches(tokens):
    """One sequence alone, and two of different lengths."""
    for size in (1, 2):
        batch = (
            {"input_ids": torch.randint(1, 9, (size, 4))} if tokens else {"input_features": torch.randn(size, 4, 3)}
        )
        yield {**batch, "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])[:size]}


def test_a_fresh_process_gives_the_same_bits(tmp_path):
    torch.manual_seed(0)
    directories = []
    for cell, nonlinearity in CELLS:
        for bidirectional in (False, True):
            for pooling in POOLINGS:
                for tokens in (False, True):
                    fields = {"vocab_size": 9, "pad_token_id": 0} if tokens else {}
                    fields |= MORE if tokens and pooling == "max" else {}
                    config = config_of(cell, nonlinearity, bidirectional, pooling, **fields)
                    model = RNNForSequenceClassification(config).eval()
                    for parameter in model.parameters():
                        if not parameter.any():  # what starts at zero would hide mistakes
                            torch.nn.init.normal_(parameter)
                    directory = tmp_path / f"{cell}-{nonlinearity}-{bidirectional}-{pooling}-{tokens}"
                    model.save_pretrained(directory)
                    torch.save(
                        [(inputs, model(**inputs).logits.detach()) for inputs in batches(tokens)],
                        directory / "batches.pt",
                    )
                    directories.append(str(directory))
    result = subprocess.run([sys.executable, "-c", LOAD, *directories], capture_output=True, text=True, check=False)
    assert result.stdout.strip() == "all equal", result.stderr


@pytest.mark.parametrize("half", [0, 1])
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_a_partial_checkpoint_keeps_what_it_has_and_starts_the_rest(cell, nonlinearity, half, tmp_path):
    config = config_of(cell, nonlinearity, pooling="attention", vocab_size=9, pad_token_id=2, **MORE)
    RNNForSequenceClassification(config).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    kept = {
        name: torch.full_like(value, 0.125) for i, (name, value) in enumerate(sorted(weights.items())) if i % 2 == half
    }
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    for name, value in model.state_dict().items():
        if name in kept:
            assert torch.equal(value, kept[name]), name
        else:
            assert_started(model, name, value)


def assert_started(model, name, value):
    """What initialization.py promises for a parameter of this name."""
    assert torch.isfinite(value).all(), name
    if "weight_hh" in name:
        for gate in value.split(model.config.hidden_size):
            torch.testing.assert_close(gate @ gate.T, torch.eye(len(gate)))
    elif "bias_ih" in name and model.config.cell_type == "lstm":
        assert value.split(4)[1].eq(1).all()
        assert value.sum() == 4
    elif "layer_norm.weight" in name:
        assert value.eq(1).all()
    elif "bias" in name or "ngrams" in name:
        assert not value.any(), name
    elif "embed_tokens" in name:
        assert not value[model.config.pad_token_id].any()
        assert 0 < value.std() < 0.3
    else:
        assert 0 < value.abs().max() <= 6**0.5, name


def test_an_unloaded_model_on_no_device_is_filled_by_the_checkpoint(tmp_path):
    model = RNNForSequenceClassification(config_of("lstm", "tanh")).eval()
    model.save_pretrained(tmp_path)
    with torch.device("meta"):
        empty = RNNForSequenceClassification(model.config)
    assert {p.device.type for p in empty.parameters()} == {"meta"}
    empty.load_state_dict(load_file(tmp_path / "model.safetensors"), assign=True)
    features = torch.randn(2, 5, 3)
    assert torch.equal(empty.eval()(input_features=features).logits, model(input_features=features).logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_other_types_of_numbers(cell, nonlinearity, dtype, tmp_path):
    model = RNNForSequenceClassification(config_of(cell, nonlinearity, pooling="concat")).eval()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path, dtype=dtype)
    assert {p.dtype for p in loaded.parameters()} == {dtype}
    features, mask = torch.randn(2, 5, 3), torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
    expected = model(input_features=features, attention_mask=mask).logits
    found = loaded(input_features=features.to(dtype), attention_mask=mask, labels=torch.tensor([0, 1]))
    assert found.logits.dtype == dtype
    assert found.loss.dtype == torch.promote_types(dtype, torch.float32)
    torch.testing.assert_close(found.logits.float(), expected, rtol=0.05, atol=0.05)
    found.loss.backward()


def test_the_body_of_a_classifier_loads_as_a_model_and_back(tmp_path):
    model = RNNForSequenceClassification(config_of("gru", "tanh", pooling="attention")).eval()
    model.save_pretrained(tmp_path / "classifier")
    body = AutoModel.from_pretrained(tmp_path / "classifier")
    assert isinstance(body, RNNModel)
    features = torch.randn(2, 5, 3)
    assert torch.equal(body(input_features=features).pooler_output, model.rnn(input_features=features).pooler_output)
    body.save_pretrained(tmp_path / "body")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "body")
    assert torch.equal(again.rnn(input_features=features).pooler_output, body(input_features=features).pooler_output)
    assert not again.classifier.bias.any()


def test_a_new_head_for_another_number_of_labels(tmp_path):
    model = RNNForSequenceClassification(config_of("gru", "tanh", id2label={0: "no", 1: "yes"}))
    model.save_pretrained(tmp_path)
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=5, ignore_mismatched_sizes=True)
    assert loaded.classifier.weight.shape == (5, 8)
    assert loaded.config.id2label[4] == "LABEL_4"
    assert torch.equal(loaded.rnn.layers[0].cell.weight_hh_l0, model.rnn.layers[0].cell.weight_hh_l0)
