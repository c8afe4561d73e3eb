"""Logits -> named numbers."""

import math
import socket
from types import SimpleNamespace

import evaluate
import numpy as np
import pytest
import torch
from processes import run
from scipy import special, stats
from sklearn import metrics as sk
from transformers import EvalPrediction, Trainer, TrainingArguments

from transformers_rnn import RNNConfig
from transformers_rnn.bootstrap import weighted_figures
from transformers_rnn.figures import figures_of, read_predictions
from transformers_rnn.metrics import (
    FIGURES,
    SequenceClassificationMetrics,
    compute_metrics_for,
    confidence_intervals,
    evaluate_predictions,
)

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


def measure(problem_type, predictions, references, scores=None, **options):
    asked = {} if scores is None else {"prediction_scores": scores}
    return SequenceClassificationMetrics(problem_type, **options).compute(
        predictions=predictions, references=references, **asked
    )


def same(figures):
    """NaN included."""
    return pytest.approx(figures, rel=1e-12, nan_ok=True)


class TestFigures:
    def test_single_label_by_hand(self):
        found = measure(SINGLE, [0, 1, 1, 0], [0, 1, 0, 0], label_names=["ham", "spam"])
        assert found == pytest.approx(
            {
                "accuracy": 0.75,
                "macro_f1": (0.8 + 2 / 3) / 2,
                "micro_f1": 0.75,
                "weighted_f1": 0.8 * 0.75 + 2 / 3 * 0.25,
                "matthews": 2 / math.sqrt(12),
                "precision_ham": 1.0,
                "recall_ham": 2 / 3,
                "f1_ham": 0.8,
                "precision_spam": 0.5,
                "recall_spam": 1.0,
                "f1_spam": 2 / 3,
            }
        )

    def test_single_label_by_scikit_learn(self):
        true, predicted = RANDOM.integers(0, 5, 50), RANDOM.integers(0, 5, 50)
        assert measure(SINGLE, predicted, true) == {
            "accuracy": sk.accuracy_score(true, predicted),
            "macro_f1": sk.f1_score(true, predicted, average="macro"),
            "micro_f1": sk.f1_score(true, predicted, average="micro"),
            "weighted_f1": sk.f1_score(true, predicted, average="weighted"),
            "matthews": sk.matthews_corrcoef(true, predicted),
        }

    @pytest.mark.parametrize("width", [2, 4])
    def test_scores_by_scikit_learn(self, width):
        true, scores = RANDOM.integers(0, width, 60), special.softmax(RANDOM.normal(size=(60, width)), -1)
        found = measure(SINGLE, scores.argmax(-1), true, scores)
        wanted = {"scores": scores, "multi_class": "ovr"} if width > 2 else {"scores": scores[:, 1]}
        assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(true, wanted.pop("scores"), **wanted))
        assert found["log_loss"] == pytest.approx(sk.log_loss(true, scores))
        true = RANDOM.integers(0, 2, (60, width))
        found = measure(MULTI, scores > 0.5, true, scores)
        assert found["mean_average_precision"] == pytest.approx(sk.average_precision_score(true, scores))

    def test_expected_calibration_error_by_hand(self):
        # Two rows in the bin of 0.9 (one right), one in that of 0.6 (right), one in the last (right).
        scores = [[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.0, 1.0]]
        found = measure(SINGLE, [0, 1, 0, 1], [0, 0, 0, 1], scores)
        assert found["expected_calibration_error"] == pytest.approx((abs(1 - 1.8) + 0.4 + 0) / 4)

    def test_labels_that_do_not_occur_have_no_score(self):
        scores = np.array([[0.5, 0.3, 0.2], [0.2, 0.5, 0.3]])
        assert measure(SINGLE, [0, 1], [0, 1], scores)["roc_auc"] == 1
        assert math.isnan(measure(SINGLE, [0, 1], [0, 0], scores)["roc_auc"])
        assert measure(MULTI, scores > 0.4, [[1, 0, 0], [0, 0, 0]], scores)["mean_average_precision"] == 1
        assert math.isnan(measure(MULTI, scores > 0.4, np.zeros((2, 3)), scores)["mean_average_precision"])

    def test_ignored_rows_do_not_count(self):
        scores = special.softmax(RANDOM.normal(size=(5, 3)), -1)
        whole = measure(SINGLE, [0, 1, 2, 1, 2], [0, -100, 2, 0, -100], scores, label_names="abc")
        kept = measure(SINGLE, [0, 2, 1], [0, 2, 0], scores[[0, 2, 3]], label_names="abc")
        assert whole == same(kept)

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
        assert all(math.isnan(found.pop(f"{kind}_c")) for kind in ("precision", "recall", "f1"))
        expected = {"subset_accuracy": 0.5, "micro_f1": 0.75, "macro_f1": (0.8 + 2 / 3) / 2}
        expected |= {"precision_a": 2 / 3, "recall_a": 1.0, "f1_a": 0.8}
        assert found == pytest.approx({**expected, "precision_b": 1.0, "recall_b": 0.5, "f1_b": 2 / 3})

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
        assert found == pytest.approx(
            {"subset_accuracy": 0.75, "micro_f1": f1, "macro_f1": f1, "precision_a": 0.5, "recall_a": 1, "f1_a": f1}
        )

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
        before = measure(SINGLE, [0, 1], [0, 1])
        monkeypatch.setitem(FIGURES[SINGLE], "kappa", sk.cohen_kappa_score)
        assert measure(SINGLE, [0, 1], [0, 1]) == {**before, "kappa": 1.0}

    def test_a_constant_answer_has_no_matthews_correlation(self):
        for predicted, true in (([1, 1], [1, 1]), ([1, 1], [0, 1]), ([0, 1], [1, 1])):
            assert measure(SINGLE, predicted, true)["matthews"] == 0


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
        expected = measure(SINGLE, [0, 1], [0, 0])
        assert expected["macro_f1"] == 1 / 3
        assert both.compute(predictions=[0, 1], references=[0, 0]) == {**expected, "rows": 2}
        both.add_batch(predictions=[0, 1], references=[0, 1])
        assert both.compute() == {**measure(SINGLE, [0, 1], [0, 1]), "rows": 2}

    def test_combine_names_the_same_figure_twice(self):
        twice = evaluate.combine({"plain": SequenceClassificationMetrics(), "named": SequenceClassificationMetrics()})
        found = twice.compute(predictions=[0, 1], references=[0, 1])
        assert set(found) == {f"{name}_{figure}" for name in ("named", "plain") for figure in FIGURES[SINGLE]}

    def test_combine_hands_scores_on(self):
        twice = evaluate.combine({"plain": SequenceClassificationMetrics(), "named": SequenceClassificationMetrics()})
        found = twice.compute(predictions=[0, 1], references=[0, 1], prediction_scores=[[0.8, 0.2], [0.2, 0.8]])
        assert found["named_log_loss"] == found["plain_log_loss"] == pytest.approx(-math.log(0.8))

    def test_batches_and_scores_at_the_end(self):
        metric = SequenceClassificationMetrics()
        metric.add_batch(predictions=[0, 1], references=[0, 1])
        assert metric.compute(prediction_scores=np.eye(2))["expected_calibration_error"] == 0

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


