"""Truncated back-propagation through time: the gradients of a plain loop over pieces, sequence by sequence."""

import tempfile

import numpy as np
import pytest
import torch
from cases import cases
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import run
from torch.nn import functional
from transformers import Trainer, TrainingArguments

from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor
from transformers_rnn.tbptt import TBPTTTrainer

LOSS_AT = ["every_piece", "end"]


def trainer_of(kind, model, directory, **options):
    arguments = {
        "use_cpu": True,
        "report_to": [],
        "disable_tqdm": True,
        "save_strategy": "no",
        "optim": "sgd",
        "learning_rate": 0.1,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "num_train_epochs": 1,
        "train_sampling_strategy": "sequential",
        "per_device_eval_batch_size": 3,
    }
    own = {name: options.pop(name) for name in ("piece_length", "loss_at", "compute_loss_func") if name in options}
    rows = options.pop("rows", None)
    return kind(
        model,
        TrainingArguments(directory, **{**arguments, **options}),
        train_dataset=rows,
        processing_class=None
        if rows is None
        else SequenceVectorFeatureExtractor(feature_size=model.config.input_size),
        **own,
    )


def reference_gradients(case, labels, piece_length, loss_at):
    """Each sequence alone; pieces counted from its end; the state detached between them."""
    case.model.zero_grad()
    for sequence, label in zip(case.sequences, labels, strict=True):
        over = (len(sequence) - 1) % piece_length + 1
        pieces, state = [sequence[:over], *sequence[over:].split(piece_length)], None
        pieces = [piece for piece in pieces if len(piece)]
        for index, piece in enumerate(pieces, start=1):
            output = case.call(piece[None], state=state, use_cache=True)
            state = output.state.detach()
            if loss_at == "every_piece" or index == len(pieces):
                share = len(labels) * (len(pieces) if loss_at == "every_piece" else 1)
                (functional.cross_entropy(output.logits, label[None]) / share).backward()
    return [parameter.grad for parameter in case.model.parameters()]


def gradients_of(trainer, batch):
    trainer.model.zero_grad()
    loss = trainer.training_step(trainer.model, batch, torch.tensor(len(batch["labels"])))
    return loss, [parameter.grad.clone() for parameter in trainer.model.parameters()]


@settings(max_examples=40)
@given(case=cases(bidirectional=False, dtype=torch.float64), data=st.data())
def test_gradients_are_those_of_a_plain_loop_over_pieces(case, data):
    labels = torch.tensor([data.draw(st.integers(0, case.model.config.num_labels - 1)) for _ in case.sequences])
    longest = max(map(len, case.sequences))
    piece_length, loss_at = data.draw(st.integers(1, longest + 1)), data.draw(st.sampled_from(LOSS_AT))
    expected = [gradient.clone() for gradient in reference_gradients(case, labels, piece_length, loss_at)]
    sequences, mask = case.padded(data.draw(st.sampled_from(["left", "right"])), 1)
    name = "input_ids" if case.tokens else "input_features"
    batch = {name: sequences, "attention_mask": mask, "labels": labels}
    with tempfile.TemporaryDirectory() as directory:
        trainer = trainer_of(TBPTTTrainer, case.model, directory, piece_length=piece_length, loss_at=loss_at)
        loss, gradients = gradients_of(trainer, batch)
        if piece_length >= longest:  # nothing is cut: full back-propagation, to the last bit
            plain_loss, plain = gradients_of(trainer_of(Trainer, case.model, directory), batch)
            assert loss == plain_loss
            assert all(torch.equal(one, other) for one, other in zip(gradients, plain, strict=True))
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def model_of(problem_type, **fields):
    torch.manual_seed(0)
    size = 1 if problem_type == "regression" else 3
    config = RNNConfig(input_size=2, cell_type="gru", num_labels=size, problem_type=problem_type, **fields)
    return RNNForSequenceClassification(config)


def rows_of(problem_type):
    generator = np.random.default_rng(0)
    labels = {
        "single_label_classification": lambda i: i % 3,
        "multi_label_classification": lambda i: [float(i >> bit & 1) for bit in range(3)],
        "regression": lambda i: i / 14,
    }[problem_type]
    series = [generator.normal(size=(3 + 5 * i % 12, 2)).astype(np.float32) for i in range(14)]
    return [{"input_features": one, "labels": labels(i)} for i, one in enumerate(series)]


def trained(trainer):
    trainer.train()
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


