"""Programs that read streams: what they compute, what is written and what is refused.

ExecuTorch itself is not installed for the tests (it brings torchao and coremltools); every export checks the lowered
program with its runtime. Here its place is taken by the programs of `torch.export` that it is given.
"""

import re
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch
from cases import CELLS, VOCABULARY, fill_bag

from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor, train_tokenizer
from transformers_rnn.executorch_export import check_executorch, export_executorch
from transformers_rnn.export_check import ExportError


def model_of(**fields):
    torch.manual_seed(0)
    return RNNForSequenceClassification(RNNConfig(**{"cell_type": "gru", "input_size": 3, **fields})).eval()


LOWERED = []  # what was written: the number of it is the content


def lower(programs, compile_config):
    """As `to_edge_transform_and_lower`, up to `to_executorch().buffer`."""
    LOWERED.append({name: program.module() for name, program in programs.items()})
    content = bytes([len(LOWERED) - 1])
    return SimpleNamespace(to_executorch=lambda: SimpleNamespace(buffer=content))


class Runtime:
    get = classmethod(lambda cls: cls())

    def load_program(self, content):
        methods = LOWERED[content[0]]
        return SimpleNamespace(load_method=lambda name: SimpleNamespace(execute=lambda inputs: methods[name](*inputs)))


@pytest.fixture
def stand_in(monkeypatch):
    exir = SimpleNamespace(EdgeCompileConfig=lambda **_: None, to_edge_transform_and_lower=lower)
    modules = {"executorch.exir": exir, "executorch.runtime": SimpleNamespace(Runtime=Runtime)}
    monkeypatch.setattr(
        "transformers_rnn.onnx_builder.import_module", lambda name: modules.get(name) or import_module(name)
    )


@pytest.mark.usefixtures("stand_in")
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)  # torch's own
@pytest.mark.parametrize("number", range(4), ids=[str(cell) for cell in CELLS])
def test_streams_are_read_step_by_step(number, tmp_path):
    cell, nonlinearity = CELLS[number]
    pooling, rows, steps = ("concat", "attention", "last", "mean")[number], 1 + number % 2, (1, 2, 1, 1)[number]
    ngrams = {"ngram_order": 3, "ngram_buckets": 50, "ngram_width": 2}
    bag = {"bag_order": 2, "bag_size": 30, "bag_width": 3}
    tokens = {"vocab_size": VOCABULARY, "pad_token_id": 0, **(ngrams if number == 2 else bag)} if number > 1 else {}
    model = model_of(
        cell_type=cell, nonlinearity=nonlinearity, pooling=pooling, num_hidden_layers=1 + number % 2, **tokens
    )
    if model.rnn.bag is not None:
        fill_bag(model.rnn.bag)
    file = tmp_path / "deep" / "model.pte"
    assert export_executorch(model, file, batch_size=rows, steps=steps) == file
    assert [path.name for path in file.parent.iterdir()] == ["model.pte"]
    content = file.read_bytes()
    operators = {str(node.target) for program in LOWERED[content[0]].values() for node in program.graph.nodes}
    assert not [name for name in operators if "sort" in name or "scatter_reduce" in name], "its runtime has none"
    assert len(Runtime().load_program(content).load_method("begin").execute([])[0]) == rows
    with torch.no_grad():
        model.rnn.layers[-1].cell.weight_hh_l0.mul_(1.1)
    with pytest.raises(ExportError, match=rf"gives other logits than the model after \d+ steps of {rows} streams: "):
        check_executorch(model, content, steps=steps)


@pytest.mark.usefixtures("stand_in")
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)  # torch's own
def test_a_directory_holds_what_is_needed_and_a_wrong_program_is_not_kept(tmp_path, monkeypatch):
    tokenizer = train_tokenizer(["a b c d"])
    model = model_of(vocab_size=len(tokenizer), pad_token_id=0).double()
    export_executorch(model, tmp_path / "out", tokenizer)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"model.pte", "config.json", "tokenizer.json", "tokenizer_config.json"}
    assert model.dtype == torch.float64, "the given model is not changed"

    def fail(*_, **__):
        raise ExportError

    monkeypatch.setattr("transformers_rnn.executorch_export.check_executorch", fail)
    with pytest.raises(ExportError):
        export_executorch(model, tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


def test_what_is_refused(tmp_path, hide_module):
    message = (
        "A bidirectional model cannot be written for ExecuTorch: programs run at one shape, so they read streams, and "
        "the backward direction begins at the end, which a stream does not have yet. Use --format onnx or openvino, "
        "or train with bidirectional=False."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        export_executorch(model_of(bidirectional=True), tmp_path)
    for name, size in (("batch_size", 0), ("steps", 1.5)):
        with pytest.raises(ValueError, match=rf"^{name} must be a whole number of at least 1, got {size}\.$"):
            export_executorch(model_of(), tmp_path, **{name: size})
    with pytest.raises(ValueError, match=r"^This model reads vectors of 3 numbers, so a Seq.*, got Seq.* of 4\.$"):
        export_executorch(model_of(), tmp_path, SequenceVectorFeatureExtractor(feature_size=4))

    hide_module("executorch.exir")
    with pytest.raises(
        ImportError,
        match=r"^Exporting to ExecuTorch needs executorch, which is not installed\. Install it with pip install "
        r'"transformers-rnn\[executorch\]"\.$',
    ):
        export_executorch(model_of(), tmp_path)
    assert not list(tmp_path.iterdir())
