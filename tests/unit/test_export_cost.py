"""The cost of exported files: measured for each, and told where it is more."""

import pytest

from transformers_rnn import RNNConfig, RNNForSequenceClassification
from transformers_rnn.export_cost import Cost, compare_cost
from transformers_rnn.onnx_export import export_onnx


@pytest.mark.parametrize("fields", [{"vocab_size": 9, "pad_token_id": 0}, {}], ids=["tokens", "vectors"])
@pytest.mark.parametrize("with_state", [False, True])
def test_each_file_is_measured(tmp_path, monkeypatch, fields, with_state):
    monkeypatch.setattr("transformers_rnn.export_cost._AT_LEAST", 1e-4)
    model = RNNForSequenceClassification(RNNConfig(cell_type="lstm", pooling="concat", **fields))
    ways = {"whole": None, "small": "int8"}
    files = {
        name: export_onnx(model, tmp_path / f"{name}.onnx", with_state=with_state, quantize=way)
        for name, way in ways.items()
    }
    costs = compare_cost(model.config, files)
    assert {name: cost.size for name, cost in costs.items()} == {
        name: file.stat().st_size for name, file in files.items()
    }
    assert costs["small"].size < costs["whole"].size
    assert all(cost.one > 0 and cost.many > 0 for cost in costs.values())


def test_what_is_slower_is_told_in_words():
    whole = Cost(400, one=1.0, many=10.0)
    assert Cost(100, one=1.05, many=8.0).slower_than(whole) == []
    assert Cost(100, one=1.5, many=8.0).slower_than(whole) == ["one sequence: 1.50 times the time"]
    assert Cost(100, one=2.0, many=30.0).slower_than(whole) == [
        "one sequence: 2.00 times the time",
        "32 sequences: 3.00 times the time",
    ]
