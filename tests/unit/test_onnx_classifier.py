"""The classifier without torch: every choice of a call, and what it refuses, with the whole message."""

import json
import sys
from threading import Thread

import numpy as np
import pytest
import torch
from transformers import pipeline

from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor, train_tokenizer
from transformers_rnn.onnx_export import export_onnx
from transformers_rnn_onnx import OnnxSequenceClassifier

WORDS = [f"word{number}" for number in range(30)]
MULTI = {"problem_type": "multi_label_classification", "thresholds": [0.5, 0.4, 0.6]}
PROBLEMS = {
    "single": {"problem_type": "single_label_classification", "temperature": 0.05, "abstain_below": 0.6},
    "multi": {**MULTI, "temperature": 0.7},
    "regression": {"problem_type": "regression"},
    "open": {},
    "one": {"num_labels": 1},
}


def model_of(**fields):
    torch.manual_seed(0)
    sizes = {"num_labels": 3, "cell_type": "lstm", "pooling": "attention", "bidirectional": True, "input_size": 5}
    model = RNNForSequenceClassification(RNNConfig(**{**sizes, **fields})).eval()
    if model.config.ngram_order > 1:  # they start at zero, which would hide mistakes
        torch.nn.init.normal_(model.rnn.embeddings.ngrams.weight)
    return model


def texts(count=23):
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(WORDS, generator.integers(1, 12))) for _ in range(count)]


def series(count=23, width=5):
    generator = np.random.default_rng(0)
    return [generator.normal(3, 2, (generator.integers(1, 15), width)) for _ in range(count)]


def exported(directory, kind, with_state=False, reader=None, **fields):
    """A pipeline of the model and the classifier of its export."""
    if kind == "text":
        reader = reader or train_tokenizer(WORDS, max_length=6)
        model = model_of(vocab_size=len(reader), pad_token_id=reader.pad_token_id, **fields)
        pipe = pipeline("sequence-classification", model=model, tokenizer=reader)
    else:
        reader = reader or SequenceVectorFeatureExtractor(feature_size=5, max_length=9).fit(series())
        model = model_of(**fields)
        pipe = pipeline("sequence-classification", model=model, feature_extractor=reader)
    export_onnx(model, directory, reader, with_state=with_state)
    return pipe, OnnxSequenceClassifier(directory, num_threads=1)


def assert_same(found, expected):
    """Equal labels in equal order, scores within 1e-5."""
    if isinstance(expected, list):
        assert isinstance(found, list)
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    else:
        assert found.keys() == expected.keys()
        assert found["label"] == expected["label"]
        assert found["score"] == pytest.approx(expected["score"], abs=1e-5)


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("kind", ["text", "vectors"])
def test_answers_are_the_pipelines(tmp_path, kind, problem):
    pipe, classify = exported(tmp_path, kind, **PROBLEMS[problem])
    items = texts() if kind == "text" else series()
    choices = [{}, {"top_k": None}, {"top_k": 1}, {"top_k": 2}, {"truncation": True}, {"truncation": False}]
    choices += [{"max_length": 3}, {"function_to_apply": "softmax"}, {"function_to_apply": "none"}]
    if problem == "multi":
        choices += [{"threshold": True}, {"threshold": 0.5}, {"threshold": [0.1, 0.5, 0.9], "top_k": 2}]
    if problem == "single":
        choices += [{"abstain_below": None}, {"abstain_below": 0.7}, {"abstain_below": 0.7, "top_k": 2}]
    for choice in choices:
        expected = pipe(items, **choice)
        assert_same(classify(items, **choice), expected)
        assert_same(classify(iter(items), batch_size=4, **choice), expected)
        assert_same(classify(items[0], **choice), pipe(items[0], **choice))
    if problem == "single":
        assert {answer["label"] for answer in classify(items)} > {None}, "some are sure, some are not"


