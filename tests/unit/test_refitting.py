"""Training anew on the validation rows, too: what it takes from the first run, what it leaves, what it refuses."""

import json
import re
from math import ceil

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from transformers_rnn import refitting
from transformers_rnn.distillation import distil
from transformers_rnn.labelled_data import load_labelled_data
from transformers_rnn.refitting import StopAfter, train_and_refit
from transformers_rnn.training import train_classifier

TEXTS = [f"{word} film number {number}" for number in range(30) for word in ("good", "bad")]
SERIES = [np.full((3 + row % 3, 1), row % 2, np.float32) for row in range(60)]
SETS = {
    "texts": {"text": TEXTS, "label": ["yes", "no"] * 30},
    "several labels": {"text": TEXTS, "label": [["yes"], ["no", "rarely"]] * 30},
    "numbers": {"text": TEXTS, "label": [1.5, -0.5] * 30},
    "series": {"series": SERIES, "label": ["yes", "no"] * 30},
}
TINY = {"hidden_size": 4, "num_train_epochs": 3, "disable_tqdm": True, "log_level": "error", "learning_rate": 0.01}


def load(kind="texts", **options):
    return load_labelled_data(SETS[kind], **{"test_size": 0.2, "validation_size": 0.2, **options})


@pytest.mark.parametrize("kind", SETS)
def test_the_second_run_knows_all_rows_and_keeps_the_calibration(kind, tmp_path):
    data = load(kind)
    result = train_and_refit(data, tmp_path / "both", **TINY)
    first = train_classifier(data, tmp_path / "one", **TINY)
    rows = {name: len(split) for name, split in data.splits.items()}
    both = rows["train"] + rows["validation"]
    assert len(result.trainer.train_dataset) == both > rows["train"] == len(first.trainer.train_dataset)
    assert result.data.report.rows == {"train": both, "test": rows["test"]}
    assert not (tmp_path / "both" / "first").exists()
    config, before = result.model.config, first.model.config
    assert (config.temperature, config.thresholds) == (before.temperature, before.thresholds)
    assert config.hidden_size == 4
    saved, known = (
        json.loads((path / "all_results.json").read_text()) for path in (tmp_path / "both", tmp_path / "one")
    )
    evaluated = {name for name in known if name.startswith("eval_")}
    assert evaluated
    assert all(saved[name] == pytest.approx(known[name], nan_ok=True) for name in evaluated)
    card = (tmp_path / "both" / "README.md").read_text(encoding="utf-8")
    assert f"trained anew on the {both} training and validation rows together" in card
    if kind != "numbers":
        assert f"{before.temperature:.4g}" in card


@pytest.mark.parametrize("kind", SETS)
def test_the_answers_of_a_teacher_stand_beside_the_labels_of_validation_rows(kind, tmp_path):
    data = load(kind)
    width = len(data.label_names)
    taught = distil(data, lambda rows: np.full((len(rows), width), 1 / width), label_share=0)
    result = train_and_refit(taught, tmp_path, **TINY)
    labels = np.stack(result.trainer.train_dataset.with_format("numpy")["labels"]).reshape(-1, width)
    train = len(data.splits["train"])
    np.testing.assert_allclose(labels[:train], 1 / width)
    own = np.asarray(data.splits["validation"].with_format("numpy")["labels"])
    known = np.eye(width)[own] if own.dtype.kind == "i" else own.reshape(-1, width)
    np.testing.assert_allclose(labels[train:], known)


def test_the_same_rows_and_choices_give_the_same_model(tmp_path):
    one, other = (train_and_refit(load(), tmp_path / name, **TINY) for name in ("a", "b"))
    for weight, same in zip(one.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(weight, same, rtol=0, atol=0)


@pytest.mark.parametrize("chooses", [True, False])  # few validation rows choose nothing: the end of the run is kept
def test_it_stops_where_the_model_of_the_first_run_was_kept(chooses, tmp_path, monkeypatch):
    data = load(validation_size=0.4, test_size=0.1)
    stopped = []

    def train(data, directory, **choices):
        result = train_classifier(data, directory, **choices)
        stopped.append((result.trainer.state.global_step, result.trainer.state.max_steps))
        if "validation" in data.splits:
            result.trainer.state.best_global_step = result.trainer.state.max_steps // 3
            result.trainer.args.load_best_model_at_end = chooses
        return result

    monkeypatch.setattr(refitting, "train_classifier", train)
    train_and_refit(data, tmp_path, **TINY)
    (whole, steps), (part, further) = stopped
    assert whole == steps
    assert further > steps, "more rows, more steps"
    assert part == (further // 3 if chooses else further)


def test_the_learning_rate_falls_as_if_training_went_on(tmp_path):
    rates = {}

    class Rates(TrainerCallback):
        def on_step_end(self, args, state, control, optimizer=None, **kwargs):
            rates.setdefault(share, []).append(optimizer.param_groups[0]["lr"])

    for share in (1.0, 0.5):
        stop = {"callbacks": [Rates(), StopAfter(share)], "early_stopping_patience": 0}
        train_classifier(load(), tmp_path / str(share), **stop, **TINY)
    assert len(rates[0.5]) == ceil(len(rates[1.0]) / 2)
    assert rates[0.5] == rates[1.0][: len(rates[0.5])]


@pytest.mark.parametrize(
    ("options", "came"), [({"validation_size": None}, "train, test"), ({"test_size": None}, "train, validation")]
)
def test_a_missing_split_is_refused(options, came, tmp_path):
    message = (
        f"Refitting needs tables of training, validation and test rows, got {came}. Load the data with "
        "validation_size= and test_size=."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        train_and_refit(load(**options), tmp_path / "model", **TINY)
    assert not (tmp_path / "model").exists()


def test_a_stream_is_refused(tmp_path):
    table = load().splits["train"]
    source = {name: table.to_iterable_dataset() for name in ("train", "validation", "test")}
    message = "got train, validation, test, some of them streams. Load the data with validation_size= and test_size=."
    with pytest.raises(ValueError, match=re.escape(message)):
        train_and_refit(load_labelled_data(source, label_names=["no", "yes"]), tmp_path, **TINY)
