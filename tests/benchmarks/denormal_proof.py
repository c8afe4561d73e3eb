"""What flushing denormals brings: the same training step with and without it."""

from lockstep import lockstep
from real_data import Loads
from report import Aim, Section, Table, figure, seconds
from textbook import CELLS

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
        times = lockstep(loads.long, cell, ways, loads.rounds, BATCH)
        rows.extend([cell, WAYS[way], seconds(times[way]), figure(times[way] / times["ours"])] for way in ways)
        absolute = f"{seconds(times['ours'])} against {seconds(times['nothing'])} a step"
        what = f"{loads.long.name}, {cell}: denormals flushed in training"
        result.aims.append(Aim(what, "the same, not flushed", times["nothing"] / times["ours"], absolute, at_least=1))
    columns = ["cell", "what is done about denormals", "a step", "of ours"]
    result.tables.append(Table(f"{loads.long.name}: {loads.long.model}, B {BATCH}", columns, rows))
    return result
