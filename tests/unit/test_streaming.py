"""What a `StreamingClassifier` refuses, and what happens to its streams."""

import numpy as np
import pytest
import torch

from transformers_rnn import (
    RNNConfig,
    RNNForSequenceClassification,
    SequenceVectorFeatureExtractor,
    StreamingClassifier,
    train_tokenizer,
)


def vectors(**fields):
    torch.manual_seed(0)
    return StreamingClassifier(RNNForSequenceClassification(RNNConfig(input_size=2, cell_type="gru", **fields)))


def tokens(tokenizer=None):
    size = 9 if tokenizer is None else len(tokenizer)
    return StreamingClassifier(RNNForSequenceClassification(RNNConfig(vocab_size=size, pad_token_id=0)), tokenizer)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([[1.0, 2.0], [3.0, np.nan]], r"^Stream 'a', after its first 1 steps, step 1, feature 1 is nan\. Repair"),
        ([1.0, 2.0, 3.0], r"^Stream 'a' reads numbers of shape \(F,\) or \(T, F\) with F = 2, got \(3,\) of float64"),
        ("text", r"^Stream 'a' reads numbers .* got str\. Check the order"),
    ],
)
def test_bad_vectors_are_refused_and_nothing_is_read(items, message):
    classifier = vectors()
    classifier.push([0.0, 1.0], "a")
    with pytest.raises(ValueError, match=message):
        classifier.push_many({"b": [[0.0, 0.0]], "a": items})
    assert list(classifier) == ["a"]
    assert classifier.push([], "a").steps == 1


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        ([1, 9], r"^Stream None reads lists of token ids from 0 to 8, got 9 as step 1\. Use the tokenizer"),
        ("text", r"^Stream None reads lists of token ids from 0 to 8, got str\. Pass a tokenizer to push texts\.$"),
    ],
)
def test_bad_ids_are_refused(ids, message):
    with pytest.raises(ValueError, match=message):
        tokens().push(ids)


def test_bad_texts_and_keys_are_refused():
    text = tokens(train_tokenizer(["a text"]))
    with pytest.raises(ValueError, match=r"^Stream None reads text, got list\. Push strings"):
        text.push([1])
    with pytest.raises(ValueError, match=r"^Stream None reads text, got half characters \(surrogates\) in"):
        text.push("\ud83d")
    with pytest.raises(ValueError, match=r"^keys must name each stream once, got 2 keys, 1 of them different"):
        vectors().push_many([[0.0, 0.0]] * 2, ["a", "a"])
    with pytest.raises(ValueError, match=r"^keys must name the stream of each of the 2 items, got 1 keys"):
        vectors().push_many([[0.0, 0.0]] * 2, ["a"])
    with pytest.raises(ValueError, match=r"^push_many reads a mapping from keys to items, or a list with keys="):
        vectors().push_many([[0.0, 0.0]])
    with pytest.raises(KeyError, match="There is no stream 'a'"):
        vectors().reset("a")


def test_parts_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"^A bidirectional model cannot stream"):
        vectors(bidirectional=True)
    model = RNNForSequenceClassification(RNNConfig(input_size=2))
    with pytest.raises(ValueError, match=r"^The feature extractor gives F = 3 numbers a step, but this model reads 2"):
        StreamingClassifier(model, feature_extractor=SequenceVectorFeatureExtractor(feature_size=3))
    with pytest.raises(ValueError, match=r"^This model reads vectors: pass a feature_extractor, not a"):
        StreamingClassifier(model, tokenizer=train_tokenizer(["a"]))


def test_a_stream_that_overflows_has_no_answer():
    classifier = vectors(num_labels=3)
    classifier.model.classifier.bias.data[:] = torch.tensor([0.0, torch.inf, 0.0])
    for push in (classifier.push_many, lambda _: classifier.push([0.5, 1.0])):
        with pytest.raises(
            FloatingPointError,
            match=r"^The logits must be finite, got inf in stream (None|'a'): its states overflow\. Reset or drop it, "
            r"and scale what is pushed, or train again\.$",
        ):
            push({"a": [0.5, 1.0]})
    classifier.model.classifier.bias.data[:] = 3e38  # the sum of such logits is not finite, but they are
    assert classifier.push([0.5, 1.0]).steps == 2


def test_streams_are_reset_dropped_and_counted():
    classifier = vectors()
    first = classifier.push([1.0, 2.0], "a")
    classifier.push_many({key: [[1.0, 1.0]] for key in range(200)})  # more than there were places
    classifier.reset("a")
    assert classifier.push([1.0, 2.0], "a").score == pytest.approx(first.score)
    classifier.drop("a")
    assert "a" not in classifier
    assert len(classifier) == 200
    assert classifier.push([1.0, 2.0], "c").score == pytest.approx(first.score)
    assert len(classifier.push_many({})) == 0


def test_snapshots_of_other_models_and_keys_are_refused(tmp_path):
    classifier, other = vectors(), vectors(pooling="mean")
    classifier.push([1.0, 2.0])
    classifier.snapshot(tmp_path / "streams")
    with pytest.raises(ValueError, match="is no snapshot of streams of this model: its weights, choices or type"):
        other.restore(tmp_path / "streams")
    classifier.push([1.0, 2.0], ("a", 1))
    with pytest.raises(ValueError, match=r"^A snapshot keeps keys that are text, numbers or None, got"):
        classifier.snapshot(tmp_path / "streams")
