"""Saved folders load through the Auto classes and pipelines of a fresh process, with and without the package."""

import json

import numpy as np
import pytest
from processes import run, without_package
from transformers import pipeline

from transformers_rnn import (
    RNNConfig,
    RNNForSequenceClassification,
    RNNModel,
    SequenceVectorFeatureExtractor,
    train_tokenizer,
)

TEXTS = ["call now to win", "see you at five", "win a free prize"]
SERIES = [np.random.default_rng(0).normal(size=(n, 4)) for n in (3, 7, 5)]

LOAD = """
import json, sys, numpy as np
from transformers import (AutoConfig, AutoModel, AutoModelForSequenceClassification, AutoTokenizer,
                          AutoFeatureExtractor, pipeline)
kind, directory, trust = sys.argv[1], sys.argv[2], sys.argv[3] == "True"
options = {"trust_remote_code": True} if trust else {}
assert ("transformers_rnn" in sys.modules) != trust
config = AutoConfig.from_pretrained(directory, **options)
model = AutoModelForSequenceClassification.from_pretrained(directory, **options)
assert type(model).__name__ == "RNNForSequenceClassification" and config.model_type == "rnn_classifier"
if not trust:
    assert type(AutoModel.from_pretrained(directory)).__name__ == "RNNModel"
if kind == "text":
    assert "token_type_ids" not in AutoTokenizer.from_pretrained(directory)("win")
    inputs, task = json.loads(sys.argv[4]), "text-classification"
else:
    assert AutoFeatureExtractor.from_pretrained(directory, **options).feature_size == 4
    inputs, task = [np.array(s) for s in json.loads(sys.argv[4])], "sequence-classification"
answers = pipeline(task, model=directory, **options)(inputs, top_k=None)
print("ANSWERS" + json.dumps(answers))
"""


@pytest.fixture
def unregistered():
    """Registering for code is a class attribute: put it back."""
    classes = (RNNConfig, RNNModel, RNNForSequenceClassification, SequenceVectorFeatureExtractor)
    yield
    for cls in classes:
        cls._auto_class = None


def saved(kind, directory):
    """Save a pipeline, and tell its answers."""
    if kind == "text":
        tokenizer = train_tokenizer(TEXTS)
        config = RNNConfig(vocab_size=len(tokenizer), pad_token_id=0, cell_type="lstm", bidirectional=True)
        pipe = pipeline("text-classification", model=RNNForSequenceClassification(config).eval(), tokenizer=tokenizer)
        inputs = TEXTS
    else:
        extractor = SequenceVectorFeatureExtractor(feature_size=4).fit(SERIES)
        config = RNNConfig(input_size=4, cell_type="gru", pooling="attention", id2label={0: "a", 1: "b", 2: "c"})
        model = RNNForSequenceClassification(config).eval()
        pipe = pipeline("sequence-classification", model=model, feature_extractor=extractor)
        inputs = SERIES
    pipe.save_pretrained(directory)
    return inputs, pipe(inputs, top_k=None)


def answers_of(kind, directory, inputs, trust, cwd, prelude="", **environment):
    given = json.dumps([item if kind == "text" else item.tolist() for item in inputs])
    printed = run("-c", prelude + LOAD, kind, directory, str(trust), given, cwd=cwd, **environment)
    return json.loads(printed.split("ANSWERS")[1])


def assert_same(found, expected):
    """The same labels in the same order with the same scores."""
    assert [[a["label"] for a in row] for row in found] == [[a["label"] for a in row] for row in expected]
    assert [[a["score"] for a in row] for row in found] == [[a["score"] for a in row] for row in expected]


@pytest.mark.parametrize("kind", ["text", "vectors"])
def test_where_the_package_is_imported(kind, tmp_path):
    inputs, expected = saved(kind, tmp_path / "model")
    assert not list((tmp_path / "model").glob("*.py"))
    assert_same(answers_of(kind, "model", inputs, False, tmp_path, "import transformers_rnn"), expected)


@pytest.mark.parametrize("kind", ["text", "vectors"])
def test_where_the_package_is_not_installed(kind, tmp_path, unregistered):
    RNNForSequenceClassification.register_for_auto_class()
    SequenceVectorFeatureExtractor.register_for_auto_class()
    inputs, expected = saved(kind, tmp_path / "model")
    assert (tmp_path / "model" / "modeling_rnn.py").exists()
    environment = without_package(tmp_path)
    assert_same(answers_of(kind, "model", inputs, True, tmp_path, **environment), expected)


def test_without_package_and_code_the_blocker_blocks(tmp_path):
    """The test of the test: in such a process the package is not there."""
    check = "try:\n    import transformers_rnn\nexcept ModuleNotFoundError:\n    print('blocked')"
    assert run("-c", check, cwd=tmp_path, **without_package(tmp_path)).strip() == "blocked"


def test_any_pretrained_tokenizer_will_do(tmp_path):
    """A tokenizer in BERT's manner, with token_type_ids and special tokens of its own."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "win", "now", "five"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    bert = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )
    config = RNNConfig(vocab_size=len(bert), pad_token_id=bert.pad_token_id)
    pipe = pipeline("text-classification", model=RNNForSequenceClassification(config).eval(), tokenizer=bert)
    texts = ["win now", "five", "win five now now"]
    assert "token_type_ids" in bert("win")
    alone, together = [pipe(text)[0] for text in texts], pipe(texts, batch_size=3)
    assert [a["score"] for a in alone] == pytest.approx([a["score"] for a in together], rel=1e-6)
    pair = pipe({"text": "win", "text_pair": "five"})
    assert 0 <= pair["score"] <= 1
