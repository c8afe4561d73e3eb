"""A model -> a `torch.export` program with dynamic batch and length, checked against the model before it is kept."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .export_check import check_batches
from .modeling_rnn import RNNForSequenceClassification
from .onnx_export import check_processor, rounded, save_beside

FILE = "model.pt2"
_LARGEST_BATCH, _LONGEST = 2**16, 2**20


class _Logits(nn.Module):
    """Tensors in, a tensor out: a program that loads where this package is not installed."""

    def __init__(self, model: RNNForSequenceClassification) -> None:
        super().__init__()
        self.model, self.name = model, model.main_input_name

    def forward(self, sequence: Tensor, attention_mask: Tensor) -> Tensor:
        inputs = {self.name: sequence, "attention_mask": attention_mask}
        return self.model(**inputs, return_dict=False)[0]  # type: ignore[no-any-return]


def export_program(
    model: RNNForSequenceClassification, path: "str | os.PathLike[str]", processing_class: Any = None
) -> Path:
    """Write a model as a program of `torch.export`, for C++, AOTInductor and whatever else takes one.

    `torch.export.load(path).module()` takes `sequence`, ids (B, T) or scaled vectors (B, T, F), and `attention_mask`
    (B, T), padded to the right or left, and gives the logits (B, L), not calibrated. It needs torch alone. Values are
    not checked in it. What it answers is compared with what the model answers, each time, on random batches.

    Args:
        model: Any; it is not changed.
        path: A directory, which also gets `config.json` and what `processing_class` saves; or a file that ends in
            `.pt2`, which is all then.
        processing_class: The tokenizer or feature extractor.

    Returns:
        The path of the program.

    Raises:
        ValueError: A tokenizer or feature extractor that does not fit the model.
        ExportError: The program answers otherwise than the model; it is not kept.
    """
    check_processor(model, processing_class)
    model = rounded(model)
    alone = os.fspath(path).endswith(".pt2")
    file = Path(path) if alone else Path(path) / FILE
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(".partial.pt2")
    try:
        torch.export.save(_trace(model), partial)
        check_program(model, partial)
        if not alone:
            save_beside(model, processing_class, file.parent)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
    return file


def check_program(model: RNNForSequenceClassification, path: "str | os.PathLike[str]") -> float:
    """Compare a saved program with the model it came from, on random batches.

    Args:
        model: In evaluation mode, float32.
        path: Of the program.

    Returns:
        The largest difference, in units of the largest logit (or 1).

    Raises:
        ExportError: It is above 1e-5.
    """
    program = torch.export.load(os.fspath(path)).module()

    def run(inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in inputs.items()}
        tensors["sequence"] = tensors.pop(model.main_input_name)
        return program(**tensors).numpy()  # type: ignore[no-any-return]

    return check_batches(model, run)


@torch.no_grad()
def _trace(model: RNNForSequenceClassification) -> Any:
    config = model.config
    # Two of each: torch takes a 1 for a size that never changes.
    tokens = config.reads_tokens
    sequence = torch.zeros(2, 2, dtype=torch.long) if tokens else torch.zeros(2, 2, config.input_size)
    example = {"sequence": sequence, "attention_mask": torch.ones(2, 2, dtype=torch.long)}
    sizes = {
        0: torch.export.Dim("batch", min=1, max=_LARGEST_BATCH),
        1: torch.export.Dim("length", min=1, max=_LONGEST),
    }
    return torch.export.export(
        _Logits(model), (), kwargs=example, dynamic_shapes=dict.fromkeys(example, sizes), strict=False
    )
