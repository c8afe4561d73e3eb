"""A model -> a directory that runs on ONNX Runtime, checked against the model before it is kept."""

import copy
import os
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from transformers_rnn_onnx.texts import TextReader

from .export_check import TOLERANCE, ExportError, check_answers
from .modeling_rnn import RNNForSequenceClassification
from .onnx_builder import Storage, as_stored, require
from .onnx_graph import build_graph

FILE = "model.onnx"
Quantization = Literal["int8", "int8_dynamic", "float16", "bfloat16"]
ROUGH = 0.1  # what int8 activations may change, of the largest logit
_PROBES = [
    "A plain text.",
    "It's 3 o'clock; (you) won: £1,000!!",
    "[PAD] [SEP] <s> </s>",
    "  Åse  ﬁ\t日本語 🤗\n",
    "x" * 300,
]


def export_onnx(
    model: RNNForSequenceClassification,
    path: "str | os.PathLike[str]",
    processing_class: Any = None,
    *,
    with_state: bool = False,
    quantize: Quantization | None = None,
) -> Path:
    """Write a model as an ONNX file of ONNX's own recurrent operators, with dynamic B and T.

    Inputs are `input_ids` (B, T) or `input_features` (B, T, F), already scaled, and `attention_mask` (B, T), padded
    to the right or left; the output is `logits` (B, L), not calibrated. What the file answers is compared with what
    the model answers, each time, on random batches; a file that differs by more than 1e-5 is not kept.

    Args:
        model: Any; it is not changed.
        path: A directory, which also gets `config.json` (labels and calibration) and what `processing_class` saves,
            for `transformers_rnn_onnx.OnnxSequenceClassifier`; or a file that ends in `.onnx`, which is all then.
        processing_class: The tokenizer or feature extractor.
        with_state: For one direction: whether the state of streams is an input and an output, too, the fields of
            [`RNNState`] with `past_` and `present_` before their names. They begin as `RNNState.initial` says.
        quantize: Keep weights in fewer bits: `"int8"` with a scale for each row, a quarter of the size; `"float16"` or
            `"bfloat16"`, half of it. They are widened when the file is loaded, embeddings when a row is read, so that
            no call is slower. The file is compared with a model of the rounded weights. `"int8_dynamic"`, for LSTMs:
            ONNX Runtime also rounds what it computes with, each time by the largest number of the whole batch. That is
            faster, but less exact (10 % of the largest logit is let pass), and the company of a sequence changes its
            scores a little.

    Returns:
        The path of the ONNX file.

    Raises:
        ImportError: onnx or onnxruntime is not installed; with the command that installs them.
        ValueError: Adapters that are not merged, `with_state` for a model of both directions, an unknown `quantize`,
            `"int8_dynamic"` for another cell than the LSTM, or a tokenizer or feature extractor that does not fit the
            model or cannot be read without the library.
        ExportError: The file answers otherwise than the model, or `tokenizer.json` reads otherwise than the tokenizer.
    """
    if quantize is not None and quantize not in get_args(Quantization):
        raise ValueError(
            f"quantize must be one of {', '.join(map(repr, get_args(Quantization)))} or None, got {quantize!r}."
        )
    check_merged(model)
    check_processor(model, processing_class)
    require("onnxruntime")
    storage: Storage = quantize or "float32"
    model = rounded(model, storage)
    content = build_graph(model, with_state, storage).SerializeToString()
    check_onnx(model, content, ROUGH if storage == "int8_dynamic" else TOLERANCE)
    return write_checked(content, path, FILE, model, processing_class)


