"""Directories that earlier releases saved load and answer as they did. Never rewrite one."""

import json

import pytest
import torch
from processes import ROOT
from transformers import AutoModelForSequenceClassification

import transformers_rnn  # noqa: F401 - registers

DIRECTORIES = sorted(path for path in (ROOT / "tests" / "golden").iterdir() if path.is_dir())


@pytest.mark.parametrize("directory", DIRECTORIES, ids=lambda path: path.name)
def test_a_directory_of_an_earlier_release(directory):
    expected = json.loads((directory / "expected.json").read_text())
    model = AutoModelForSequenceClassification.from_pretrained(directory)
    inputs = {name: torch.tensor(value) for name, value in expected["inputs"].items()}
    torch.testing.assert_close(model(**inputs).logits, torch.tensor(expected["logits"]), rtol=1e-5, atol=1e-6)


def test_they_are_small():
    assert len(DIRECTORIES) >= 3
    for directory in DIRECTORIES:
        assert sum(path.stat().st_size for path in directory.iterdir()) < 30_000
