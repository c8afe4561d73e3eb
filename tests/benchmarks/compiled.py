"""`torch.compile` of inference and of the training step, against the same model as it is."""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from time import perf_counter
from typing import Any

import torch
from loads import Batch, Load
from measure import Contender, interleave, repeated
from real_data import Loads
from report import Aim, Section, Table, figure, seconds
from textbook import CELLS, Padded, adamw, loss_of, ours, step

from transformers_rnn.denormals import restore_denormals

INTRO = (
    "`torch.compile(model, dynamic=True)` with torch's default backend, inductor, and "
    "`torch._dynamo.config.capture_scalar_outputs = True`, against the same model not compiled, on one batch from the "
    "middle of a window. Compiled, the recurrence is a scan, step by step; not compiled, it is torch's fused kernel, or "
    "for GRU and RNN in training our own steps. The training step is forward, loss, backward and AdamW. The largest "
    "difference is that of the logits, or of the gradients of one parameter, in units of its largest number. The "
    "compiler works anew, without anything cached."
)
COLUMNS = ["cell", "what", "as it is", "compiled", "as it is / compiled", "compiling", "largest difference"]
TOLERANCE = 1e-4  # of float32 over hundreds of steps


def section(loads: Loads) -> Section:
    """Short text and vectors, all three cells."""
    result = Section("Compiled", INTRO)
    settings = torch._dynamo.config.patch(capture_scalar_outputs=True)
    with settings, torch._inductor.config.patch(force_disable_caches=True):
        for load in (loads.short, loads.vectors):
            rows = []
            for cell in CELLS:
                print(f"  {load.name}, {cell}", flush=True)
                for what, (times, compiling, worst) in measure(load, cell, loads).items():
                    ratio = times["as it is"] / times["compiled"]
                    cells = [seconds(times["as it is"]), seconds(times["compiled"]), figure(ratio), seconds(compiling)]
                    rows.append([cell, what, *cells, f"{worst:.1e}"])
                    absolute = f"{seconds(times['compiled'])} against {seconds(times['as it is'])}"
                    result.aims.append(Aim(f"{load.name}, {cell}, compiled: {what}", "not compiled", ratio, absolute))
            result.tables.append(Table(f"{load.name}: {load.model}, B {load.batch_size}", COLUMNS, rows))
    return result


def measure(load: Load, cell: str, loads: Loads) -> dict[str, tuple[dict[str, float], float, float]]:
    """Times, seconds to compile and largest difference, of inference and of the training step."""
    torch._dynamo.reset()
    batch = load.batch(load.grouped_batches[len(load.grouped_batches) // 2])
    torch.manual_seed(0)
    plain = ours(Padded(load, cell))
    models = {"as it is": plain, "compiled": torch.compile(copy.deepcopy(plain), dynamic=True)}
    at_least = 0.0 if loads.quick else 0.2
    found = {}
    for training, what in ((False, "inference"), (True, "training step")):
        for model in models.values():
            model.train(training)
        restore_denormals()
        with nullcontext() if training else torch.inference_mode():
            answer = gradients if training else logits
            compiling = timed(lambda run=answer: run(models["compiled"], batch))
            worst = difference(answer(models["compiled"], batch), answer(plain, batch), f"{load.name}, {cell}, {what}")
            contenders = {name: contender(model, batch, training, at_least) for name, model in models.items()}
            found[what] = (interleave(contenders, loads.rounds), compiling, worst)
    return found


def logits(model: Any, batch: Batch) -> list[torch.Tensor]:
    """In a list."""
    return [model(**batch.inputs()).logits]


def gradients(model: Any, batch: Batch) -> list[torch.Tensor]:
    """Of every parameter."""
    model.zero_grad()
    loss_of(model, batch).backward()
    return [parameter.grad.clone() for parameter in model.parameters()]


def contender(model: Any, batch: Batch, training: bool, at_least: float) -> Contender:
    """Forward passes or training steps."""
    if not training:
        return repeated(lambda: model(**batch.inputs()), at_least)
    optimizer = adamw(model)
    return repeated(lambda: step(model, optimizer, batch), at_least)


def difference(found: list[torch.Tensor], expected: list[torch.Tensor], name: str) -> float:
    """In units of the largest number of each tensor."""
    pairs = zip(found, expected, strict=True)
    worst = max(float((mine - theirs).abs().max() / theirs.abs().max()) for mine, theirs in pairs)
    if not worst <= TOLERANCE:
        raise ValueError(f"{name}: compiled, the model differs by {worst:.1e}.")
    return worst


def timed(run: Callable[[], object]) -> float:
    """Seconds of a run."""
    begin = perf_counter()
    run()
    return perf_counter() - begin
