"""What an exported directory holds, and what exporting refuses, with the whole message."""

import json
import re

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor, train_tokenizer
from transformers_rnn.export_check import ExportError, check_batches
from transformers_rnn.onnx_builder import GraphBuilder, as_stored
from transformers_rnn.onnx_export import check_onnx, export_onnx, save_beside
from transformers_rnn.onnx_graph import build_graph

TEXTS = ["a b c d", "it's three o'clock", "日本語 text"]


def model_of(**fields):
    torch.manual_seed(0)
    return RNNForSequenceClassification(RNNConfig(**{"cell_type": "gru", "input_size": 3, **fields})).eval()


def test_a_directory_holds_labels_calibration_and_reader(tmp_path):
    tokenizer = train_tokenizer(TEXTS)
    labels = {0: "ham", 1: "spam"}
    calibrated = {"temperature": 1.7, "abstain_below": 0.6, "problem_type": "single_label_classification"}
    model = model_of(vocab_size=len(tokenizer), pad_token_id=0, id2label=labels, **calibrated)
    assert export_onnx(model, tmp_path / "out", tokenizer) == tmp_path / "out" / "model.onnx"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"model.onnx", "config.json", "tokenizer.json", "tokenizer_config.json"}
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert calibrated.items() <= config.items()
    assert config["id2label"] == {"0": "ham", "1": "spam"}


def test_a_file_alone(tmp_path):
    file = tmp_path / "deep" / "spam.onnx"
    assert export_onnx(model_of(), file) == file
    assert [path.name for path in file.parent.iterdir()] == ["spam.onnx"]
    assert check_onnx(model_of(), file) <= 1e-5


def test_the_given_model_is_not_changed(tmp_path):
    model = model_of().double().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export_onnx(model, tmp_path / "model.onnx", quantize="int8")
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_int8_is_a_quarter_of_the_size(tmp_path):
    model = model_of(vocab_size=2_000, pad_token_id=0, input_size=64, hidden_size=64)
    sizes = {
        quantize: export_onnx(model, tmp_path / f"{quantize}.onnx", quantize=quantize).stat().st_size
        for quantize in (None, "float16", "bfloat16", "int8")
    }
    assert sizes["float16"] < 0.52 * sizes[None]
    assert sizes["bfloat16"] < 0.52 * sizes[None]
    assert sizes["int8"] < 0.3 * sizes[None]


def test_rows_in_int8_come_back_as_they_were_rounded():
    torch.manual_seed(0)
    value = torch.randn(40, 30) * torch.logspace(-9, 4, 40)[:, None]
    value[7] = 0
    rounded = as_stored(value, "int8")
    assert torch.equal(as_stored(rounded, "int8"), rounded), "the file is made of rounded weights"
    large = value.abs().amax(1, keepdim=True)
    usual = large[:, 0] > 0.01  # shorter rows have numbers below float16's own
    assert ((rounded - value).abs() <= large * (0.5 / 127 + 1 / 2000))[usual].all()
    assert torch.isfinite(rounded).all()


def test_another_model_does_not_pass(tmp_path):
    file, other = export_onnx(model_of(), tmp_path / "model.onnx"), model_of(pooling="max")
    with pytest.raises(
        ExportError, match=r"gives other logits than the model on a batch of lengths \[\d.*\]: they differ"
    ):
        check_onnx(other, file)
    with pytest.raises(
        ExportError, match=r"gives logits of shape \(1, 2\) on a batch of lengths \[\d+\], not \(1, 3\)\."
    ):
        check_onnx(model_of(num_labels=3), file)
    with pytest.raises(ExportError, match="they differ by nan, and 1e-05 is allowed"):
        check_batches(other, lambda inputs: np.full((len(inputs["attention_mask"]), 2), np.nan))


def test_another_stream_does_not_pass():
    right, wrong = model_of(), model_of()
    content = build_graph(right, with_state=True).SerializeToString()
    assert check_onnx(right, content) <= 1e-5
    with torch.no_grad():  # the same answers to whole sequences from nothing, if the memory is left out
        wrong.rnn.layers[0].cell.weight_hh_l0.mul_(1.01)
    with pytest.raises(ExportError, match="gives other logits"):
        check_onnx(wrong, content)


