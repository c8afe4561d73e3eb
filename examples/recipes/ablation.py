"""What each choice is worth: the default recurrent network with one thing changed, on validation and test sets.

    python examples/recipes/ablation.py DATA [--seeds 42 1 2]

What has been trained already is taken from `model_cards/ablations.jsonl`; `table.py --write` puts the table into
`model_cards/README.md`.
"""

import argparse
import json
import re
from pathlib import Path
from typing import Any

from data import SETS
from run import read_rows, train_recipe

ABLATIONS = Path(__file__).parents[2] / "model_cards" / "ablations.jsonl"
TEXTS, VECTORS = ("trec6", "sst2"), ("japanese-vowels", "spoken-digits")
PAIRS = {"ngram_order": 2, "ngram_buckets": 8192, "ngram_width": 16}
ALONE = {"count_ngrams": 0}  # which would hide half of what the network gains or loses
CHANGES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "the default": ({}, (*TEXTS, *VECTORS)),
    "no average of the weights (Polyak & Juditsky, 1992)": ({"weight_averaging": None}, (*TEXTS, *VECTORS)),
    "one direction": ({"bidirectional": False}, (*TEXTS, *VECTORS)),
    "the other gated cell: GRU for texts": ({"cell_type": "gru"}, TEXTS),
    "the other gated cell: LSTM for vectors": ({"cell_type": "lstm"}, VECTORS),
    "last state alone": ({"pooling": "last"}, (*TEXTS, *VECTORS)),
    "maximum alone": ({"pooling": "max"}, (*TEXTS, *VECTORS)),
    "attention pooling (Yang et al., 2016)": ({"pooling": "attention"}, (*TEXTS, *VECTORS)),
    "no dropout on the input": ({"embedding_dropout": 0.0}, (*TEXTS, *VECTORS)),
    "no dropout before the head": ({"classifier_dropout": 0.0}, (*TEXTS, *VECTORS)),
    "variational dropout (Gal & Ghahramani, 2016)": ({"variational_dropout": True}, (*TEXTS, *VECTORS)),
    "recurrent weight dropout (Merity et al., 2018)": ({"weight_dropout": 0.3}, (*TEXTS, *VECTORS)),
    "layer normalisation (Ba et al., 2016)": ({"layer_norm": True}, (*TEXTS, *VECTORS)),
    "label smoothing (Szegedy et al., 2016)": ({"label_smoothing": 0.1}, (*TEXTS, *VECTORS)),
    "words start from the training texts": ({"pretrained_vectors": "texts"}, TEXTS),
    "whole words dropped (Merity et al., 2018)": ({"vocabulary_dropout": 0.1}, TEXTS),
    "unknown words (Dai & Le, 2015)": ({"token_dropout": 0.1}, TEXTS),
    "hashed pairs of words (Joulin et al., 2016)": (PAIRS, TEXTS),
    "n-grams counted beside it (Mikolov et al., 2011)": ({"count_ngrams": 2}, TEXTS),
    "no changes beside the steps (Furui, 1986)": ({"processing_options": {"deltas": False}}, VECTORS),
    "no noise (Um et al., 2017)": ({"input_noise": 0.0}, VECTORS),
    "other loudness (Um et al., 2017)": ({"input_scale_noise": 0.1}, VECTORS),
    "warped time (Um et al., 2017)": ({"time_warp": 0.1}, VECTORS),
    "masked steps (Park et al., 2019)": ({"mask_time_prob": 0.05}, VECTORS),
}


def main() -> None:
    """Train what is missing."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[42, 1, 2])
    parser.add_argument("--sets", nargs="+", choices=[*TEXTS, *VECTORS], default=[*TEXTS, *VECTORS])
    parser.add_argument("--output_dir", type=Path, default=Path("ablations"))
    chosen = parser.parse_args()
    done = {(row["change"], row["set"], row["seed"]) for row in read_rows(ABLATIONS)}
    for seed in chosen.seeds:
        for change, (choices, names) in CHANGES.items():
            for name in names:
                if name not in chosen.sets or (change, name, seed) in done:
                    continue
                run = {"set": name, "recipe": "default", "seed": seed, "choices": ALONE | choices}
                directory = chosen.output_dir / re.sub(r"\W+", "-", f"{name} {change} {seed}")
                row = train_recipe(SETS[name](chosen.data), directory, run)
                kept = {"test": row["test"][row["figure"]], **{key: row[key] for key in ("figure", "validation")}}
                with ABLATIONS.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"change": change, "set": name, "seed": seed, **kept}) + "\n")


if __name__ == "__main__":
    main()
