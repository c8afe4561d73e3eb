"""Texts through our own pipeline, and batches of like lengths."""

import copy
import re
from typing import Any

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from transformers import DistilBertConfig, DistilBertForSequenceClassification, TextClassificationPipeline, pipeline
from transformers.pipelines import PIPELINE_REGISTRY
from transformers.pipelines.pt_utils import KeyDataset

import transformers_rnn
from transformers_rnn import (
    RNNConfig,
    RNNForSequenceClassification,
    SequenceVectorFeatureExtractor,
    train_tokenizer,
)
from transformers_rnn.text_pipeline import RNNTextClassificationPipeline

WORDS = ["win", "a", "free", "prize", "now", "see", "you", "at", "five", "o'clock", "for", "lunch"]
TEXTS = [" ".join(WORDS[(i * 7 + k) % len(WORDS)] for k in range(1 + (i * 5) % 23)) for i in range(70)]


TASKS = ["sequence-classification", "text-classification"]
SINGLE, MULTI = "single_label_classification", "multi_label_classification"


def build(task: str = TASKS[0], names: str = "ham spam", **config_fields: Any) -> Any:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(TEXTS, max_length=20)
    config = RNNConfig(
        vocab_size=len(tokenizer),
        pad_token_id=0,
        cell_type="lstm",
        id2label=dict(enumerate(names.split())),
        **config_fields,
    )
    model = RNNForSequenceClassification(config)
    torch.nn.init.normal_(model.classifier.weight)  # scores that differ
    return pipeline(task, model=model, tokenizer=tokenizer)


@pytest.fixture(params=TASKS)
def pipe(request: pytest.FixtureRequest) -> Any:
    return build(request.param)


def hosts_own(pipe: Any) -> Any:
    return TextClassificationPipeline(model=pipe.model, tokenizer=pipe.tokenizer, task="text-classification")


def test_the_answers_are_those_of_the_hosts_text_pipeline(pipe: Any) -> None:
    host = hosts_own(pipe)
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
    if kind in ("table", "column") and pipe.task == "text-classification":
        pipe = build()  # the host's text pipeline reads no tables
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


def padding_seen(pipe: Any, inputs: Any, batch_size: int, **options: Any) -> float:
    """Real steps / computed steps."""
    seen: list[torch.Tensor] = []
    hook = pipe.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["attention_mask"]), with_kwargs=True
    )
    pipe(inputs, batch_size=batch_size, **options)
    hook.remove()
    return sum(int(mask.sum()) for mask in seen) / sum(mask.numel() for mask in seen)


def test_hardly_any_padding_is_computed(pipe: Any) -> None:
    host = hosts_own(pipe)
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
    pipe.model.config.custom_pipelines = {"sequence-classification": {"pt": (RNNForSequenceClassification,)}}
    pipe.save_pretrained(tmp_path)  # that note is the host's, of a directory with code, and no JSON
    loaded: Any = pipeline(pipe.task, model=str(tmp_path))
    assert type(loaded) is type(pipe)
    assert loaded(TEXTS[:5]) == pipe(TEXTS[:5])
    assert not list(tmp_path.glob("*.py"))


def test_what_is_no_text_is_refused() -> None:
    pipe = build()
    message = "^A model of tokens classifies texts, got int. Pass strings, or mappings with the key 'text'.$"
    with pytest.raises(ValueError, match=message):
        pipe(["win", 3], batch_size=2)
    with pytest.raises(ValueError, match=message.replace("int", "NoneType")):
        pipe({"tekst": "win"})
    message = r"^A table needs a column 'text' of raw texts, got the columns \['x'\]\. Pass the right one: pipe\("
    with pytest.raises(ValueError, match=message):
        pipe(Dataset.from_dict({"x": ["win"]}))


# The host's task


