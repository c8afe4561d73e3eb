"""What `import transformers_rnn` costs above the libraries it stands on, in fresh processes."""

import subprocess
import sys
from statistics import median

from real_data import Loads
from report import Aim, Section, Table, seconds

BEFORE = {
    "`import torch, transformers`": "import torch, transformers",
    "`from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, pipeline`": (
        "import torch; from transformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, pipeline"
    ),
}
CODE = """
from time import perf_counter
begin = perf_counter()
{before}
between = perf_counter()
import transformers_rnn
print(between - begin, perf_counter() - between)
"""
INTRO = (
    "The host loads its own modules when they are first asked for: after a bare `import transformers` our import "
    "carries what any use of its models needs; after the names that every script imports it carries our own only."
)


def section(loads: Loads) -> Section:
    """Fresh processes, in turn."""
    result = Section("Import time", INTRO)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in BEFORE}
    for _ in range(loads.rounds):
        for name, code in BEFORE.items():
            command = [sys.executable, "-c", CODE.format(before=code)]
            printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            times[name].append((float(printed[0]), float(printed[1])))
    rows = []
    for name, each in times.items():
        before, own = (median(part) for part in zip(*each, strict=True))
        rows.append([name, seconds(before), seconds(own)])
        absolute = f"{seconds(own)} after {seconds(before)}"
        result.aims.append(Aim("Import time above", name, own, absolute, at_most=0.2, unit=" s"))
    result.tables.append(Table("Seconds", ["before", "that takes", "then `import transformers_rnn`"], rows))
    return result
