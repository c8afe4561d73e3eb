"""What the host's tools do to any model: copy, save, load, place, convert, count, checkpoint its activations."""

import copy
import io
import pickle

import pytest
import torch
from cases import CELLS
from huggingface_hub.errors import StrictDataclassError
from torch import nn
from transformers import AutoModel, AutoModelForSequenceClassification, set_seed

from transformers_rnn import RNNConfig, RNNForSequenceClassification, RNNModel

IDS = torch.tensor([[1, 2, 4, 5], [6, 7, 3, 3]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
LABELS = torch.tensor([0, 1])
TOKENS = {"vocab_size": 11, "pad_token_id": 3}
KINDS = pytest.mark.parametrize("kind", [TOKENS, {}], ids=["tokens", "vectors"])


def config_of(**fields):
    return RNNConfig(**{"input_size": 5, "hidden_size": 6, "num_hidden_layers": 2, "cell_type": "lstm", **fields})


def inputs_of(model):
    features = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0)).to(model.dtype)
    inputs = {"input_ids": IDS} if model.config.reads_tokens else {"input_features": features}
    return {**inputs, "attention_mask": MASK}


def built(build=RNNForSequenceClassification, **fields):
    torch.manual_seed(0)
    return build(config_of(**fields)).eval()


def assert_twins(model, twin):
    assert torch.equal(twin(**inputs_of(twin)).logits, model(**inputs_of(model)).logits)
    assert not {p.data_ptr() for p in model.parameters()} & {p.data_ptr() for p in twin.parameters()}


@KINDS
def test_copies(kind):
    model = built(**kind, bidirectional=True, pooling="attention")
    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    buffer.seek(0)
    loaded = RNNForSequenceClassification(copy.deepcopy(model.config)).eval()
    loaded.load_state_dict(torch.load(buffer))
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), loaded):
        assert_twins(model, twin)
        assert twin.config == model.config


@pytest.mark.parametrize(
    ("saving", "loading"),
    [
        ({}, {"device_map": "auto"}),
        ({}, {"device_map": {"": "cpu"}}),
        ({"max_shard_size": "1KB"}, {}),
        ({"variant": "best"}, {"variant": "best"}),
        ({}, {"attn_implementation": "eager"}),
    ],
)
def test_ways_to_save_and_load(saving, loading, tmp_path):
    model = built(**TOKENS, bidirectional=True)
    model.save_pretrained(tmp_path, **saving)
    loaded, report = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True, **loading)
    assert not any(report.values())
    assert_twins(model, loaded)


def test_fields_given_at_loading_reach_the_layers(tmp_path):
    built().save_pretrained(tmp_path)
    loaded = RNNForSequenceClassification.from_pretrained(
        tmp_path, embedding_dropout=0.1, hidden_dropout=0.2, classifier_dropout=0.3, problem_type="regression"
    )
    assert (loaded.rnn.embeddings.dropout.p, loaded.rnn.dropout.p, loaded.dropout.p) == (0.1, 0.2, 0.3)
    assert loaded.config.problem_type == "regression"
    with pytest.raises(TypeError, match="hiden_dropout"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path, hiden_dropout=0.2)
    with pytest.raises(RuntimeError, match="You set `ignore_mismatched_sizes` to `False`"):
        AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=5)


@pytest.mark.parametrize(
    "changes", [{"hidden_size": 0}, {"nonlinearity": "relu"}, {"vocab_size": 9}, {"hidden_dropout": 1.0}]
)
@pytest.mark.parametrize("build", [RNNModel, RNNForSequenceClassification])
def test_no_model_is_built_from_a_config_that_was_spoilt(build, changes):
    config = RNNConfig(cell_type="gru")
    for name, value in changes.items():
        setattr(config, name, value)
    with pytest.raises((ValueError, StrictDataclassError), match=next(iter(changes))):
        build(config)


@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_can_init_all_missing_weights(cell, nonlinearity, monkeypatch):
    """With the same seed before each module, a model from an empty checkpoint is the model from the config."""
    start = RNNModel._init_weights

    def seeded(self, module):
        set_seed(0)
        start(self, module)

    for build in (RNNModel, RNNForSequenceClassification):
        monkeypatch.setattr(build, "_init_weights", seeded)
        config = config_of(
            **TOKENS, cell_type=cell, nonlinearity=nonlinearity, bidirectional=True, pooling="attention"
        )
        expected = build(config).state_dict()
        found = build.from_pretrained(None, config=config, state_dict={}).state_dict()
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.equal(found[name], value), name


@pytest.mark.parametrize("auto", [AutoModel, AutoModelForSequenceClassification])
def test_from_config(auto):
    model = auto.from_config(config_of(), attn_implementation="eager")
    assert isinstance(model, RNNModel if auto is AutoModel else RNNForSequenceClassification)
    assert model.dtype == torch.float32
    assert auto.from_config(config_of(), dtype=torch.bfloat16).dtype == torch.bfloat16
    assert auto.from_config(config_of(dtype="float16")).dtype == torch.float16


def test_attention_kernels_are_refused_by_the_host():
    for name, reason in (("sdpa", "scaled_dot_product_attention"), ("flash_attention_2", "Flash Attention 2")):
        with pytest.raises(ValueError, match=f"RNNForSequenceClassification does not support .*{reason}"):
            AutoModelForSequenceClassification.from_config(config_of(), attn_implementation=name)


def test_a_name_for_the_body():
    model = built()
    assert model.base_model is model.rnn
    assert model.base_model.base_model is model.rnn
    assert not model.can_generate()


