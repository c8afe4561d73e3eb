"""What a section hands back, and how it becomes Markdown in RESULTS.md and in the README."""

import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch

AIM_COLUMNS = ("what", "against", "aim", "result", "", "absolute")
PACKAGES = ("transformers-rnn", "transformers", "torch", "onnxruntime", "accelerate", "tokenizers", "numpy")


@dataclass(frozen=True)
class Aim:
    """One headline figure.

    Args:
        what: What was measured.
        against: The named alternative.
        result: The ratio, or what else the aim is about.
        absolute: The same in seconds, bytes or operations.
        at_least: The aim, if it is a lower bound.
        at_most: The aim, if it is an upper bound.
        unit: Behind the result, `"x"` for "times as fast".
    """

    what: str
    against: str
    result: float
    absolute: str
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "x"

    def cells(self) -> list[str]:
        """The row of the table."""
        if self.at_least is not None:
            aim, met = f">= {self.at_least:g}{self.unit}", self.result >= self.at_least
        elif self.at_most is not None:
            aim, met = f"<= {self.at_most:g}{self.unit}", self.result <= self.at_most
        else:
            aim, met = "-", None
        verdict = "" if met is None else "met" if met else "**missed**"
        return [self.what, self.against, aim, f"{figure(self.result)}{self.unit}", verdict, self.absolute]


@dataclass(frozen=True)
class Table:
    """A table with a heading; numbers are cells as they are, or formatted by the section."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""

    def markdown(self) -> str:
        """As Markdown."""
        note = f"\n\n{self.note}" if self.note else ""
        return f"### {self.title}\n\n{grid(self.columns, self.rows)}{note}"


@dataclass
class Section:
    """What a module of this folder measured."""

    title: str
    intro: str = ""
    aims: list[Aim] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)

    def markdown(self) -> str:
        """As Markdown, the aims between markers so that the README can take them."""
        aims = grid(AIM_COLUMNS, [aim.cells() for aim in self.aims])
        parts = [f"## {self.title}", self.intro, f"<!-- aims -->\n{aims}\n<!-- /aims -->" if self.aims else ""]
        return "\n\n".join([part for part in parts if part] + [table.markdown() for table in self.tables])


def grid(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def figure(value: float) -> str:
    """Three significant figures, never in powers of ten."""
    if value == 0:
        return "0"
    digits = max(0, 2 - int(torch.tensor(abs(value)).log10().floor()))
    return f"{value:,.{digits}f}"


def seconds(value: float) -> str:
    """A duration with its unit."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if value * factor >= 1:
            return f"{figure(value * factor)} {unit}"
    return f"{figure(value * 1e9)} ns"


def between(text: str, name: str) -> list[str]:
    """What stands between `<!-- name -->` and `<!-- /name -->`, each time it does."""
    return [part.strip() for part in re.findall(f"<!-- {name} -->(.*?)<!-- /{name} -->", text, flags=re.DOTALL)]


def fill(text: str, name: str, content: str) -> str:
    """Put content between the markers of a name; where there are none, append them."""
    block = f"<!-- {name} -->\n{content.strip()}\n<!-- /{name} -->"
    if not between(text, name):
        return f"{text.rstrip()}\n\n{block}\n" if text else f"{block}\n"
    return re.sub(f"<!-- {name} -->.*?<!-- /{name} -->", lambda _: block, text, count=1, flags=re.DOTALL)


def fill_readme(readme: str, results: str) -> str:
    """Collect the aims of all sections in RESULTS.md into the README's "How fast"."""
    rows = [line for aims in between(results, "aims") for line in aims.splitlines()[2:]]
    facts = " ".join(between(results, "facts"))
    content = (
        "Each figure is a ratio against a named alternative with the same weights, data and threads, measured in turn "
        "in one run; `<=` aims are ratios of cost. Everything else, also what loses, is in "
        f"[`tests/benchmarks/RESULTS.md`](tests/benchmarks/RESULTS.md).\n\n{facts}\n\n"
        + "\n".join([grid(AIM_COLUMNS, []), *rows])
    )
    if not between(readme, "how-fast"):
        heading = "## How fast\n\n<!-- how-fast -->\n<!-- /how-fast -->\n\n"
        parts = readme.partition("## Licence")
        readme = f"{parts[0]}{heading}{parts[1]}{parts[2]}"
    return fill(readme, "how-fast", content)


def facts() -> str:
    """The machine and the versions, in one line."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"Measured on {_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {memory:.0f} GB, "
        f"{platform.system()}, Python {platform.python_version()}, {versions}; float32 throughout."
    )


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*: (.*)", described.read_text()) if described.exists() else []
    vectors = torch.backends.cpu.get_cpu_capability()
    return f"{names[0] if names else platform.machine()} ({vectors})"
