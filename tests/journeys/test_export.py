"""Train, export with one command, classify in a process that has neither torch nor transformers."""

import json

import numpy as np
import pytest
import torch
from processes import ROOT, run
from transformers import pipeline

from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor, train_tokenizer

EXAMPLE = ROOT / "examples" / "export_classifier.py"
TEXTS = ["you have won a prize", "see you at five", "call now", "lunch?"]
SERIES = [np.random.default_rng(length).normal(2, 3, (length, 3)).tolist() for length in (9, 4, 1)]
CALIBRATED = {"problem_type": "single_label_classification", "temperature": 0.1, "abstain_below": 0.6}
# Whatever imports torch or transformers fails, also where they are installed.
CLASSIFY = """
import json, sys
sys.modules |= dict.fromkeys(("torch", "transformers", "transformers_rnn", "onnx"))
from transformers_rnn_onnx import OnnxSequenceClassifier
answers = {}
for name, items in json.loads(sys.argv[1]).items():
    classify = OnnxSequenceClassifier(name)
    answers[name] = [classify(items), classify(items, top_k=None), [classify(item) for item in items]]
    if name.startswith("series"):
        stream = classify.stream()
        answers[name].append([stream.push(step) for step in items[0]][-1])
loaded = {name.split(".")[0] for name, module in sys.modules.items() if module is not None}
assert not {"torch", "transformers", "transformers_rnn"} & loaded, loaded
print(json.dumps(answers))
"""


def build(tmp_path):
    """Saved classifiers of texts and of vectors, for each kind of problem, by directory."""
    torch.manual_seed(0)
    tokenizer = train_tokenizer(TEXTS)
    reader = SequenceVectorFeatureExtractor(feature_size=3, max_length=8).fit(SERIES)
    problems = {
        "single": CALIBRATED,
        "multi": {"problem_type": "multi_label_classification", "thresholds": [0.5] * 3, "temperature": 2.0},
        "regression": {"problem_type": "regression", "label_mean": [5.0] * 3, "label_scale": [1.0, 2.0, 30.0]},
    }
    for name, fields in problems.items():
        labels = {0: "a", 1: "b", 2: "c"}
        sizes = {"cell_type": "lstm", "bidirectional": True, "pooling": "concat", "input_size": 6}
        text = RNNConfig(vocab_size=len(tokenizer), pad_token_id=0, id2label=labels, **sizes, **fields)
        vectors = RNNConfig(input_size=3, cell_type="gru", pooling="attention", id2label=labels, **fields)
        for kind, config, saved in (("text", text, tokenizer), ("series", vectors, reader)):
            RNNForSequenceClassification(config).save_pretrained(tmp_path / f"{kind}-{name}")
            saved.save_pretrained(tmp_path / f"{kind}-{name}")
            yield f"{kind}-{name}", TEXTS if kind == "text" else SERIES


def scores(answers):
    """All labels and all scores of any nested answer, flat."""
    if isinstance(answers, dict):
        return [answers["label"]], [answers["score"]]
    parts = [scores(each) for each in answers]
    return [label for labels, _ in parts for label in labels], [score for _, found in parts for score in found]


def test_from_saved_directories_to_a_process_without_torch(tmp_path):
    items = dict(build(tmp_path))
    # Every export in one process: the same code as the command, which the next test runs.
    program = "\n".join(
        [
            "import runpy, sys",
            "for name in sys.argv[2:]:",
            "    state = ['--with_state'] if name.startswith('series') else []",
            "    sys.argv = ['export', name, '--format', 'onnx', '--output', name + '-exported', *state]",
            f"    runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')",
        ]
    )
    printed = run("-W", "error", "-c", program, "--", *items, cwd=tmp_path)
    assert printed.count("answers as the model, on random batches") == len(items)
    asked = json.dumps({f"{name}-exported": each for name, each in items.items()})
    found = json.loads(run("-W", "error", "-c", CLASSIFY, asked, cwd=tmp_path).splitlines()[-1])
    for name, each in items.items():
        pipe = pipeline("sequence-classification", model=str(tmp_path / name))
        expected = [pipe(each), pipe(each, top_k=None), [pipe(item) for item in each]]
        *answers, streamed = found[f"{name}-exported"] + ([None] if name.startswith("text") else [])
        labels, numbers = scores(answers)
        assert labels == scores(expected)[0], name
        assert numbers == pytest.approx(scores(expected)[1], abs=1e-5), name
        if streamed is not None:  # a stream is not cut at max_length
            whole = pipe(each[0], truncation=False)[0]
            assert streamed["label"] == whole["label"]
            assert streamed["score"] == pytest.approx(whole["score"], abs=1e-5)


def test_the_command_tells_the_cost_and_what_is_slower(tmp_path, monkeypatch, capsys):
    import runpy
    import sys

    name, _ = next(build(tmp_path))
    command = ["export_classifier.py", str(tmp_path / name), "--format", "onnx", "--quantize", "int8"]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr("transformers_rnn.export_cost._SLOWER", 1e-9)
    monkeypatch.setattr("transformers_rnn.export_cost._AT_LEAST", 1e-4)
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{tmp_path / name}-onnx/model.onnx: answers as the model")
    assert [line.partition(":")[0] for line in lines[1:]] == ["exported", "float32", "Warning"]
    assert lines[-1].startswith("Warning: slower than float32 here: one sequence: ")
    assert {path.name for path in tmp_path.glob("*-onnx/*")} >= {"model.onnx", "config.json", "tokenizer.json"}


def test_the_command_writes_other_formats_and_refuses_what_they_do_not_have(tmp_path, monkeypatch, capsys):
    import runpy
    import sys

    directories = [str(tmp_path / name) for name, _ in build(tmp_path)]

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["export_classifier.py", *words])
        runpy.run_path(str(EXAMPLE), run_name="__main__")

    command(directories[1], "--format", "openvino", "--with_state")
    assert capsys.readouterr().out.startswith(f"{directories[1]}-openvino/model.xml: answers as the model, on random")
    names = {path.name for path in tmp_path.glob("*-openvino/*")}
    assert names == {"model.xml", "model.bin", "config.json", "preprocessor_config.json"}
    for words, message in (
        (["openvino", "--quantize", "int8"], "--quantize is of --format onnx"),
        (["torch_export", "--with_state"], "--with_state is of --format onnx and openvino"),
    ):
        with pytest.raises(SystemExit):
            command(directories[0], "--format", *words)
        assert capsys.readouterr().err.endswith(f"error: {message}\n")