def test_counting():
    model = built(**TOKENS)
    layers = 4 * 6 * (5 + 6 + 2) + 4 * 6 * (6 + 6 + 2)
    head = 6 * 2 + 2
    assert model.num_parameters() == 11 * 5 + layers + head
    assert model.num_parameters(exclude_embeddings=True) == layers + head
    model.classifier.requires_grad_(False)
    assert model.num_parameters(only_trainable=True) == 11 * 5 + layers
    assert model.get_memory_footprint() == 4 * model.num_parameters()
    assert model.half().get_memory_footprint() == 2 * model.num_parameters()
    assert built().num_parameters(exclude_embeddings=True) == layers + head


@KINDS
def test_on_the_meta_device_there_are_shapes_only(kind):
    with torch.device("meta"):
        model = RNNForSequenceClassification(config_of(**kind, pooling="attention"))
    assert model.num_parameters() == built(**kind, pooling="attention").num_parameters()
    model = model.to_empty(device="cpu")
    model.init_weights()
    assert torch.isfinite(model(**inputs_of(model)).logits).all()


@pytest.mark.parametrize("convert", [nn.Module.half, nn.Module.bfloat16, nn.Module.double], ids=lambda f: f.__name__)
@pytest.mark.parametrize("bidirectional", [False, True])
@KINDS
def test_other_precisions_on_the_fly(kind, bidirectional, convert):
    model = built(**kind, bidirectional=bidirectional, pooling="concat")
    expected = model(**inputs_of(model)).logits
    convert(model)
    output = model(**inputs_of(model), labels=LABELS)
    assert output.logits.dtype == model.dtype
    torch.testing.assert_close(output.logits.float(), expected, rtol=0.05, atol=0.02)
    output.loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize("pooling", ["last", "attention", "concat"])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_mixed_precision(cell, nonlinearity, padded, pooling):
    model = built(cell_type=cell, nonlinearity=nonlinearity, pooling=pooling, bidirectional=True).train()
    inputs = inputs_of(model)
    if not padded:
        del inputs["attention_mask"]
    expected = model(**inputs).logits
    with torch.autocast("cpu", torch.bfloat16):
        output = model(**inputs, labels=LABELS)
    assert (output.logits.dtype, output.loss.dtype) == (torch.bfloat16, torch.float32)
    torch.testing.assert_close(output.logits.float(), expected, rtol=0.05, atol=0.05)
    output.loss.backward()
    for parameter in model.parameters():
        assert parameter.grad.dtype == torch.float32
        assert torch.isfinite(parameter.grad).all()


def test_mixed_precision_streams():
    model = built(pooling="attention")
    features = inputs_of(model)["input_features"]
    with torch.autocast("cpu", torch.bfloat16):
        state = model(input_features=features[:, :2], attention_mask=MASK[:, 2:] | 1, use_cache=True).state
        pieces = model(input_features=features[:, 2:], state=state).logits
        whole = model(input_features=features).logits
    torch.testing.assert_close(pieces, whole, rtol=0.02, atol=0.02)


def gradients(model, **choices):
    """Loss and gradients of one training step; dropout draws the same numbers each time."""
    model.zero_grad()
    torch.manual_seed(1)
    loss = model.train()(**inputs_of(model), labels=LABELS, **choices).loss
    loss.backward()
    return {"loss": loss.detach(), **{name: parameter.grad for name, parameter in model.named_parameters()}}


@pytest.mark.parametrize("use_reentrant", [None, False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@KINDS
def test_checkpointed_activations_give_the_same_gradients(kind, bidirectional, use_reentrant):
    dropouts = {"embedding_dropout": 0.2, "hidden_dropout": 0.5, "classifier_dropout": 0.2}
    model = built(**kind, bidirectional=bidirectional, **dropouts)
    expected = gradients(model)
    model.activation_checkpointing_enable(
        **({} if use_reentrant is None else {"activation_checkpointing_kwargs": {"use_reentrant": use_reentrant}})
    )
    assert model.is_activation_checkpointing
    found = gradients(model)
    for name, value in expected.items():
        assert found[name] is not None, f"{name} got no gradient"
        if use_reentrant:  # runs forward without a graph first, where kernels may round otherwise
            torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6, msg=name)
        else:
            assert torch.equal(found[name], value), name
    model.activation_checkpointing_disable()
    assert not model.is_activation_checkpointing
    assert torch.equal(gradients(model)["loss"], expected["loss"])


def test_checkpointing_a_stream():
    model = built()
    features = inputs_of(model)["input_features"]

    def step():
        model.zero_grad()
        state = model(input_features=features[:, :2], use_cache=True).state
        model(input_features=features[:, 2:], state=state, labels=LABELS).loss.backward()
        return [parameter.grad.clone() for parameter in model.train().parameters()]

    expected = step()
    model.activation_checkpointing_enable()
    for one, other in zip(step(), expected, strict=True):
        assert torch.equal(one, other)


def test_the_old_name_of_checkpointing_warns():
    model = built()
    with pytest.warns(FutureWarning, match="`gradient_checkpointing_enable` is deprecated"):
        model.gradient_checkpointing_enable()
    assert model.is_activation_checkpointing


def test_loading_in_fewer_bits_is_refused(tmp_path):
    RNNForSequenceClassification(RNNConfig()).save_pretrained(tmp_path)
    message = r"^quantization_config has no effect on recurrent models: .* or export_onnx\(.*\) for a quarter\.$"
    with pytest.raises(ValueError, match=message):
        AutoModelForSequenceClassification.from_pretrained(
            tmp_path, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True}
        )
