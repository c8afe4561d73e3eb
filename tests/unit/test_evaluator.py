"""A pipeline and a table -> figures."""

import evaluate
import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import pipeline

from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor, train_tokenizer
from transformers_rnn.evaluator import SequenceClassificationEvaluator
from transformers_rnn.metrics import SequenceClassificationMetrics, evaluate_predictions

LABELS = [0, 1, 1, 0, 1, 0]
SPEED = {"total_time_in_seconds", "samples_per_second", "latency_in_seconds"}


def texts():
    rows = ["win a prize", "see you", "a prize now", "you at five", "win now", "five"]
    tokenizer = train_tokenizer(rows, max_length=8)
    config = RNNConfig(vocab_size=len(tokenizer), pad_token_id=0, id2label={0: "ham", 1: "spam"}, abstain_below=0.9)
    pipe = pipeline("text-classification", model=model(config), tokenizer=tokenizer)
    return pipe, Dataset.from_dict({"text": rows, "label": LABELS})


def vectors():
    rows = [np.random.default_rng(seed).normal(size=(2 + seed, 3)) for seed in range(6)]
    config = RNNConfig(input_size=3, id2label={0: "ham", 1: "spam"}, temperature=2.0)
    extractor = SequenceVectorFeatureExtractor(3)
    pipe = pipeline("sequence-classification", model=model(config), feature_extractor=extractor)
    return pipe, Dataset.from_dict({"input_features": rows, "label": LABELS})


def model(config):
    torch.manual_seed(0)
    found = RNNForSequenceClassification(config)
    torch.nn.init.normal_(found.classifier.weight)
    return found


def expected(pipe, table):
    column = table["text" if pipe.task == "text-classification" else "input_features"]
    ranked = pipe(list(column), top_k=None, function_to_apply="none", abstain_below=None)
    logits = [[entry["score"] for entry in sorted(row, key=lambda entry: entry["label"])] for row in ranked]
    return evaluate_predictions(pipe.model.config, np.array(logits), np.array(LABELS))


@pytest.mark.parametrize("case", [texts, vectors])
def test_all_figures_and_the_speed(case):
    pipe, table = case()
    pipe.model.config.problem_type = "single_label_classification"
    found = SequenceClassificationEvaluator(pipe.task).compute(pipe, table)
    assert found.keys() >= SPEED
    figures = {name: value for name, value in found.items() if name not in SPEED}
    assert figures == pytest.approx(expected(pipe, table), rel=1e-5, nan_ok=True)
    assert {"log_loss", "f1_spam"} <= figures.keys()


def test_a_metric_without_scores_and_a_mapping_of_labels():
    class Swapped(SequenceClassificationMetrics):
        def _compute(self, *, predictions, references):
            return {"share": float(np.mean(predictions == np.asarray(references)))}

    pipe, table = texts()
    ours = SequenceClassificationEvaluator().compute(pipe, table)
    found = SequenceClassificationEvaluator().compute(
        pipe, table, metric=Swapped(), label_mapping={"ham": 1, "spam": 0}
    )
    assert found["share"] == pytest.approx(1 - ours["accuracy"])


def test_the_hosts_own_evaluator_on_a_directory(tmp_path):
    pipe, table = texts()
    pipe.model.config.abstain_below = None  # the host knows no answer without a label
    pipe.save_pretrained(tmp_path)
    found = evaluate.evaluator("text-classification").compute(
        str(tmp_path), table, metric=SequenceClassificationMetrics(), label_mapping={"ham": 0, "spam": 1}
    )
    assert found["accuracy"] == SequenceClassificationEvaluator().compute(pipe, table)["accuracy"]


def test_what_does_not_fit_is_refused():
    with pytest.raises(
        ValueError, match=r"^task must be one of 'text-classification', 'sequence-classification', got"
    ):
        SequenceClassificationEvaluator("fill-mask")
    pipe, table = vectors()
    message = (
        r"^this evaluator is for the task 'text-classification', got a pipeline for 'sequence-classification'\. "
        r"Make it SequenceClassificationEvaluator\('sequence-classification'\)$"
    )
    with pytest.raises(ValueError, match=message):
        SequenceClassificationEvaluator().compute(pipe, table)
