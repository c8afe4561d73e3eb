"""What a `StreamingClassifier` says of a stream is what the model says of the sequence so far, whatever the pieces."""

import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from cases import cases
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import pipeline

from transformers_rnn import (
    RNNConfig,
    RNNForSequenceClassification,
    SequenceVectorFeatureExtractor,
    StreamingClassifier,
    train_tokenizer,
)
from transformers_rnn.stopping import StoppingPolicy
from transformers_rnn.stream_answers import StreamAnswers

TEXTS = ["Hello, world! It's me.", "a", "don't  stop: 3 caf\u00e9s", "WIN  a prize, call 0800 now"]


def draw_pushes(data, lengths):
    """In each push a share of some streams; in the end everything was pushed."""
    at = dict.fromkeys(lengths, 0)
    for _ in range(data.draw(st.integers(0, 4))):
        chosen = data.draw(st.lists(st.sampled_from(list(lengths)), min_size=1, unique=True))
        push = {key: (at[key], data.draw(st.integers(at[key], lengths[key]))) for key in chosen}
        at.update({key: end for key, (_, end) in push.items()})
        yield push
    yield {key: (at[key], length) for key, length in lengths.items()}


@given(case=cases(bidirectional=False, dtype=torch.float64), data=st.data())
@torch.no_grad()
def test_answers_are_those_of_the_sequence_so_far(case, data):
    classifier = StreamingClassifier(case.model)
    for push in draw_pushes(data, {key: len(sequence) for key, sequence in enumerate(case.sequences)}):
        answers = classifier.push_many({key: case.sequences[key][a:b] for key, (a, b) in push.items()})
        assert list(answers) == list(push)
        for key, (_, end) in push.items():
            assert answers[key].steps == end
            if not end:
                assert answers[key].label is None
                continue
            scores = case.alone(case.sequences[key][:end]).softmax(0)
            np.testing.assert_allclose(answers[key].scores, scores, rtol=1e-5, atol=1e-30)
            assert answers[key].label == case.model.config.id2label[int(scores.argmax())]
            assert answers[key].score == max(answers[key].scores)


@settings(max_examples=25)
@given(case=cases(bidirectional=False), data=st.data(), cut=st.integers(1, 11))
def test_a_restored_classifier_goes_on_to_the_last_bit(case, data, cut):
    one, other = StreamingClassifier(case.model), StreamingClassifier(case.model)
    streams = {f"stream {key}": sequence for key, sequence in enumerate(case.sequences)}
    one.push_many({key: sequence[:cut] for key, sequence in streams.items()})
    other.push([1] if case.tokens else torch.zeros(1, case.model.config.input_size), "forgotten by restore")
    with tempfile.TemporaryDirectory() as directory:
        one.snapshot(Path(directory) / "streams")
        other.restore(Path(directory) / "streams")
    assert list(other) == list(one)
    rest = {key: sequence[cut:] for key, sequence in streams.items()}
    answers = one.push_many(rest), other.push_many(rest)
    assert dict(answers[0]) == dict(answers[1])


@settings(max_examples=25)
@given(case=cases(bidirectional=False, dtype=torch.float64), data=st.data())
@torch.no_grad()
def test_scaled_as_in_one_piece(case, data):
    width = case.model.config.input_size
    extractor = SequenceVectorFeatureExtractor(feature_size=width, mean=[0.5] * width, std=[3.0] * width, max_length=2)
    if case.tokens:
        return
    classifier = StreamingClassifier(case.model, feature_extractor=extractor)
    for key, sequence in enumerate(case.sequences):
        for vector in sequence.numpy():
            answer = classifier.push(vector, key)
        whole = extractor(sequence, truncation=False, return_tensors="pt")["input_features"].double()
        np.testing.assert_allclose(answer.scores, case.model(input_features=whole).logits[0].softmax(0), rtol=1e-5)


