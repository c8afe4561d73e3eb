"""Train the recipes: every set, recipe and seed that is not in the results yet.

    python examples/recipes/run.py DATA [--sets trec6 sms-spam] [--recipes default best] [--seeds 42 1 2 3 4]

DATA is the folder with the original files (see `data.py`). Each run leaves a directory and a line in the results, so
that it can be stopped and called again; `table.py` makes the table of them.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from baseline import READ_BY_FASTTEXT, answer_by_counting, answer_by_fasttext
from choices import BEST, Run
from data import SETS, SMALL_SERIES, DataSet
from unseen import UNSEEN

from transformers_rnn.labelled_data import load_labelled_data
from transformers_rnn.training import train_classifier

RECIPES = ["baseline", "fasttext", "default", "best"]
ALL = SETS | UNSEEN
READ_BY = {"fasttext": READ_BY_FASTTEXT, "best": BEST}  # the others read every set
RESULTS = Path(__file__).parents[2] / "model_cards" / "results.jsonl"


def main() -> None:
    """Run what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", choices=ALL, default=[name for name in SETS if name not in SMALL_SERIES])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 1, 2, 3, 4])
    parser.add_argument("--output_dir", type=Path, default=Path("recipes"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--choices", nargs="*", default=[], help="name=value in place of a recipe's, for trials")
    chosen = parser.parse_args()
    further = {name: json.loads(value) for name, value in (choice.split("=", 1) for choice in chosen.choices)}
    chosen.results.parent.mkdir(parents=True, exist_ok=True)
    done = {_key(row) for row in read_rows(chosen.results)}
    for seed in chosen.seeds:
        for name in chosen.sets:
            for recipe in chosen.recipes:
                run = {"set": name, "recipe": recipe, "seed": seed, "choices": further}
                if _key(run) in done or name not in READ_BY.get(recipe, ALL):
                    continue
                data = ALL[name](chosen.data)
                directory = chosen.output_dir / f"{name}-{recipe}-{seed}"
                rival = recipe in ("baseline", "fasttext")
                row = run | (_rival(data, run) if rival else train_recipe(data, directory, run))
                print(json.dumps(row), flush=True)
                with chosen.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")


def train_recipe(data: DataSet, directory: Path, run: dict[str, Any]) -> dict[str, Any]:
    """Train on one set with a recipe and the choices of the run, and return what is to be known of it."""
    begin = time.process_time()
    read, choices = load_labelled_data(data.source, seed=run["seed"], **data.options), {}
    if run["recipe"] == "best":
        read, choices = BEST[run["set"]](read, Run(directory, run["seed"], data.unlabelled))
    command = "python examples/recipes/run.py DATA --sets {set} --recipes {recipe} --seeds {seed}".format(**run)
    card = {**data.card, "command": command}
    result = train_classifier(read, directory, card=card, seed=run["seed"], **{**choices, **run["choices"]})
    saved = json.loads((directory / "all_results.json").read_text(encoding="utf-8"))
    return {
        "figure": data.figure,
        "validation": saved.get(f"eval_{data.figure}"),
        "test": {name: round(value, 5) for name, value in result.metrics.items()},
        "parameters": result.model.num_parameters(),
        "bytes": (directory / "model.safetensors").stat().st_size,
        "processor_seconds": round(time.process_time() - begin, 1),
    }


def _rival(data: DataSet, run: dict[str, Any]) -> dict[str, Any]:
    begin = time.process_time()
    split = load_labelled_data(data.source, seed=run["seed"], **data.options)
    test = answer_by_fasttext(split, run["seed"]) if run["recipe"] == "fasttext" else answer_by_counting(split)
    return {"figure": data.figure, "test": test, "processor_seconds": round(time.process_time() - begin, 1)}


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The results so far."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["set"], row["recipe"], row["seed"], json.dumps(row["choices"], sort_keys=True)


if __name__ == "__main__":
    main()
