"""Training anew on the validation rows, too: what it takes from the first run, what it leaves, what it refuses."""

import json
import re
from math import ceil

import numpy as np
import pytest
import torch
from transformers import TrainerCallback, TrainingArguments

from transformers_rnn import RNNForSequenceClassification, refitting
from transformers_rnn.distillation import distil
from transformers_rnn.encoding import recipe_for
from transformers_rnn.labelled_data import load_labelled_data
from transformers_rnn.ngram_votes import fit_votes
from transformers_rnn.refitting import StopAfter, settle_refit, train_and_refit
from transformers_rnn.run_choices import Choices
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
ONCE = {"refit": False}


def load(kind="texts", **options):
    return load_labelled_data(SETS[kind], **{"test_size": 0.2, "validation_size": 0.2, **options})


@pytest.mark.parametrize("kind", SETS)
def test_the_second_run_knows_all_rows_and_keeps_the_calibration(kind, tmp_path):
    data = load(kind)
    result = train_classifier(data, tmp_path / "both", refit=True, **TINY)
    first = train_classifier(data, tmp_path / "one", **ONCE, **TINY)
    rows = {name: len(split) for name, split in data.splits.items()}
    both = rows["train"] + rows["validation"]
    assert len(result.trainer.train_dataset) == both > rows["train"] == len(first.trainer.train_dataset)
    assert result.data.report.rows == rows, "as it was loaded"
    assert json.loads((tmp_path / "both" / "train_results.json").read_text())["train_samples"] == both
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
    assert result.slopes == first.slopes
    assert f"{before.temperature if kind != 'numbers' else first.slopes[0]:.4g}" in card


@pytest.mark.parametrize("kind", SETS)
def test_the_answers_of_a_teacher_stand_beside_the_labels_of_validation_rows(kind, tmp_path):
    data = load(kind)
    width = len(data.label_names)
    taught = distil(data, lambda rows: np.full((len(rows), width), 1 / width), label_share=0)
    result = train_classifier(taught, tmp_path, refit=True, **TINY)
    labels = np.stack(result.trainer.train_dataset.with_format("numpy")["labels"]).reshape(-1, width)
    train = len(data.splits["train"])
    np.testing.assert_allclose(labels[:train], 1 / width)
    own = np.asarray(data.splits["validation"].with_format("numpy")["labels"])
    known = np.eye(width)[own] if own.dtype.kind == "i" else own.reshape(-1, width)
    np.testing.assert_allclose(labels[train:], known)


@pytest.mark.parametrize("chooses", [True, False])  # few validation rows choose nothing: the end of the run is kept
def test_it_stops_where_the_model_of_the_first_run_was_kept(chooses, tmp_path, monkeypatch):
    data = load(validation_size=0.4, test_size=0.1)
    stopped = []

    def train(data, *given):
        result = train_once(data, *given)
        stopped.append((result.trainer.state.global_step, result.trainer.state.max_steps))
        if "validation" in data.splits:
            result.trainer.state.best_global_step = result.trainer.state.max_steps // 3
            result.trainer.args.load_best_model_at_end = chooses
        return result

    train_once = refitting.train_once
    monkeypatch.setattr(refitting, "train_once", train)
    arguments = {name: value for name, value in TINY.items() if name != "hidden_size"}
    choices = Choices(arguments=arguments, config_fields={"hidden_size": 4})
    train_and_refit(data, tmp_path, recipe_for(data), choices)
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
        stop = {"callbacks": [Rates(), StopAfter(share)], "early_stopping_patience": 0, **ONCE}
        train_classifier(load(), tmp_path / str(share), **stop, **TINY)
    assert len(rates[0.5]) == ceil(len(rates[1.0]) / 2)
    assert rates[0.5] == rates[1.0][: len(rates[0.5])]


@pytest.mark.parametrize(
    ("options", "choices", "anew"),
    [
        ({}, {}, "all"),
        ({}, {"arguments": {"learning_rate": 0.1}}, "all"),
        ({"validation_size": 250}, {}, "n-grams"),
        ({"validation_size": 249}, {}, "all"),
        ({"validation_size": None}, {}, "nothing"),
        ({"test_size": None}, {}, "nothing"),
        ({}, {"early_stopping_patience": 2}, "n-grams"),
        ({}, {"args": TrainingArguments("unused")}, "nothing"),
        ({}, {"arguments": {"load_best_model_at_end": True}}, "n-grams"),
        ({}, {"config_fields": {"prefix_loss_weight": 0.5}}, "n-grams"),  # which are none then
        ({}, {"config_fields": {"prefix_loss_weight": 0.0}}, "all"),
    ],
)
def test_the_recipe_trains_anew_as_far_as_it_pays_where_rows_were_drawn_for_validation(options, choices, anew):
    table = {name: column * 7 for name, column in SETS["texts"].items()}
    data = load_labelled_data(table, **{"validation_size": 10, "test_size": 10, **options})
    assert settle_refit("recipe", data, Choices(**choices)) == anew


def test_a_validation_set_that_came_is_not_trained_on():
    parts = load()
    source = {name: split.to_dict() for name, split in parts.splits.items()}
    data = load_labelled_data(source)
    assert len(data.splits["validation"]) == len(parts.splits["validation"])
    assert settle_refit("recipe", data, Choices()) == "nothing"


