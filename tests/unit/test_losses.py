"""The loss of each problem type is torch's own; labels that do not fit are refused with the reason."""

import math
import re

import pytest
import torch
from torch.nn import functional

from transformers_rnn import RNNConfig, RNNForSequenceClassification
from transformers_rnn.losses import classification_loss, infer_problem_type

SINGLE, SEVERAL, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
LOGITS = torch.tensor([[0.3, -1.2, 2.0], [1.5, 0.1, -0.4], [0.0, 0.7, 0.6], [-2.0, 0.2, 0.9]])
CLASSES = torch.tensor([2, 0, 1, 1])
HITS = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 1], [0, 0, 0]])
TARGETS = torch.tensor([[0.1, -3.0, 2.5], [1.0, 0.0, 0.0], [7.0, 0.5, 0.2], [-1.0, 0.0, 1.0]])


def whole(message):
    return f"^{re.escape(message)}$"


@pytest.mark.parametrize(
    ("problem_type", "labels", "expected"),
    [
        (SINGLE, CLASSES, functional.cross_entropy(LOGITS, CLASSES)),
        (SINGLE, CLASSES[:, None], functional.cross_entropy(LOGITS, CLASSES)),
        (SINGLE, CLASSES.to(torch.int32), functional.cross_entropy(LOGITS, CLASSES)),
        (SINGLE, CLASSES.to(torch.uint8), functional.cross_entropy(LOGITS, CLASSES)),
        (SINGLE, torch.tensor([2, -100, 1, -100]), functional.cross_entropy(LOGITS[[0, 2]], CLASSES[[0, 2]])),
        (SINGLE, TARGETS.softmax(1), functional.cross_entropy(LOGITS, TARGETS.softmax(1))),
        (SINGLE, TARGETS.double().softmax(1), functional.cross_entropy(LOGITS, TARGETS.double().softmax(1).float())),
        (SEVERAL, HITS, functional.binary_cross_entropy_with_logits(LOGITS, HITS)),
        (SEVERAL, HITS.long(), functional.binary_cross_entropy_with_logits(LOGITS, HITS)),
        (SEVERAL, HITS.bool(), functional.binary_cross_entropy_with_logits(LOGITS, HITS)),
        (SEVERAL, HITS.double(), functional.binary_cross_entropy_with_logits(LOGITS, HITS)),
        (SEVERAL, HITS * 0.8 + 0.1, functional.binary_cross_entropy_with_logits(LOGITS, HITS * 0.8 + 0.1)),
        (REGRESSION, TARGETS, functional.mse_loss(LOGITS, TARGETS)),
        (REGRESSION, TARGETS.double(), functional.mse_loss(LOGITS, TARGETS)),
        (
            REGRESSION,
            CLASSES[:, None].expand(4, 3),
            functional.mse_loss(LOGITS, CLASSES[:, None].expand(4, 3).float()),
        ),
    ],
)
def test_the_value_is_torchs_own(problem_type, labels, expected):
    logits = LOGITS.clone().requires_grad_()
    loss = classification_loss(logits, labels, problem_type)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, expected)
    loss.backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
@pytest.mark.parametrize(
    ("problem_type", "compare"),
    [(REGRESSION, functional.mse_loss), (SEVERAL, functional.binary_cross_entropy_with_logits)],
)
def test_one_number_a_sequence_needs_no_second_axis(problem_type, compare, shape):
    logits, labels = LOGITS[:, :1], torch.tensor([0.5, 0.0, 1.0, 0.25])
    expected = compare(logits[:, 0], labels)  # a silent broadcast to (4, 4) would give another value
    assert torch.equal(classification_loss(logits, labels.reshape(shape), problem_type), expected)


@pytest.mark.parametrize(
    ("problem_type", "labels", "count"),
    [(SINGLE, CLASSES, 4), (SINGLE, TARGETS.softmax(1), 12), (SEVERAL, HITS, 12), (REGRESSION, TARGETS, 12)],
)
@pytest.mark.parametrize("kind", [int, torch.tensor])
def test_parts_of_a_step_add_up(problem_type, labels, count, kind):
    expected = classification_loss(LOGITS, labels, problem_type)
    parts = [
        classification_loss(LOGITS[rows], labels[rows], problem_type, num_items_in_batch=kind(count))
        for rows in (slice(0, 3), slice(3, 4))
    ]
    torch.testing.assert_close(sum(parts), expected)


