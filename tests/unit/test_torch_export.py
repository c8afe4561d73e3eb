"""Programs of `torch.export`: what is written, and what is refused."""

import pytest
import torch

from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor, train_tokenizer
from transformers_rnn.export_check import ExportError
from transformers_rnn.torch_export import check_program, export_program

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"
)  # torch's own


SCALE = {"label_mean": [5.0, -400.0], "label_scale": [2.0, 30.0]}


def model_of(**fields):
    torch.manual_seed(0)
    return RNNForSequenceClassification(RNNConfig(**{"cell_type": "gru", "input_size": 3, **fields})).eval()


def test_a_program_that_loads_with_torch_alone(tmp_path, monkeypatch):
    tokenizer = train_tokenizer(["a b c"])
    fields = {"vocab_size": len(tokenizer), "pad_token_id": 0, "cell_type": "rnn", "bidirectional": True}
    model = model_of(**fields, pooling="concat", problem_type="regression", **SCALE).double()
    file = export_program(model, tmp_path / "out", tokenizer)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"model.pt2", "config.json", "tokenizer.json", "tokenizer_config.json"}
    assert model.dtype == torch.float64, "the given model is not changed"
    traced = torch.export.load(file)
    ids, mask = torch.tensor([[3, 4, 5, 0, 0], [0, 0, 0, 5, 4]]), torch.tensor([[1, 1, 1, 0, 0], [0, 0, 0, 1, 1]])
    found = traced.module()(sequence=ids, attention_mask=mask)
    torch.testing.assert_close(found, model(ids, mask).logits.float())

    with pytest.raises(ExportError, match="gives other logits than the model"):
        check_program(model_of(**fields, pooling="concat", nonlinearity="relu"), file)
    monkeypatch.setattr("transformers_rnn.torch_export._trace", lambda _: traced)  # tracing takes seconds
    assert export_program(model, tmp_path / "deep" / "alone.pt2") == tmp_path / "deep" / "alone.pt2"
    with pytest.raises(ExportError):
        export_program(model_of(**fields, pooling="concat", nonlinearity="relu"), tmp_path / "deep" / "wrong.pt2")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["alone.pt2"]


def test_what_prepares_the_input_must_fit(tmp_path):
    with pytest.raises(ValueError, match=r"^This model reads vectors of 3 numbers, so a Seq.*, got Seq.* of 4\.$"):
        export_program(model_of(), tmp_path, SequenceVectorFeatureExtractor(feature_size=4))
    assert not list(tmp_path.iterdir())