class TestLoad:
    """In a fresh process, which may ask no network and has an empty cache."""

    def test_by_the_path_of_the_file(self, tmp_path):
        program = (
            "import evaluate, transformers_rnn.metrics as room\n"
            "metric = evaluate.load(room.__file__, 'multi_label_classification', label_names=['a', 'b'])\n"
            "print(metric.compute(predictions=[[1, 0]], references=[[1, 0]], prediction_scores=[[0.9, 0.2]]))\n"
            "print(evaluate.load(room.__file__).compute(predictions=[0, 1], references=[0, 0])['accuracy'])\n"
        )
        where = {name: str(tmp_path / name) for name in ("HF_HOME", "HF_MODULES_CACHE", "HF_EVALUATE_CACHE")}
        printed = run("-W", "error", "-c", program, cwd=tmp_path, **where, HF_EVALUATE_OFFLINE="1")
        assert "'mean_average_precision': 1.0, 'precision_a': 1.0" in printed
        assert printed.splitlines()[-1] == "0.5"

    def test_the_name_of_the_variant_is_the_problem_type(self):
        assert SequenceClassificationMetrics(config_name=REGRESSION).problem_type == REGRESSION


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

    @pytest.mark.parametrize(
        ("problem_type", "scores", "message"),
        [
            (
                SINGLE,
                [[0.5, 0.5]],
                "prediction_scores must be of shape (2, 3), one probability a label, got (1, 2)",
            ),
            (
                SINGLE,
                [[2.0, -1.0, 0.0], [1.0, 0.0, 0.0]],
                "prediction_scores must be probabilities from 0 to 1 that sum to 1 in each row, got -1.0 to 2.0 with "
                "sums from 1.0 to 1.0. Apply softmax or sigmoid to logits first",
            ),
            (
                SINGLE,
                [[0.5, 0.5, 0.5], [1.0, 0.0, 0.0]],
                "prediction_scores must be probabilities from 0 to 1 that sum to 1 in each row, got 0.0 to 1.0 with "
                "sums from 1.0 to 1.5. Apply softmax or sigmoid to logits first",
            ),
            (
                REGRESSION,
                [[1.0], [2.0]],
                "regression has no prediction_scores: its predictions are numbers already. Leave them out",
            ),
        ],
    )
    def test_scores_that_do_not_fit(self, problem_type, scores, message):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole message is compared
            measure(problem_type, [0, 1], [0, 1], scores, label_names=["a", "b", "c"])
        assert str(caught.value) == message

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
        scores = special.softmax(logits[:3], -1)
        assert found == same(measure(SINGLE, [0, 0, 2], [0, 1, 2], scores, label_names="abc"))

    def test_probability_above_one_half(self):
        logits = np.array([[0.1, -0.1], [-3.0, 4.0], [0.0, 0.0]])
        labels = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
        found = compute_metrics_for(config(MULTI, "a", "b"))(EvalPrediction(logits, labels))
        assert found == measure(MULTI, [[1, 0], [0, 1], [0, 0]], labels, special.expit(logits), label_names="ab")

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