def test_texts_as_the_text_pipeline_takes_them(tmp_path):
    pipe, classify = exported(tmp_path, "text")
    host = pipeline("text-classification", model=pipe.model, tokenizer=pipe.tokenizer)
    pairs = [{"text": one, "text_pair": other} for one, other in zip(texts(), texts()[::-1], strict=True)]
    assert_same(classify(texts()), host(texts()))
    assert_same(classify(texts()[0]), host(texts()[0]))
    assert_same(classify(pairs), host(pairs))
    assert_same(classify([pairs[0], texts()[1]]), pipe([pairs[0], texts()[1]]))
    assert_same(classify(["[PAD] word1 [SEP]"]), host(["[PAD] word1 [SEP]"]))  # plain text, no special tokens
    assert classify([]) == []


def test_vectors_as_the_pipeline_takes_them(tmp_path):
    pipe, classify = exported(tmp_path, "vectors")
    cube = np.stack([one[:1].repeat(4, axis=0) for one in series()])
    for items in (cube, cube.tolist(), [{"input_features": one} for one in series()], list(cube.astype(np.float32))):
        assert_same(classify(items), pipe(items))
    for one in (cube[0], cube[0].tolist(), {"input_features": cube[0]}):
        assert_same(classify(one), pipe(one))
    assert classify([]) == []


OVERFLOW = (
    r"^The logits must be finite, got nan: the states overflow\. Shorten or scale the sequence, or train again\.$"
)


@pytest.mark.parametrize("function", ["softmax", "sigmoid", "none"])
def test_states_that_overflow_have_no_answer(tmp_path, monkeypatch, function):
    reader = SequenceVectorFeatureExtractor(feature_size=5)
    fields = {"cell_type": "rnn", "nonlinearity": "relu", "bidirectional": False, "pooling": "last"}
    model = model_of(**fields)
    torch.nn.init.constant_(model.rnn.layers[0].cell.weight_hh_l0, 2.0)  # 40 times as much after each step
    torch.nn.init.constant_(model.rnn.layers[0].cell.weight_ih_l0, 1.0)
    monkeypatch.setattr("transformers_rnn.onnx_export.check_onnx", lambda *_: None)  # its batches are too long, too
    export_onnx(model, tmp_path, reader, with_state=True)
    pipe = pipeline("sequence-classification", model=model, feature_extractor=reader)
    classify = OnnxSequenceClassifier(tmp_path, num_threads=1)
    good, bad = np.ones((2, 5)), np.ones((60, 5))
    for each in (pipe, classify):
        assert len(each([good, good], function_to_apply=function)) == 2
        for inputs in (bad, [good, bad]):
            with pytest.raises(FloatingPointError, match=OVERFLOW):
                each(inputs, function_to_apply=function, batch_size=2)
    stream = classify.stream(function_to_apply=function)
    stream.push(good)
    with pytest.raises(FloatingPointError, match=OVERFLOW):
        stream.push(bad)
    assert stream.steps == 2


def test_windows_keep_the_order(tmp_path):
    pipe, classify = exported(tmp_path, "vectors")
    many = series(130)
    assert_same(classify(many, batch_size=1), pipe(many, batch_size=32))