@pytest.mark.parametrize("loss_at", LOSS_AT)
@pytest.mark.parametrize("problem_type", ["single_label_classification", "multi_label_classification", "regression"])
def test_accumulated_batches_weigh_like_one_large_batch(tmp_path, problem_type, loss_at):
    """14 ragged rows, 4 + 4 + 4 + 2 of them or all at once, cut into pieces of 4."""
    options = {"rows": rows_of(problem_type), "piece_length": 4, "loss_at": loss_at}
    small = trained(
        trainer_of(
            TBPTTTrainer,
            model_of(problem_type),
            tmp_path,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=4,
            **options,
        )
    )
    large = trained(
        trainer_of(TBPTTTrainer, model_of(problem_type), tmp_path, per_device_train_batch_size=14, **options)
    )
    before = model_of(problem_type).state_dict()
    for name, value in small.items():
        torch.testing.assert_close(value, large[name], rtol=0, atol=1e-6, msg=name)
    assert any((small[name] - before[name]).abs().max() > 1e-3 for name in small), "nothing was learned"


def test_label_smoothing_and_a_loss_of_the_users_own_are_the_hosts(tmp_path):
    rows, kind = rows_of("single_label_classification"), "single_label_classification"

    def smooth(outputs, labels, num_items_in_batch):
        loss = functional.cross_entropy(outputs["logits"], labels, label_smoothing=0.2, reduction="sum")
        return loss / num_items_in_batch

    options = {"rows": rows, "piece_length": 4, "per_device_train_batch_size": 5}
    one = trained(trainer_of(TBPTTTrainer, model_of(kind), tmp_path, label_smoothing_factor=0.2, **options))
    other = trained(trainer_of(TBPTTTrainer, model_of(kind), tmp_path, compute_loss_func=smooth, **options))
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize("pooling", ["last", "attention", "concat"])
def test_evaluation_in_pieces_gives_what_the_host_gives(tmp_path, pooling):
    model, rows = model_of("single_label_classification", pooling=pooling), rows_of("single_label_classification")
    whole = trainer_of(Trainer, model, tmp_path, rows=rows).predict(rows)
    pieces = trainer_of(TBPTTTrainer, model, tmp_path, rows=rows, piece_length=4).predict(rows)
    np.testing.assert_allclose(pieces.predictions, whole.predictions, rtol=1e-4, atol=1e-6)
    assert pieces.metrics["test_loss"] == pytest.approx(whole.metrics["test_loss"], rel=1e-5)


def test_sequences_without_an_end_stream_in_and_memory_does_not_grow(tmp_path):
    """A `datasets` stream; 40,000 steps need no more memory than 4,000, beside the sequence itself."""
    printed = run(
        "-W",
        "error",
        "-c",
        """
import re
from pathlib import Path
import numpy as np
from datasets import IterableDataset
from transformers import TrainingArguments
from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor
from transformers_rnn.tbptt import TBPTTTrainer

def series(length):
    for label in (0, 1):
        yield {"input_features": np.random.randn(length, 2).astype("float32"), "labels": label}

model = RNNForSequenceClassification(RNNConfig(input_size=2, hidden_size=64, num_hidden_layers=2, pooling="mean"))
for length in (4_000, 40_000):
    stream = IterableDataset.from_generator(series, gen_kwargs={"length": length}).with_format("numpy")
    trainer = TBPTTTrainer(
        model,
        TrainingArguments("out", max_steps=1, per_device_train_batch_size=2, use_cpu=True, report_to=[],
                          disable_tqdm=True, save_strategy="no", dataloader_pin_memory=False),
        train_dataset=stream,
        processing_class=SequenceVectorFeatureExtractor(feature_size=2),
        piece_length=1_000,
    )
    trainer.train()
    # Of this process alone: what `resource` tells begins with the peak of the process that started it.
    print("peak", re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
""",
        cwd=tmp_path,
    )
    short, long = (int(line.split()[1]) for line in printed.splitlines() if line.startswith("peak"))
    assert long - short < 25_000, "KiB; full back-propagation takes more than 100,000"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"piece_length": 0}, "^piece_length must be a whole number of at least 1, got 0.$"),
        ({"loss_at": "last"}, "^loss_at must be one of 'every_piece', 'end', got 'last'.$"),
        ({"bidirectional": True}, "^A bidirectional model cannot be trained in pieces: its backward direction"),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path, options, message):
    both = options.pop("bidirectional", False)
    with pytest.raises(ValueError, match=message):
        trainer_of(TBPTTTrainer, model_of("regression", bidirectional=both), tmp_path, **options)
