"""Keep the cards of finished runs under `model_cards/`, and with them the small models that a test can check.

    python examples/recipes/keep.py DATA recipes/trec6-best-42 recipes/japanese-vowels-default-42

A model of `CHECKED` is kept with a fifth of its test split, `sample.npz`: `values` (steps of all sequences, F),
`lengths` and `labels`. Other models are made again by the command in their card.
"""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
from data import SETS

KEPT = Path(__file__).parents[2] / "model_cards"
CHECKED = ("japanese-vowels", "spoken-digits")  # under 1 MB, of data that may be redistributed
LOADED = ("config.json", "model.safetensors", "preprocessor_config.json")


def keep(data: Path, run: Path) -> Path:
    """Copy the card and its pictures, and, of a checked set, the model and a sample of the data."""
    name = re.sub(r"-(default|best)-\d+$", "", run.name)
    directory = KEPT / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for path in (run / "README.md", *run.glob("*.png"), *(run / part for part in LOADED if name in CHECKED)):
        shutil.copy(path, directory)
    if name in CHECKED:
        read = SETS[name](data)
        sequences, labels = (
            read.source["test"][column][::5]
            for column in (read.options["vector_column"], read.options["label_column"])
        )
        np.savez_compressed(
            directory / "sample.npz",
            values=np.concatenate(sequences).astype(np.float16),
            lengths=[len(sequence) for sequence in sequences],
            labels=labels,
        )
    return directory


if __name__ == "__main__":
    for argument in sys.argv[2:]:
        print(keep(Path(sys.argv[1]), Path(argument)))
