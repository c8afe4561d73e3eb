"""Logits -> named numbers."""

import math
import socket
from types import SimpleNamespace

import evaluate
import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics as sk
from transformers import EvalPrediction, Trainer, TrainingArguments

from transformers_rnn.metrics import FIGURES, SequenceClassificationMetrics, compute_metrics_for

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """Neither the network nor the cache directory is touched."""

    def refuse(*args, **kwargs):
        raise AssertionError("a metric asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    cache = tmp_path / "cache"
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", str(cache))
    yield cache
    assert not cache.exists()


def config(problem_type, *names):
    return SimpleNamespace(problem_type=problem_type, num_labels=len(names), id2label=dict(enumerate(names)))


def measure(problem_type, predictions, references, **options):
    return SequenceClassificationMetrics(problem_type, **options).compute(
        predictions=predictions, references=references
    )


class TestFigures:
    def test_single_label_by_hand(self):
        found = measure(SINGLE, [0, 1, 1, 0], [0, 1, 0, 0], label_names=["ham", "spam"])
        assert found == pytest.approx(
            {"accuracy": 0.75, "macro_f1": (0.8 + 2 / 3) / 2, "f1_ham": 0.8, "f1_spam": 2 / 3}
        )

    def test_single_label_by_scikit_learn(self):
        true, predicted = RANDOM.integers(0, 5, 50), RANDOM.integers(0, 5, 50)
        assert measure(SINGLE, predicted, true) == {
            "accuracy": sk.accuracy_score(true, predicted),
            "macro_f1": sk.f1_score(true, predicted, average="macro"),
        }

    def test_ignored_rows_do_not_count(self):
        whole = measure(SINGLE, [0, 1, 2, 1, 2], [0, -100, 2, 0, -100], label_names="abc")
        kept = measure(SINGLE, [0, 2, 1], [0, 2, 0], label_names="abc")
        assert whole == kept

    def test_a_class_that_does_not_occur_has_no_f1(self):
        found = measure(SINGLE, [0, 1], [0, 0], label_names=["a", "b", "c"])
        assert found["f1_a"] == pytest.approx(2 / 3)
        assert found["f1_b"] == 0  # predicted, and wrong
        assert math.isnan(found["f1_c"])
        assert found["macro_f1"] == pytest.approx(1 / 3)

    def test_multi_label_by_hand(self):
        true = [[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0]]
        predicted = [[1, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0]]
        found = measure(MULTI, predicted, true, label_names=["a", "b", "c"])
        assert math.isnan(found.pop("f1_c"))
        expected = {"subset_accuracy": 0.5, "micro_f1": 0.75, "macro_f1": (0.8 + 2 / 3) / 2, "f1_a": 0.8}
        assert found == pytest.approx({**expected, "f1_b": 2 / 3})

    def test_multi_label_by_scikit_learn(self):
        true, predicted = RANDOM.integers(0, 2, (40, 4)), RANDOM.integers(0, 2, (40, 4))
        assert measure(MULTI, predicted, true) == {
            "subset_accuracy": sk.accuracy_score(true, predicted),
            "micro_f1": sk.f1_score(true, predicted, average="micro"),
            "macro_f1": sk.f1_score(true, predicted, average="macro"),
        }

    def test_multi_label_with_one_label(self):
        found = measure(MULTI, [[1], [1], [0], [0]], [[1], [0], [0], [0]], label_names=["a"])
        f1 = 2 / 3
        assert found == pytest.approx({"subset_accuracy": 0.75, "micro_f1": f1, "macro_f1": f1, "f1_a": f1})

    def test_regression_by_hand(self):
        found = measure(REGRESSION, [1.0, 2.0, 4.0], [1.0, 2.0, 3.0])
        pearson = 3 / math.sqrt(2 * 14 / 3)
        assert found == pytest.approx({"mse": 1 / 3, "mae": 1 / 3, "pearson": pearson, "spearman": 1.0})

    @pytest.mark.parametrize("shape", [(30,), (30, 1), (30, 3)])
    def test_regression_by_scipy(self, shape):
        true, predicted = RANDOM.normal(size=shape), RANDOM.normal(size=shape)
        columns = list(zip(true.reshape(30, -1).T, predicted.reshape(30, -1).T, strict=True))
        assert measure(REGRESSION, predicted.tolist(), true.tolist()) == pytest.approx(
            {
                "mse": np.mean((true - predicted) ** 2),
                "mae": np.mean(np.abs(true - predicted)),
                "pearson": np.mean([stats.pearsonr(*pair).statistic for pair in columns]),
                "spearman": np.mean([stats.spearmanr(*pair).statistic for pair in columns]),
            }
        )

    @pytest.mark.parametrize("predictions", [[2.0, 2.0, 2.0], [1.0, 1.0 + 1e-15, 1.0]])
    def test_correlation_with_a_constant_is_undefined_without_a_warning(self, predictions):
        found = measure(REGRESSION, [2.0, 2.0, 2.0], [1.0, 2.0, 3.0])
        assert math.isnan(found["pearson"])
        assert math.isnan(found["spearman"])
        assert found["mae"] == pytest.approx(2 / 3)
        measure(REGRESSION, predictions, [1.0, 2.0, 3.0])

    def test_one_row_has_no_correlation(self):
        found = measure(REGRESSION, [2.0], [1.0])
        assert found["mse"] == 1
        assert math.isnan(found["pearson"])
        assert math.isnan(found["spearman"])

    def test_results_are_plain_floats(self):
        for problem, values in ((SINGLE, [0, 1]), (MULTI, [[0, 1], [1, 0]]), (REGRESSION, [0.5, 1.0])):
            found = measure(problem, values, values, label_names=["a", "b"])
            assert {type(value) for value in found.values()} == {float}

    def test_a_figure_is_added_in_one_line(self, monkeypatch):
        monkeypatch.setitem(FIGURES[SINGLE], "kappa", sk.cohen_kappa_score)
        assert measure(SINGLE, [0, 1], [0, 1]) == {"accuracy": 1.0, "macro_f1": 1.0, "kappa": 1.0}


class TestEvaluate:
    def test_batches(self):
        true, predicted = RANDOM.integers(0, 3, 20), RANDOM.integers(0, 3, 20)
        metric = SequenceClassificationMetrics(label_names="abc")
        for rows in (slice(0, 7), slice(7, 20)):
            metric.add_batch(predictions=torch.tensor(predicted[rows]), references=true[rows])
        assert metric.compute() == measure(SINGLE, predicted, true, label_names="abc")
        metric.add(prediction=1, reference=1)
        assert metric.compute()["accuracy"] == 1

    def test_batches_of_rows(self):
        true, predicted = RANDOM.integers(0, 2, (20, 3)), RANDOM.integers(0, 2, (20, 3))
        metric = SequenceClassificationMetrics(MULTI)
        for rows in (slice(0, 7), slice(7, 20)):
            metric.add_batch(predictions=predicted[rows], references=true[rows])
        assert metric.compute() == measure(MULTI, predicted, true)

    def test_combine(self):
        class Rows(evaluate.Metric):
            def _info(self):
                features = SequenceClassificationMetrics().features
                return evaluate.MetricInfo(description="", citation="", features=features)

            def _build_data_dir(self):
                return ""

            def _compute(self, *, predictions, references):
                return {"rows": len(predictions)}

        both = evaluate.combine([SequenceClassificationMetrics(), Rows(keep_in_memory=True)])
        assert both.compute(predictions=[0, 1], references=[0, 0]) == {"accuracy": 0.5, "macro_f1": 1 / 3, "rows": 2}
        both.add_batch(predictions=[0, 1], references=[0, 1])
        assert both.compute() == {"accuracy": 1.0, "macro_f1": 1.0, "rows": 2}

    def test_combine_names_the_same_figure_twice(self):
        twice = evaluate.combine({"plain": SequenceClassificationMetrics(), "named": SequenceClassificationMetrics()})
        found = twice.compute(predictions=[0, 1], references=[0, 1])
        assert sorted(found) == ["named_accuracy", "named_macro_f1", "plain_accuracy", "plain_macro_f1"]

    def test_cache_files_on_demand(self, tmp_path):
        metric = SequenceClassificationMetrics(keep_in_memory=False, cache_dir=str(tmp_path / "asked"))
        metric.add_batch(predictions=[0, 1], references=[0, 1])
        assert list((tmp_path / "asked").rglob("*.arrow"))
        assert metric.compute()["accuracy"] == 1
        assert not list((tmp_path / "asked").rglob("*.arrow"))

    def test_its_card(self):
        metric = SequenceClassificationMetrics(REGRESSION)
        assert metric.name == "sequence_classification_metrics"
        assert metric.description == "mse, mae, pearson, spearman of a sequence classifier."


WHOLE = "that are whole numbers from 0 to"
SAME = "needs predictions and references of the same shape"


class TestMetricErrors:
    @pytest.mark.parametrize(
        ("problem_type", "predictions", "references", "message"),
        [
            (SINGLE, [0.9, 0.2], [1, 0], f"needs predictions {WHOLE} 2, got 0.9"),
            (SINGLE, [0, 3], [0, 1], f"needs predictions {WHOLE} 2, got 3.0"),
            (SINGLE, [0, 1], [0, -1], f"needs references {WHOLE} 2, got -1.0"),
            (SINGLE, [[0.1, 0.9]], [[0, 1]], f"{SAME} (B,), got (1, 2) and (1, 2)"),
            (MULTI, [[0, 1, 0.7]], [[0, 1, 0]], f"needs predictions {WHOLE} 1, got 0.7"),
            (MULTI, [[0, 1, 0]], [[0, 1, 2]], f"needs references {WHOLE} 1, got 2.0"),
            (MULTI, [[0, 1]], [[0, 1]], f"{SAME} (B, 3), got (1, 2) and (1, 2)"),
            (MULTI, [0, 1], [0, 1], f"{SAME} (B, 3), got (2,) and (2,)"),
            (REGRESSION, [[0.0, 1.0]], [[0.0, 1.0, 2.0]], f"{SAME} (B,) or (B, L), got (1, 2) and (1, 3)"),
        ],
    )
    def test_values_that_do_not_fit(self, problem_type, predictions, references, message):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
            measure(problem_type, predictions, references, label_names=["a", "b", "c"])
        assert str(caught.value) == f"{problem_type} {message}"

    def test_nothing_left_to_measure(self):
        with pytest.raises(ValueError, match=r"^there must be a row to measure, but every reference is -100$"):
            measure(SINGLE, [0, 1], [-100, -100])

    def test_without_names_any_class_id_will_do(self):
        assert measure(SINGLE, [7, 2], [7, 3])["accuracy"] == 0.5
        with pytest.raises(ValueError, match=r"needs references that are whole numbers from 0, got -3\.0$"):
            measure(SINGLE, [0], [-3])

    def test_problem_type(self):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            SequenceClassificationMetrics("single_label")
        assert str(caught.value) == (
            "problem_type must be one of 'single_label_classification', 'multi_label_classification', 'regression', "
            "got 'single_label'"
        )

    def test_names_that_are_the_same(self):
        with pytest.raises(ValueError, match=r"^label_names must differ from each other, got \['a', 'b', 'a'\]$"):
            SequenceClassificationMetrics(label_names=["a", "b", "a"])


class TestComputeMetricsFor:
    def test_the_largest_logit(self):
        logits = np.array([[2.0, 1.0, 0.0], [0.0, -1.0, -2.0], [0.0, 0.1, 5.0], [9.0, 0.0, 0.0]])
        found = compute_metrics_for(config(SINGLE, "a", "b", "c"))(EvalPrediction(logits, np.array([0, 1, 2, -100])))
        assert found == measure(SINGLE, [0, 0, 2], [0, 1, 2], label_names="abc")

    def test_probability_above_one_half(self):
        logits = np.array([[0.1, -0.1], [-3.0, 4.0], [0.0, 0.0]])
        labels = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
        found = compute_metrics_for(config(MULTI, "a", "b"))(EvalPrediction(logits, labels))
        assert found == measure(MULTI, [[1, 0], [0, 1], [0, 0]], labels, label_names="ab")

    @pytest.mark.parametrize("shape", [(3,), (3, 1)])
    def test_numbers_as_they_are(self, shape):
        logits, labels = np.array([[1.0], [2.0], [4.0]]), np.array([1.0, 2.0, 3.0])
        found = compute_metrics_for(config(REGRESSION, "LABEL_0"))(EvalPrediction(logits, labels.reshape(shape)))
        assert found == measure(REGRESSION, [1.0, 2.0, 4.0], labels)

    @pytest.mark.parametrize(
        ("labels", "figure"),
        [
            (np.array([0, 1, 0]), "accuracy"),
            (np.array([[0, 1], [1, 1], [0, 0]]), "micro_f1"),
            (np.array([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]), "micro_f1"),
        ],
    )
    def test_no_problem_type_is_settled_from_the_labels(self, labels, figure):
        settings = config(None, "a", "b")
        found = compute_metrics_for(settings)(EvalPrediction(RANDOM.normal(size=(3, 2)), labels))
        assert figure in found
        assert settings.problem_type is None

    @pytest.mark.parametrize("dtype", [float, int])
    def test_one_label_is_regression(self, dtype):
        labels = np.array([0, 1, 2], dtype=dtype)
        found = compute_metrics_for(config(None, "LABEL_0"))(EvalPrediction(RANDOM.normal(size=(3, 1)), labels))
        assert sorted(found) == ["mae", "mse", "pearson", "spearman"]

    def test_the_config_is_read_when_called(self):
        settings = config(None, "a", "b")
        function = compute_metrics_for(settings)
        settings.problem_type = REGRESSION
        assert "mse" in function(EvalPrediction(np.zeros((3, 2)), np.ones((3, 2))))

    def test_the_first_of_several_outputs(self):
        logits, labels = RANDOM.normal(size=(4, 2)), np.array([0, 1, 0, 1])
        function = compute_metrics_for(config(SINGLE, "a", "b"))
        assert function(EvalPrediction((logits, np.zeros((4, 9))), labels)) == function(EvalPrediction(logits, labels))

    @pytest.mark.parametrize(
        ("problem_type", "logits", "labels", "wanted"),
        [
            (SINGLE, (4, 2), np.zeros(4, int), "(B,)"),
            (SINGLE, (4, 3), np.zeros((4, 1), int), "(B,)"),
            (SINGLE, (5, 3), np.zeros(4, int), "(B,)"),
            (MULTI, (4, 3), np.zeros((4, 2)), "(B, 3)"),
            (REGRESSION, (4, 3), np.zeros(4), "(B, 3)"),
        ],
    )
    def test_shapes_that_do_not_fit(self, problem_type, logits, labels, wanted):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
            compute_metrics_for(config(problem_type, "a", "b", "c"))(EvalPrediction(np.zeros(logits), labels))
        assert str(caught.value) == (
            f"{problem_type} with num_labels=3 needs logits (B, 3) and labels {wanted}, "
            f"got {logits} and {labels.shape}"
        )

    def test_float_labels_in_one_column_do_not_pass_for_classes(self):
        with pytest.raises(
            ValueError, match=r"^multi_label_classification with num_labels=3 .*got \(4, 3\) and \(4,\)$"
        ):
            compute_metrics_for(config(None, "a", "b", "c"))(EvalPrediction(np.zeros((4, 3)), np.zeros(4)))

    def test_labels_beyond_the_config(self):
        with pytest.raises(ValueError, match=f"^{SINGLE} needs references {WHOLE} 2, got 3.0$"):
            compute_metrics_for(config(SINGLE, "a", "b", "c"))(EvalPrediction(np.zeros((2, 3)), np.array([0, 3])))

    def test_logits_that_are_not_finite(self):
        logits = np.array([[0.0, 1.0], [np.nan, 0.0], [0.0, np.inf]])
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            compute_metrics_for(config(SINGLE, "a", "b"))(EvalPrediction(logits, np.zeros(3, int)))
        assert str(caught.value) == (
            "logits must be finite, got NaN or infinity in 2 of 3 rows: "
            "the training diverged (lower the learning rate or clip gradients) or the inputs are not finite"
        )

    def test_trainer(self, tmp_path):
        class Model(torch.nn.Module):
            def forward(self, logits, labels):
                return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits, "state": logits}

        rows = [{"logits": [0.1 * i, 1.0], "labels": i % 2} for i in range(16)]
        trainer = Trainer(
            model=Model(),
            args=TrainingArguments(
                output_dir=str(tmp_path),
                use_cpu=True,
                report_to=[],
                per_device_eval_batch_size=3,
                dataloader_pin_memory=False,
                disable_tqdm=True,
            ),
            eval_dataset=rows,
            compute_metrics=compute_metrics_for(config(SINGLE, "ham", "spam")),
        )
        found = trainer.evaluate()
        predicted = [int(0.1 * i < 1.0) for i in range(16)]
        expected = measure(SINGLE, predicted, [i % 2 for i in range(16)], label_names=["ham", "spam"])
        assert {f"eval_{name}": value for name, value in expected.items()}.items() <= found.items()
