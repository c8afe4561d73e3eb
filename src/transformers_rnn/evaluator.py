"""A pipeline and a table -> figures: `evaluate`'s own evaluator, for texts and for vectors."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
from evaluate.evaluator.text_classification import TextClassificationEvaluator
from transformers import Pipeline

from .metrics import SequenceClassificationMetrics

TASKS = {"text-classification": "text", "sequence-classification": "input_features"}


class SequenceClassificationEvaluator(TextClassificationEvaluator):
    """`evaluate.evaluator("text-classification")` that also knows vectors, scores and Transformers 5.

    The host's evaluator (evaluate 0.4) takes a directory or model only: with Transformers 5 it fails on a pipeline. It
    hands on labels without scores, and has no task for vectors. Here `compute` takes a `metric` with the argument
    `prediction_scores`, by default [`SequenceClassificationMetrics`] with the names of the model's labels, and each
    sequence is answered, whatever `abstain_below` says. For single labels.

    Args:
        task: `"text-classification"` or `"sequence-classification"`, as the pipeline's.

    Raises:
        ValueError: Another task, or a pipeline of another task.
    """

    PIPELINE_KWARGS = {"top_k": None, "abstain_below": None}  # noqa: RUF012 - the host's own form

    def __init__(self, task: str = "text-classification") -> None:
        if task not in TASKS:
            raise ValueError(f"task must be one of {', '.join(map(repr, TASKS))}, got {task!r}")
        super().__init__(task=task)

    def compute(
        self,
        model_or_pipeline: Any,
        data: Any,
        *,
        metric: Any = None,
        input_column: str | None = None,
        label_mapping: Mapping[str, int] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Figures and speed.

        Args:
            model_or_pipeline: A pipeline of the task, or what the host makes one of.
            data: A table of `datasets`, or a name of one that the host loads.
            metric: An `evaluate` metric or its name; `None`: all figures of a single label.
            input_column: `None`: `"text"`, or `"input_features"` for vectors.
            label_mapping: Name -> number in the table's labels; `None`: the model's `label2id`.
            **options: The host's, such as `label_column` and `strategy`. A bootstrap leaves scores out.
        """
        choices = {name: options.pop(name, None) for name in ("tokenizer", "feature_extractor", "device")}
        pipe = self.prepare_pipeline(model_or_pipeline, **choices)
        names = [pipe.model.config.id2label[index] for index in range(pipe.model.config.num_labels)]
        figures: dict[str, Any] = super().compute(
            pipe,
            data,
            metric=SequenceClassificationMetrics(label_names=names) if metric is None else metric,
            input_column=input_column or TASKS[self.task],
            label_mapping=label_mapping or {name: index for index, name in enumerate(names)},
            **options,
        )
        return figures

    def prepare_pipeline(self, model_or_pipeline: Any, *args: Any, **kwargs: Any) -> Any:
        """The pipeline, made by the host if it is none."""
        if not isinstance(model_or_pipeline, Pipeline):
            return super().prepare_pipeline(model_or_pipeline, *args, **kwargs)
        if model_or_pipeline.task != self.task:
            raise ValueError(
                f"this evaluator is for the task {self.task!r}, got a pipeline for {model_or_pipeline.task!r}. "
                f"Make it SequenceClassificationEvaluator({model_or_pipeline.task!r})"
            )
        return model_or_pipeline

    def prepare_data(self, data: Any, input_column: str, second_input_column: Any, label_column: str) -> Any:
        """The labels and what the pipeline takes: pairs of texts as the host makes them, or the column of vectors."""
        references, texts = super().prepare_data(data, input_column, second_input_column, label_column)
        return references, texts if self.task == "text-classification" else data[input_column]

    def predictions_processor(self, predictions: Any, label_mapping: Any) -> dict[str, Any]:
        """Ranked labels -> the numbers of the best, and scores (B, L) where the labels are numbered 0 to L-1."""
        ids = np.array([[label_mapping[answer["label"]] for answer in ranked] for ranked in predictions])
        found = {"predictions": ids[:, 0]}
        if (np.sort(ids, axis=-1) == np.arange(ids.shape[1])).all():
            scores = np.array([[answer["score"] for answer in ranked] for ranked in predictions])
            found["prediction_scores"] = np.take_along_axis(scores, ids.argsort(-1), axis=-1)
        return found

    def compute_metric(self, metric: Any, metric_inputs: Any, strategy: str = "simple", **options: Any) -> Any:
        """The figures; with scores only where the metric takes them."""
        takes = inspect.signature(getattr(metric, "_compute", metric.compute)).parameters
        if "prediction_scores" not in takes or strategy != "simple":
            metric_inputs.pop("prediction_scores", None)
        return super().compute_metric(metric, metric_inputs, strategy, **options)