def drawn(problem_type, rows=80, width=3, ties=False):
    """A config, logits and labels of a model that is often right."""
    generator = np.random.default_rng(rows + width)
    if problem_type == SINGLE:
        labels = generator.integers(0, width, rows)
        true = labels[:, None] == np.arange(width)
    elif problem_type == MULTI:
        labels = true = generator.random((rows, width)) < 0.3
    else:
        labels = true = generator.normal(size=(rows, width))
    logits = true * 1.5 + generator.normal(size=(rows, width))
    return RNNConfig(problem_type=problem_type, num_labels=width), np.round(logits) if ties else logits, labels * 1


CASES = [(SINGLE, 2), (SINGLE, 4), (MULTI, 1), (MULTI, 4), (REGRESSION, 1), (REGRESSION, 2)]


class TestEvaluatePredictions:
    def test_temperature_and_thresholds_of_the_config(self):
        settings, logits, labels = drawn(MULTI)
        settings.temperature, settings.thresholds = 2.0, [0.2, 0.5, 0.9]
        scores = special.expit(logits / 2)
        expected = measure(
            MULTI, scores > np.array([0.2, 0.5, 0.9]), labels, scores, label_names=["LABEL_0", "LABEL_1", "LABEL_2"]
        )
        assert evaluate_predictions(settings, logits, labels) == same(expected)
        assert evaluate_predictions(settings, torch.tensor(logits), torch.tensor(labels)) == same(expected)

    def test_the_temperature_changes_only_what_needs_scores(self):
        settings, logits, labels = drawn(SINGLE)
        before = evaluate_predictions(settings, logits, labels)
        settings.temperature = 3.0
        after = evaluate_predictions(settings, logits, labels)
        changed = {name for name in before if before[name] != after[name]}
        assert changed <= {"roc_auc", "log_loss", "expected_calibration_error"}
        assert "log_loss" in changed


