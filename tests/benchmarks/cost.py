"""How time and memory grow with the work: T, B, H, layers, V; in tables, and a plot against T."""

import json
import re
import subprocess
import sys
from pathlib import Path

import torch
from measure import Contender, interleave, slope
from real_data import Loads
from report import Aim, Section, Table, figure, seconds
from torch import Tensor

from transformers_rnn import RNNConfig, RNNForSequenceClassification
from transformers_rnn.denormals import restore_denormals

PLOT = Path(__file__).parent / "cost.png"
BASE = {"T": 128, "B": 32, "H": 128, "layers": 1, "V": 10_000}
LONG = {**BASE, "B": 8}
SWEEPS = {
    "T": (64, 256, 1024, 4096, 16384),
    "B": (1, 8, 32, 128, 512),
    "H": (64, 128, 256, 512),
    "layers": (1, 2, 4, 8),
    "V": (1_000, 10_000, 100_000),
}
QUICK = {"T": (64, 128)}
TRAINING, INFERENCE = "training step", "inference"
INTRO = (
    "An LSTM in one direction over random ids, F = H, without padding; a training step includes the optimizer. One size "
    f"grows at a time, the others stay at T {BASE['T']}, B {BASE['B']} (where T grows {LONG['B']}), H {BASE['H']}, "
    f"{BASE['layers']} layer, V {BASE['V']:,}. Memory is what a process of its own needs more at its peak than before."
)


def section(loads: Loads) -> Section:
    """All sweeps."""
    result = Section("Cost as the work grows", INTRO)
    for name, values in (QUICK if loads.quick else SWEEPS).items():
        print(f"  {name}", flush=True)
        sizes = [{**(LONG if name == "T" else BASE), name: value} for value in values]
        time = {kind: _times(sizes, kind, loads.rounds) for kind in (INFERENCE, TRAINING)}
        peaks = [_peaks(size) for size in sizes]
        memory = {kind: [peak[kind] for peak in peaks] for kind in (INFERENCE, TRAINING)}
        result.tables.append(_table(name, values, time, memory))
        if name == "T":
            result.aims.extend(_aims(values, time, memory))
            if not loads.quick:
                plot(values, time, memory)
                result.intro += f" ![time and peak memory against T]({PLOT.name})"
    return result


Measured = dict[str, list[float]]


def _table(name: str, values: tuple[int, ...], time: Measured, memory: Measured) -> Table:
    rows = []
    for index, value in enumerate(values):
        row: list[object] = [f"{value:,}"]
        for kind in (INFERENCE, TRAINING):
            row += [seconds(time[kind][index]), figure(time[kind][index] / time[kind][0])]
            row += [f"{figure(memory[kind][index] / 2**20)} MB"]
        rows.append(row)
    columns = [name, INFERENCE, "of the first", "peak memory", TRAINING, "of the first", "peak memory"]
    return Table(f"Growing {name}", columns, rows)


def _aims(values: tuple[int, ...], time: Measured, memory: Measured) -> list[Aim]:
    """Exponents of cost ~ T^p."""
    aims = []
    for what, measured, show in (("time", time, seconds), ("peak memory", memory, lambda b: f"{b / 2**20:.0f} MB")):
        for kind, costs in measured.items():
            power = slope([float(value) for value in values], [max(cost, 1.0e-9) for cost in costs])
            absolute = f"{show(costs[0])} at T {values[0]}, {show(costs[-1])} at T {values[-1]:,}"
            aims.append(Aim(f"{kind}: {what} grows as T^p, p", "linear, p = 1", power, absolute, at_most=1.1, unit=""))
    return aims


class Work:
    """One model of the given sizes and one batch for it."""

    def __init__(self, T: int, B: int, H: int, layers: int, V: int) -> None:  # noqa: N803 - the notation of the project
        torch.manual_seed(0)
        self.model = RNNForSequenceClassification(
            RNNConfig(
                vocab_size=V, pad_token_id=0, input_size=H, hidden_size=H, num_hidden_layers=layers, cell_type="lstm"
            )
        )
        self.ids, self.labels = torch.randint(1, V, (B, T)), torch.randint(0, 2, (B,))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), fused=True)

    def run(self, kind: str, ids: Tensor) -> None:
        """One training step or one forward pass."""
        if kind == INFERENCE:
            self.model.eval()
            with torch.inference_mode():
                self.model(input_ids=ids)
            return
        self.model.train()
        self.model(input_ids=ids, labels=self.labels).loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def _times(sizes: list[dict[str, int]], kind: str, rounds: int) -> list[float]:
    def contender(work: Work) -> Contender:
        return Contender(lambda _: work.run(kind, work.ids), lambda _: work.run(kind, work.ids[:, :64]))

    restore_denormals()
    works = [Work(**size) for size in sizes]
    times = interleave({str(index): contender(work) for index, work in enumerate(works)}, rounds)
    restore_denormals()
    return list(times.values())


def _peaks(size: dict[str, int]) -> dict[str, float]:
    """Bytes at the peak above what the process had before, in a fresh process."""
    command = [sys.executable, __file__, json.dumps(size)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def child(size: str) -> None:
    """Print the bytes that a forward pass and a training step need at their peak above what there was before."""
    work = Work(**json.loads(size))
    peaks = {}
    for kind in (INFERENCE, TRAINING):
        work.run(kind, work.ids[:, :2])  # threads, kernels, the optimizer's state
        before = _peak(reset=True)
        work.run(kind, work.ids)
        peaks[kind] = (_peak() - before) * 1024
    print(json.dumps(peaks))


def _peak(reset: bool = False) -> int:
    """The process's largest resident size in KB, since the start or the last reset.

    Not `ru_maxrss`, which begins with that of the process that started this one and is never reset.
    """
    process = Path("/proc/self")
    if reset:
        (process / "clear_refs").write_text("5")
    return int(re.search(r"VmHWM:\s*(\d+)", (process / "status").read_text())[1])


def plot(lengths: tuple[int, ...], time: Measured, memory: Measured) -> None:
    """Draw time and memory against T, both on logarithmic axes, with a line of slope 1."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure_, axes = plt.subplots(1, 2, figsize=(8, 3.2), dpi=100, layout="constrained")
    for axis, measured, unit, factor in ((axes[0], time, "seconds", 1), (axes[1], memory, "MB", 2**-20)):
        for kind, costs in measured.items():
            axis.loglog(lengths, [cost * factor for cost in costs], "o-", label=kind)
        last = measured[TRAINING][-1] * factor
        axis.loglog(lengths, [last * length / lengths[-1] for length in lengths], "k:", label="linear in T")
        axis.set(xlabel="T (steps)", ylabel=unit)
        axis.legend()
    figure_.savefig(PLOT)
    plt.close(figure_)


if __name__ == "__main__":
    child(*sys.argv[1:])
