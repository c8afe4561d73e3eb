"""What a teacher answers joins the labels, row by row, whatever is asked and in whatever order it is answered."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertForSequenceClassification, pipeline

from transformers_rnn import (
    RNNConfig,
    RNNForSequenceClassification,
    SequenceVectorFeatureExtractor,
    train_tokenizer,
)
from transformers_rnn.distillation import distil
from transformers_rnn.labelled_data import load_labelled_data

SINGLE, SEVERAL, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
WORDS = ["red", "green", "blue", "light", "dark", "very"]
GENERATOR = np.random.default_rng(0)
TEXTS = [" ".join(GENERATOR.choice(WORDS, GENERATOR.integers(1, 9))) for _ in range(20)]
SERIES = [GENERATOR.normal(size=(length, 2)).astype(np.float32) for length in GENERATOR.integers(1, 9, 20)]
LABELS = {
    SINGLE: [("no", "yes", "maybe")[i % 3] for i in range(20)],
    SEVERAL: [["no", "yes"][: i % 3] for i in range(20)],
    REGRESSION: [float(i) for i in range(20)],
}


@cache
def load(kind, problem_type):
    column = {"text": TEXTS} if kind == "text" else {"series": SERIES}
    return load_labelled_data({**column, "label": LABELS[problem_type]}, validation_size=None)


def inputs_of(data):
    train = data.splits["train"]
    return list(train["text"]) if data.reads_text else [np.asarray(row) for row in train["input_features"]]


def table_of(data):
    """The labels (B, L) of the training set before anyone taught."""
    labels = np.asarray(data.splits["train"].with_format("numpy")["labels"])
    return np.eye(len(data.label_names))[labels] if data.problem_type == SINGLE else labels.reshape(len(labels), -1)


@pytest.mark.parametrize("problem_type", [SINGLE, SEVERAL, REGRESSION])
@pytest.mark.parametrize("kind", ["text", "vectors"])
@given(share=st.floats(0, 1), further=st.integers(0, 3), copies=st.integers(0, 2), seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_labels_are_shared_between_the_data_and_the_teacher(kind, problem_type, share, further, copies, seed):
    data = load(kind, problem_type)
    asked = []

    def teacher(rows):
        answers = np.random.default_rng(seed).random((len(rows), len(data.label_names)))
        asked.append((rows, answers / answers.sum(axis=1, keepdims=True) if problem_type == SINGLE else answers))
        return asked[0][1]

    copies = copies if kind == "text" else 0
    unlabelled = inputs_of(data)[:further] or None
    taught = distil(data, teacher, unlabelled=unlabelled, altered_copies=copies, label_share=share, seed=seed)
    ((rows, answers),) = asked
    labels = np.asarray(taught.splits["train"].with_format("numpy")["labels"])
    assert len(labels) == len(rows) == 20 * (1 + copies) + further
    np.testing.assert_allclose(labels[:20], share * table_of(data) + (1 - share) * answers[:20], atol=1e-5)
    np.testing.assert_allclose(labels[20:], answers[20:], atol=1e-6)
    for read, was_asked in zip(inputs_of(taught), rows, strict=True):
        np.testing.assert_array_equal(read, was_asked)
    if kind == "text":
        assert {word for text in rows[20:] for word in text.split()} <= set(WORDS)


def bert_of(names, tokenizer, directory, problem_type):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    labels = {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}
    torch.manual_seed(0)
    model = BertForSequenceClassification(
        BertConfig(vocab_size=len(tokenizer), **sizes, **labels, problem_type=problem_type, initializer_range=1.0)
    )
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


@pytest.mark.parametrize("problem_type", [SINGLE, SEVERAL, REGRESSION])
def test_a_model_of_the_host_answers_each_row_as_it_would_alone(problem_type, tmp_path):
    data = load("text", problem_type)
    bert_of(list(data.label_names)[::-1], train_tokenizer(TEXTS), tmp_path, problem_type)
    taught = distil(data, tmp_path, label_share=0)
    alone = pipeline("text-classification", model=str(tmp_path), top_k=None)
    for row in taught.splits["train"]:
        expected = {answer["label"]: answer["score"] for answer in alone([row["text"]])[0]}
        assert row["labels"] == pytest.approx([expected[name] for name in data.label_names], abs=1e-5)


@pytest.mark.parametrize("kind", ["text", "vectors"])
def test_so_does_one_of_ours_that_may_abstain(kind, tmp_path):
    data = load(kind, SINGLE)
    names = {"id2label": dict(enumerate(data.label_names)), "abstain_below": 0.99}
    torch.manual_seed(0)
    if kind == "text":
        processor = train_tokenizer(TEXTS)
        config = RNNConfig(vocab_size=len(processor), pad_token_id=0, input_size=4, problem_type=SINGLE, **names)
    else:
        processor = SequenceVectorFeatureExtractor(feature_size=2).fit(SERIES)
        config = RNNConfig(input_size=2, problem_type=SINGLE, **names)
    model = RNNForSequenceClassification(config).eval()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    taught = distil(data, tmp_path, label_share=0)
    for row, label in zip(inputs_of(data), taught.splits["train"].with_format("numpy")["labels"], strict=True):
        inputs = processor([row], return_tensors="pt")
        np.testing.assert_allclose(label, model(**inputs).logits.softmax(1)[0].detach().numpy(), atol=1e-5)
