"""The model under the host's real `Trainer`: accumulation, evaluation, checkpointing, other losses."""

from functools import wraps

import pytest
import torch
from torch.nn import functional
from transformers import Trainer, TrainingArguments

from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor

SINGLE, SEVERAL, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
PROBLEMS = pytest.mark.parametrize("problem_type", [SINGLE, SEVERAL, REGRESSION])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads that wait for each other take most of the time of so small a model on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def rows_of(problem_type, number=14):
    """Ragged series; 14 rows in batches of 4 leave a last batch of 2, accumulated by 3 a last step of one batch."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for index in range(number):
        length = 2 + index % 4
        labels = {
            SINGLE: index % 3,
            SEVERAL: [float(index >> bit & 1) for bit in range(3)],
            REGRESSION: index / number,
        }
        rows.append(
            {
                "input_features": torch.randn(length, 5, generator=generator).numpy(),
                "labels": labels[problem_type],
            }
        )
    return rows


@pytest.fixture
def trainer_of(tmp_path):
    def build(problem_type, rows, batch_size=4, fields=None, loss=None, **arguments):
        torch.manual_seed(0)
        config = RNNConfig(
            input_size=5,
            cell_type="gru",
            problem_type=problem_type,
            num_labels=1 if problem_type == REGRESSION else 3,
            **(fields or {}),
        )
        return Trainer(
            RNNForSequenceClassification(config),
            TrainingArguments(
                str(tmp_path),
                use_cpu=True,
                report_to=[],
                disable_tqdm=True,
                save_strategy="no",
                optim="sgd",
                learning_rate=0.1,
                lr_scheduler_type="constant",
                max_grad_norm=0.0,
                num_train_epochs=1,
                train_sampling_strategy="sequential",
                per_device_train_batch_size=batch_size,
                per_device_eval_batch_size=batch_size,
                **arguments,
            ),
            train_dataset=rows,
            processing_class=SequenceVectorFeatureExtractor(feature_size=5),
            compute_loss_func=loss,
        )

    return build


def trained(trainer):
    trainer.train()
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


def assert_close(one, other):
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=1e-6, msg=name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_the_trainer_compiles_the_model(trainer_of):
    torch._dynamo.reset()
    rows, choices = rows_of(SINGLE), {"torch_compile": True, "torch_compile_backend": "aot_eager"}
    compiled = trainer_of(SINGLE, rows, **choices)
    assert_close(trained(compiled), trained(trainer_of(SINGLE, rows)))
    assert type(compiled.model_wrapped).__name__ == "OptimizedModule"


def squared_error(outputs, labels, num_items_in_batch):
    """A loss of the user's own, normalised by the number of labels as the host wants it."""
    return functional.mse_loss(outputs["logits"], labels.reshape(outputs["logits"].shape), reduction="sum") / (
        num_items_in_batch
    )


@pytest.mark.parametrize("fields", [{}, {"pooling": "attention", "bidirectional": True}], ids=["last", "attention"])
@PROBLEMS
def test_accumulated_batches_weigh_like_one_large_batch(trainer_of, problem_type, fields):
    """4 + 4 + 4 + 2 rows in one step: not the mean of four means."""
    rows = rows_of(problem_type)
    start = trainer_of(problem_type, rows, fields=fields).model.state_dict()
    small = trained(trainer_of(problem_type, rows, 4, fields, gradient_accumulation_steps=4))
    large = trained(trainer_of(problem_type, rows, 14, fields))
    assert_close(small, large)
    assert any((small[name] - start[name]).abs().max() > 1e-3 for name in small), "nothing was learned"


@PROBLEMS
def test_a_last_step_of_fewer_batches_weighs_like_its_rows(trainer_of, problem_type):
    rows = rows_of(problem_type)
    small = trained(trainer_of(problem_type, rows, 4, gradient_accumulation_steps=3))
    two_steps = trainer_of(problem_type, rows[:12], 12)
    two_steps.train()
    two_steps.train_dataset = rows[12:]
    assert_close(small, trained(two_steps))


def test_rows_without_a_label_do_not_weigh(trainer_of):
    rows = rows_of(SINGLE)
    labelled = [row for index, row in enumerate(rows) if index not in (1, 2, 13)]
    for index in (1, 2, 13):
        rows[index]["labels"] = -100
    small = trained(trainer_of(SINGLE, rows, 4, gradient_accumulation_steps=4))
    assert_close(small, trained(trainer_of(SINGLE, labelled, 11)))


def test_the_logged_loss_is_that_of_one_large_batch(trainer_of):
    rows = rows_of(SEVERAL)
    small = trainer_of(SEVERAL, rows, 4, gradient_accumulation_steps=4).train().training_loss
    large = trainer_of(SEVERAL, rows, 14).train().training_loss
    assert small == pytest.approx(large, abs=1e-6)


