"""What `export_openvino` writes, and what it refuses."""

import re

import pytest
import torch

from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor, train_tokenizer
from transformers_rnn.export_check import ExportError
from transformers_rnn.openvino_export import check_openvino, export_openvino
from transformers_rnn.openvino_graph import build_openvino_graph


def model_of(**fields):
    torch.manual_seed(0)
    return RNNForSequenceClassification(RNNConfig(**{"cell_type": "gru", "input_size": 3, **fields})).eval()


def test_a_directory_holds_what_is_needed(tmp_path):
    tokenizer = train_tokenizer(["a b c d"])
    units = {"problem_type": "regression", "label_mean": [5.0, -400.0], "label_scale": [2.0, 30.0]}
    model = model_of(vocab_size=len(tokenizer), pad_token_id=0, bidirectional=True, **units).double().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert export_openvino(model, tmp_path / "out", tokenizer) == tmp_path / "out" / "model.xml"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"model.xml", "model.bin", "config.json", "tokenizer.json", "tokenizer_config.json"}
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_files_alone_which_another_model_does_not_pass(tmp_path):
    file = tmp_path / "deep" / "spam.xml"
    assert export_openvino(model_of(), file, with_state=True) == file
    assert {path.name for path in file.parent.iterdir()} == {"spam.xml", "spam.bin"}
    assert check_openvino(model_of(), file) <= 1e-5
    with pytest.raises(ExportError, match="gives other logits than the model on a batch of lengths"):
        check_openvino(model_of(pooling="max"), file)


def test_nothing_is_kept_where_the_check_fails(tmp_path, monkeypatch):
    other = build_openvino_graph(model_of(pooling="max"))
    monkeypatch.setattr("transformers_rnn.openvino_export.build_openvino_graph", lambda *_: other)
    with pytest.raises(ExportError):
        export_openvino(model_of(), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_what_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^A bidirectional model cannot stream: "):
        export_openvino(model_of(bidirectional=True), tmp_path, with_state=True)
    with pytest.raises(ValueError, match=r"^This model reads vectors of 3 numbers, so a Seq.*, got Seq.* of 4\.$"):
        export_openvino(model_of(), tmp_path, SequenceVectorFeatureExtractor(feature_size=4))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["openvino", "onnx"])
def test_a_missing_extra_is_told_with_its_command(tmp_path, hide_module, missing):
    hide_module(missing)
    message = f"Exporting to OpenVINO needs {missing}, which is not installed. Install it with pip install "
    with pytest.raises(ImportError, match=f'^{re.escape(message)}"transformers-rnn\\[openvino\\]"\\.$'):
        export_openvino(model_of(), tmp_path)
