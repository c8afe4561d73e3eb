"""Prediction for sequences of vectors. (Text uses the host's own pipeline.)

The host copies this file alone next to a saved model, so it imports nothing from this package.
"""

import inspect
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import GeneratorType
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import AutoModelForSequenceClassification, BatchFeature, Pipeline, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

_TASK = "sequence-classification"
_INPUT = "input_features"
_SCORES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "softmax": lambda logits: logits.softmax(-1),
    "sigmoid": torch.sigmoid,
    "none": lambda logits: logits,
}


class SequenceClassificationPipeline(Pipeline):
    """Classifies sequences of vectors: raw (T_i, F) tables in, `[{"label", "score"}]` out.

    The feature extractor checks, scales and pads; give the pipeline vectors as they were before it. Parameters and
    results are those of the host's text classification pipeline, and can be set here or in each call.

    Args:
        model: A sequence classifier that reads `input_features`. Predicting leaves it in evaluation mode.
        feature_extractor: Prepares the vectors, such as a `SequenceVectorFeatureExtractor`.
        top_k: How many labels to return, best first; `None`: all. Not given: the best label alone.
        function_to_apply: Logits to scores: `"softmax"`, `"sigmoid"` or `"none"`. Not given: `"none"` for regression,
            `"sigmoid"` for several labels at once or a single label, else `"softmax"`.
        truncation: Whether to cut sequences to `max_length`. Not given: the extractor's choice.
        max_length: In steps. Not given: the extractor's.
        **kwargs: The host's: `device`, `batch_size`, `num_workers`, `task`.

    Raises:
        ValueError: The model reads tokens, there is no feature extractor, or a parameter is out of its range.
        TypeError: An unknown parameter.
    """

    _load_processor = False  # type: ignore[assignment]
    _load_image_processor = False  # type: ignore[assignment]
    _load_feature_extractor = True  # type: ignore[assignment]
    _load_tokenizer = False  # type: ignore[assignment]

    feature_extractor: Any

    def __init__(self, model: PreTrainedModel, feature_extractor: Any = None, **kwargs: Any) -> None:
        if getattr(model.config, "vocab_size", None) is not None:
            raise ValueError(
                f"This {type(model).__name__} reads tokens (vocab_size={model.config.vocab_size}), but the task "
                '"sequence-classification" is for vectors. Use pipeline("text-classification", model=model, '
                "tokenizer=tokenizer)."
            )
        if feature_extractor is None:
            raise ValueError(
                "A feature extractor is needed to prepare the vectors. Pass "
                "feature_extractor=SequenceVectorFeatureExtractor(...), or save it next to the model."
            )
        kwargs.pop("local_files_only", None)  # the host's factory has used it, and hands it over
        super().__init__(model=model, feature_extractor=feature_extractor, **kwargs)

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Classify one sequence or many.

        Args:
            inputs: One sequence: a (T, F) array, tensor or nested list, or a mapping with `input_features`. Many: a
                (B, T, F) array, a list of sequences, a column or table of `datasets`, or, read lazily, a generator or
                a torch dataset.
            **kwargs: `top_k`, `function_to_apply`, `truncation`, `max_length`, `batch_size`, `num_workers`.

        Returns:
            One sequence: `[{"label", "score"}]`. Many: a list of `{"label", "score"}`, in order; for what is read
            lazily an iterator. With `top_k` each of these dicts is a list of dicts, best first.
        """
        if isinstance(inputs, (Dataset, Iterator)):
            if not isinstance(inputs, (Dataset, GeneratorType)):
                inputs = (item for item in inputs)  # the host knows generators only
            return super().__call__(inputs, **kwargs)
        many = self._as_many(inputs)
        if many is None:
            result = super().__call__(inputs if isinstance(inputs, Mapping) else {_INPUT: inputs}, **kwargs)
            return result if "top_k" in kwargs else [result]
        if isinstance(many, list):
            return super().__call__(many, **kwargs) if many else []
        return list(super().__call__((item for item in many), **kwargs))

    def _as_many(self, inputs: Any) -> Iterable[Any] | None:
        """The sequences to go through, or `None` if the input is one sequence."""
        if isinstance(inputs, Mapping) or not isinstance(inputs, Iterable):
            return None
        if hasattr(inputs, "column_names"):  # a table of `datasets`
            if _INPUT not in inputs.column_names:
                raise ValueError(
                    f"A table needs a column {_INPUT!r} of raw vectors, got the columns {inputs.column_names}. "
                    'Pass the right one: pipe(table["name"]).'
                )
            return inputs[_INPUT]  # type: ignore[index, no-any-return]
        if not isinstance(inputs, (list, tuple, torch.Tensor)):
            if not hasattr(inputs, "__array__"):
                return inputs  # a column of `datasets`
            inputs = np.asarray(inputs)
        if isinstance(inputs, (list, tuple)) and (not inputs or isinstance(inputs[0], Mapping)):
            return list(inputs)
        return list(inputs) if self.feature_extractor.is_batch(inputs) else None

    def _sanitize_parameters(
        self,
        top_k: Any = "",  # None has a meaning of its own
        function_to_apply: str | None = None,
        truncation: bool | None = None,
        max_length: int | None = None,
        **unknown: Any,
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if unknown:
            raise TypeError(
                f"{type(self).__name__} has no parameter {next(iter(unknown))!r}. It knows top_k, function_to_apply, "
                "truncation, max_length, batch_size and num_workers."
            )
        preprocess = {"truncation": truncation, "max_length": max_length}
        postprocess: dict[str, Any] = {}
        if top_k != "":
            if top_k is not None and (not isinstance(top_k, int) or top_k < 1):
                raise ValueError(f"top_k must be a whole number of at least 1, or None for all labels, got {top_k!r}.")
            postprocess.update(top_k=top_k, only_best=False)
        if function_to_apply is not None:
            function = str(getattr(function_to_apply, "value", function_to_apply)).lower()  # or the host's enum
            if function not in _SCORES:
                raise ValueError(f"function_to_apply must be one of {', '.join(_SCORES)}, got {function_to_apply!r}.")
            postprocess["function_to_apply"] = function
        return {name: value for name, value in preprocess.items() if value is not None}, {}, postprocess

    def preprocess(self, input_: Any, **extractor_parameters: Any) -> dict[str, Any]:
        """Prepare one sequence as a batch of one: `input_features` (1, T, F), `attention_mask` (1, T)."""
        if isinstance(input_, BatchFeature):
            raise ValueError(
                "A BatchFeature has been scaled and padded already. Pass the raw vectors, or call the model: "
                "model(**features)."
            )
        if isinstance(input_, Mapping):
            if _INPUT not in input_:
                raise ValueError(f"A mapping needs the key {_INPUT!r}, got the keys {list(input_)}.")
            input_ = input_[_INPUT]
        if self.feature_extractor.is_batch(input_):
            raise ValueError(
                "Each item must be one sequence, a (T, F) table, but one of them has more than two axes. Remove the "
                "axis of the batch, or pass the whole batch at once."
            )
        features = self.feature_extractor(
            input_, return_attention_mask=True, return_tensors="pt", **extractor_parameters
        )
        return dict(features.to(dtype=self.model.dtype))

    def _forward(self, input_tensors: Any, **forward_parameters: Any) -> SequenceClassifierOutput:
        self.model.eval()  # in training mode dropout would make the answer random
        if "use_cache" in inspect.signature(self.model.forward).parameters:
            forward_parameters["use_cache"] = False
        # Only the logits: the host would take states apart along an axis that need not be that of the sequences.
        return SequenceClassifierOutput(logits=self.model(**input_tensors, **forward_parameters).logits)

    def postprocess(  # type: ignore[override]
        self,
        model_outputs: Any,
        function_to_apply: str | None = None,
        top_k: int | None = 1,
        only_best: bool = True,
    ) -> Any:
        """Turn the logits (1, L) of one sequence into labels and scores."""
        logits = model_outputs["logits"][0].float()
        scores = _SCORES[function_to_apply or self._usual_function()](logits).tolist()
        id2label: Any = self.model.config.id2label
        ranked = sorted(
            ({"label": id2label[index], "score": score} for index, score in enumerate(scores)),
            key=lambda entry: entry["score"],
            reverse=True,
        )
        return ranked[0] if only_best else ranked[:top_k]

    def _usual_function(self) -> str:
        config = self.model.config
        if config.problem_type == "regression":
            return "none"
        if config.problem_type == "multi_label_classification" or config.num_labels == 1:
            return "sigmoid"
        return "softmax"

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Save the model and the feature extractor, and this file only if the directory is meant to carry its code.

        That is after `register_for_auto_class()` of the model. The host would always name this file in `config.json`,
        and the directory would then load with `trust_remote_code=True` only, even where the package is installed.

        Args:
            save_directory: Is created if it does not exist.
            **kwargs: The host's, such as `push_to_hub`.
        """
        notes = vars(self.model.config)
        # A config that came from such a directory names that directory's file, in a form that cannot be saved.
        notes.pop("custom_pipelines", None)
        if getattr(type(self.model), "_auto_class", None) is None:
            self.model.save_pretrained(save_directory, **kwargs)
            self.feature_extractor.save_pretrained(save_directory, **kwargs)
            return
        # What registering would leave on the class; a class that was loaded from a directory has not been registered.
        self._registered_impl = {_TASK: {"impl": type(self), "pt": (AutoModelForSequenceClassification,)}}
        super().save_pretrained(save_directory, **kwargs)
        notes.pop("custom_pipelines", None)  # the next directory may be saved without the file