def test_other_models_get_the_hosts_own_class(capfd: Any) -> None:
    tokenizer = train_tokenizer(TEXTS, max_length=20)
    config = DistilBertConfig(vocab_size=len(tokenizer), dim=8, n_heads=2, n_layers=1, hidden_dim=8)
    options = {"model": DistilBertForSequenceClassification(config).eval(), "tokenizer": tokenizer}
    found: Any = pipeline("text-classification", **options, batch_size=4, top_k=None)
    assert type(found) is TextClassificationPipeline
    assert vars(found).keys() == vars(TextClassificationPipeline(**options, task=found.task)).keys()
    assert (found._batch_size, found._postprocess_params) == (4, {"top_k": None, "_legacy": False})
    assert found(TEXTS[:3]) == TextClassificationPipeline(**options, batch_size=4)(TEXTS[:3], top_k=None)
    assert type(pipeline("sentiment-analysis", **options)) is TextClassificationPipeline
    assert capfd.readouterr().err == ""


def test_our_models_get_ours_and_the_tasks_defaults_stay() -> None:
    pipe = build("text-classification")
    assert type(pipe) is RNNTextClassificationPipeline
    assert isinstance(pipe, TextClassificationPipeline)
    task, entry, _ = PIPELINE_REGISTRY.check_task("sentiment-analysis")
    assert task == "text-classification"
    assert entry["impl"] is RNNTextClassificationPipeline
    assert entry["default"]["model"][0].startswith("distilbert/")
    assert entry["type"] == "text"


def test_a_pipeline_that_somebody_put_in_our_place_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    class Theirs(TextClassificationPipeline):
        pass

    monkeypatch.setitem(PIPELINE_REGISTRY.supported_tasks["text-classification"], "impl", Theirs)
    transformers_rnn.registration.register()
    assert type(build("text-classification")) is Theirs


def test_a_copy_of_the_pipeline_answers_alike() -> None:
    pipe = build("text-classification")
    assert copy.copy(pipe)(TEXTS[:3]) == pipe(TEXTS[:3])


def test_what_the_hosts_tokenizer_parameters_do_stays_in_batches() -> None:
    pipe = build("text-classification")
    for options in (
        {"padding": True, "truncation": True},
        {"padding": "max_length", "max_length": 20, "truncation": True},
        {"truncation": True, "max_length": 3},
        {"return_token_type_ids": False},
    ):
        alone = [pipe(text, **options)[0] for text in TEXTS[:9]]
        assert pipe(TEXTS[:9], batch_size=4, **options) == nearly(alone), options
    assert padding_seen(pipe, TEXTS * 5, 8, padding=True) >= 0.95


def test_pairs_and_single_texts_together(pipe: Any) -> None:
    items = ["win now", {"text": "see you", "text_pair": "at five"}, {"text": "lunch", "text_pair": None}]
    assert pipe(items, batch_size=3) == nearly([pipe([item])[0] for item in items])


def test_the_hosts_old_form_of_a_pair() -> None:
    pipe = build("text-classification")
    pair = [["see you", "at five"]]
    expected = pipe({"text": "see you", "text_pair": "at five"})
    assert pipe([pair, pair], batch_size=2) == nearly([expected, expected])


def test_long_texts_are_no_reason_to_warn(pipe: Any, capfd: Any) -> None:
    long = " ".join(WORDS * 5)
    pipe(long)
    pipe([long, long], batch_size=2)
    assert capfd.readouterr() == ("", "")


# Calibration


def scores_of(pipe: Any, texts: list[str]) -> list[dict[str, float]]:
    return [{entry["label"]: entry["score"] for entry in row} for row in pipe(texts, top_k=None, batch_size=8)]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("problem_type", "function"), [(SINGLE, "softmax"), (MULTI, "sigmoid")])
def test_scores_are_those_of_logits_over_the_temperature(task: str, problem_type: str, function: str) -> None:
    pipe = build(task, problem_type=problem_type, names="a b c", temperature=2.5)
    logits = pipe(TEXTS[:20], function_to_apply="none", top_k=None)  # as they are
    for row, raw in zip(scores_of(pipe, TEXTS[:20]), logits, strict=True):
        expected = getattr(torch, function)(
            torch.tensor([entry["score"] for entry in raw]) / 2.5, *([-1] * (function == "softmax"))
        )
        assert [row[entry["label"]] for entry in raw] == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_the_temperature_changes_no_answer(task: str) -> None:
    pipe = build(task, names="a b c")

    @given(st.lists(st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3), min_size=1), st.floats(0.01, 100))
    def holds(rows: list[list[float]], temperature: float) -> None:
        logits = torch.tensor(rows)
        pipe.model.config.temperature = temperature
        for function in (None, "sigmoid", "none"):
            found = pipe._answers(logits, function)
            assert [answer["label"] for answer in found] == ["abc"[index] for index in logits.argmax(-1)]
            ranked = pipe._answers(logits, function, top_k=None)
            assert [row[0] for row in ranked] == found
            assert all(row == sorted(row, key=lambda entry: -entry["score"]) for row in ranked)

    holds()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("batch_size", [1, 8])
