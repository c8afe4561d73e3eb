"""`num_labels`, `id2label` and `label2id` tell one story, whichever of them is given, changed, saved or loaded."""

import re

import pytest
from huggingface_hub.errors import StrictDataclassError

from transformers_rnn import RNNConfig

NO_YES, YES_NO = {0: "no", 1: "yes"}, {"no": 0, "yes": 1}


def whole(message):
    return f"^{re.escape(message)}$"


@pytest.fixture
def stored(tmp_path):
    RNNConfig(id2label=NO_YES).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "fields",
    [
        {"id2label": NO_YES},
        {"id2label": {"0": "no", "1": "yes"}},
        {"id2label": {1: "yes", 0: "no"}},
        {"label2id": YES_NO},
        {"label2id": {"no": "0", "yes": "1"}},
        {"id2label": NO_YES, "label2id": YES_NO, "num_labels": 2},
        {"label2id": YES_NO, "num_labels": 2},
    ],
)
def test_each_is_derived_from_the_others(fields, tmp_path):
    config = RNNConfig(**fields)
    config.save_pretrained(tmp_path)
    for found in (config, RNNConfig.from_pretrained(tmp_path)):
        assert (found.num_labels, found.id2label, found.label2id) == (2, NO_YES, YES_NO)


def test_a_number_alone_gives_the_hosts_names():
    config = RNNConfig(num_labels=3)
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1, "LABEL_2": 2}
    config.num_labels = 1
    assert (config.id2label, config.label2id) == ({0: "LABEL_0"}, {"LABEL_0": 0})


@pytest.mark.parametrize("number", [0, -1, 2.0, "2", True])
def test_a_number_that_is_none(number):
    with pytest.raises(ValueError, match=whole(f"num_labels must be a whole number of at least 1, got {number!r}.")):
        RNNConfig(num_labels=number)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"num_labels": 3, "id2label": NO_YES},
            "num_labels=3 contradicts id2label, which names 2 labels. Pass one of them.",
        ),
        (
            {"id2label": NO_YES, "label2id": {"no": 1, "yes": 0}},
            "label2id={'no': 1, 'yes': 0} contradicts id2label={0: 'no', 1: 'yes'}. Pass one of them.",
        ),
        (
            {"id2label": NO_YES, "label2id": {"no": 0}},
            "label2id={'no': 0} contradicts id2label={0: 'no', 1: 'yes'}. Pass one of them.",
        ),
        (
            {"id2label": {0: "a", 1: "a"}},
            "id2label must give each label a name of its own, got ['a', 'a'].",
        ),
        (
            {"id2label": {0: "a", 2: "b"}},
            "id2label must number the labels 0 to L-1, got the indices [0, 2]. "
            "Pass for example id2label={0: 'ham', 1: 'spam'}.",
        ),
        (
            {"id2label": {1: "a", 2: "b"}},
            "id2label must number the labels 0 to L-1, got the indices [1, 2]. "
            "Pass for example id2label={0: 'ham', 1: 'spam'}.",
        ),
        (
            {"id2label": {}},
            "id2label must number the labels 0 to L-1, got the indices []. "
            "Pass for example id2label={0: 'ham', 1: 'spam'}.",
        ),
    ],
)
def test_contradictory_duplicate_and_gappy_labels(fields, message):
    with pytest.raises(ValueError, match=whole(message)):
        RNNConfig(**fields)


def test_the_host_knows_that_one_label_is_no_choice():
    with pytest.raises(ValueError, match="requires `num_labels > 1`"):
        RNNConfig(num_labels=1, problem_type="single_label_classification")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"id2label": ["ham", "spam"]}, "id2label"),  # a list of names
        ({"id2label": YES_NO}, "id2label"),  # the wrong way round
        ({"label2id": NO_YES}, "label2id"),
        ({"label2id": {"a": 0, "b": 0}}, "label2id"),
        ({"label2id": {"a": 0}, "num_labels": 2}, "label2id"),
    ],
)
def test_an_error_speaks_of_what_was_given(fields, named):
    with pytest.raises((ValueError, StrictDataclassError), match=named) as error:
        RNNConfig(**fields)
    other = {"id2label": "label2id", "label2id": "id2label"}[named]
    assert f"{other}={{" not in str(error.value), f"{other} was not given"
    assert f"contradicts {other}" not in str(error.value), f"{other} was not given"


@pytest.mark.parametrize(
    "fields",
    [
        {"id2label": {0: "a", 1: "b", 2: "c"}},
        {"label2id": {"a": 0, "b": 1, "c": 2}},
        {"id2label": {0: "a", 1: "b", 2: "c"}, "num_labels": 3},
        {"id2label": {0: "a", 1: "b", 2: "c"}, "label2id": {"a": 0, "b": 1, "c": 2}},
        {"id2label": {0: "a", 1: "b", 2: "c"}, "label2id": {"a": 0, "b": 1, "c": 2}, "num_labels": 3},
        {"id2label": {"0": "a", "1": "b", "2": "c"}},
    ],
)
def test_other_labels_at_loading(stored, fields):
    config = RNNConfig.from_pretrained(stored, **fields)
    config.save_pretrained(stored)
    for found in (config, RNNConfig.from_pretrained(stored)):
        assert found.num_labels == 3
        assert found.id2label == {0: "a", 1: "b", 2: "c"}
        assert found.label2id == {"a": 0, "b": 1, "c": 2}


@pytest.mark.parametrize(
    "fields",
    [
        {"id2label": {0: "a", 2: "b"}},
        {"id2label": {0: "a", 1: "a"}},
        {"id2label": {0: "a", 1: "b"}, "num_labels": 3},
        {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 1, "b": 0}},
    ],
)
def test_wrong_labels_at_loading(stored, fields):
    with pytest.raises((ValueError, StrictDataclassError), match="id2label"):
        RNNConfig.from_pretrained(stored, **fields)


def test_labels_that_are_renamed_afterwards_can_be_saved_and_loaded(stored):
    config = RNNConfig.from_pretrained(stored)
    config.id2label = {0: "ham", 1: "spam"}
    config.save_pretrained(stored)
    again = RNNConfig.from_pretrained(stored)
    assert again.id2label == {0: "ham", 1: "spam"}
    assert again.label2id == {"ham": 0, "spam": 1}


@pytest.mark.parametrize("id2label", [{0: "a", 2: "b"}, {0: "a", 1: "a"}, {}])
def test_wrong_labels_are_not_saved(id2label, tmp_path):
    config = RNNConfig(id2label=NO_YES)
    config.id2label = id2label
    with pytest.raises((ValueError, StrictDataclassError), match="id2label"):
        config.save_pretrained(tmp_path)


def test_labels_that_are_numbers_survive_a_file_or_are_refused(tmp_path):
    try:
        config = RNNConfig(id2label={0: 1, 1: 5})
    except (ValueError, StrictDataclassError) as error:
        assert "id2label" in str(error)  # noqa: PT017 - either is right
        return
    config.save_pretrained(tmp_path)
    assert RNNConfig.from_pretrained(tmp_path).id2label == config.id2label