def test_nothing_is_kept_where_the_check_fails(tmp_path, monkeypatch):
    other = build_graph(model_of(pooling="max"))
    monkeypatch.setattr("transformers_rnn.onnx_export.build_graph", lambda *_: other)
    with pytest.raises(ExportError):
        export_onnx(model_of(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_stream_needs_one_direction(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"^A bidirectional model cannot stream: its backward direction begins at the end of the sequence, which "
        r"a stream does not have yet\. Export without with_state, or train with bidirectional=False\.$",
    ):
        export_onnx(model_of(bidirectional=True), tmp_path, with_state=True)


def test_unknown_choices(tmp_path):
    with pytest.raises(
        ValueError,
        match=r"^quantize must be one of 'int8', 'int8_dynamic', 'float16', 'bfloat16' or None, got 'int4'\.$",
    ):
        export_onnx(model_of(), tmp_path, quantize="int4")
    with pytest.raises(
        ValueError,
        match=r"^storage must be one of 'float32', 'float16', 'bfloat16', 'int8', 'int8_dynamic', got 'int4'\.$",
    ):
        GraphBuilder("int4")


@pytest.mark.parametrize("cell", ["rnn", "gru"])
def test_only_an_lstm_is_computed_with_int8(tmp_path, cell):
    with pytest.raises(
        ValueError,
        match=r"^ONNX Runtime computes an LSTM with int8 numbers, but has no such operator for a GRU or a plain RNN\. "
        r"Use 'int8': the file is as small, and computed with float32\.$",
    ):
        export_onnx(model_of(cell_type=cell), tmp_path, quantize="int8_dynamic")


def test_an_lstm_stream_in_int8(tmp_path):
    model = model_of(cell_type="lstm", num_hidden_layers=2, pooling="attention")
    file = export_onnx(model, tmp_path / "model.onnx", with_state=True, quantize="int8_dynamic")
    assert check_onnx(model, file, tolerance=0.1) > 1e-5


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime"])
def test_a_missing_extra_is_told_with_its_command(tmp_path, hide_module, missing):
    hide_module(missing)
    with pytest.raises(
        ImportError,
        match=rf'^Exporting to ONNX needs {missing}, which is not installed\. Install it with pip install "'
        r'transformers-rnn\[onnx\]"\.$',
    ):
        export_onnx(model_of(), tmp_path)


def test_what_prepares_the_input_must_fit(tmp_path):
    tokenizer = train_tokenizer(TEXTS)
    reader = SequenceVectorFeatureExtractor(feature_size=4)
    tokens = model_of(vocab_size=len(tokenizer), pad_token_id=0)
    with pytest.raises(
        ValueError,
        match=r"^This model reads tokens, so a fast tokenizer is needed, got SequenceVectorFeatureExtractor: only "
        r"tokenizer\.json can be read without the library\. Pass one of train_tokenizer or AutoTokenizer\.$",
    ):
        export_onnx(tokens, tmp_path, reader)
    wanted = "This model reads vectors of 3 numbers, so a SequenceVectorFeatureExtractor of that input_size is needed"
    with pytest.raises(ValueError, match=rf"^{wanted}, got SequenceVectorFeatureExtractor of 4\.$"):
        export_onnx(model_of(), tmp_path, reader)
    with pytest.raises(ValueError, match=rf"^{wanted}, got {type(tokenizer).__name__}\.$"):
        export_onnx(model_of(), tmp_path, tokenizer)
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_that_does_more_than_its_file_is_refused(tmp_path):
    tokenizer = train_tokenizer(TEXTS)
    model = model_of(vocab_size=len(tokenizer), pad_token_id=0)

    class Shouting(type(tokenizer)):
        def __call__(self, text, *pair, **choices):
            return super().__call__(text + " a", *pair, **choices)

    own = Shouting(tokenizer_object=Tokenizer.from_str(tokenizer.backend_tokenizer.to_str()), unk_token="[UNK]")
    message = "The saved tokenizer.json reads 'A plain text.' as "
    with pytest.raises(ExportError, match=f"^{re.escape(message)}.*it does more than its file says"):
        save_beside(model, own, tmp_path)