def test_rows_that_are_left_out_add_nothing():
    left_out = classification_loss(LOGITS[:2], torch.tensor([-100, -100]), SINGLE, num_items_in_batch=2)
    assert left_out == 0


def test_half_precision_is_summed_in_float32():
    for dtype in (torch.float16, torch.bfloat16):
        loss = classification_loss(LOGITS.to(dtype), CLASSES, SINGLE)
        assert torch.equal(loss, functional.cross_entropy(LOGITS.to(dtype).float(), CLASSES))
    assert classification_loss(LOGITS.double(), CLASSES, SINGLE).dtype == torch.float64


@pytest.mark.parametrize(
    ("labels", "num_labels", "expected"),
    [
        (CLASSES, 3, SINGLE),
        (CLASSES[:, None], 3, SINGLE),
        (torch.tensor([0, 1]), 2, SINGLE),
        (HITS, 3, SEVERAL),
        (HITS.long(), 3, SEVERAL),
        (torch.eye(2), 2, SEVERAL),
        (torch.tensor([0.5, 2.0]), 1, REGRESSION),
        (torch.tensor([[0.5], [2.0]]), 1, REGRESSION),
        (torch.tensor([0, 1]), 1, REGRESSION),
    ],
)
def test_the_problem_type_is_seen_from_the_labels(labels, num_labels, expected):
    assert infer_problem_type(labels, num_labels) == expected


@pytest.mark.parametrize(
    "labels", [torch.tensor([0.5, 1.0]), torch.zeros(4, 2), torch.zeros(4, 2).long(), torch.zeros(4, 3, 1)], ids=str
)
def test_labels_that_pose_no_problem(labels):
    message = (
        f"labels of shape {tuple(labels.shape)} and type {labels.dtype} fit no problem with 3 labels. Pass whole "
        "numbers of shape (B,) for one label a sequence, or a table (B, 3) of 0 and 1 for several; for regression on "
        "several values set problem_type='regression' in the config."
    )
    with pytest.raises(ValueError, match=whole(message)):
        infer_problem_type(labels, 3)


@pytest.mark.parametrize(
    ("labels", "came"),
    [
        (CLASSES[:3], "(3,) of torch.int64"),
        (CLASSES.float(), "(4,) of torch.float32"),
        (HITS.long(), "(4, 3) of torch.int64"),
        (CLASSES[:, None, None], "(4, 1, 1) of torch.int64"),
    ],
)
def test_classes_of_another_shape_or_type(labels, came):
    message = (
        f"Single-label classification needs labels of whole numbers and shape (B,) = (4,), got {came}. For several "
        "labels a sequence set problem_type='multi_label_classification' in the config."
    )
    with pytest.raises(ValueError, match=whole(message)):
        classification_loss(LOGITS, labels, SINGLE)


@pytest.mark.parametrize(
    ("row", "came"),
    [
        ([0.5, 0.6, 0.0], "[0.5, 0.6, 0.0]"),
        ([-0.1, 0.6, 0.5], "[-0.1, 0.6, 0.5]"),
        ([math.nan, 0, 1], "[nan, 0.0, 1.0]"),
    ],
)
def test_probabilities_of_classes_sum_to_one(row, came):
    labels = torch.eye(3)[CLASSES]
    labels[2] = torch.tensor(row)
    message = (
        "A table of labels (B, L) for single-label classification holds the probabilities of the classes, at least 0 "
        f"with a sum of 1 in each row, got {came}."
    )
    with pytest.raises(ValueError, match=whole(message)):
        classification_loss(LOGITS, labels, SINGLE)


@pytest.mark.parametrize("wrong", [3, -1, -99, 1000])
def test_classes_out_of_range(wrong):
    message = (
        f"labels must be from 0 to 2 (or -100 to leave a row out), got {wrong}. "
        "Set num_labels in the config to the number of classes."
    )
    with pytest.raises(ValueError, match=whole(message)):
        classification_loss(LOGITS, torch.tensor([0, -100, wrong, 1]), SINGLE)


def test_nothing_to_learn_from():
    message = (
        "Every label of this batch is -100, so there is nothing to learn from and no loss. "
        "Leave such rows out of the data."
    )
    with pytest.raises(ValueError, match=whole(message)):
        classification_loss(LOGITS, torch.full((4,), -100), SINGLE)


