"""Averaged weights: a plain loop's average is evaluated, saved and kept, and an interruption changes nothing."""

import re

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import Trainer, TrainerCallback, TrainingArguments

from transformers_rnn import RNNConfig, RNNForSequenceClassification, train_tokenizer
from transformers_rnn.training import train_classifier
from transformers_rnn.weight_averaging import WeightAveraging


def copied(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


class Watch(TrainerCallback):
    """Sees the weights after each step of the optimizer, and those that are evaluated."""

    def __init__(self):
        self.raw, self.evaluated = {}, {}

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.start = copied(model)

    def on_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.raw[state.global_step + 1] = copied(model)

    def on_evaluate(self, args, state, control, model=None, **kwargs):
        self.evaluated[state.global_step] = copied(model)


def train(directory, decay=0.8, resume=None, **choices):
    """Two epochs of five steps."""
    ids = np.random.default_rng(0).integers(1, 9, (20, 5))
    data = Dataset.from_dict({"input_ids": ids.tolist(), "labels": (ids[:, 0] % 2).tolist()})
    tokenizer = train_tokenizer(["a b c d e f"])
    torch.manual_seed(0)
    config = RNNConfig(vocab_size=9, pad_token_id=0, input_size=3, cell_type="gru", embedding_dropout=0.2)
    model, watch = RNNForSequenceClassification(config), Watch()
    arguments = TrainingArguments(
        directory, per_device_train_batch_size=4, num_train_epochs=2, disable_tqdm=True, report_to=[],
        dataloader_pin_memory=False, logging_strategy="no",
        **{"learning_rate": 0.1, "eval_strategy": "epoch", "save_strategy": "epoch", **choices},
    )  # fmt: skip
    callbacks = [watch] if decay is None else [watch, WeightAveraging(decay)]
    trainer = Trainer(model, arguments, None, data, data, tokenizer, callbacks=callbacks)
    trainer.train(resume_from_checkpoint=resume)
    return trainer, watch


def averages(watch, decay):
    """The average after each step, by a plain loop of the equation."""
    average, found = {name: weight.double() for name, weight in watch.start.items()}, {}
    for step, weights in watch.raw.items():
        share = min(decay, step / (9 + step))
        average = {name: share * old + (1 - share) * weights[name].double() for name, old in average.items()}
        found[step] = average
    return found


def assert_close(weights, average):
    assert weights.keys() == average.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(weight.double(), average[name], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("decay", [0.2, 0.999])
@pytest.mark.parametrize("strategy", ["epoch", "steps"])
def test_what_is_evaluated_saved_and_kept_is_the_average(strategy, decay, tmp_path):
    steps = {"eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 3}
    choices = steps if strategy == "steps" else {}
    trainer, watch = train(tmp_path, decay, **choices)
    expected = averages(watch, decay)
    assert set(watch.evaluated) == ({2, 4, 6, 8, 10} if strategy == "steps" else {5, 10})
    for step, weights in watch.evaluated.items():
        assert_close(weights, expected[step])
    for step in (3, 6, 9) if strategy == "steps" else (5, 10):
        assert_close(load_file(tmp_path / f"checkpoint-{step}" / "model.safetensors"), expected[step])
    assert_close(copied(trainer.model), expected[10])
    trainer.save_model()
    assert_close(load_file(tmp_path / "model.safetensors"), expected[10])
    _, alone = train(tmp_path / "alone", None, **choices)
    for step, weights in alone.raw.items():  # what is trained does not know of it
        assert all(torch.equal(weight, watch.raw[step][name]) for name, weight in weights.items())


def test_the_best_model_is_an_average(tmp_path):
    trainer, watch = train(tmp_path, load_best_model_at_end=True, metric_for_best_model="loss", learning_rate=1.0)
    assert trainer.state.best_global_step == 5
    best = averages(watch, 0.8)[5]
    assert_close(copied(trainer.model), best)
    trainer.train()  # once more, from the weights that are there
    assert_close(watch.start, best)
    assert all("average" not in group for group in trainer.optimizer.param_groups)


@pytest.mark.parametrize("step", [3, 5, 6])
def test_interrupted_it_goes_on_as_if_nothing_had_been(step, tmp_path):
    choices = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
    trainer, watch = train(tmp_path, **choices)
    resumed, again = train(tmp_path, resume=str(tmp_path / f"checkpoint-{step}"), **choices)
    assert list(again.raw) == list(range(step + 1, 11))
    for number, weights in again.raw.items():
        assert all(torch.equal(weight, watch.raw[number][name]) for name, weight in weights.items())
    for name, weight in copied(resumed.model).items():
        assert torch.equal(weight, copied(trainer.model)[name])


class Stop(TrainerCallback):
    """Ends the process, nearly, within the third epoch."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.epoch > 2:
            raise KeyboardInterrupt


def test_a_run_of_train_classifier_is_interrupted(tmp_path):
    table = {"text": ["free prize", "see you", "win now", "at five then"] * 8, "label": ["spam", "ham"] * 16}
    choices = {
        "hidden_size": 3, "num_train_epochs": 4, "weight_averaging": 0.9, "learning_rate": 0.02,
        "disable_tqdm": True, "log_level": "error",
    }  # fmt: skip
    whole = train_classifier(table, tmp_path / "whole", **choices)
    with pytest.raises(KeyboardInterrupt):
        train_classifier(table, tmp_path / "again", callbacks=[Stop()], **choices)
    assert list((tmp_path / "again").glob("checkpoint-*"))
    with pytest.raises(ValueError, match=r"holds checkpoints of another run.*weight_averaging: 0.9 there, None now"):
        train_classifier(table, tmp_path / "again", **{**choices, "weight_averaging": None})
    again = train_classifier(table, tmp_path / "again", **choices)
    files = [result.directory / "model.safetensors" for result in (whole, again)]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert "| weight_averaging | 0.9 |" in (tmp_path / "again" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("decay", [0, 1, 1.5, True, "0.9"])
def test_what_is_no_decay(decay, tmp_path):
    message = (
        "weight_averaging is the decay of the average and must be between 0 and 1, such as 0.99 (the last 100 steps "
        f"count) or 0.999, got {decay!r}. Pass None to keep the weights of the last step."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        train_classifier(None, tmp_path, weight_averaging=decay)
