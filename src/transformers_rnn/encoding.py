"""Labelled rows -> what the model reads, by a tokenizer or feature extractor that the training split teaches."""

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, islice
from math import ceil
from typing import Any, TypeAlias

import numpy as np
from datasets import Array2D, Dataset, Features, IterableDataset
from transformers import PreTrainedTokenizerBase

from .cooccurrence import vectors_from_texts
from .feature_extraction_rnn import SequenceVectorFeatureExtractor
from .labelled_data import LabelledData
from .recipe import Recipe, choose_recipe
from .tokenization import train_tokenizer

Split: TypeAlias = Dataset | IterableDataset
SAMPLE = 2_000  # rows that a recipe looks at


def recipe_for(data: LabelledData) -> Recipe:
    """The recipe for these splits: see [`choose_recipe`]."""
    train, validation = data.splits["train"], data.splits.get("validation")
    seen = some_rows(train)
    return choose_recipe(
        count_rows(train),
        count_rows(validation),
        data.problem_type,
        texts=[row["text"] for row in seen] if data.reads_text else None,
        lengths=[] if data.reads_text else [len(row["input_features"]) for row in seen],
        feature_size=data.feature_size or 1,
        num_labels=len(data.label_names),
    )


def some_rows(split: Split) -> list[dict[str, Any]]:
    """As many rows as a recipe looks at: from everywhere, as a file may be sorted; of a stream the first."""
    if not isinstance(split, Dataset):
        return list(islice(iter(split), SAMPLE))
    return list(split.select(range(0, len(split), apart(len(split)))))


def apart(rows: int) -> int:
    """How far apart the rows are that a recipe looks at."""
    return max(1, ceil(rows / SAMPLE))


def count_rows(split: Split | None) -> int | None:
    """How many rows a split has; `None` for a stream, or where there is no split."""
    return len(split) if isinstance(split, Dataset) else None


def reading_options(recipe: Recipe, reads_text: bool) -> dict[str, Any]:
    """What a recipe tells the tokenizer or the feature extractor."""
    own = recipe.tokenizer if reads_text else {"stride": recipe.stride, "deltas": recipe.deltas}
    return {"max_length": recipe.max_length, **own}


def learn_processor(data: LabelledData, recipe: Recipe, options: Mapping[str, Any] | None = None) -> Any:
    """Learn a tokenizer, or the scale of the vectors, from the training split.

    Args:
        data: The splits.
        recipe: Its choices.
        options: Further choices for `train_tokenizer` or [`SequenceVectorFeatureExtractor`].
    """
    train = data.splits["train"]
    rows = _texts(train) if data.reads_text else (row["input_features"] for row in train.with_format("numpy"))
    return learn_from(rows, data.feature_size, recipe, options)


def learn_from(
    rows: Iterable[Any], feature_size: int | None, recipe: Recipe, options: Mapping[str, Any] | None
) -> Any:
    """The same from texts, or from vectors (T_i, F).

    Args:
        rows: Of the training split.
        feature_size: F; `None` for texts.
        recipe: Its choices.
        options: As above.
    """
    choices = reading_options(recipe, feature_size is None)
    if feature_size is None:
        return train_tokenizer(rows, **{**choices, **(options or {})})
    return SequenceVectorFeatureExtractor(**{"feature_size": feature_size, **choices, **(options or {})}).fit(rows)


def make_vectors(given: Any, data: LabelledData, recipe: Recipe, input_size: int | None) -> Any:
    """Have `"texts"` make vectors of the training texts, and `"recipe"` what the recipe says; all else stays as it is.

    Args:
        given: What [`train_classifier`] was given as pretrained vectors.
        data: The splits.
        recipe: Its choices.
        input_size: F, if it is decided.

    Raises:
        ValueError: `"texts"` for data that has none.
    """
    texts = _texts(data.splits["train"]) if data.reads_text else None
    return make_vectors_from(texts, given, recipe, input_size)


def make_vectors_from(texts: Iterable[str] | None, given: Any, recipe: Recipe, input_size: int | None) -> Any:
    """The same from the texts of the training split.

    Args:
        texts: All of them; `None` for data that has none.
        given: As above.
        recipe: Its choices.
        input_size: F, if it is decided.

    Raises:
        ValueError: As above.
    """
    given = recipe.pretrained_vectors if isinstance(given, str) and given == "recipe" else given
    if not (isinstance(given, str) and given == "texts"):
        return given
    if texts is None:
        raise ValueError(
            "pretrained_vectors='texts' makes vectors of training texts, but this data is sequences of vectors. Leave "
            "it out."
        )
    width = recipe.config["input_size"] if input_size is None else input_size
    return partial(vectors_from_texts, texts, dimensions=width, window=recipe.window)


def input_fields(processor: Any) -> dict[str, Any]:
    """What a tokenizer or feature extractor decides about a model."""
    if isinstance(processor, PreTrainedTokenizerBase):
        ids = {"pad_token_id": processor.pad_token_id, "unk_token_id": processor.unk_token_id}
        known = {"token_dropout": 0.0} if processor.unk_token_id is None else {}  # nothing to put in its place
        return {"vocab_size": len(processor), **ids, **known}
    return {"input_size": processor.input_size}


def encode(split: Split, processor: Any) -> Split:
    """Turn a split's texts or vectors into the columns that the model reads, beside `labels`.

    A text without any token becomes one unknown token: it has to be answered somehow.
    """
    names = list(split.column_names or next(iter(split)))
    given = [name for name in names if name != "labels"]
    if isinstance(processor, PreTrainedTokenizerBase):
        return split.map(partial(_encode_texts, tokenizer=processor), batched=True, remove_columns=given)
    split = split.with_format("numpy")
    joined = Array2D((None, processor.input_size), "float32")
    features = None if split.features is None else Features({**split.features, "input_features": joined})
    read = partial(_encode_vectors, extractor=processor)
    return split.map(read, batched=True, batch_size=256, features=features).with_format("numpy")


def _encode_texts(batch: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    pair = batch.get("text_pair")
    ids = tokenizer(batch["text"], None if pair is None else list(pair), truncation=True)["input_ids"]
    return {"input_ids": [row or [tokenizer.unk_token_id] for row in ids]}


def _encode_vectors(batch: Mapping[str, Any], extractor: SequenceVectorFeatureExtractor) -> dict[str, Any]:
    return {"input_features": extractor([np.asarray(row) for row in batch["input_features"]])["input_features"]}


def _texts(split: Split) -> Iterator[str]:
    columns = [name for name in ("text", "text_pair") if name in (split.column_names or ("text",))]
    return chain.from_iterable((row[name] for name in columns) for row in split)
