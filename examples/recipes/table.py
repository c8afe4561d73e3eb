"""The tables of all recipes (README) and of what changes them (model_cards), of what `run.py` and `ablation.py` found.

python examples/recipes/table.py [--write]
"""

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from published import PUBLISHED

ROOT = Path(__file__).parents[2]
HEADER = (
    "data (figure)",
    "bag of words or statistics",
    "fastText",
    "default",
    "best recipe",
    "best published recurrent",
    "best of any kind",
    "parameters",
    "training (processor time)",
)
NAMES = {"accuracy": "accuracy", "macro_f1": "macro F1", "pearson": "r", "f1_spam": "F1 of spam"}
BESIDE = {"surnames": ["macro_f1"], "sms-spam": ["f1_spam"]}  # further figures, where labels are unbalanced
SPEAKER = "spoken-digits-without-"

Rows = list[dict[str, Any]]


def table(rows: Rows) -> str:
    """Markdown: means and deviations over seeds, in percent; of the held-out speakers, over all of them."""
    groups: dict[tuple[str, str], Rows] = defaultdict(list)
    for row in rows:
        name = "spoken-digits, speaker held out" if row["set"].startswith(SPEAKER) else row["set"]
        groups[name, row["recipe"]].append(row)
    lines = [_line(*HEADER), "|" + "---|" * len(HEADER)]
    for name in dict.fromkeys(name for name, _ in groups):
        recipes = [groups.get((name, recipe), []) for recipe in ("baseline", "fasttext", "default", "best")]
        main = next(rows[0]["figure"] for rows in recipes if rows)
        shown = recipes[3] or recipes[2]
        others = [*PUBLISHED.get(name, ("", "")), _parameters(shown), _seconds(shown)]
        for figure in [main, *BESIDE.get(name, [])]:
            lines.append(_line(f"{name} ({NAMES[figure]})", *(_figure(rows, figure) for rows in recipes), *others))
            others = [""] * len(others)  # they stand in the first line
    return "\n".join(lines)


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def ablation_table(rows: Rows) -> str:
    """Markdown: the default's validation figure, and what each change adds to it; the test figure in brackets."""
    groups: dict[tuple[str, str], Rows] = defaultdict(list)
    for row in rows:
        groups[row["change"], row["set"]].append(row)
    names = list(dict.fromkeys(name for _, name in groups))
    lines = [_line("change", *names), "|" + "---|" * (len(names) + 1)]
    for change in dict.fromkeys(change for change, _ in groups):
        cells = [_change(groups.get((change, name), []), groups["the default", name], change) for name in names]
        lines.append(_line(change, *cells))
    return "\n".join(lines)


def _change(rows: Rows, default: Rows, change: str) -> str:
    if not rows:
        return ""
    seeds = {row["seed"] for row in rows}
    start = 0.0 if change == "the default" else mean(row["validation"] for row in default if row["seed"] in seeds)
    found = 100 * (mean(row["validation"] for row in rows) - start)
    shown = f"{found:.1f}" if start == 0 else f"{found:+.1f}"
    return f"{shown} ({100 * mean(row['test'] for row in rows):.1f})"


def _parameters(rows: Rows) -> str:
    counts = [row["parameters"] for row in rows if "parameters" in row]
    return f"{mean(counts):,.0f}" if counts else ""


def _seconds(rows: Rows) -> str:
    took = [row["processor_seconds"] for row in rows if "processor_seconds" in row]
    return f"{mean(took):.0f} s" if took else ""


def _figure(rows: Rows, figure: str) -> str:
    values = [100 * row["test"][figure] for row in rows if figure in row["test"]]  # rivals have the main ones
    if len(values) < 2:
        return f"{values[0]:.1f}" if values else ""
    return f"{mean(values):.1f} ± {stdev(values):.1f} ({len(values)})"


def main() -> None:
    """Print both tables, or put each between the marks in its page."""
    cards = ROOT / "model_cards"
    for name, make, file, page in (
        ("recipes", table, cards / "results.jsonl", ROOT / "README.md"),
        ("ablations", ablation_table, cards / "ablations.jsonl", cards / "README.md"),
    ):
        made = make([json.loads(row) for row in file.read_text(encoding="utf-8").splitlines()])
        if "--write" not in sys.argv[1:]:
            print(made, end="\n\n")
            continue
        begin, end = f"<!-- {name}: made by examples/recipes/table.py -->", f"<!-- {name}: end -->"
        before, rest = page.read_text(encoding="utf-8").split(begin)
        page.write_text(f"{before}{begin}\n\n{made}\n\n{end}{rest.split(end)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
