"""Texts through our own pipeline, and batches of like lengths."""

from typing import Any

import pytest
import torch
from datasets import Dataset
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset

from transformers_rnn import (
    RNNConfig,
    RNNForSequenceClassification,
    SequenceClassificationPipeline,
    SequenceVectorFeatureExtractor,
    train_tokenizer,
)

WORDS = ["win", "a", "free", "prize", "now", "see", "you", "at", "five", "o'clock", "for", "lunch"]
TEXTS = [" ".join(WORDS[(i * 7 + k) % len(WORDS)] for k in range(1 + (i * 5) % 23)) for i in range(70)]


def build(**options: Any) -> SequenceClassificationPipeline:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(TEXTS, max_length=20)
    config = RNNConfig(vocab_size=len(tokenizer), pad_token_id=0, cell_type="lstm", id2label={0: "ham", 1: "spam"})
    model = RNNForSequenceClassification(config)
    return pipeline("sequence-classification", model=model, tokenizer=tokenizer, **options)


@pytest.fixture
def pipe() -> Any:
    return build()


def test_the_answers_are_those_of_the_hosts_text_pipeline(pipe: Any) -> None:
    host = pipeline("text-classification", model=pipe.model, tokenizer=pipe.tokenizer)
    pair = {"text": "win now", "text_pair": "see you"}
    for inputs, options in [
        ("win now", {}),
        (TEXTS, {}),
        (TEXTS[:3], {"top_k": None}),
        ("win", {"top_k": 1}),
        (TEXTS[:4], {"function_to_apply": "none"}),
        ([pair, pair], {}),
        (TEXTS[:3], {"truncation": True, "max_length": 2}),
    ]:
        assert pipe(inputs, **options) == nearly(host(inputs, **options)), (inputs, options)


def nearly(answers: Any) -> Any:
    """The same structure, with scores to within 1e-6."""
    if isinstance(answers, list):
        return [nearly(answer) for answer in answers]
    return {"label": answers["label"], "score": pytest.approx(answers["score"], abs=1e-6)}


@pytest.mark.parametrize("batch_size", [2, 3, 32, 100])
def test_batches_change_neither_answers_nor_their_order(pipe: Any, batch_size: int) -> None:
    alone, together = pipe(TEXTS), pipe(TEXTS, batch_size=batch_size)
    assert [a["label"] for a in together] == [a["label"] for a in alone]
    assert [a["score"] for a in together] == pytest.approx([a["score"] for a in alone], rel=1e-5)
    assert len({round(a["score"], 6) for a in alone}) > 20, "answers that differ, so that an order shows"


@pytest.mark.parametrize("kind", ["generator", "table", "column", "key_dataset", "mappings"])
def test_other_containers(pipe: Any, kind: str) -> None:
    table = Dataset.from_dict({"text": TEXTS})
    inputs = {
        "generator": (text for text in TEXTS),
        "table": table,
        "column": table["text"],
        "key_dataset": KeyDataset(table, "text"),
        "mappings": [{"text": text} for text in TEXTS],
    }[kind]
    answers = pipe(inputs, batch_size=8)
    if kind == "key_dataset":
        assert len(answers) == len(TEXTS), "progress bars ask for it"
    assert list(answers) == pipe(TEXTS, batch_size=8)


def test_an_endless_stream_is_read_a_window_at_a_time(pipe: Any) -> None:
    read = []

    def endless() -> Any:
        while True:
            read.append(len(read))
            yield TEXTS[len(read) % len(TEXTS)]

    answers = iter(pipe(endless(), batch_size=2))
    assert next(answers)["label"] in ("ham", "spam")
    assert len(read) <= 2 * 50 + 1


def padding_seen(pipe: Any, inputs: Any, batch_size: int) -> float:
    """Real steps / computed steps."""
    seen: list[torch.Tensor] = []
    hook = pipe.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["attention_mask"]), with_kwargs=True
    )
    pipe(inputs, batch_size=batch_size)
    hook.remove()
    return sum(int(mask.sum()) for mask in seen) / sum(mask.numel() for mask in seen)


def test_hardly_any_padding_is_computed(pipe: Any) -> None:
    host = pipeline("text-classification", model=pipe.model, tokenizer=pipe.tokenizer)
    texts = TEXTS * 5
    assert padding_seen(pipe, texts, 8) >= 0.95 > padding_seen(host, texts, 8)


def test_vectors_are_sorted_too() -> None:
    torch.manual_seed(0)
    series = [torch.randn(1 + (i * 5) % 23, 3).numpy() for i in range(200)]
    extractor = SequenceVectorFeatureExtractor(3).fit(series)
    model = RNNForSequenceClassification(RNNConfig(input_size=3))
    pipe: Any = pipeline("sequence-classification", model=model, feature_extractor=extractor)
    assert padding_seen(pipe, series, 8) >= 0.95
    alone = [answer["score"] for answer in pipe(series)]
    assert [answer["score"] for answer in pipe(series, batch_size=8)] == pytest.approx(alone, rel=1e-5)


def test_a_saved_directory_loads(pipe: Any, tmp_path: Any) -> None:
    pipe.save_pretrained(tmp_path)
    loaded: Any = pipeline("sequence-classification", model=str(tmp_path))
    assert loaded(TEXTS[:5]) == pipe(TEXTS[:5])
    assert not list(tmp_path.glob("*.py"))


def test_what_is_no_text_is_refused(pipe: Any) -> None:
    message = "^A model of tokens classifies texts, got int. Pass strings, or mappings with the key 'text'.$"
    with pytest.raises(ValueError, match=message):
        pipe(["win", 3], batch_size=2)
    message = r"^A table needs a column 'text' of raw texts, got the columns \['x'\]\. Pass the right one: pipe\("
    with pytest.raises(ValueError, match=message):
        pipe(Dataset.from_dict({"x": ["win"]}))
