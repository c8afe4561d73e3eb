"""What the package shows, what importing it does, and how its rooms depend on each other."""

import ast
import json

import pytest
from processes import ROOT, run
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForPreTraining,
    AutoModelForSequenceClassification,
)
from transformers.pipelines import PIPELINE_REGISTRY

import transformers_rnn
from transformers_rnn import registration

SOURCE = ROOT / "src" / "transformers_rnn"
# The path of the data; nothing imports from a later room.
ROOMS = [
    "losses",
    "label_scale",
    "stopping",
    "decision_checks",
    "ngrams",
    "regularization",
    "token_checks",
    "config_names",
    "configuration_rnn",
    "tokenization",
    "incremental_tokenization",
    "feature_moments",
    "number_arrays",
    "feature_extraction_rnn",
    "state",
    "denormals",
    "freed_memory",
    "embedding",
    "padding",
    "recurrence",
    "traced_recurrence",
    "recurrent_layers",
    "pooling",
    "prefixes",
    "bag",
    "initialization",
    "adoption",
    "modeling_pretrained",
    "modeling_rnn",
    "step_prediction",
    "modeling_pretraining",
    "pretrained_trunk",
    "pretrained_embeddings",
    "cooccurrence",
    "embedding_training",
    "weight_averaging",
    "layerwise_training",
    "data_files",
    "data_source",
    "vector_columns",
    "column_finding",
    "label_encoding",
    "data_splitting",
    "table_reading",
    "unlabelled_data",
    "data_report",
    "data_streaming",
    "labelled_data",
    "figures",
    "bootstrap",
    "earliness",
    "stream_answers",
    "stream_items",
    "stream_reading",
    "streaming",
    "tbptt",
    "metrics",
    "calibration",
    "ngram_votes",
    "bag_fitting",
    "evaluator",
    "pipeline",
    "text_pipeline",
    "canvas",
    "label_pictures",
    "pictures",
    "earliness_picture",
    "model_card_sections",
    "model_card",
    "text_kind",
    "recipe",
    "encoding",
    "logit_adjustment",
    "early_answers",
    "checkpoints",
    "run_choices",
    "evaluation",
    "run_report",
    "classifier_run",
    "distillation",
    "refitting",
    "training",
    "export_check",
    "onnx_builder",
    "onnx_ngrams",
    "onnx_graph",
    "onnx_export",
    "export_cost",
    "openvino_graph",
    "openvino_export",
    "torch_export",
    "executorch_export",
    "pretraining",
    "registration",
    "__init__",
]
ONNX_SOURCE = ROOT / "src" / "transformers_rnn_onnx"  # what runs without torch
ONNX_ROOMS = ["decisions", "texts", "vectors", "streams", "classifier", "__init__"]
FIRST = (
    "import torch, transformers, transformers.pipelines, transformers.modeling_layers, torch._higher_order_ops.scan\n"
)
LOOK = """
import json, logging, os, sys, warnings
def look():
    root = logging.getLogger()
    return [
        sorted(os.environ.items()), root.level, [str(h) for h in root.handlers], [str(f) for f in warnings.filters],
        torch.get_num_threads(), str(torch.get_default_dtype()), torch.are_deterministic_algorithms_enabled(),
        torch.is_grad_enabled(), torch.initial_seed(), float(torch.tensor(1e-30) * 1e-10) > 0,
    ]
before = look()
import transformers_rnn
assert look() == before, (look(), before)
print(json.dumps([name for name in sys.modules]))
"""


def test_the_public_names():
    promised = {
        "RNNConfig",
        "RNNModel",
        "RNNForSequenceClassification",
        "SequenceVectorFeatureExtractor",
        "SequenceClassificationPipeline",
    }
    assert promised | {"RNNForPreTraining", "RNNState", "StreamingClassifier", "train_tokenizer"} == set(
        transformers_rnn.__all__
    )
    for name in transformers_rnn.__all__:
        assert getattr(transformers_rnn, name).__doc__


def test_importing_changes_nothing_but_the_tables_and_brings_nothing_heavy(tmp_path):
    loaded = json.loads(run("-W", "error", "-c", FIRST + LOOK, cwd=tmp_path))
    assert not {"evaluate", "matplotlib", "onnxruntime", "openvino", "sklearn.metrics"} & set(loaded)


def test_the_tables_of_the_host():
    config = transformers_rnn.RNNConfig()
    assert type(AutoConfig.for_model("rnn_classifier")) is transformers_rnn.RNNConfig
    assert type(AutoModel.from_config(config)) is transformers_rnn.RNNModel
    auto = AutoModelForSequenceClassification.from_config(config)
    assert type(auto) is transformers_rnn.RNNForSequenceClassification
    assert type(AutoModelForPreTraining.from_config(config)) is transformers_rnn.RNNForPreTraining
    _, task, _ = PIPELINE_REGISTRY.check_task("sequence-classification")
    assert task["impl"] is transformers_rnn.SequenceClassificationPipeline
    assert hasattr(AutoFeatureExtractor, "from_pretrained")


def test_registering_twice_is_harmless_and_silent(capfd):
    registration.register()
    registration.register()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ROOMS)
def test_imports_go_one_way(name):
    tree = ast.parse((SOURCE / f"{name}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert ROOMS.index(node.module) < ROOMS.index(name), f"{name} imports {node.module}"
        if isinstance(node, ast.Assert):
            pytest.fail(f"{name} has an assert, which python -O leaves out")


@pytest.mark.parametrize("name", ONNX_ROOMS)
def test_what_runs_without_torch_imports_nothing_of_it(name):
    tree = ast.parse((ONNX_SOURCE / f"{name}.py").read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert ONNX_ROOMS.index(node.module) < ONNX_ROOMS.index(name), f"{name} imports {node.module}"
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
        assert not {one.split(".")[0] for one in names} & {"torch", "transformers", "transformers_rnn"}, name
        assert not isinstance(node, ast.Assert), f"{name} has an assert, which python -O leaves out"


@pytest.mark.parametrize(("source", "rooms"), [(SOURCE, ROOMS), (ONNX_SOURCE, ONNX_ROOMS)], ids=["torch", "onnx"])
def test_the_packages_are_flat_and_their_files_are_short(source, rooms):
    assert {path.stem for path in source.glob("*.py")} == set(rooms)
    assert not [path for path in source.iterdir() if path.is_dir() and path.name != "__pycache__"]
    for path in source.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 350, path.name
