"""What `fit_early_answers` refuses, before it reads anything."""

import numpy as np
import pytest

from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor
from transformers_rnn.early_answers import fit_early_answers
from transformers_rnn.labelled_data import load_labelled_data


def table(rows=12):
    generator = np.random.default_rng(0)
    return {"series": [generator.normal(size=(4, 2)) for _ in range(rows)], "label": ["no", "yes"] * (rows // 2)}


def save(directory, **fields):
    config = RNNConfig(input_size=2, **{"id2label": {0: "no", 1: "yes"}, **fields})
    RNNForSequenceClassification(config).save_pretrained(directory)
    SequenceVectorFeatureExtractor(feature_size=2).save_pretrained(directory)


@pytest.mark.parametrize(
    ("fields", "options", "message"),
    [
        ({"bidirectional": True}, {}, "^A bidirectional model cannot answer before the end: its backward direction"),
        (
            {},
            {"validation_size": None},
            r"^There must be a split 'validation' .* got the splits train with \['no', 'yes'\]",
        ),
        ({"problem_type": "multi_label_classification"}, {}, "^Answers before the end need a model of single labels"),
    ],
)
def test_what_cannot_be_answered_early_is_refused(tmp_path, fields, options, message):
    save(tmp_path, **fields)
    data = load_labelled_data(table(), validation_size=options.get("validation_size", 4))
    with pytest.raises(ValueError, match=message):
        fit_early_answers(tmp_path, data)


def test_without_a_test_set_or_a_card_the_validation_set_shows_and_the_config_is_enough(tmp_path):
    save(tmp_path)
    found = fit_early_answers(tmp_path, table(), validation_size=4)
    assert found.split == "validation"
    assert RNNConfig.from_pretrained(tmp_path).stopping_policy == found.policy.to_dict()
    assert not (tmp_path / "README.md").exists()
