"""Prediction for sequences of vectors and for texts, in batches of like lengths.

The host copies this file alone next to a saved model, so it imports nothing from this package.
"""

import inspect
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset
from transformers import AutoModelForSequenceClassification, BatchFeature, Pipeline, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

_INPUT = "input_features"
_WINDOW = 50  # batches that are sorted by length together
_Options = dict[str, Any]
_OVERFLOW = "The logits must be finite, got {}: the states overflow. Shorten or scale the sequence, or train again."
_PROBLEMS = {"threshold": ("multi_label_classification",), "abstain_below": ("single_label_classification", None)}


class SortedPipeline(Pipeline):
    """What both our pipelines do: batches of like lengths; answers by the config's temperature and `abstain_below`."""

    feature_extractor: Any
    tokenizer: Any

    def get_iterator(self, inputs: Any, num_workers: int, batch_size: int, *parameters: Any) -> Any:
        """Go through many sequences: one by one or with workers as the host does, in batches sorted by length."""
        if batch_size == 1 or num_workers:
            return super().get_iterator(inputs, num_workers, batch_size, *parameters)
        return _Answers(inputs, partial(self._answer_window, batch_size, *parameters), _WINDOW * batch_size)

    def _answer_window(
        self, batch_size: int, prepare: _Options, forward: _Options, post: _Options, window: list[Any]
    ) -> list[Any]:
        """The answers to some sequences, in their order."""
        rows = self._rows(window, **prepare)
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]["attention_mask"]))
        preparer: Any = self.feature_extractor if self.tokenizer is None else self.tokenizer
        answers: list[Any] = [None] * len(rows)
        for start in range(0, len(rows), batch_size):
            chosen = order[start : start + batch_size]
            batch = preparer.pad([rows[index] for index in chosen], padding=True, return_tensors="pt")
            logits = self.forward(self._as_inputs(batch), **forward)["logits"]
            for index, answer in zip(chosen, self._answers(logits, **post), strict=True):
                answers[index] = answer
        return answers

    def _as_inputs(self, batch: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Tensors of a batch, vectors in the model's dtype."""
        return {name: x.to(self.model.dtype) if x.is_floating_point() else x for name, x in batch.items()}

    def _rows(self, texts: list[Any], **parameters: Any) -> list[dict[str, Any]]:
        """Ids of many texts or mappings with `text` and `text_pair` at once, not padded."""
        first = [item.get("text") if isinstance(item, Mapping) else item for item in texts]
        second = [item.get("text_pair") if isinstance(item, Mapping) else None for item in texts]
        for item in first:
            if not isinstance(item, str):
                raise ValueError(
                    f"A model of tokens classifies texts, got {type(item).__name__}. Pass strings, or mappings with "
                    "the key 'text'."
                )
        if None in second and any(item is not None for item in second):
            return [row for item in texts for row in self._rows([item], **parameters)]
        pairs = {} if None in second else {"text_pair": second}
        # Not verbose: the host would say that long texts end in indexing errors, which they do not here.
        choices = {"return_token_type_ids": False, "return_attention_mask": True, "verbose": False, **parameters}
        encoded = self.tokenizer(first, **pairs, **choices)
        return [{name: rows[index] for name, rows in encoded.items()} for index in range(len(texts))]

    def _forward(self, input_tensors: Any, **forward_parameters: Any) -> SequenceClassifierOutput:
        if self.model.training:
            self.model.eval()  # dropout would make the answer random
        if "use_cache" in inspect.signature(self.model.forward).parameters:
            forward_parameters["use_cache"] = False
        # Only the logits: the host would take states apart along an axis that need not be that of the sequences.
        return SequenceClassifierOutput(logits=self.model(**input_tensors, **forward_parameters).logits)

    def postprocess(self, model_outputs: Any, **parameters: Any) -> Any:
        """The logits (1, L) of one sequence -> labels and scores."""
        return self._answers(model_outputs["logits"][:1], **parameters)[0]

    def _answers(
        self,
        logits: torch.Tensor,
        function_to_apply: str | None = None,
        top_k: Any = "",  # not given: the best alone
        threshold: Any = None,
        abstain_below: Any = "",  # not given: the config's
    ) -> list[Any]:
        """Turn the logits (B, L) of many sequences into labels and scores, best first by the logits themselves."""
        config: Any = self.model.config
        function = function_to_apply or self._usual_function()
        best = top_k == "" and threshold is None
        ranked = logits.sort(dim=-1, descending=True, stable=True).indices[:, : 1 if best else None]
        temperature = 1.0 if function == "none" else getattr(config, "temperature", 1.0)
        scores = torch.from_numpy(_scores(function, logits.float().numpy() / np.float32(temperature)))
        limit = getattr(config, "abstain_below", None) if abstain_below == "" else abstain_below
        limit = -math.inf if limit is None or function == "none" else limit
        above = None if threshold is None else (scores > torch.tensor(threshold)).gather(-1, ranked).tolist()
        rows = zip(ranked.tolist(), scores.gather(-1, ranked).tolist(), strict=True)
        answers: list[Any] = []
        for number, (indices, values) in enumerate(rows):
            answer = [{"label": config.id2label[i], "score": score} for i, score in zip(indices, values, strict=True)]
            if values[0] < limit:
                answer = [{"label": None, "score": values[0]}]
            elif above is not None:
                answer = [entry for entry, given in zip(answer, above[number], strict=True) if given]
            answers.append(answer[0] if best else answer[: top_k or None])
        return answers

    def _choices(self, **given: Any) -> _Options:
        """`threshold` and `abstain_below`, checked, where they were given ("" is what was not)."""
        config: Any = self.model.config
        choices = {name: value for name, value in given.items() if not (isinstance(value, str) and not value)}
        if choices.get("threshold") is True:
            choices["threshold"] = getattr(config, "thresholds", None) or 0.5
        for name, value in choices.items():
            several = name == "threshold"
            if value is not None and config.problem_type not in _PROBLEMS[name]:
                raise ValueError(
                    f"{name} has no meaning for problem_type={config.problem_type!r}: threshold is for several labels "
                    "at once, abstain_below for a single one."
                )
            numbers = np.asarray(0 if value is None else value, dtype=float)
            shapes = {(), (config.num_labels,) if several else ()}
            if numbers.shape not in shapes or not ((numbers >= 0) & (numbers <= 1)).all():
                wanted = "True, a score from 0 to 1 or one for each label" if several else "a score from 0 to 1"
                raise ValueError(f"{name} must be {wanted}, got {value!r}.")
        return choices

    def _usual_function(self) -> str:
        config = self.model.config
        several = config.problem_type == "multi_label_classification" or config.num_labels == 1
        return "none" if config.problem_type == "regression" else "sigmoid" if several else "softmax"


class SequenceClassificationPipeline(SortedPipeline):
    """Classifies sequences of vectors, raw (T_i, F) tables, or texts: `[{"label", "score"}]` out.

    The feature extractor checks, scales and pads, so give the pipeline vectors as they were before it. Parameters and
    results are those of the host's text classification pipeline, and can be set here or in each call. With a
    `batch_size`, sequences are sorted by length inside a window of 50 batches, so that hardly any padding is computed,
    and the answers come back in the order of the sequences.

    Args:
        model: A sequence classifier that reads `input_features`, or `input_ids` if its config has a `vocab_size`.
            Predicting leaves it in evaluation mode.
        feature_extractor: Prepares vectors, such as a `SequenceVectorFeatureExtractor`.
        tokenizer: Prepares texts, for a model of tokens.
        top_k: How many labels to return, best first; `None`: all. Not given: the best label alone.
        function_to_apply: Logits to scores: `"softmax"`, `"sigmoid"` or `"none"`. Not given: `"none"` for regression,
            `"sigmoid"` for several labels at once or a single label, else `"softmax"`.
        truncation: Whether to cut sequences to `max_length`. Not given: the extractor's or tokenizer's choice.
        max_length: In steps. Not given: the extractor's or tokenizer's.
        threshold: For several labels at once: a list of the labels whose scores are above it, best first, is returned.
            A number, one for each label, or `True` for the config's `thresholds` (or 0.5).
        abstain_below: For a single label: where the best score is below it, the label is `None`. Not given: the
            config's; `None`: there is always a label. Not used on scores by `"none"`.
        **kwargs: The host's: `device`, `batch_size`, `num_workers`, `task`.

    Raises:
        ValueError: What prepares the model's kind of input is missing, or a parameter is out of its range.
        TypeError: An unknown parameter. In a call, FloatingPointError: logits that are not finite.
    """

    _load_processor = _load_image_processor = False  # type: ignore[assignment]

    def __init__(
        self, model: PreTrainedModel, feature_extractor: Any = None, tokenizer: Any = None, **kwargs: Any
    ) -> None:
        self.reads_text = getattr(model.config, "vocab_size", None) is not None
        if self.reads_text and tokenizer is None:
            raise ValueError(
                f"This {type(model).__name__} reads tokens (vocab_size={model.config.vocab_size}), so a tokenizer is "
                "needed to prepare the texts. Pass tokenizer=..., or save it next to the model."
            )
        if not self.reads_text and feature_extractor is None:
            raise ValueError(
                "A feature extractor is needed to prepare the vectors. Pass "
                "feature_extractor=SequenceVectorFeatureExtractor(...), or save it next to the model."
            )
        kwargs.pop("local_files_only", None)  # the host's factory has used it, and hands it over
        kwargs |= {"tokenizer": tokenizer} if self.reads_text else {"feature_extractor": feature_extractor}
        super().__init__(model=model, **kwargs)

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Classify one sequence or many.

        Args:
            inputs: One sequence: a (T, F) array, tensor or nested list, or a mapping with `input_features`; for a
                model of tokens a text, or a mapping with `text` and `text_pair`. Many: a (B, T, F) array, a list of
                sequences, a column or table of `datasets`, or, read lazily, a generator or a torch dataset.
            **kwargs: The parameters of the class.

        Returns:
            One sequence: `[{"label", "score"}]`. Many: a list of `{"label", "score"}`, in order; for what is read
            lazily an iterator. With `top_k` or `threshold` each of these dicts is a list of dicts, best first.
        """
        if isinstance(inputs, (Dataset, Iterator)):
            if not isinstance(inputs, Dataset):
                inputs = (item for item in inputs)  # the host knows generators only
            return super().__call__(inputs, **kwargs)
        many = self._as_many(inputs)
        if many is None:
            alone = inputs if isinstance(inputs, (Mapping, str)) else {_INPUT: inputs}
            result = super().__call__(alone, **kwargs)
            return result if {"top_k", "threshold"} & kwargs.keys() else [result]
        if isinstance(many, list):
            return super().__call__(many, **kwargs) if many else []
        return list(super().__call__((item for item in many), **kwargs))

    def _as_many(self, inputs: Any) -> Iterable[Any] | None:
        """The sequences to go through, or `None` if the input is one sequence."""
        if isinstance(inputs, (Mapping, str)) or not isinstance(inputs, Iterable):
            return None
        if hasattr(inputs, "column_names"):  # a table of `datasets`
            name = "text" if self.reads_text else _INPUT
            if name not in inputs.column_names:
                raise ValueError(
                    f"A table needs a column {name!r} of raw {'texts' if self.reads_text else 'vectors'}, got the "
                    f'columns {inputs.column_names}. Pass the right one: pipe(table["name"]).'
                )
            return inputs[name]  # type: ignore[index, no-any-return]
        if self.reads_text:
            return list(inputs)
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
        threshold: Any = "",
        abstain_below: Any = "",
        **unknown: Any,
    ) -> tuple[_Options, _Options, _Options]:
        if unknown:
            raise TypeError(
                f"{type(self).__name__} has no parameter {next(iter(unknown))!r}. It knows top_k, function_to_apply, "
                "truncation, max_length, threshold, abstain_below, batch_size and num_workers."
            )
        preprocess = {"truncation": truncation, "max_length": max_length}
        postprocess = self._choices(threshold=threshold, abstain_below=abstain_below)
        if top_k not in ("", None) and (not isinstance(top_k, int) or top_k < 1):
            raise ValueError(f"top_k must be a whole number of at least 1, or None for all labels, got {top_k!r}.")
        postprocess |= {} if top_k == "" else {"top_k": top_k}
        if function_to_apply is not None:
            function = str(getattr(function_to_apply, "value", function_to_apply)).lower()  # or the host's enum
            if function not in ("softmax", "sigmoid", "none"):
                raise ValueError(
                    f"function_to_apply must be one of softmax, sigmoid, none, got {function_to_apply!r}."
                )
            postprocess["function_to_apply"] = function
        return {name: value for name, value in preprocess.items() if value is not None}, {}, postprocess

    def _rows(self, texts: list[Any], **parameters: Any) -> list[dict[str, Any]]:
        if self.reads_text:
            return super()._rows(texts, **parameters)
        return [{name: x[0] for name, x in self._extract(item, **parameters).items()} for item in texts]

    def preprocess(self, input_: Any, **parameters: Any) -> dict[str, Any]:
        """Prepare one sequence as a batch of one: `input_features` (1, T, F) or `input_ids` (1, T), and the mask."""
        if self.reads_text:
            (row,) = self._rows([input_], **parameters)
            return {name: torch.tensor([values]) for name, values in row.items()}
        return self._as_inputs(self._extract(input_, return_tensors="pt", **parameters))

    def _extract(self, input_: Any, **parameters: Any) -> BatchFeature:
        """One sequence of vectors, checked and scaled, as a batch of one."""
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
        return self.feature_extractor(input_, return_attention_mask=True, **parameters)  # type: ignore[no-any-return]

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Save the model and what prepares its input, and this file only if the directory is meant to carry its code.

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
            (self.tokenizer if self.reads_text else self.feature_extractor).save_pretrained(save_directory, **kwargs)
            return
        # What registering would leave on the class; a class that was loaded from a directory has not been registered.
        entry = {"impl": type(self), "pt": (AutoModelForSequenceClassification,)}
        self._registered_impl = {"sequence-classification": entry}
        super().save_pretrained(save_directory, **kwargs)
        notes.pop("custom_pipelines", None)  # the next directory may be saved without the file


def _scores(function: str, logits: NDArray[Any]) -> NDArray[Any]:
    """Logits to scores by the host's own arithmetic: its pipelines give the same bits."""
    if not np.isfinite(logits).all():
        raise FloatingPointError(_OVERFLOW.format(logits[~np.isfinite(logits)][0]))
    if function == "softmax":
        grown = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return grown / grown.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]
    with np.errstate(over="ignore"):  # the score is 0 then, as it should be
        return 1 / (1 + np.exp(-logits)) if function == "sigmoid" else logits


class _Answers:
    """Answers in order, a window of inputs at a time; has a length where the inputs have one."""

    def __init__(self, inputs: Any, answer: Callable[[list[Any]], list[Any]], window: int) -> None:
        self.inputs, self.answer, self.window = inputs, answer, window

    def __len__(self) -> int:
        return len(self.inputs)

    def __iter__(self) -> Iterator[Any]:
        indexed = isinstance(self.inputs, Sized) and hasattr(self.inputs, "__getitem__")
        # A torch dataset need not be iterable.
        items = (self.inputs[index] for index in range(len(self.inputs))) if indexed else iter(self.inputs)
        while window := list(islice(items, self.window)):
            yield from self.answer(window)
