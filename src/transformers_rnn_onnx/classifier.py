"""An exported directory -> answers, with the meaning that the pipelines of transformers-rnn give them."""

import json
import os
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .decisions import Decisions
from .streams import PAST, PRESENT, OnnxStream, State, initial_state
from .texts import TextReader
from .vectors import VectorReader

_FILE = "model.onnx"
_WINDOW = 50  # batches that are sorted by length together


class OnnxSequenceClassifier:
    """Classifies texts or sequences of vectors on ONNX Runtime.

    Labels, calibration and what prepares the input come from the directory; answers are those of
    `pipeline("sequence-classification")` on the model that was exported. Several threads may use one
    classifier, with the same `truncation` and `max_length`.

    Args:
        directory: What `export_onnx` wrote.
        num_threads: For one call; `None`: as many as there are cores.
        providers: ONNX Runtime's names of what computes.

    Raises:
        ImportError: onnxruntime, or for texts tokenizers, is not installed; with the command that installs it.
        FileNotFoundError: The directory holds no exported model.
        ValueError: It holds nothing that prepares the model's input.
    """

    def __init__(
        self,
        directory: "str | os.PathLike[str]",
        *,
        num_threads: int | None = None,
        providers: Sequence[str] = ("CPUExecutionProvider",),
    ) -> None:
        folder = Path(directory)
        for name in (_FILE, "config.json"):
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"{folder} holds no {name}. Make it with transformers_rnn.onnx_export.export_onnx(model, "
                    "directory, tokenizer_or_feature_extractor), or with examples/export_classifier.py."
                )
        try:
            import onnxruntime  # noqa: PLC0415 - so that its absence is told well
        except ImportError as error:
            raise ImportError(
                'An exported model needs onnxruntime. Install it with pip install "transformers-rnn[onnx]", or '
                "pip install onnxruntime where torch is not wanted."
            ) from error
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = num_threads or 0, 1
        options.log_severity_level = 4  # what goes wrong is raised
        self.session = onnxruntime.InferenceSession(str(folder / _FILE), options, providers=list(providers))
        self._inputs = {one.name: (one.type, one.shape) for one in self.session.get_inputs()}
        self._outputs = [one.name for one in self.session.get_outputs()]
        self.decisions = Decisions(config, self.session.get_outputs()[0].shape[1])
        self.reader: TextReader | VectorReader
        if config.get("vocab_size") is None:
            self.reader = VectorReader(folder, config.get("input_size", self._inputs["input_features"][1][2]))
        else:
            self.reader = TextReader(folder, config["vocab_size"])

    def __call__(
        self,
        inputs: Any,
        *,
        batch_size: int = 32,
        truncation: bool | None = None,
        max_length: int | None = None,
        top_k: Any = "",
        function_to_apply: str = "",
        threshold: Any = "",
        abstain_below: Any = "",
    ) -> Any:
        """Classify one sequence or many.

        Args:
            inputs: One sequence: a text, a mapping with `text` and `text_pair`, or a (T, F) table, raw. Many: a list
                of them, a (B, T, F) array, or any other iterable, which is read in windows of 50 batches.
            batch_size: Sequences of like lengths that are computed together.
            truncation: Whether to cut sequences to `max_length`. Not given: the reader's choice.
            max_length: In steps. Not given: the reader's.
            top_k: How many labels to return, best first; `None`: all. Not given: the best label alone.
            function_to_apply: Logits to scores: `"softmax"`, `"sigmoid"` or `"none"`. Not given: as the problem needs.
            threshold: For several labels at once: a list of the labels whose scores are above it is returned. A
                number, one for each label, or `True` for the config's `thresholds` (or 0.5).
            abstain_below: For a single label: where the best score is below it, the label is `None`. Not given: the
                config's; `None`: there is always a label.

        Returns:
            One sequence: `[{"label", "score"}]`. Many: a list of `{"label", "score"}`, in order. With `top_k` or
            `threshold` each of these dicts is a list of dicts, best first.

        Raises:
            ValueError: A choice or a sequence that makes no sense, with its number.
            FloatingPointError: Logits that are not finite.
        """
        if type(batch_size) is not int or batch_size < 1:
            raise ValueError(f"batch_size must be a whole number of at least 1, got {batch_size!r}.")
        if max_length is not None and (type(max_length) is not int or max_length < 1):
            raise ValueError(f"max_length must be a whole number of at least 1, got {max_length!r}.")
        given = {"top_k": top_k, "threshold": threshold, "abstain_below": abstain_below}
        options = self.decisions.options(**given, function_to_apply=function_to_apply)
        many = self.reader.as_many(inputs)
        items, answers = iter([inputs] if many is None else many), list[Any]()
        while window := list(islice(items, _WINDOW * batch_size)):
            rows = self.reader.read(window, truncation, max_length, len(answers))
            answers += self.decisions.answers(self._logits(rows, batch_size), options)
        return answers[0] if many is None and {"top_k", "threshold"} & options.keys() else answers

    def stream(self, **options: Any) -> OnnxStream:
        """Begin a stream, of a model that was exported with its state.

        Args:
            **options: `top_k`, `function_to_apply`, `threshold` and `abstain_below` of `__call__`.

        Raises:
            ValueError: The model was exported without its state, or an option makes no sense.
        """
        beginning = initial_state(self._inputs, 1)
        if not beginning:
            raise ValueError(
                "This model was exported without its state, so it reads whole sequences only. Export it with "
                "with_state=True; it must have one direction."
            )
        choices = self.decisions.options(**options)

        def run(piece: NDArray[Any], state: State) -> tuple[NDArray[Any], State]:
            return self._run([piece], state)

        return OnnxStream(self.reader, run, lambda logits: self.decisions.answers(logits, choices)[0], beginning)

    def _logits(self, rows: Sequence[NDArray[Any]], batch_size: int) -> NDArray[Any]:
        """(B, L), in the order of the rows; computed in batches of like lengths."""
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        logits = np.empty((len(rows), len(self.decisions.labels)), np.float32)
        for start in range(0, len(rows), batch_size):
            chosen = order[start : start + batch_size]
            state = initial_state(self._inputs, len(chosen))
            logits[chosen] = self._run([rows[index] for index in chosen], state)[0]
        return logits

    def _run(self, rows: Sequence[NDArray[Any]], state: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], State]:
        batch = self.reader.pad(rows)
        lengths = np.fromiter(map(len, rows), np.int64, len(rows))
        mask = (np.arange(batch.shape[1]) < lengths[:, None]).astype(np.int64)
        past = {PAST + name: value for name, value in state.items()}
        found = self.session.run(self._outputs, {self.reader.name: batch, "attention_mask": mask, **past})
        after = dict(zip(self._outputs, found, strict=True))
        return after.pop("logits"), {name.removeprefix(PRESENT): value for name, value in after.items()}
