"""Long sequences: the memory that training takes, in pieces (TBPTT) and whole, each in a process of its own."""

import json
import subprocess
import sys
import tempfile

from real_data import Loads
from report import Aim, Section, Table

PIECE, BATCH, HIDDEN = 1000, 4, 128
INTRO = (
    f"One step of the optimizer on {BATCH} sequences of one feature, one GRU layer of {HIDDEN} units, pooling `mean`, "
    f"streamed in by `datasets`; `TBPTTTrainer` in pieces of {PIECE:,} steps, and the host's `Trainer`, which keeps "
    "the activations of all steps. Memory is the peak of the process above what it held before training; the pools of "
    "the allocator fill up in the first ten pieces or so, and then it stays. Measured with one thread."
)
TRAIN = """
import json, re, sys
from pathlib import Path
from time import perf_counter
import numpy as np
from datasets import IterableDataset
from transformers import Trainer, TrainingArguments
from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor
from transformers_rnn.tbptt import TBPTTTrainer

length, piece, batch, hidden = map(int, sys.argv[1:])

def series(length, rows):
    for row in range(rows):
        yield {"input_features": np.random.randn(length, 1).astype("float32"), "labels": row % 2}

def train(length):
    stream = IterableDataset.from_generator(series, gen_kwargs={"length": length, "rows": batch}).with_format("numpy")
    model = RNNForSequenceClassification(RNNConfig(input_size=1, hidden_size=hidden, cell_type="gru", pooling="mean"))
    arguments = TrainingArguments("out", max_steps=1, per_device_train_batch_size=batch, use_cpu=True, report_to=[],
                                  disable_tqdm=True, save_strategy="no", dataloader_pin_memory=False)
    kind, options = (TBPTTTrainer, {"piece_length": piece}) if piece else (Trainer, {})
    extractor = SequenceVectorFeatureExtractor(feature_size=1)
    kind(model, arguments, train_dataset=stream, processing_class=extractor, **options).train()

def peak():  # of this process alone; ru_maxrss begins with its parent's
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

train(10)
before = peak()
begin = perf_counter()
train(length)
took = perf_counter() - begin
print(json.dumps([peak() - before, took]))
"""


def section(loads: Loads) -> Section:
    """5,000 to 100,000 steps in pieces; whole only as far as is bearable."""
    first, short, long = (2_000, 3_000, 4_000) if loads.quick else (5_000, 20_000, 100_000)
    whole = short // 10  # the time of torch's own backward grows with the square of the length
    runs = {("in pieces", length): PIECE for length in (first, short, long)}
    runs |= {("whole", whole): 0, ("whole", 2 * whole): 0}
    found, rows = {}, []
    for (how, length), piece in runs.items():
        grown, took = found[how, length] = _run(length, piece)
        rows.append([how, f"{length:,}", f"{grown:.0f} MiB", f"{length * BATCH * 4 / 2**20:.1f} MiB", f"{took:.1f} s"])
        print(f"  {rows[-1]}", flush=True)
    (small, _), (large, _) = found["in pieces", short], found["in pieces", long]
    result = Section("Long sequences", INTRO)
    result.aims.append(
        Aim(
            f"TBPTT, {long:,} steps: memory of training",
            f"{short:,} steps",
            large / small,
            f"{large:.0f} MiB against {small:.0f} MiB (whole, {2 * whole:,} steps: {found['whole', 2 * whole][0]:.0f} MiB)",
            at_most=1.25,
        )
    )
    columns = ["back-propagation", "steps", "memory", "of it at least the sequences", "time"]
    result.tables.append(Table("One step of the optimizer", columns, rows))
    return result


def _run(length: int, piece: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-c", TRAIN, *map(str, (length, piece, BATCH, HIDDEN))]
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True)
    grown, took = json.loads(done.stdout.splitlines()[-1])
    return grown, took
