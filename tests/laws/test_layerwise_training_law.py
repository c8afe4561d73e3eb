"""Rates that fall from the head to the embedding, layers that thaw one after another; an interruption is no matter."""

import json
import re

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from transformers_rnn import RNNConfig, RNNForSequenceClassification, train_tokenizer
from transformers_rnn.layerwise_training import GradualUnfreezing, decay_learning_rates
from transformers_rnn.training import train_classifier

TOKENS, VECTORS = {"vocab_size": 9, "pad_token_id": 0}, {}
DEPTHS = {"classifier": 0, "rnn.pooling": 0, "rnn.layers.1": 1, "rnn.layers.0": 2, "rnn.embeddings": 3}
TABLE = {"text": ["free prize", "see you", "win now", "at five then"] * 8, "label": ["spam", "ham"] * 16}
TINY = {"hidden_size": 3, "learning_rate": 0.02, "disable_tqdm": True, "log_level": "error"}


def depth_of(name):
    return next(depth for start, depth in DEPTHS.items() if name.startswith(start))


def copied(model):
    return {name: weight.detach().clone() for name, weight in model.named_parameters()}


class Watch(TrainerCallback):
    """Sees the weights before each step of the optimizer, and which have a gradient."""

    def __init__(self):
        self.weights, self.gradients = {}, {}

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.weights[state.global_step] = copied(model)
        self.gradients[state.global_step] = {
            name: None if weight.grad is None else weight.grad.clone() for name, weight in model.named_parameters()
        }


def trainer_for(directory, *callbacks, kind=TOKENS, **choices):
    """Four epochs of three steps of a model of two layers."""
    generator = np.random.default_rng(0)
    ids = generator.integers(1, 9, (12, 5))
    vectors = generator.normal(size=(12, 5, 3)).astype(np.float32)
    column = {"input_ids": ids.tolist()} if kind else {"input_features": vectors}
    data = Dataset.from_dict({**column, "labels": (ids[:, 0] % 2).tolist()}).with_format("numpy")
    torch.manual_seed(0)
    config = RNNConfig(**kind, input_size=3, hidden_size=2, num_hidden_layers=2, cell_type="gru", pooling="attention")
    arguments = TrainingArguments(
        directory, per_device_train_batch_size=4, disable_tqdm=True, report_to=[], save_steps=1,
        dataloader_pin_memory=False, logging_strategy="no",
        **{"learning_rate": 0.1, "weight_decay": 0.1, "num_train_epochs": 4, **choices},
    )  # fmt: skip
    reader = {"processing_class": train_tokenizer(["a b c d e f"])} if kind else {}
    return Trainer(
        RNNForSequenceClassification(config), arguments, train_dataset=data, callbacks=list(callbacks), **reader
    )


@pytest.mark.parametrize("kind", [TOKENS, VECTORS])
@pytest.mark.parametrize("decay", [0.3, 1.0])
def test_each_layer_has_its_rate_and_the_hosts_weight_decay(decay, kind, tmp_path):
    plain = trainer_for(tmp_path, kind=kind)
    host = {id(weight): group for group in plain.create_optimizer().param_groups for weight in group["params"]}
    expected = {name: host[id(weight)] for name, weight in plain.model.named_parameters()}
    trainer = trainer_for(tmp_path, kind=kind)
    decay_learning_rates(trainer, decay)
    trainer.create_scheduler(12)
    names = {id(weight): name for name, weight in trainer.model.named_parameters()}
    groups = [(names.pop(id(weight)), group) for group in trainer.optimizer.param_groups for weight in group["params"]]
    assert not names
    for name, group in groups:
        assert group["lr"] == pytest.approx(0.1 * decay ** depth_of(name)), name
        assert group["weight_decay"] == expected[name]["weight_decay"], name


def test_a_step_is_the_plain_loops(tmp_path):
    watch = Watch()
    trainer = trainer_for(tmp_path, watch, optim="sgd", lr_scheduler_type="linear", weight_decay=0.0, max_grad_norm=0)
    decay_learning_rates(trainer, 0.3)
    trainer.train()
    for step in range(11):
        for name, weight in watch.weights[step].items():
            rate = 0.1 * (12 - step) / 12 * 0.3 ** depth_of(name)
            expected = weight - rate * watch.gradients[step][name]
            torch.testing.assert_close(watch.weights[step + 1][name], expected, atol=1e-7, rtol=1e-6)


def test_a_layer_more_is_trained_in_each_epoch(tmp_path):
    watch = Watch()
    trainer = trainer_for(tmp_path, watch, GradualUnfreezing())
    trainer.train()
    for step, gradients in watch.gradients.items():
        for name, gradient in gradients.items():
            assert (gradient is not None) == (depth_of(name) <= step // 3), (step, name)
        moved = {
            name for name, weight in watch.weights[step].items() if not torch.equal(weight, watch.weights[0][name])
        }
        assert moved <= {name for name in gradients if depth_of(name) <= max(step - 1, 0) // 3}
    assert all(weight.requires_grad for weight in trainer.model.parameters())


@pytest.mark.parametrize("step", [2, 3, 7])
def test_interrupted_it_goes_on_as_if_nothing_had_been(step, tmp_path):
    results = []
    for resume in (None, str(tmp_path / f"checkpoint-{step}")):
        trainer = trainer_for(tmp_path, GradualUnfreezing())
        decay_learning_rates(trainer, 0.3)
        trainer.train(resume_from_checkpoint=resume)
        results.append(copied(trainer.model))
    assert all(torch.equal(weight, results[1][name]) for name, weight in results[0].items())


def test_train_classifier_takes_both(tmp_path):
    both = {"layerwise_lr_decay": 0.4, "gradual_unfreezing": True, "num_train_epochs": 3, "max_grad_norm": 0.0}
    result = train_classifier(TABLE, tmp_path, **both, **TINY)
    run = json.loads((tmp_path / "run.json").read_text())
    assert (run["layerwise_lr_decay"], run["gradual_unfreezing"]) == (0.4, True)
    assert sorted({group["initial_lr"] for group in result.trainer.optimizer.param_groups}) == pytest.approx(
        [0.02 * 0.4**2, 0.02 * 0.4, 0.02]
    )
    assert "| layerwise_lr_decay | 0.4 |" in (tmp_path / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("decay", [0, -1.0, 1.1, True, "0.5"])
def test_what_is_no_share(decay, tmp_path):
    message = (
        "layerwise_lr_decay is the learning rate of a layer as a share of that of the next and must be more than 0 "
        f"and at most 1 (the same rate everywhere), got {decay!r}. Howard & Ruder take 1 / 2.6 = 0.38."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        train_classifier(None, tmp_path, layerwise_lr_decay=decay)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        decay_learning_rates(trainer_for(tmp_path), decay)


def test_too_few_epochs(tmp_path):
    message = (
        "gradual_unfreezing trains one layer more in each epoch and this model needs at least 4 epochs until all are "
        "trained, got {}. Train longer, or leave it out."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message.format('3 epochs'))}$"):
        trainer_for(tmp_path, GradualUnfreezing(), num_train_epochs=3).train()
    trainer = trainer_for(tmp_path, GradualUnfreezing(), max_steps=5)
    trainer.train_dataset = trainer.train_dataset.to_iterable_dataset()
    with pytest.raises(ValueError, match=f"^{re.escape(message.format('a stream, which has none'))}$"):
        trainer.train()