@pytest.mark.parametrize("kind", ["texts", "several labels", "numbers"])
def test_where_an_epoch_is_chosen_only_the_ngrams_are_counted_anew_and_only_after_validation(kind, tmp_path):
    data, stop = load(kind), {"early_stopping_patience": 3}
    anew, once = (
        train_classifier(data, tmp_path / name, **stop, **each, **TINY) for name, each in (("a", {}), ("b", ONCE))
    )
    tokenizer, config = anew.processing_class, anew.model.config
    rows = [row for name in ("train", "validation") for row in data.splits[name]]
    ids = [tokenizer(row["text"])["input_ids"] for row in rows]
    known, labels = len(data.splits["train"]), np.stack([row["labels"] for row in rows])
    told = fit_votes(config, ids[:known], labels[:known], config.bag_order).told
    votes = fit_votes(config, ids, labels, config.bag_order, told)
    torch.testing.assert_close(anew.model.rnn.bag.weight[1:], torch.from_numpy(votes.vectors).float())
    assert len(anew.trainer.train_dataset) == len(data.splits["train"])
    assert (anew.shares, anew.slopes, config.temperature, config.thresholds) == (
        *(once.shares, once.slopes),
        *(once.model.config.temperature, once.model.config.thresholds),
    )
    figures = [json.loads((tmp_path / name / "eval_results.json").read_text()) for name in ("a", "b")]
    assert figures[0] == pytest.approx(figures[1], nan_ok=True)
    said = ["counted anew" in (tmp_path / name / "README.md").read_text(encoding="utf-8") for name in ("a", "b")]
    assert said == [True, False]
    saved = RNNForSequenceClassification.from_pretrained(tmp_path / "a")
    torch.testing.assert_close(saved.rnn.bag.weight, anew.model.rnn.bag.weight)


def test_without_ngrams_nothing_is_said_of_them(tmp_path):
    train_classifier(load("series"), tmp_path, early_stopping_patience=3, **TINY)
    assert "counted anew" not in (tmp_path / "README.md").read_text(encoding="utf-8")


def test_nothing_chosen_is_the_recipe_and_false_is_one_run(tmp_path):
    data = load()
    rows = {name: len(split) for name, split in data.splits.items()}
    anew, once = (train_classifier(data, tmp_path / name, **each, **TINY) for name, each in (("a", {}), ("b", ONCE)))
    assert len(anew.trainer.train_dataset) == rows["train"] + rows["validation"]
    assert len(once.trainer.train_dataset) == rows["train"]
    words = {word for text in data.splits["validation"]["text"] for word in text.split()}
    known = set(anew.processing_class.get_vocab())
    assert words <= known, "the vocabulary is that of all rows"
    curves = [(tmp_path / name / "learning_curves.png").read_bytes() for name in ("a", "b")]
    assert curves[0] == curves[1], "of the run that was validated"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What was never killed."""
    return train_classifier(load(), tmp_path_factory.mktemp("whole"), **TINY)


class Begun(TrainerCallback):
    """Counts trainings, and is killed in one of them."""

    def __init__(self, killed=0):
        self.killed, self.count = killed, 0

    def on_train_begin(self, *args, **kwargs):
        self.count += 1

    def on_epoch_end(self, args, state, control, **kwargs):
        if self.count == self.killed and state.epoch >= 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("run", [1, 2])
def test_killed_in_either_run_it_goes_on_from_there_and_ends_with_the_same_weights(run, whole, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_classifier(load(), tmp_path / "killed", callbacks=[Begun(killed=run)], **TINY)
    begun = Begun()
    again = train_classifier(load(), tmp_path / "killed", callbacks=[begun], **TINY)
    assert begun.count == 3 - run, "what was finished is not done again"
    for weight, same in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        torch.testing.assert_close(weight, same, rtol=0, atol=0)
    assert again.metrics == whole.metrics
    assert not list((tmp_path / "killed").glob("**/checkpoint-*"))


@pytest.mark.parametrize("choices", [{"args": {"load_best_model_at_end": True}}, {"early_stopping_patience": 2}])
def test_what_takes_a_validation_set_is_settled_by_the_first_run(choices, tmp_path):
    result = train_classifier(load(), tmp_path, refit=True, **choices, **TINY)
    assert not result.trainer.args.load_best_model_at_end
    assert "validation" not in result.data.splits


def test_what_is_no_choice_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"^refit must be True, False or 'recipe', got 'yes'\.$"):
        train_classifier(load(), tmp_path / "model", refit="yes", **TINY)
    assert not (tmp_path / "model").exists()


def test_arguments_that_decide_everything_are_refused(tmp_path):
    message = "Refitting settles some arguments, but args decides all of them. Pass args as a mapping."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        train_classifier(load(), tmp_path / "model", args=TrainingArguments(str(tmp_path)), refit=True)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("options", "came"), [({"validation_size": None}, "train, test"), ({"test_size": None}, "train, validation")]
)
def test_a_missing_split_is_refused(options, came, tmp_path):
    message = (
        f"Refitting needs tables of training, validation and test rows, got {came}. Load the data with "
        "validation_size= and test_size=."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        train_classifier(load(**options), tmp_path / "model", refit=True, **TINY)
    assert not (tmp_path / "model").exists()


def test_a_stream_is_refused(tmp_path):
    table = load().splits["train"]
    source = {name: table.to_iterable_dataset() for name in ("train", "validation", "test")}
    message = "got train, validation, test, some of them streams. Load the data with validation_size= and test_size=."
    with pytest.raises(ValueError, match=re.escape(message)):
        train_classifier(
            load_labelled_data(source, label_names=["no", "yes"]), tmp_path, refit=True, max_steps=2, **TINY
        )