class TestConfidenceIntervals:
    @pytest.mark.parametrize(("problem_type", "width"), CASES)
    @pytest.mark.parametrize("ties", [False, True])
    def test_weighted_figures_are_those_of_the_resampled_rows(self, problem_type, width, ties):
        settings, logits, labels = drawn(problem_type, 40, width, ties)
        found = read_predictions(settings, logits, labels)
        names = [f"LABEL_{index}" for index in range(width)]
        rows = [np.arange(40), *np.random.default_rng(0).integers(40, size=(5, 40)), np.zeros(40, int)]
        weights = np.stack([np.bincount(chosen, minlength=40) for chosen in rows], axis=1).astype(np.float32)
        weighted = weighted_figures(found, names, weights)
        for column, chosen in enumerate(rows):
            parts = [None if part is None else part[chosen] for part in found[1:]]
            expected = figures_of(found._replace(references=parts[0], predictions=parts[1], scores=parts[2]), names)
            ours = {name: values[column] for name, values in weighted.items()}
            assert ours == pytest.approx(expected, rel=1e-5, abs=1e-6, nan_ok=True)

    @pytest.mark.parametrize(("problem_type", "width"), CASES)
    def test_an_interval_for_every_figure(self, problem_type, width):
        settings, logits, labels = drawn(problem_type, 80, width)
        figures = evaluate_predictions(settings, logits, labels)
        intervals = confidence_intervals(settings, logits, labels, resamples=200)
        assert list(intervals) == list(figures)
        assert all(type(limit) is float for interval in intervals.values() for limit in interval)
        biased = {"expected_calibration_error", "mean_average_precision"}  # resamples have more of it
        for name in figures.keys() - biased:
            low, high = intervals[name]
            assert low <= figures[name] <= high, name
        assert intervals == same_intervals(confidence_intervals(settings, logits, labels, resamples=200))
        assert intervals != confidence_intervals(settings, logits, labels, resamples=200, seed=1)

    def test_the_level_and_the_number_of_rows_make_it_wide_or_narrow(self):
        def width(rows, level):
            low, high = confidence_intervals(*drawn(SINGLE, rows), level=level)["accuracy"]
            return high - low

        assert width(100, 0.8) < width(100, 0.99)
        assert width(1000, 0.95) < width(100, 0.95)

    def test_it_is_that_of_the_binomial_distribution_for_the_accuracy(self):
        settings, logits, labels = drawn(SINGLE, 400, 2)
        accuracy = evaluate_predictions(settings, logits, labels)["accuracy"]
        low, high = confidence_intervals(settings, logits, labels, resamples=4000)["accuracy"]
        expected = stats.binom.interval(0.95, 400, accuracy)
        assert [low * 400, high * 400] == pytest.approx(expected, abs=2)

    def test_parts_of_the_resamples_change_nothing(self, monkeypatch):
        case = drawn(SINGLE, 50)
        whole = confidence_intervals(*case, resamples=20)
        monkeypatch.setattr("transformers_rnn.bootstrap._NUMBERS", 50 * 3)
        assert confidence_intervals(*case, resamples=20) == same_intervals(whole)

    def test_a_figure_that_no_resample_defines(self):
        settings = RNNConfig(problem_type=SINGLE, num_labels=3)
        intervals = confidence_intervals(settings, np.eye(3)[[0, 1]], np.array([0, 1]), resamples=20)
        assert all(map(math.isnan, intervals["f1_LABEL_2"]))

    @pytest.mark.parametrize("level", [0, 1, 95])
    def test_the_level_is_checked(self, level):
        with pytest.raises(ValueError, match=rf"^level must be between 0 and 1, such as 0\.95, got {level}$"):
            confidence_intervals(*drawn(SINGLE), level=level)

    def test_the_number_of_resamples_is_checked(self):
        with pytest.raises(ValueError, match=r"^resamples must be at least 1, got 0$"):
            confidence_intervals(*drawn(SINGLE), resamples=0)


def same_intervals(intervals):
    return {name: pytest.approx(limits, rel=1e-6, nan_ok=True) for name, limits in intervals.items()}
