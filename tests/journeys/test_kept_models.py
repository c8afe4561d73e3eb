"""The models kept under `model_cards/`: loaded as a user would, each reaches what its card says."""

import json
import re

import numpy as np
import pytest
import yaml
from datasets import load_dataset
from processes import ROOT
from transformers import pipeline

from transformers_rnn.training import evaluate_classifier

CARDS = ROOT / "model_cards"
KEPT = sorted(path.parent.name for path in CARDS.glob("*/model.safetensors"))


def card(name):
    text = (CARDS / name / "README.md").read_text(encoding="utf-8")
    (result,) = yaml.safe_load(text.split("---\n")[1])["model-index"][0]["results"]
    return text, {metric["name"]: metric for metric in result["metrics"]}


def sample(name):
    stored = np.load(CARDS / name / "sample.npz")
    ends = np.cumsum(stored["lengths"])
    return np.split(stored["values"].astype(np.float32), ends[:-1]), stored["labels"].tolist()


def test_what_is_kept():
    assert KEPT == ["japanese-vowels", "spoken-digits"]
    assert all((CARDS / name / "model.safetensors").stat().st_size < 1_000_000 for name in KEPT)


@pytest.mark.parametrize("name", KEPT)
def test_a_kept_model_reaches_its_figure_on_a_sample(name):
    classify = pipeline("sequence-classification", model=str(CARDS / name))
    sequences, labels = sample(name)
    right = np.mean([answer["label"] == label for answer, label in zip(classify(sequences), labels, strict=True)])
    low, high = card(name)[1]["accuracy"]["args"]["confidence_interval"]
    spread = 2 * np.sqrt(low * (1 - low) / len(labels))  # of a sample that is a fifth of the test split
    assert low - spread <= right <= high + spread


def test_japanese_vowels_reaches_its_very_figure():
    test = load_dataset("parquet", data_files=str(ROOT / "examples" / "data" / "japanese_vowels_test.parquet"))[
        "train"
    ]
    test = test.map(lambda row: {"label": row["label"].removeprefix("speaker ")})  # the archive's names are numbers
    data = {"train": test, "test": test}
    metrics, _ = evaluate_classifier(CARDS / "japanese-vowels", data, split="test", validation_size=None)
    assert metrics["accuracy"] == pytest.approx(card("japanese-vowels")[1]["accuracy"]["value"], abs=1e-9)


@pytest.mark.parametrize("name", sorted(path.name for path in CARDS.iterdir() if path.is_dir()))
def test_every_card_tells_the_command_of_a_row_in_the_table_and_its_figure(name):
    text, metrics = card(name)
    command = rf"^python examples/recipes/run.py DATA --sets {name} --recipes (default|best) --seeds (\d+)$"
    ((recipe, seed),) = re.findall(command, text, re.M)
    rows = [json.loads(line) for line in (CARDS / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = {"set": name, "recipe": recipe, "seed": int(seed), "choices": {}}
    (row,) = [row for row in rows if row.items() >= asked.items()]
    figure = metrics[row["figure"]]
    assert figure["value"] == pytest.approx(row["test"][row["figure"]], abs=1e-5)
    low, high = figure["args"]["confidence_interval"]
    assert low <= figure["value"] <= high
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (CARDS / name / picture).is_file()