@settings(max_examples=40)
@given(
    data=st.data(),
    stride=st.integers(1, 4),
    deltas=st.booleans(),
    width=st.integers(1, 3),
    pooling=st.sampled_from(["last", "concat"]),
)
@torch.no_grad()
def test_joined_steps_in_any_pieces_give_the_answer_to_the_sequence_so_far(data, stride, deltas, width, pooling):
    """Whatever the pieces, also across a snapshot: what the pipeline would say of the steps so far."""
    torch.manual_seed(data.draw(st.integers(0, 2**32 - 1)))
    extractor = SequenceVectorFeatureExtractor(width, stride=stride, deltas=deltas)
    extractor.mean, extractor.std = [0.5] * extractor.step_size, [3.0] * extractor.step_size
    size = extractor.input_size
    config = RNNConfig(input_size=size, hidden_size=5, cell_type="lstm", num_labels=3, pooling=pooling)
    config.stopping_policy = StoppingPolicy(0.0, patience=1, min_steps=2).to_dict()
    model = RNNForSequenceClassification(config).double().eval()
    series = [torch.randn(length, width).numpy() for length in data.draw(st.lists(st.integers(1, 14), min_size=1))]
    classifier = StreamingClassifier(model, feature_extractor=extractor)
    with tempfile.TemporaryDirectory() as directory:
        for push in draw_pushes(data, {key: len(sequence) for key, sequence in enumerate(series)}):
            answers = classifier.push_many({key: series[key][a:b] for key, (a, b) in push.items()})
            if data.draw(st.booleans()):
                classifier.snapshot(Path(directory) / "streams")
                classifier = StreamingClassifier(model, feature_extractor=extractor)
                classifier.restore(Path(directory) / "streams")
            for key, (_, end) in push.items():
                assert answers[key].steps == end
                assert answers[key].decided_after == (2 * stride if end >= 2 * stride else None)
                if end:
                    whole = extractor(series[key][:end], return_tensors="pt")["input_features"].double()
                    expected = model(input_features=whole).logits[0].softmax(0)
                    np.testing.assert_allclose(answers[key].scores, expected, rtol=1e-5)


def test_what_is_left_of_joined_steps_holds_nothing_else_and_there_may_be_none():
    model = RNNForSequenceClassification(RNNConfig(input_size=6, num_labels=3))
    classifier = StreamingClassifier(model, feature_extractor=SequenceVectorFeatureExtractor(2, stride=3))
    assert dict(classifier.push_many({})) == {}
    assert classifier.push(np.zeros((0, 2))).label is None
    classifier.push(np.zeros((1000, 2)), "long")
    held = [(one.left.base, one.left.shape, one.last.base) for one in classifier._held.values()]
    assert held == [(None, (1, 2), None)]  # views would keep all that was pushed
    again = classifier.push_many(np.zeros((2, 2)), ["long", None])
    assert again.steps.tolist() == [1001, 1]
    classifier.drop("long")
    assert classifier.push(np.zeros(2), "long").steps == 1


@settings(max_examples=15)
@given(data=st.data(), level=st.sampled_from(["word", "char", "bpe"]), case=cases(bidirectional=False))
@torch.no_grad()
def test_text_in_any_pieces_gives_the_answer_to_the_text(data, level, case):
    if not case.tokens:
        return
    tokenizer = train_tokenizer(TEXTS, level, vocab_size=300)
    case.model.resize_token_embeddings(len(tokenizer))
    classifier = StreamingClassifier(case.model, tokenizer)
    for push in draw_pushes(data, {key: len(text) for key, text in enumerate(TEXTS)}):
        classifier.push_many({key: TEXTS[key][a:b] for key, (a, b) in push.items()})
    for key, text in enumerate(TEXTS):
        ids = torch.tensor(tokenizer(text)["input_ids"])
        answer = classifier.finish(key)
        assert answer.steps == len(ids)
        expected = case.call(ids[None], torch.ones(1, len(ids))).logits[0].softmax(0)
        np.testing.assert_allclose(answer.scores, expected, rtol=1e-4)


