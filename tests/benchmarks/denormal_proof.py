"""What flushing denormals brings: the same training step with and without it, each in a process of its own.

The processes wait for each other: in every round each of them makes one step while the others rest.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from loads import Load
from real_data import Loads
from report import Aim, Section, Table, figure, seconds
from textbook import CELLS, Padded, adamw, ours, step

from transformers_rnn import modeling_rnn

WAYS = {
    "ours": "ours, `denormals.py`: by itself, in the midst of the process",
    "nothing": "nothing (ours, with `denormals.py` switched off)",
    "late": "`torch.set_flush_denormal(True)` after the worker threads have started",
    "first": "`torch.set_flush_denormal(True)` before anything else",
}
BATCH = 16
INTRO = (
    f"One training step of our model on {BATCH} long reviews, from torch's default initialisation, classifying from "
    "the last outputs: the gradient fades on its way back until its numbers are denormal."
)


def section(loads: Loads) -> Section:
    """The long load: all ways for the LSTM, with and without for the other cells."""
    result = Section("Denormal numbers", INTRO)
    rows = []
    for cell in ["LSTM"] if loads.quick else CELLS:
        print(f"  {cell}", flush=True)
        ways = list(WAYS) if cell == "LSTM" and not loads.quick else ["ours", "nothing"]
        times = _lockstep(loads.long, cell, ways, loads.rounds)
        rows.extend([cell, WAYS[way], seconds(times[way]), figure(times[way] / times["ours"])] for way in ways)
        absolute = f"{seconds(times['ours'])} against {seconds(times['nothing'])} a step"
        what = f"{loads.long.name}, {cell}: denormals flushed in training"
        result.aims.append(Aim(what, "the same, not flushed", times["nothing"] / times["ours"], absolute, at_least=1))
    columns = ["cell", "what is done about denormals", "a step", "of ours"]
    result.tables.append(Table(f"{loads.long.name}: {loads.long.model}, B {BATCH}", columns, rows))
    return result


def _lockstep(load: Load, cell: str, ways: list[str], rounds: int) -> dict[str, float]:
    """The median seconds of a step of each way."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model_and_batch.pt"
        full = load.grouped_batches[0][:BATCH]
        torch.save((Padded(load, cell), load.batch(full)), file)
        children = {
            way: subprocess.Popen(
                [sys.executable, __file__, way, str(file)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for way in ways
        }
        times: dict[str, list[float]] = {way: [] for way in ways}
        for child in children.values():
            child.stdout.readline()  # ready
        for _ in range(rounds):
            for way, child in children.items():
                print(file=child.stdin, flush=True)
                times[way].append(float(child.stdout.readline()))
        for child in children.values():
            child.communicate()
    return {way: median(values) for way, values in times.items()}


def child(way: str, file: str) -> None:
    """Make one training step for every line that comes in, and print the seconds it took."""
    if way == "first":
        torch.set_flush_denormal(True)
    torch.randn(512, 512) @ torch.randn(512, 512)  # starts the worker threads
    if way == "late":
        torch.set_flush_denormal(True)
    if way != "ours":
        modeling_rnn.flush_denormals = lambda: None
    padded, batch = torch.load(file, weights_only=False)
    model = ours(padded)
    optimizer = adamw(model)
    for _ in range(3):
        step(model, optimizer, batch.cut(16))
    print("ready", flush=True)
    for _ in sys.stdin:
        begin = perf_counter()
        step(model, optimizer, batch)
        print(perf_counter() - begin, flush=True)


if __name__ == "__main__":
    child(*sys.argv[1:])
