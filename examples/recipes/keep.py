"""Keep the cards of finished runs under `model_cards/`, and with them the small models that a test can check.

python examples/recipes/keep.py recipes/trec6-best-42 recipes/japanese-vowels-default-42
"""

import re
import shutil
import sys
from pathlib import Path

KEPT = Path(__file__).parents[2] / "model_cards"
CHECKED = ("japanese-vowels", "spoken-digits")  # under 1 MB, of data that may be redistributed
LOADED = ("config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")


def keep(run: Path) -> Path:
    """Copy the card, its pictures and, if checked, the model; others are made again by the card's command."""
    directory = KEPT / re.sub(r"-(default|best)-\d+$", "", run.name)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    shutil.copy(run / "README.md", directory)
    for picture in run.glob("*.png"):
        shutil.copy(picture, directory)
    if directory.name in CHECKED:
        for name in LOADED:
            if (run / name).exists():
                shutil.copy(run / name, directory)
    return directory


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(keep(Path(argument)))
