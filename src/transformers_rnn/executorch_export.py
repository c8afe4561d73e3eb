"""A model -> a program that reads a stream on ExecuTorch, step by step, checked before it is kept."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .export_check import TOLERANCE, difference
from .modeling_rnn import RNNForSequenceClassification
from .onnx_builder import require
from .onnx_export import check_merged, check_processor, rounded, write_checked
from .state import RNNState

FILE = "model.pte"
_CALLS = 40  # of a program that is checked


class _Steps(nn.Module):
    """The next steps (B, n) or (B, n, F) and a state's fields -> logits (B, L) and the next state's fields."""

    def __init__(self, model: RNNForSequenceClassification, names: Sequence[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, sequence: Tensor, *fields: Tensor) -> tuple[Tensor, ...]:
        state = RNNState(**dict(zip(self.names, fields, strict=True)))
        mask = torch.ones_like(sequence[:, :1] if sequence.ndim == 2 else sequence[:, :1, 0], dtype=torch.long)
        for step in sequence.split(1, dim=1):
            inputs = {self.model.main_input_name: step, "attention_mask": mask}
            output = self.model(**inputs, state=state, use_cache=True)
            state = output.state
        return (output.logits, *(state[name] for name in self.names))


class _Beginning(nn.Module):
    """The state of streams that have read nothing."""

    def __init__(self, state: RNNState) -> None:
        super().__init__()
        self.names = list(state)
        for name, value in state.items():
            self.register_buffer(name, value)

    def forward(self) -> tuple[Tensor, ...]:
        return tuple(self.get_buffer(name).clone() for name in self.names)


def export_executorch(
    model: RNNForSequenceClassification,
    path: "str | os.PathLike[str]",
    processing_class: Any = None,
    *,
    batch_size: int = 1,
    steps: int = 1,
) -> Path:
    """Write a model of one direction as an ExecuTorch program for phones and boards, which reads streams.

    ExecuTorch runs our recurrent layers at one shape only. So a call reads the next `steps` of `batch_size` streams:
    `state = begin()`, then as often as wanted `logits, *state = forward(sequence, *state)`; `sequence` are ids (B,
    steps) or scaled vectors (B, steps, F), and the logits (B, L), not calibrated, are of all that was read so far.
    Values are not checked in it. What it answers is compared with what the model answers, each time.

    Args:
        model: Of one direction; it is not changed.
        path: A directory, which also gets `config.json` and what `processing_class` saves; or a file that ends in
            `.pte`, which is all then.
        processing_class: The tokenizer or feature extractor.
        batch_size: B.
        steps: Of a call.

    Returns:
        The path of the program.

    Raises:
        ImportError: executorch is not installed; with the command that installs it.
        ValueError: Adapters that are not merged, a model of both directions, a size below 1, or a tokenizer or feature
            extractor that does not fit.
        ExportError: The program answers otherwise than the model; it is not kept.
    """
    check_merged(model)
    if model.config.bidirectional:
        raise ValueError(
            "A bidirectional model cannot be written for ExecuTorch: programs run at one shape, so they read streams, "
            "and the backward direction begins at the end, which a stream does not have yet. Use --format onnx or "
            "openvino, or train with bidirectional=False."
        )
    for name, size in (("batch_size", batch_size), ("steps", steps)):
        if type(size) is not int or size < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {size!r}.")
    check_processor(model, processing_class)
    exir = require("executorch.exir", "executorch")
    model = rounded(model)
    programs = _trace(model, batch_size, steps)
    # Its validity check knows torch's core operators only.
    choices = exir.EdgeCompileConfig(_check_ir_validity=False)
    content = exir.to_edge_transform_and_lower(programs, compile_config=choices).to_executorch().buffer
    check_executorch(model, content, steps=steps)
    return write_checked(content, path, FILE, model, processing_class)


@torch.no_grad()
def check_executorch(model: RNNForSequenceClassification, content: bytes, *, steps: int = 1) -> float:
    """Compare a program with the model it came from, on random streams.

    Args:
        model: In evaluation mode, float32.
        content: Of the `.pte`.
        steps: Of a call.

    Returns:
        The largest difference, in units of the largest logit (or 1).

    Raises:
        ImportError: executorch is not installed.
        ExportError: It is above 1e-5.
    """
    program = require("executorch.runtime", "executorch").Runtime.get().load_program(content)
    begin, forward = (program.load_method(name) for name in ("begin", "forward"))
    config, generator, worst = model.config, torch.Generator().manual_seed(0), 0.0
    # What a method gives is its own memory, which the next call writes anew.
    theirs = [one.clone() for one in begin.execute([])]
    rows = len(theirs[0])
    own = RNNState.initial(config, rows)
    for call in range(_CALLS):
        sequence = _sequence(model, rows, steps, generator)
        mask = torch.ones(rows, steps, dtype=torch.long)
        inputs = {model.main_input_name: sequence, "attention_mask": mask}
        expected = model(**inputs, state=own, use_cache=True)
        own = expected.state
        logits, *theirs = (one.clone() for one in forward.execute([sequence, *theirs]))
        where = f"after {(call + 1) * steps} steps of {rows} streams"
        worst = max(worst, difference(logits.numpy(), expected.logits, TOLERANCE, where))
    return worst


@torch.no_grad()
def _trace(model: RNNForSequenceClassification, batch_size: int, steps: int) -> dict[str, Any]:
    """The methods of the program, as programs of `torch.export`."""
    state = RNNState.initial(model.config, batch_size)
    sequence = _sequence(model, batch_size, steps, torch.Generator().manual_seed(0))
    return {
        "begin": torch.export.export(_Beginning(state), (), strict=False),
        "forward": torch.export.export(_Steps(model, list(state)), (sequence, *state.values()), strict=False),
    }


def _sequence(model: RNNForSequenceClassification, rows: int, steps: int, generator: torch.Generator) -> Tensor:
    config = model.config
    if config.vocab_size is None:
        return torch.randn(rows, steps, config.input_size, generator=generator)
    return torch.randint(config.vocab_size, (rows, steps), generator=generator)