@given(case=cases(bidirectional=False, dtype=torch.float64), data=st.data())
@torch.no_grad()
def test_the_policy_settles_on_what_it_would_settle_on_in_the_whole(case, data):
    """Whatever the pieces, also across a snapshot: the same label after the same step, at a calibrated score."""
    threshold = data.draw(st.sampled_from([0.0, 0.3, 0.4, 0.5, 0.6, 2.0]))
    policy = StoppingPolicy(threshold, data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5)))
    config = case.model.config
    config.problem_type, config.temperature = "single_label_classification", data.draw(st.sampled_from([1.0, 0.25]))
    config.stopping_policy = policy.to_dict()
    prefix_logits = [case.call(one[None], output_prefix_logits=True).prefix_logits[0] for one in case.sequences]
    classifier = StreamingClassifier(case.model)
    with tempfile.TemporaryDirectory() as directory:
        for push in draw_pushes(data, {key: len(sequence) for key, sequence in enumerate(case.sequences)}):
            answers = classifier.push_many({key: case.sequences[key][a:b] for key, (a, b) in push.items()})
            if data.draw(st.booleans()):
                classifier.snapshot(Path(directory) / "streams")
                classifier = StreamingClassifier(case.model)
                classifier.restore(Path(directory) / "streams")
            for key, (_, end) in push.items():
                progress = None
                for logits in prefix_logits[key][:end]:
                    progress = policy.step((logits[None].float() / config.temperature).softmax(-1), progress)
                if progress is None or not progress.stopped:
                    assert (answers[key].decision, answers[key].decided_after) == (None, None)
                else:
                    assert answers[key].decision == config.id2label[int(progress.label)]
                    assert answers[key].decided_after == int(progress.steps)
    begun = classifier.push([1] if case.tokens else torch.zeros(1, config.input_size), "another")
    classifier.reset("another")
    assert classifier.push([1] if case.tokens else torch.zeros(1, config.input_size), "another") == begun


@pytest.mark.parametrize("kind", ["single_label_classification", "multi_label_classification"])
def test_scores_are_calibrated_as_the_pipelines(kind):
    torch.manual_seed(0)
    model = RNNForSequenceClassification(RNNConfig(num_labels=3, problem_type=kind, temperature=0.25, cell_type="gru"))
    extractor, series = SequenceVectorFeatureExtractor(feature_size=10), np.random.default_rng(0).normal(size=(9, 10))
    pipe = pipeline("sequence-classification", model=model, feature_extractor=extractor)
    whole = {answer["label"]: answer["score"] for answer in pipe(series, top_k=None)}
    answer = StreamingClassifier(model, feature_extractor=extractor).push(series)
    assert answer.scores == pytest.approx([whole[f"LABEL_{index}"] for index in range(3)], rel=1e-5)
    assert answer.score == pytest.approx(max(whole.values()), rel=1e-5)
    if kind.startswith("single"):
        model.config.abstain_below = answer.score + 1e-3
        unsure = StreamingClassifier(model, feature_extractor=extractor).push(series)
        assert (unsure.label, unsure.score) == (None, answer.score)
        assert pipe(series)[0]["label"] is None


@settings(max_examples=25)
@given(case=cases(bidirectional=False, dtype=torch.float64), keys=st.permutations(range(5)))
@torch.no_grad()
def test_rows_of_a_step_go_in_blocks(case, keys):
    with mock.patch("transformers_rnn.stream_reading._ROWS", 2):
        classifier, length = StreamingClassifier(case.model), min(map(len, case.sequences))
        rows = torch.stack([case.sequences[key % len(case.sequences)][:length] for key in keys])
        for step in range(length):  # an array of the steps of all, as numbers or vectors
            answers = classifier.push_many(rows[:, step : step + 1].numpy(), keys)
    for row, key in enumerate(keys):
        np.testing.assert_allclose(answers[key].scores, case.alone(rows[row]).softmax(0), rtol=1e-5)


def test_long_pushes_are_read_in_pieces(monkeypatch):
    monkeypatch.setattr("transformers_rnn.stream_reading._BUDGET", 7)
    torch.manual_seed(0)
    model = RNNForSequenceClassification(RNNConfig(input_size=2, cell_type="lstm", pooling="concat")).eval()
    series = {key: torch.randn(length, 2) for key, length in enumerate([1, 40, 0, 7, 23])}
    answers = StreamingClassifier(model).push_many(series)
    assert isinstance(answers, StreamAnswers)
    assert answers.steps.tolist() == [1, 40, 0, 7, 23]
    for key, one in series.items():
        if len(one):
            with torch.no_grad():
                expected = model(input_features=one[None]).logits[0].softmax(0)
            np.testing.assert_allclose(answers[key].scores, expected, rtol=1e-4)