def test_label_smoothing(trainer_of):
    rows = rows_of(SINGLE)
    smooth = {"label_smoothing_factor": 0.2}
    small = trained(trainer_of(SINGLE, rows, 4, gradient_accumulation_steps=4, **smooth))
    assert_close(small, trained(trainer_of(SINGLE, rows, 14, **smooth)))
    trainer = trainer_of(SINGLE, rows, 14, **smooth)
    predictions = trainer.predict(rows)
    expected = functional.cross_entropy(
        torch.tensor(predictions.predictions), torch.tensor(predictions.label_ids), label_smoothing=0.2
    )
    assert predictions.metrics["test_loss"] == pytest.approx(expected.item(), abs=1e-6)


@pytest.mark.parametrize("problem_type", [SEVERAL, REGRESSION])
def test_a_loss_of_the_users_own(trainer_of, problem_type):
    rows = rows_of(problem_type)
    small = trained(trainer_of(problem_type, rows, 4, loss=squared_error, gradient_accumulation_steps=4))
    assert_close(small, trained(trainer_of(problem_type, rows, 14, loss=squared_error)))
    if problem_type == REGRESSION:
        assert_close(small, trained(trainer_of(problem_type, rows, 14)))


@pytest.mark.parametrize("fields", [{}, {"output_hidden_states": True}, {"return_dict": False}], ids=str)
@PROBLEMS
def test_evaluation_gathers_logits_only(trainer_of, problem_type, fields):
    rows = rows_of(problem_type)
    trainer = trainer_of(problem_type, rows, fields=fields)
    result = trainer.predict(rows)
    width = 1 if problem_type == REGRESSION else 3
    assert result.predictions.shape == (14, width)
    assert result.label_ids.shape == ((14, 3) if problem_type == SEVERAL else (14,))
    for row, logits in zip(rows, result.predictions, strict=True):
        alone = trainer.model(input_features=torch.tensor(row["input_features"])[None], return_dict=True).logits[0]
        torch.testing.assert_close(torch.tensor(logits), alone, rtol=1e-5, atol=1e-6)
    unlabelled = [{"input_features": row["input_features"]} for row in rows]
    assert (trainer.predict(unlabelled).predictions == result.predictions).all()
    assert trainer.evaluate(rows)["eval_loss"] == pytest.approx(result.metrics["test_loss"])


def test_states_are_not_gathered_even_when_they_are_returned(trainer_of):
    rows = rows_of(SINGLE)
    trainer = trainer_of(SINGLE, rows)
    forward = trainer.model.forward

    @wraps(forward)
    def telling_everything(**inputs):
        return forward(**inputs, use_cache=True, output_hidden_states=True)

    trainer.model.forward = telling_everything
    assert trainer.predict(rows).predictions.shape == (14, 3)


@pytest.mark.parametrize("options", [None, {"use_reentrant": False}, {"use_reentrant": True}], ids=str)
def test_checkpointed_activations_train_the_same_model(trainer_of, options):
    rows, fields = rows_of(SINGLE), {"num_hidden_layers": 2, "bidirectional": True}
    plain = trained(trainer_of(SINGLE, rows, fields=fields))
    given = {} if options is None else {"activation_checkpointing_kwargs": options}
    trainer = trainer_of(SINGLE, rows, fields=fields, activation_checkpointing=True, **given)
    assert_close(trained(trainer), plain)
    assert trainer.model.is_activation_checkpointing


def test_the_old_name_of_checkpointing_works_with_the_hosts_warning(trainer_of):
    with pytest.warns(FutureWarning, match="`gradient_checkpointing` is deprecated"):
        trainer = trainer_of(SINGLE, rows_of(SINGLE), gradient_checkpointing=True)
    assert_close(trained(trainer), trained(trainer_of(SINGLE, rows_of(SINGLE))))


@PROBLEMS
def test_mixed_precision_training(trainer_of, problem_type):
    rows = rows_of(problem_type)
    mixed = trained(trainer_of(problem_type, rows, bf16=True))
    plain = trained(trainer_of(problem_type, rows))
    for name, value in mixed.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, plain[name], rtol=0.05, atol=0.02)


def test_a_regression_target_of_minus_100_is_no_missing_label(trainer_of):
    """The host does not count -100 as a label: a loss that divides by its count is too large, in silence."""
    rows = rows_of(REGRESSION, 4)
    rows[0]["labels"] = -100.0
    trainer = trainer_of(REGRESSION, rows)
    try:
        result = trainer.predict(rows)
    except ValueError as error:
        assert "-100" in str(error)  # noqa: PT017 - refused is as good as right
        return
    error = torch.tensor(result.predictions[:, 0] - result.label_ids).square().mean()
    assert result.metrics["test_loss"] == pytest.approx(error.item())