def test_several_threads(tmp_path):
    _, classify = exported(tmp_path, "text")
    expected, found = classify(texts()), {}
    threads = [Thread(target=lambda n=n: found.__setitem__(n, classify(texts()))) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(found[number] == expected for number in range(4))


@pytest.mark.parametrize("kind", ["text", "vectors"])
def test_a_stream_ends_where_the_whole_does(tmp_path, kind):
    ngrams = {"ngram_order": 3, "ngram_buckets": 50, "ngram_width": 2} if kind == "text" else {}
    pipe, classify = exported(tmp_path, kind, with_state=True, bidirectional=False, pooling="concat", **ngrams)
    whole = texts(1)[0] if kind == "text" else max(series(), key=len)[:9]
    assert_same(classify([whole])[0], pipe([whole])[0])
    steps = classify.reader.read([whole])[0].tolist() if kind == "text" else whole
    stream = classify.stream()
    stream.push(steps[:1])
    kept = stream.state
    answers = [stream.push(steps[at : at + 2]) for at in range(1, len(steps), 2)]
    assert_same(stream.push([]), classify([whole])[0])
    assert_same(answers[-1], classify([whole])[0])
    assert stream.steps == len(steps)
    stream.state = kept
    assert stream.push(steps[1:3]) == answers[0]
    stream.reset()
    assert stream.steps == 0
    assert_same(stream.push(steps[0] if kind == "vectors" else steps[:1]), classify.stream().push(steps[:1]))
    assert len(classify.stream(top_k=2).push(steps[:1])) == 2


@pytest.mark.parametrize(("width", "stride", "deltas"), [(5, 4, False), (1, 4, True), (5, 1, True), (1, 2, False)])
def test_steps_that_are_read_as_one(tmp_path, width, stride, deltas):
    rows = series(width=width)
    reader = SequenceVectorFeatureExtractor(feature_size=width, max_length=9, stride=stride, deltas=deltas).fit(rows)
    fields = {"bidirectional": False, "pooling": "concat", "input_size": reader.input_size}
    pipe, classify = exported(tmp_path, "vectors", with_state=True, reader=reader, **fields)
    for found, wanted in zip(classify(rows), pipe(rows), strict=True):
        assert_same(found, wanted)
    stream, whole = classify.stream(), max(rows, key=len)[:9]
    for at in range(len(whole)):
        answer = stream.push(whole[at])
        kept = stream.state
        assert_same(answer, pipe([whole[: at + 1]])[0])
        assert stream.steps == at + 1
    assert_same(stream.push([]), answer)
    stream.reset()
    with pytest.raises(ValueError, match="has read nothing yet"):
        stream.push([])
    stream.push(whole[:3])
    assert_same(stream.push(whole[3:]), answer)
    stream.push(whole[:3])
    stream.state = kept
    assert_same(stream.push([]), answer)


def refused(message, call, *arguments, kind=ValueError, **choices):
    with pytest.raises(kind) as caught:
        call(*arguments, **choices)
    assert str(caught.value) == message


def test_choices_that_make_no_sense(tmp_path):
    _, single = exported(tmp_path / "single", "vectors")
    _, several = exported(tmp_path / "several", "vectors", **MULTI)
    items = series(2)
    refused("batch_size must be a whole number of at least 1, got 0.", single, items, batch_size=0)
    refused("max_length must be a whole number of at least 1, got -3.", single, items, max_length=-3)
    refused("top_k must be a whole number of at least 1, or None for all labels, got 0.", single, items, top_k=0)
    refused(
        "function_to_apply must be one of softmax, sigmoid, none, got 'tanh'.",
        single,
        items,
        function_to_apply="tanh",
    )
    meaning = "threshold is for several labels at once, abstain_below for a single one."
    refused(f"threshold has no meaning for problem_type=None: {meaning}", single, items, threshold=0.5)
    refused(
        f"abstain_below has no meaning for problem_type='multi_label_classification': {meaning}",
        several,
        items,
        abstain_below=0.5,
    )
    refused("abstain_below must be a score from 0 to 1, got 2.", single, items, abstain_below=2)
    refused(
        "threshold must be True, a score from 0 to 1 or one for each label, got [0.5, 0.5].",
        several,
        items,
        threshold=[0.5, 0.5],
    )


def test_texts_that_are_none(tmp_path):
    _, classify = exported(tmp_path, "text", with_state=True, bidirectional=False)
    wanted = "Pass strings, or mappings with the key 'text'."
    refused(f"A model of tokens classifies texts, got int. {wanted}", classify, ["word1", 3])
    refused(f"A model of tokens classifies texts, got NoneType. {wanted}", classify, {"txt": "word1"})
    refused("Text 1 has no token. An empty text has no class: leave it out.", classify, ["word1", " "])
    size = classify.reader.vocab_size
    classify.reader.vocab_size = 4
    refused(
        f"Text 0 has the token id {size - 1}, but ids must be from 0 to 3 (the vocabulary of this model). Use the "
        "tokenizer the model was trained with.",
        classify,
        [" ".join(WORDS)],
    )
    stream = classify.stream()
    refused("The stream has read nothing yet, so there is no answer. Push at least one step.", stream.push, [])
    refused(
        "A stream reads token ids: of a piece of text they are not sure until the next piece is there. Push ids, or "
        "use transformers_rnn.StreamingClassifier, which holds back what may still change.",
        stream.push,
        "word1",
    )
    refused("A piece must be a list of token ids, got list of float64.", stream.push, [1.5])
    refused(
        "A piece has the token id -1, but ids must be from 0 to 3 (the vocabulary of this model). Use the tokenizer "
        "the model was trained with.",
        stream.push,
        [-1],
    )
    assert stream.steps == 0


def test_vectors_that_are_none(tmp_path):
    _, classify = exported(tmp_path, "vectors")
    wanted = "must have the shape (T, F) with F = feature_size = 5"
    order = "Check the order of the axes (time before features)."
    good = series(1)[0]
    sorts = "Sequences must be arrays or nested lists of numbers, got"
    refused(f"{sorts} str. Pass the vectors.", classify, "word1")
    refused(f"{sorts} int. Pass the vectors.", classify, 3)
    refused(f"Sequence 1 {wanted}, got (5, 4). {order}", classify, [good, np.ones((5, 4))])
    refused(f"Sequence 0 {wanted}, got (5,). {order}", classify, np.ones(5))
    refused("Sequence 1 has no steps, but at least one is needed. Remove it.", classify, [good, np.ones((0, 5))])
    refused(
        "Sequence 0 must hold numbers, got dtype <U1. Encode or fill in other values first.", classify, [[["a"] * 5]]
    )
    refused("A mapping needs the key 'input_features', got the keys ['x'].", classify, {"x": good})
    with pytest.raises(ValueError, match=r"^Sequence 0 must have .* but its steps cannot be joined: "):
        classify([[[1.0] * 5, [1.0] * 4]])
    bad = good.copy()
    bad[0, 3] = np.nan
    advice = "Repair or remove missing values first."
    refused(f"Sequence 1, step 0, feature 3 is nan. {advice}", classify, [good, bad])
    refused(
        "Sequence 0, step 0, feature 0 is 1e+300. Scaled, it is too large for float32: check mean and std.",
        classify,
        np.full((1, 5), 1e300),
    )
    refused(
        "This model was exported without its state, so it reads whole sequences only. Export it with with_state=True; "
        "it must have one direction.",
        classify.stream,
    )
    _, endless = exported(tmp_path / "endless", "vectors", reader=SequenceVectorFeatureExtractor(feature_size=5))
    refused(
        "truncation=True needs a max_length: pass it here, or to the feature extractor.",
        endless,
        good,
        truncation=True,
    )


def test_directories_that_are_incomplete(tmp_path):
    where = (
        "Make it with transformers_rnn.onnx_export.export_onnx(model, directory, tokenizer_or_feature_extractor), or "
        "with examples/export_classifier.py."
    )
    refused(f"{tmp_path} holds no model.onnx. {where}", OnnxSequenceClassifier, tmp_path, kind=FileNotFoundError)
    export_onnx(model_of(), tmp_path)
    refused(
        f"This model reads vectors, but {tmp_path} holds no preprocessor_config.json. Export the model together with "
        "its feature extractor: export_onnx(model, directory, feature_extractor).",
        OnnxSequenceClassifier,
        tmp_path,
    )
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"feature_size": 4}))
    refused(
        "preprocessor_config.json is for vectors of 4 numbers, but this model reads 5. Export the model with the "
        "feature extractor that was saved with it.",
        OnnxSequenceClassifier,
        tmp_path,
    )
    export_onnx(model_of(vocab_size=9, pad_token_id=0), tmp_path / "tokens")
    refused(
        f"This model reads tokens, but {tmp_path / 'tokens'} holds no tokenizer.json. Export the model together with "
        "its tokenizer: export_onnx(model, directory, tokenizer).",
        OnnxSequenceClassifier,
        tmp_path / "tokens",
    )
    (tmp_path / "config.json").unlink()
    refused(f"{tmp_path} holds no config.json. {where}", OnnxSequenceClassifier, tmp_path, kind=FileNotFoundError)


def test_what_is_not_installed_is_told_with_its_command(tmp_path, monkeypatch):
    exported(tmp_path, "text")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    refused(
        "Reading texts needs tokenizers. Install it with pip install tokenizers.",
        OnnxSequenceClassifier,
        tmp_path,
        kind=ImportError,
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    refused(
        'An exported model needs onnxruntime. Install it with pip install "transformers-rnn[onnx]", or pip install '
        "onnxruntime where torch is not wanted.",
        OnnxSequenceClassifier,
        tmp_path,
        kind=ImportError,
    )
