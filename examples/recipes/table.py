"""The table of all recipes, from the results of `run.py`, printed or put into the README.

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
RESULTS = ROOT / "model_cards" / "results.jsonl"
BEGIN, END = "<!-- recipes: made by examples/recipes/table.py -->", "<!-- recipes: end -->"
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
NAMES = {"accuracy": "accuracy", "macro_f1": "macro F1", "pearson": "r"}
SPEAKER = "spoken-digits-without-"

Rows = list[dict[str, Any]]


def table(rows: Rows) -> str:
    """Markdown: means and deviations over seeds, in percent; of the held-out speakers, over all of them."""
    groups: dict[tuple[str, str], Rows] = defaultdict(list)
    for row in rows:
        name = "spoken-digits, speaker held out" if row["set"].startswith(SPEAKER) else row["set"]
        groups[name, row["recipe"]].append(row)
    lines = ["| " + " | ".join(HEADER) + " |", "|" + "---|" * len(HEADER)]
    for name in dict.fromkeys(name for name, _ in groups):
        figure = next(group[0]["figure"] for key, group in groups.items() if key[0] == name)
        shown = groups.get((name, "best")) or groups.get((name, "default")) or []
        lines.append(
            "| "
            + " | ".join(
                [
                    f"{name} ({NAMES[figure]})",
                    *(
                        _figure(groups.get((name, recipe), []), figure)
                        for recipe in ("baseline", "fasttext", "default", "best")
                    ),
                    *PUBLISHED.get(name, ("", "")),
                    _parameters(shown),
                    _seconds(shown),
                ]
            )
            + " |"
        )
    return "\n".join(lines)


def _parameters(rows: Rows) -> str:
    counts = [row["parameters"] for row in rows if "parameters" in row]
    return f"{mean(counts):,.0f}" if counts else ""


def _seconds(rows: Rows) -> str:
    took = [row["processor_seconds"] for row in rows if "processor_seconds" in row]
    return f"{mean(took):.0f} s" if took else ""


def _figure(rows: Rows, figure: str) -> str:
    values = [100 * row["test"][figure] for row in rows]
    if len(values) < 2:
        return f"{values[0]:.1f}" if values else ""
    return f"{mean(values):.1f} ± {stdev(values):.1f} ({len(values)})"


def main() -> None:
    """Print the table, or put it between its marks in the README."""
    made = table([json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()])
    if "--write" not in sys.argv[1:]:
        print(made)
        return
    readme = ROOT / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(BEGIN)
    readme.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
