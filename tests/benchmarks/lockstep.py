"""The same training step in several ways, each in a process of its own.

The processes wait for each other: in every round each of them makes one step while the others rest.
"""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from loads import Load
from textbook import Padded, adamw, ours, step

from transformers_rnn import modeling_rnn


def lockstep(load: Load, cell: str, ways: Sequence[str], rounds: int, batch_size: int) -> dict[str, float]:
    """The median seconds of a training step of our model on long reviews, in each way."""
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model_and_batch.pt"
        rows = [row for batch in load.grouped_batches for row in batch][:batch_size]
        torch.save((Padded(load, cell), load.batch(rows)), file)
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
    if way in ("nothing", "late", "first"):
        modeling_rnn.flush_denormals = lambda: None
    if way == "handed back":
        modeling_rnn.keep_freed_memory = lambda: None
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