def test_abstaining(task: str, batch_size: int) -> None:
    pipe = build(task, abstain_below=0.6)
    best = pipe(TEXTS, abstain_below=None, batch_size=batch_size)
    assert 5 < sum(answer["score"] < 0.6 for answer in best) < 65
    expected = [answer if answer["score"] >= 0.6 else {**answer, "label": None} for answer in best]
    assert pipe(TEXTS, batch_size=batch_size) == expected
    ranked = pipe(TEXTS, top_k=None, batch_size=batch_size)
    assert [row[0] for row in ranked] == expected
    assert [len(row) for row in ranked] == [2 if answer["label"] else 1 for answer in expected]
    assert {answer["label"] for answer in pipe(TEXTS, abstain_below=1.0)} == {None}
    assert pipe(TEXTS, function_to_apply="none", batch_size=batch_size) == pipe(
        TEXTS, function_to_apply="none", abstain_below=None, batch_size=batch_size
    )


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("batch_size", [1, 8])
def test_thresholds(task: str, batch_size: int) -> None:
    stored = [0.3, 0.5, 0.7]
    pipe = build(task, names="a b c", problem_type=MULTI, thresholds=stored)
    texts = TEXTS[:20]
    scores = scores_of(pipe, texts)
    for asked, used in [(True, stored), (0.4, [0.4] * 3), ([0.9, 0.1, 0.5], [0.9, 0.1, 0.5])]:
        limits = dict(zip("abc", used, strict=True))
        found = pipe(texts, threshold=asked, batch_size=batch_size)
        for row, answers in zip(scores, found, strict=True):
            expected = {label: score for label, score in row.items() if score > limits[label]}
            assert {entry["label"]: entry["score"] for entry in answers} == pytest.approx(expected, abs=1e-6)
            assert answers == sorted(answers, key=lambda entry: -entry["score"])
        assert pipe(texts[0], threshold=asked) == nearly(found[0])
        assert pipe(texts, threshold=asked, top_k=1) == nearly([row[:1] for row in found])
    assert pipe(texts, threshold=1.0) == [[]] * 20
    assert all(isinstance(answer, dict) for answer in pipe(texts)), "the host's form where no threshold is asked for"
    pipe.model.config.thresholds = None
    assert pipe(texts, threshold=True) == pipe(texts, threshold=0.5)


MEANING = "threshold is for several labels at once, abstain_below for a single one."


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("problem_type", "options", "message"),
    [
        (SINGLE, {"threshold": 0.5}, f"threshold has no meaning for problem_type='{SINGLE}': {MEANING}"),
        (None, {"threshold": True}, f"threshold has no meaning for problem_type=None: {MEANING}"),
        (MULTI, {"abstain_below": 0.5}, f"abstain_below has no meaning for problem_type='{MULTI}': {MEANING}"),
        ("regression", {"abstain_below": 0}, f"abstain_below has no meaning for problem_type='regression': {MEANING}"),
        (SINGLE, {"abstain_below": 1.5}, "abstain_below must be a score from 0 to 1, got 1.5."),
        (SINGLE, {"abstain_below": [0.5, 0.5]}, "abstain_below must be a score from 0 to 1, got [0.5, 0.5]."),
        (MULTI, {"threshold": -1}, "threshold must be True, a score from 0 to 1 or one for each label, got -1."),
        (MULTI, {"threshold": [1]}, "threshold must be True, a score from 0 to 1 or one for each label, got [1]."),
        (MULTI, {"threshold": "high"}, "could not convert string to float: 'high'"),
    ],
)
def test_parameters_that_do_not_fit(task: str, problem_type: Any, options: dict[str, Any], message: str) -> None:
    pipe = build(task, problem_type=problem_type)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        pipe(TEXTS[0], **options)
