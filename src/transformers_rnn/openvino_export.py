"""A model -> a directory that runs on OpenVINO, checked against the model before it is kept."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from .export_check import TOLERANCE, check_answers
from .modeling_rnn import RNNForSequenceClassification
from .onnx_builder import require
from .onnx_export import check_merged, check_processor, rounded, save_beside
from .openvino_graph import build_openvino_graph

FILE = "model.xml"


def export_openvino(
    model: RNNForSequenceClassification,
    path: "str | os.PathLike[str]",
    processing_class: Any = None,
    *,
    with_state: bool = False,
) -> Path:
    """Write a model as OpenVINO's intermediate representation, with dynamic B and T.

    Inputs and outputs are those of `export_onnx`. Nothing is refused in it: a mask with holes, a row without a step
    and an id outside the vocabulary have logits that are no numbers. What the file answers is compared with what the
    model answers, each time, on random batches; a file that differs by more than 1e-5 is not kept.

    OpenVINO rounds to bfloat16 by itself where the processor has it. The model's own answers need
    `compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})`.

    Args:
        model: Any; it is not changed.
        path: A directory, which also gets `config.json` (labels and calibration) and what `processing_class` saves; or
            a file that ends in `.xml`, which is all then but for its `.bin`.
        processing_class: The tokenizer or feature extractor.
        with_state: As of `export_onnx`. OpenVINO adds up in float32 what is float64 there: the mean of a very long
            stream is less exact.

    Returns:
        The path of the `.xml`; the weights are in the `.bin` beside it.

    Raises:
        ImportError: onnx or openvino is not installed; with the command that installs them.
        ValueError: Adapters that are not merged, `with_state` for a model of both directions, or a tokenizer or
            feature extractor that does not fit the model or cannot be read without the library.
        ExportError: The file answers otherwise than the model, or `tokenizer.json` reads otherwise than the tokenizer.
    """
    check_merged(model)
    check_processor(model, processing_class)
    openvino, _ = (require(module, "openvino") for module in ("openvino", "onnx"))
    model = rounded(model)
    graph = openvino.Core().read_model(build_openvino_graph(model, with_state).SerializeToString())
    alone = os.fspath(path).endswith(".xml")
    file = Path(path) if alone else Path(path) / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial.xml")
    try:
        openvino.save_model(graph, partial, compress_to_fp16=False)
        check_openvino(model, partial)
        if not alone:
            save_beside(model, processing_class, file.parent)
        for suffix in (".bin", ".xml"):
            partial.with_suffix(suffix).replace(file.with_suffix(suffix))
    finally:
        for suffix in (".bin", ".xml"):
            partial.with_suffix(suffix).unlink(missing_ok=True)
    return file


def check_openvino(
    model: RNNForSequenceClassification, path: "str | os.PathLike[str]", tolerance: float = TOLERANCE
) -> float:
    """Compare a file with the model it came from, on random batches or streams.

    Args:
        model: In evaluation mode, float32.
        path: Of the `.xml`.
        tolerance: The largest difference that is let pass.

    Returns:
        The largest difference, in units of the largest logit (or 1).

    Raises:
        ImportError: openvino is not installed.
        ExportError: It is above the tolerance.
    """
    choices = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()}
    core = require("openvino", "openvino").Core()
    graph = core.read_model(os.fspath(path))
    compiled, names = core.compile_model(graph, "CPU", choices), [output.any_name for output in graph.outputs]

    def answer(inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        return [value.copy() for value in compiled(dict(inputs)).to_tuple()]

    return check_answers(model, answer, names, tolerance)
