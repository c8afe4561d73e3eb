"""Students of every kind, altered texts, and what cannot be taught."""

import re
from functools import cache

import numpy as np
import pytest

from transformers_rnn.distillation import distil
from transformers_rnn.labelled_data import load_labelled_data
from transformers_rnn.run_choices import balanced_weights
from transformers_rnn.training import train_classifier

TEXTS = [f"{word} film number {number}" for number in range(20) for word in ("good", "bad")]
SERIES = [np.full((3 + row % 3, 1), row % 2, np.float32) for row in range(40)]
LABELS = ["yes", "no"] * 20
TINY = {"hidden_size": 4, "max_steps": 2, "disable_tqdm": True, "log_level": "error", "eval_strategy": "no"}


@cache
def load(kind="text", **options):
    if kind == "pairs":
        return load_labelled_data({"text": TEXTS, "text_pair": TEXTS, "label": LABELS}, **options)
    return load_labelled_data({kind: TEXTS if kind == "text" else SERIES, "label": LABELS}, **options)


def even(rows):
    return np.full((len(rows), 2), 0.5)


def refused(message, error=ValueError):
    return pytest.raises(error, match=f"^{re.escape(message)}$")


@pytest.mark.parametrize(("kind", "unlabelled"), [("text", ["a film", "bad"]), ("series", SERIES[:2])])
def test_a_student_is_trained_like_any_classifier(kind, unlabelled, tmp_path):
    taught = distil(load(kind), even, unlabelled=unlabelled)
    result = train_classifier(taught, tmp_path, class_weights="balanced", **TINY)
    assert result.model.config.num_labels == 2
    assert result.model.config.class_weights == pytest.approx([1, 1])
    said = "50% are the answers of even, which also answered 2 sequences without a label and 0 altered texts."
    assert said in (tmp_path / "README.md").read_text(encoding="utf-8")
    assert taught.report.rows["train"] == load(kind).report.rows["train"] + 2


def test_answers_that_are_the_labels_change_nothing(tmp_path):
    data = load()
    true = dict(zip(data.splits["train"]["text"], data.splits["train"]["labels"], strict=True))
    taught = distil(data, lambda rows: np.eye(2)[[true[row] for row in rows]])
    runs = ((data, "a"), (taught, "b"))
    one, other = (train_classifier(each, tmp_path / name, count_ngrams=0, **TINY) for each, name in runs)
    for weight, same in zip(one.model.parameters(), other.model.parameters(), strict=True):
        np.testing.assert_allclose(weight.detach().numpy(), same.detach().numpy(), atol=1e-6)


def test_balanced_weights_count_shares():
    taught = distil(load(), lambda rows: np.tile([0.75, 0.25], (len(rows), 1)), label_share=0)
    assert balanced_weights("class_weights", "balanced", taught) == pytest.approx([2 / 3, 2])


def test_altered_texts_are_drawn_by_seed():
    asked = []

    def teacher(rows):
        asked.append(rows)
        return even(rows)

    for seed in (0, 1, 0):
        distil(load(), teacher, altered_copies=2, seed=seed)
    known = list(load().splits["train"]["text"])
    assert asked[0] == asked[2] != asked[1]
    assert asked[0][: len(known)] == asked[1][: len(known)] == known
    assert len(asked[1]) == 3 * len(known)
    assert len(set(asked[1][len(known) :]) - set(known)) > len(known)


def test_what_cannot_be_taught(tmp_path):
    with refused("A teacher answers single texts or vectors, but the data is pairs of texts."):
        distil(load("pairs"), even)
    with refused("The training labels are the answers of a teacher already. Pass the data as it was loaded."):
        distil(distil(load(), even), even)
    with refused("label_share must be from 0 to 1, got 1.5."):
        distil(load(), even, label_share=1.5)
    for kind, copies in (("text", -1), ("series", 1)):
        message = (
            f"altered_copies must be at least 0, and 0 for vectors, got {copies}. Vectors are varied in training, by "
            "input_noise and its kin."
        )
        with refused(message):
            distil(load(kind), even, altered_copies=copies)
    series, wide = "vectors of 1 numbers", [np.zeros((3, 2), np.float32)]
    for kind, given, wanted, came in (
        ("text", SERIES[:2], "texts", series),
        ("series", TEXTS[:2], series, "texts"),
        ("series", wide, series, "vectors of 2 numbers"),
    ):
        with refused(f"The data is {wanted}, but the unlabelled sequences are {came}. Give the same kind.", TypeError):
            distil(load(kind), even, unlabelled=given)
    train = load().splits["train"].to_iterable_dataset()
    stream = load_labelled_data({"train": train}, label_column="labels", validation_size=None)
    with refused("A teacher answers a table, but the data is a stream. Pass a table of a part of it."):
        distil(stream, even)


@pytest.mark.parametrize(
    ("answer", "came"),
    [
        (lambda rows: even(rows)[1:], "(35, 2) from 0.5 to 0.5"),
        (lambda rows: 2 * even(rows), "(36, 2) from 1 to 1"),
        (lambda rows: np.tile([1.5, -0.5], (len(rows), 1)), "(36, 2) from -0.5 to 1.5"),
        (lambda rows: even(rows) * np.nan, "(36, 2) from nan to nan"),
    ],
)
def test_answers_of_another_shape_or_range(answer, came):
    message = (
        "The teacher must answer a table (B, L) = (36, 2) of probabilities with a sum of 1 in each row, got " + came
    )
    with refused(message + "."):
        distil(load(), answer)


def test_a_teacher_of_other_labels(tmp_path):
    other = load_labelled_data({"text": TEXTS, "label": ["in", "out"] * 20})
    train_classifier(other, tmp_path, **TINY)
    message = (
        "The labels of the teacher, ['in', 'out'], are not those of the data, ['no', 'yes']. Name them alike in "
        "id2label and label2id of its config."
    )
    with refused(message):
        distil(load(), tmp_path)
