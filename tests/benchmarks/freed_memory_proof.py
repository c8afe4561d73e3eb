"""What keeping freed memory brings: the same training step with and without it."""

from lockstep import lockstep
from real_data import Loads
from report import Aim, Section, Table, figure, seconds
from textbook import CELLS

WAYS = {
    "ours": "ours: kept in the process while the model trains",
    "handed back": "ours, with `freed_memory.py` switched off",
}
BATCH = 64
INTRO = (
    f"One training step of our model on {BATCH} long reviews. The C library hands large blocks back to the system as "
    "soon as they are freed, and the system zeroes their pages anew at the next batch."
)


def section(loads: Loads) -> Section:
    """The long load, all cells."""
    result = Section("Freed memory", INTRO)
    rows = []
    for cell in CELLS:
        print(f"  {cell}", flush=True)
        times = lockstep(loads.long, cell, list(WAYS), loads.rounds, BATCH)
        ratio = times["handed back"] / times["ours"]
        rows.append([cell, *(seconds(times[way]) for way in WAYS), figure(ratio)])
        absolute = f"{seconds(times['ours'])} against {seconds(times['handed back'])} a step"
        what = f"{loads.long.name}, {cell}: freed memory kept in training"
        result.aims.append(Aim(what, "the same, handed back", ratio, absolute, at_least=1))
    columns = ["cell", *WAYS.values(), "ratio"]
    result.tables.append(Table(f"{loads.long.name}: {loads.long.model}, B {BATCH}", columns, rows))
    return result
