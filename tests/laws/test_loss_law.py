"""A weighted, focal or smoothed loss is its formula, and its parts add up to one large batch."""

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional
from transformers import Trainer, TrainingArguments

from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor
from transformers_rnn.losses import classification_loss

SINGLE, SEVERAL, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
WEIGHTS = {SINGLE: "class_weights", SEVERAL: "pos_weight"}


@st.composite
def problems(draw):
    """Logits and labels in float64 and what the loss is told."""
    problem_type = draw(st.sampled_from([SINGLE, SEVERAL]))
    rows, classes = draw(st.integers(1, 6)), draw(st.integers(2, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    logits = torch.randn(rows, classes, generator=generator, dtype=torch.float64) * draw(st.sampled_from([1, 10]))
    if problem_type == SINGLE and draw(st.booleans()):
        labels = torch.randn(rows, classes, generator=generator, dtype=torch.float64).softmax(1)
    elif problem_type == SINGLE:
        labels = torch.randint(classes, (rows,), generator=generator)
        left_out = torch.rand(rows, generator=generator) < 0.2
        left_out[0] = False
        labels[left_out] = -100
    else:
        labels = torch.rand(rows, classes, generator=generator).round().double()
    choices = {
        "focal_gamma": draw(st.sampled_from([0.0, 0.5, 1, 2.0, 5])),
        "label_smoothing": draw(st.sampled_from([0.0, 0.1, 0.5])),
    }
    if draw(st.booleans()):
        choices[WEIGHTS[problem_type]] = (torch.rand(classes, generator=generator) * 3 + 0.01).tolist()
    return problem_type, logits, labels, choices


def by_formula(problem_type, logits, labels, choices):
    """One term at a time, as the papers write it; the mean over the labels that count."""
    gamma, smoothing = choices["focal_gamma"], choices["label_smoothing"]
    rows, classes = logits.shape
    weights = choices.get(WEIGHTS[problem_type]) or [1.0] * classes
    total, count = 0, 0
    for i in range(rows):
        if labels.ndim == 1 and labels[i] == -100:
            continue
        for c in range(classes):
            if problem_type == SINGLE:
                others = torch.cat([logits[i, :c], logits[i, c + 1 :]])
                log_p = logits[i, c] - logits[i].logsumexp(0)
                log_not_p = others.logsumexp(0) - logits[i].logsumexp(0)
                share = (labels[i] == c).double() if labels.ndim == 1 else labels[i, c]
                target = (1 - smoothing) * share + smoothing / classes
                total = total - target * weights[c] * (gamma * log_not_p).exp() * log_p
            else:
                log_p, log_not_p = functional.logsigmoid(logits[i, c]), functional.logsigmoid(-logits[i, c])
                target = (1 - smoothing) * labels[i, c] + smoothing / 2
                total = total - target * weights[c] * (gamma * log_not_p).exp() * log_p
                total = total - (1 - target) * (gamma * log_p).exp() * log_not_p
        count += 1 if problem_type == SINGLE else classes
    return total / count


@given(problem=problems())
def test_value_and_gradient_are_those_of_the_formula(problem):
    problem_type, logits, labels, choices = problem
    ours, plain = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = classification_loss(ours, labels, problem_type, **choices)
    expected = by_formula(problem_type, plain, labels, choices)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(ours.grad, plain.grad, rtol=1e-7, atol=1e-12)


@given(problem=problems(), cut=st.integers(0, 6))
def test_parts_of_a_step_add_up(problem, cut):
    problem_type, logits, labels, choices = problem
    count = (labels != -100).sum()
    whole, parts = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = classification_loss(whole, labels, problem_type, **choices)
    loss.backward()
    for rows in (slice(0, cut), slice(cut, None)):
        if len(logits[rows]):
            classification_loss(parts[rows], labels[rows], problem_type, count, **choices).backward()
    torch.testing.assert_close(parts.grad, whole.grad, rtol=1e-9, atol=1e-12)


@given(problem=problems())
def test_torch_agrees_where_it_has_the_loss(problem):
    """torch's mean divides by the sum of the weights, ours by the number of labels; the sums are the same."""
    problem_type, logits, labels, choices = problem
    weights = choices.get(WEIGHTS[problem_type])
    weights = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    choices = {**choices, "focal_gamma": 0.0}
    if problem_type == SINGLE:
        smoothing = choices["label_smoothing"]
        expected = functional.cross_entropy(logits, labels, weights, label_smoothing=smoothing, reduction="sum")
    else:
        choices["label_smoothing"] = 0.0
        expected = functional.binary_cross_entropy_with_logits(logits, labels, pos_weight=weights, reduction="sum")
    entries = logits.shape[1] if problem_type == SINGLE and labels.ndim == 2 else 1  # as the host counts them
    loss = classification_loss(logits, labels, problem_type, entries, **choices)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("problem_type", [SINGLE, SEVERAL])
def test_certain_answers_have_finite_gradients(problem_type, gamma):
    """Right beyond the last digit of p: the derivative of (1 - p) ** gamma times 0 must not become NaN."""
    logits = torch.tensor([[200.0, -200.0], [-200.0, 200.0], [40.0, -40.0]], requires_grad=True)
    labels = torch.tensor([0, 0, 0]) if problem_type == SINGLE else torch.tensor([[1.0, 0], [1, 0], [1, 0]])
    loss = classification_loss(logits, labels, problem_type, focal_gamma=gamma)
    loss.backward()
    assert math.isfinite(loss.item())
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[1].abs().sum() > 0.1  # what is wrong is still learned from


CHOICES = [
    (SINGLE, {"class_weights": [0.2, 1.0, 3.5]}),
    (SINGLE, {"focal_gamma": 2.0, "class_weights": [0.2, 1.0, 3.5], "label_smoothing": 0.1}),
    (SINGLE, {"label_smoothing": 0.2}),
    (SEVERAL, {"pos_weight": [0.5, 1.0, 8.0]}),
    (SEVERAL, {"focal_gamma": 2.0, "pos_weight": [0.5, 1.0, 8.0], "label_smoothing": 0.1}),
    (REGRESSION, {}),
]


def trained(directory, problem_type, choices, batch_size, **arguments):
    """The weights after the host's Trainer made one step over 14 ragged series, in float64."""
    generator = torch.Generator().manual_seed(0)
    labels = {
        SINGLE: lambda i: i % 3,
        SEVERAL: lambda i: [float(i >> bit & 1) for bit in range(3)],
        REGRESSION: lambda i: i / 14,
    }[problem_type]
    rows = [
        {"input_features": torch.randn(2 + i % 4, 5, generator=generator).numpy(), "labels": labels(i)}
        for i in range(14)
    ]
    torch.manual_seed(0)
    size = {"num_labels": 1 if problem_type == REGRESSION else 3, "input_size": 5, "cell_type": "gru"}
    trainer = Trainer(
        RNNForSequenceClassification(RNNConfig(problem_type=problem_type, **size, **choices)),
        TrainingArguments(
            str(directory), use_cpu=True, report_to=[], disable_tqdm=True, save_strategy="no", optim="sgd",
            learning_rate=0.1, lr_scheduler_type="constant", max_grad_norm=0.0, num_train_epochs=1,
            train_sampling_strategy="sequential", per_device_train_batch_size=batch_size, **arguments,
        ),
        train_dataset=rows,
        processing_class=SequenceVectorFeatureExtractor(feature_size=5),
    )  # fmt: skip
    trainer.train()
    return {name: value.clone() for name, value in trainer.model.state_dict().items()}


@pytest.mark.parametrize(("problem_type", "choices"), CHOICES, ids=str)
def test_accumulated_batches_weigh_like_one_large_batch(problem_type, choices, tmp_path):
    small = trained(tmp_path, problem_type, choices, 4, gradient_accumulation_steps=4)
    large = trained(tmp_path, problem_type, choices, 14)
    for name, value in small.items():
        torch.testing.assert_close(value, large[name], rtol=0, atol=1e-6, msg=name)
    if choices:
        plain = trained(tmp_path, problem_type, {}, 14)
        assert any((value - plain[name]).abs().max() > 1e-4 for name, value in large.items()), "no effect"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"class_weights": [1.0, 2.0], "num_labels": 3},
            "class_weights must hold num_labels = 3 finite factors of at least 0, not all 0, got [1.0, 2.0].",
        ),
        (
            {"pos_weight": [1.0, -2.0]},
            "pos_weight must hold num_labels = 2 finite factors of at least 0, not all 0, got [1.0, -2.0].",
        ),
        (
            {"class_weights": [0, 0]},
            "class_weights must hold num_labels = 2 finite factors of at least 0, not all 0, got [0, 0].",
        ),
        ({"focal_gamma": -1.0}, "focal_gamma must be a finite number of at least 0, got -1.0."),
        ({"focal_gamma": math.inf}, "focal_gamma must be a finite number of at least 0, got inf."),
        ({"label_smoothing": 1.0}, "label_smoothing is a share, at least 0 and less than 1, got 1.0."),
        (
            {"class_weights": [1.0, 2.0], "problem_type": SEVERAL},
            f"class_weights has no meaning for {SEVERAL}, whose loss takes pos_weight, focal_gamma, label_smoothing. "
            "Leave it out.",
        ),
        (
            {"pos_weight": [1.0, 2.0], "problem_type": SINGLE},
            f"pos_weight has no meaning for {SINGLE}, whose loss takes class_weights, focal_gamma, label_smoothing. "
            "Leave it out.",
        ),
        (
            {"label_smoothing": 0.1, "problem_type": REGRESSION, "num_labels": 1},
            "label_smoothing has no meaning for regression, whose loss takes label_scale. Leave it out.",
        ),
    ],
)
def test_what_a_loss_cannot_be_told(fields, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RNNConfig(**fields)


def test_the_config_keeps_the_choices_and_the_model_uses_them(tmp_path):
    config = RNNConfig(num_labels=3, class_weights=[1, 2, 0.5], focal_gamma=1.5, label_smoothing=0.1)
    RNNForSequenceClassification(config).save_pretrained(tmp_path)
    model = RNNForSequenceClassification.from_pretrained(tmp_path)
    assert model.config.loss_choices == config.loss_choices
    features, labels = torch.randn(4, 3, 10), torch.tensor([0, 1, 2, 2])
    output = model(input_features=features, labels=labels)
    assert torch.equal(output.loss, classification_loss(output.logits, labels, SINGLE, **config.loss_choices))
    with pytest.raises(ValueError, match=f"^class_weights has no meaning for {SEVERAL}"):
        RNNForSequenceClassification(config.__class__(num_labels=3, class_weights=[1, 2, 0.5]))(
            input_features=features, labels=torch.eye(4, 3)
        )
