"""The host's text classification for our models: batches of like lengths, and calibrated answers."""

import os
from collections.abc import Mapping
from typing import Any

from transformers.pipelines.text_classification import TextClassificationPipeline

from .configuration_rnn import RNNConfig
from .pipeline import SortedPipeline

_PLAIN = {"truncation", "max_length", "add_special_tokens"}  # what the tokenizer does alike for one text and for many


class RNNTextClassificationPipeline(SortedPipeline, TextClassificationPipeline):  # type: ignore[misc]
    """What `pipeline("text-classification")` makes for our models; for any other it makes the host's own pipeline.

    Parameters and results are the host's. With a `batch_size`, texts are tokenized together and sorted by length
    inside a window of 50 batches, so that hardly any padding is computed, and the answers come back in the order of
    the texts. The config's `temperature` and `abstain_below` are applied, and there are the parameters `threshold`
    and `abstain_below` of [`SequenceClassificationPipeline`].

    Args:
        model: A model of tokens.
        **kwargs: The host's: `tokenizer`, `device`, `batch_size`, `top_k`, `function_to_apply`, the tokenizer's own.

    Raises:
        ValueError: `threshold` or `abstain_below` is out of its range or does not fit the problem type.
    """

    def __new__(cls, *args: Any, model: Any = None, **kwargs: Any) -> Any:
        if model is not None and getattr(model.config, "model_type", None) != RNNConfig.model_type:
            return TextClassificationPipeline(*args, model=model, **kwargs)  # is no instance, so __init__ is not run
        return super().__new__(cls)

    def __call__(self, inputs: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Classify one text or many, as the host does; with `threshold` one text gives one list of labels."""
        result: Any = super().__call__(inputs, **kwargs)
        wrapped = isinstance(inputs, str) and "top_k" not in kwargs
        return result[0] if wrapped and kwargs.get("threshold") is not None else result

    def _sanitize_parameters(  # type: ignore[override]
        self, threshold: Any = "", abstain_below: Any = "", **parameters: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        preprocess, forward, postprocess = super()._sanitize_parameters(**parameters)
        postprocess.pop("_legacy", None)
        if "function_to_apply" in postprocess:
            postprocess["function_to_apply"] = postprocess["function_to_apply"].value
        return preprocess, forward, postprocess | self._choices(threshold=threshold, abstain_below=abstain_below)

    def _rows(self, texts: list[Any], **parameters: Any) -> list[dict[str, Any]]:
        if parameters.get("padding") in (True, "longest", False, "do_not_pad"):
            parameters.pop("padding")  # does nothing to one text, and is done to each batch
        usual = all(isinstance(text, str) or (isinstance(text, Mapping) and _is_pair(text)) for text in texts)
        if usual and parameters.keys() <= _PLAIN:
            return super()._rows(texts, **parameters)
        prepared = (self.preprocess(text, **parameters) for text in texts)
        return [{name: values[0].tolist() for name, values in inputs.items()} for inputs in prepared]

    def preprocess(self, input_: Any, **parameters: Any) -> Any:  # type: ignore[override]
        """Ids and mask of one text, (1, T) each."""
        return super().preprocess(input_, **{"verbose": False, **parameters})  # why is said in `_rows` of the base

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:
        """Save the model and its tokenizer, as the host does.

        Args:
            save_directory: Is created if it does not exist.
            **kwargs: The host's, such as `push_to_hub`.
        """
        # A config from a directory with code names that directory's pipeline, in a form that cannot be saved.
        vars(self.model.config).pop("custom_pipelines", None)
        super().save_pretrained(save_directory, **kwargs)


def _is_pair(text: Mapping[str, Any]) -> bool:
    return isinstance(text.get("text"), str) and text.keys() <= {"text", "text_pair"}
