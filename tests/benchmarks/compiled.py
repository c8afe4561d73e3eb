"""`torch.compile` of inference and of the training step, against the same model as it is."""

import copy
import multiprocessing
from pathlib import Path
from queue import Empty
from time import perf_counter
from typing import Any

import torch
from measure import Contender, interleave, repeated
from real_data import Loads
from report import Aim, Section, Table, figure, seconds
from textbook import CELLS, Padded, adamw, loss_of, ours, step

from transformers_rnn.denormals import restore_denormals

PATIENCE = 600  # seconds that one cell may take, compiling and measuring
INTRO = (
    "`torch.compile(model, dynamic=True)` with its default backend (inductor), against the same model not compiled, on "
    "one batch from the middle of a window. Compiled, the recurrence is a scan, step by step; not compiled, it is torch's "
    "fused kernel, or for GRU and RNN in training our own steps. Logits and gradients are compared before anything is "
    f"timed. A cell that takes more than {PATIENCE} s to compile and measure is given up."
)
COLUMNS = ["cell", "what", "as it is", "compiled", "as it is / compiled", "compiling", "largest difference"]


def section(loads: Loads) -> Section:
    """Short and long text."""
    result = Section("Compiled", INTRO)
    for name in ("short", "long"):
        rows, load = [], getattr(loads, name)
        for cell in CELLS:
            print(f"  {load.name}, {cell}", flush=True)
            found = within_patience(loads.data, loads.quick, name, cell)
            if isinstance(found, str):
                rows.append([cell, "", "", "", "", found, ""])
                continue
            for what, (times, compiling, difference) in found.items():
                ratio = times["as it is"] / times["compiled"]
                cells = [seconds(times["as it is"]), seconds(times["compiled"]), figure(ratio), seconds(compiling)]
                rows.append([cell, what, *cells, f"{difference:.1e}"])
                if cell == "LSTM":
                    absolute = f"{seconds(times['compiled'])} against {seconds(times['as it is'])}"
                    result.aims.append(Aim(f"{load.name}, {cell}, compiled: {what}", "not compiled", ratio, absolute))
        result.tables.append(Table(f"{load.name}: {load.model}, B {load.batch_size}", COLUMNS, rows))
    return result


def within_patience(data: Path, quick: bool, name: str, cell: str) -> Any:
    """What `measure` finds, in a process of its own that can be ended; or a sentence."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=measure, args=(data, quick, name, cell, answers))
    process.start()
    try:
        return answers.get(timeout=PATIENCE)
    except Empty:
        return f"given up after {PATIENCE} s"
    finally:
        process.kill()
        process.join()


def measure(data: Path, quick: bool, name: str, cell: str, answers: Any) -> None:
    """Times, seconds to compile and largest difference, of inference and of the training step."""
    loads = Loads(data, quick)
    load = getattr(loads, name)
    batch = load.batch(load.grouped_batches[len(load.grouped_batches) // 2])
    torch.manual_seed(0)
    plain = ours(Padded(load, cell))
    twin = copy.deepcopy(plain)
    compiled = torch.compile(twin, dynamic=True)
    models = {"as it is": plain, "compiled": compiled}
    found = {}

    plain.eval()
    twin.eval()
    restore_denormals()
    with torch.inference_mode():
        expected, (logits, compiling) = (
            plain(**batch.inputs()).logits,
            timed(lambda: compiled(**batch.inputs()).logits),
        )
        runs = {key: repeated(lambda model=model: model(**batch.inputs())) for key, model in models.items()}
        found["inference"] = (interleave(runs, loads.rounds), compiling, difference(logits, expected))

    plain.train()
    twin.train()
    _, compiling = timed(lambda: loss_of(compiled, batch).backward())
    loss_of(plain, batch).backward()
    pairs = zip(plain.parameters(), twin.parameters(), strict=True)
    largest = max(difference(mine.grad, theirs.grad) for mine, theirs in pairs)
    contenders = {key: training(model, batch, flushed=key == "as it is") for key, model in models.items()}
    found["training step"] = (interleave(contenders, loads.rounds), compiling, largest)
    answers.put(found)


def training(model: Any, batch: Any, flushed: bool) -> Contender:
    """Training steps; the compiled model does not flush denormals by itself, so nobody's setting is left to it."""
    optimizer = adamw(model)
    contender = repeated(lambda: step(model, optimizer, batch))
    return (
        contender
        if flushed
        else Contender(contender.run, lambda index: (restore_denormals(), contender.before(index)))
    )


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    """In units of the largest number."""
    return float((found - expected).abs().max() / expected.abs().max())


def timed(run: Any) -> tuple[Any, float]:
    """What a run gives, and its seconds."""
    begin = perf_counter()
    return run(), perf_counter() - begin