@pytest.mark.parametrize("number", [0, torch.tensor(0)])
def test_a_step_without_any_label_does_not_spoil_the_weights(number):
    """0/0 is NaN, and NaN gradients make every weight NaN."""
    logits = LOGITS.clone().requires_grad_()
    try:
        loss = classification_loss(logits, torch.full((4,), -100), SINGLE, number)
    except ValueError as error:
        assert "-100" in str(error)  # noqa: PT017 - refused is as good as zero
        return
    loss.backward()
    assert loss == 0
    assert not logits.grad.any()


@pytest.mark.parametrize("problem_type", [SEVERAL, REGRESSION])
@pytest.mark.parametrize("labels", [HITS[:, :2], HITS[:3], CLASSES.float(), HITS[None]], ids=lambda x: str(x.shape))
def test_tables_of_another_shape(problem_type, labels):
    message = (
        f"{problem_type} needs labels of shape (B, L) = (4, 3), got {tuple(labels.shape)}. "
        "Give each sequence one number for each of the model's num_labels."
    )
    with pytest.raises(ValueError, match=whole(message)):
        classification_loss(LOGITS, labels, problem_type)


@pytest.mark.parametrize("value", [2.0, -0.5, -100.0, torch.nan])
def test_hits_out_of_range(value):
    labels = HITS.clone()
    labels[2, 1] = value
    low, high = (value, value) if math.isnan(value) else (min(value, 0.0), max(value, 1.0))
    message = (
        f"Multi-label classification needs labels from 0 (absent) to 1 (present), got values from {low} to {high}."
    )
    with pytest.raises(ValueError, match=whole(message)):
        classification_loss(LOGITS, labels, SEVERAL)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_targets_that_are_not_finite(value):
    labels = TARGETS.clone()
    labels[3, 0] = value
    with pytest.raises(
        ValueError,
        match=whole("Regression labels must be finite, got NaN or infinity. Remove rows without a target."),
    ):
        classification_loss(LOGITS, labels, REGRESSION)


def model_of(num_labels=2, **fields):
    return RNNForSequenceClassification(RNNConfig(num_labels=num_labels, **fields))


FEATURES = torch.randn(2, 4, 10, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("num_labels", "labels", "expected", "contradiction"),
    [
        (2, torch.tensor([0, 1]), SINGLE, torch.eye(2).long()),
        (2, torch.eye(2), SEVERAL, torch.tensor([0, 1])),
        (1, torch.tensor([0.5, 1.5]), REGRESSION, torch.eye(2)),
    ],
)
def test_the_first_labels_settle_the_problem_type(num_labels, labels, expected, contradiction, tmp_path):
    model = model_of(num_labels)
    model(input_features=FEATURES)
    assert model.config.problem_type is None
    loss = model(input_features=FEATURES, labels=labels).loss
    assert model.config.problem_type == expected
    assert torch.equal(loss, classification_loss(model(input_features=FEATURES).logits, labels, expected))
    with pytest.raises(ValueError, match="needs labels of"):
        model(input_features=FEATURES, labels=contradiction)
    assert model.config.problem_type == expected
    model.save_pretrained(tmp_path)
    assert RNNForSequenceClassification.from_pretrained(tmp_path).config.problem_type == expected


def test_a_problem_type_that_was_set_is_not_questioned():
    model = model_of(2, problem_type=REGRESSION)
    targets = torch.tensor([[0.5, 3.0], [-1.0, 0.0]])
    logits = model(input_features=FEATURES).logits
    assert torch.equal(model(input_features=FEATURES, labels=targets).loss, functional.mse_loss(logits, targets))
    assert model.config.problem_type == REGRESSION


@pytest.mark.parametrize("wrong", [torch.tensor([0, 1, 1]), torch.tensor([[3, 1], [1, 0]]), torch.tensor([0, 7])])
def test_labels_that_were_refused_settle_nothing(wrong):
    model = model_of()
    with pytest.raises(ValueError, match="labels"):
        model(input_features=FEATURES, labels=wrong)
    assert model.config.problem_type is None
    model(input_features=FEATURES, labels=torch.eye(2))
    assert model.config.problem_type == SEVERAL


def test_a_single_number_is_no_batch_of_labels():
    for known in (None, SINGLE):
        model = model_of(problem_type=known)
        with pytest.raises(ValueError, match=re.escape("(B,)")):
            model(input_features=FEATURES[:1], labels=torch.tensor(1))


def test_a_misspelt_problem_type_is_never_taken_for_another():
    with pytest.raises(ValueError, match="single_label"):
        classification_loss(LOGITS, HITS, "single_label")