def check_onnx(
    model: RNNForSequenceClassification, source: "bytes | str | os.PathLike[str]", tolerance: float = TOLERANCE
) -> float:
    """Compare an ONNX file with the model it came from, on random batches or streams.

    Args:
        model: In evaluation mode, float32.
        source: The file, or its content.
        tolerance: The largest difference that is let pass.

    Returns:
        The largest difference, in units of the largest logit (or 1).

    Raises:
        ImportError: onnxruntime is not installed.
        ExportError: It is above the tolerance.
    """
    runtime = require("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 4
    content = source if isinstance(source, bytes) else os.fspath(source)
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return check_answers(model, lambda inputs: session.run(names, dict(inputs)), names, tolerance)


def rounded(model: RNNForSequenceClassification, storage: Storage = "float32") -> RNNForSequenceClassification:
    """A copy of a model in evaluation mode, in float32 on the CPU, its weights as they come back from storage.

    Args:
        model: Is not changed.
        storage: See [`GraphBuilder`].
    """
    result: RNNForSequenceClassification = copy.deepcopy(model).cpu().float().eval()
    result.load_state_dict({name: as_stored(value, storage) for name, value in result.state_dict().items()})
    return result


def write_checked(
    content: bytes, path: "str | os.PathLike[str]", name: str, model: RNNForSequenceClassification, processor: Any
) -> Path:
    """Write an exported model, whole or not at all, and what belongs to it if it gets a directory.

    Args:
        content: Checked already.
        path: A directory, or a file that ends as `name` does, which is all then.
        name: Of the file in a directory.
        model: See [`save_beside`].
        processor: See [`save_beside`].

    Returns:
        The path of the file.
    """
    alone = os.fspath(path).endswith(Path(name).suffix)
    file = Path(path) if alone else Path(path) / name
    file.parent.mkdir(parents=True, exist_ok=True)
    if not alone:
        save_beside(model, processor, file.parent)
    partial = file.with_suffix(".partial")
    partial.write_bytes(content)
    partial.replace(file)
    return file


def check_merged(model: torch.nn.Module) -> None:
    """Refuse a model on whose weights adapters of peft stand.

    Args:
        model: Of peft, or the one below it.

    Raises:
        ValueError: It has such adapters; with the names of their modules.
    """
    foreign = [part for part in model.modules() if type(part).__module__.partition(".")[0] == "peft"]
    if foreign:
        kinds = ", ".join(sorted({type(part).__name__ for part in foreign}))
        raise ValueError(
            f"An exported file holds the weights themselves, but adapters of peft stand on them ({kinds}). Merge them "
            "first: model = model.merge_and_unload()."
        )


def check_processor(model: RNNForSequenceClassification, processing_class: Any) -> None:
    """Refuse what does not prepare the model's input, or cannot be read without the library.

    Args:
        model: Says what it reads.
        processing_class: A tokenizer, a feature extractor or `None`.

    Raises:
        ValueError: It is of the other kind, of another width, or a tokenizer without `tokenizer.json`.
    """
    if processing_class is None:
        return
    name, config = type(processing_class).__name__, model.config
    if config.reads_tokens and not getattr(processing_class, "is_fast", False):
        raise ValueError(
            f"This model reads tokens, so a fast tokenizer is needed, got {name}: only tokenizer.json can be read "
            "without the library. Pass one of train_tokenizer or AutoTokenizer."
        )
    width = getattr(processing_class, "input_size", None)
    if not config.reads_tokens and width != config.input_size:
        raise ValueError(
            f"This model reads vectors of {config.input_size} numbers, so a SequenceVectorFeatureExtractor of that "
            f"input_size is needed, got {name}{f' of {width}' if width else ''}."
        )


def save_beside(model: RNNForSequenceClassification, processing_class: Any, directory: Path) -> None:
    """Save the config and what prepares the input; a saved tokenizer must read texts as the given one does.

    Raises:
        ExportError: It does not.
    """
    model.config.save_pretrained(directory)
    if processing_class is None:
        return
    processing_class.save_pretrained(directory)
    if not model.config.reads_tokens:
        return
    tokenizer = TextReader(directory, len(processing_class)).tokenizer
    for text, pair in [*((text, None) for text in _PROBES), *pairwise(_PROBES)]:
        found, expected = tokenizer.encode(text, pair).ids, processing_class(text, pair, verbose=False)["input_ids"]
        if found != expected:
            raise ExportError(
                f"The saved tokenizer.json reads {text!r} as {found}, but the tokenizer itself as "
                f"{expected}: it does more than its file says. Use one of train_tokenizer, or another fast tokenizer."
            )
