"""Texts, labelled or not -> vectors (V, F) for the vocabulary of our tokenizer: which tokens stand near which."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from .initialization import EMBEDDING_DEVIATION
from .pretrained_embeddings import PretrainedVectors

TOGETHER = 5_000  # texts that are counted at once
SMOOTHING = 0.75  # of the probability of contexts, as in word2vec


def vectors_from_texts(
    texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, *, dimensions: int = 128, window: int = 5, seed: int = 0
) -> PretrainedVectors:
    """Factorise how much oftener than by chance two tokens stand near each other.

    The counts of all pairs at most `window` tokens apart, weighted by 1 - (distance - 1) / window, become positive
    pointwise mutual information with smoothed contexts; U * sqrt(S) of its singular value decomposition, each row
    brought to one length, are the vectors (Levy, Goldberg & Dagan, 2015, "Improving distributional similarity with
    lessons learned from word embeddings"). Their scale is that of an embedding that starts at random. A minute for
    ten million tokens; the same texts give the same vectors.

    Args:
        texts: Whatever the model will read, the more the better; whole texts, not truncated.
        tokenizer: The tokenizer of the model; it gives the order of the rows.
        dimensions: F. A vocabulary with fewer tokens than that has a random rest.
        window: How far apart tokens may stand.
        seed: Of the rows and the rest that are drawn at random.

    Raises:
        ValueError: `dimensions` or `window` below 1, or texts in which no token has a neighbour.
    """
    for choice, value in (("dimensions", dimensions), ("window", window)):
        if value < 1:
            raise ValueError(f"{choice} must be a whole number of at least 1, got {value}.")
    information = _information(_count_pairs(texts, tokenizer, window))
    found = np.asarray(information.sum(axis=1)).ravel() > 0
    if not found.any():
        raise ValueError(
            "No token of the texts has a neighbour that it knows, so there is nothing to count. Give texts of several "
            "tokens each, in the language of the tokenizer."
        )
    table = np.random.default_rng(seed).normal(0, EMBEDDING_DEVIATION, (len(tokenizer), dimensions))
    vectors = _factorise(information, min(dimensions, int(found.sum())))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors *= EMBEDDING_DEVIATION * np.sqrt(vectors.shape[1]) / np.maximum(lengths, 1e-12)
    table[found, : vectors.shape[1]] = vectors[found]
    if tokenizer.pad_token_id is not None:
        table[tokenizer.pad_token_id] = 0
    return PretrainedVectors(table.astype(np.float32), found, "neighbours in the texts")


def _count_pairs(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, window: int) -> Any:
    """Weighted counts (V, V) of the tokens near each token; special tokens count nothing."""
    from scipy.sparse import csr_array  # noqa: PLC0415 - slow to import

    size = len(tokenizer)
    counts = csr_array((size, size), dtype=np.float32)
    for ids in _rows_of_ids(texts, tokenizer, window):
        for distance in range(1, window + 1):
            left, right = ids[:-distance], ids[distance:]
            both = (left >= 0) & (right >= 0)
            weights = np.full(int(both.sum()), 1 - (distance - 1) / window, np.float32)
            counts = counts + csr_array((weights, (left[both], right[both])), shape=(size, size))
    return counts + counts.T


def _rows_of_ids(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, window: int) -> Iterator[NDArray[np.int64]]:
    """The ids of some texts after each other, -1 for what has no neighbours: special tokens, and between texts."""
    gap = [-1] * window
    remaining = iter(texts)
    while some := list(islice(remaining, TOGETHER)):
        rows = tokenizer(some, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        ids = np.fromiter(chain.from_iterable([*row, *gap] for row in rows), np.int64)
        yield np.where(np.isin(ids, tokenizer.all_special_ids), -1, ids)


def _information(counts: Any) -> Any:
    """max(0, log p(i, j) / (p(i) p(j))), sparse, with p(j) smoothed."""
    from scipy.sparse import csr_array  # noqa: PLC0415 - slow to import

    pairs = counts.tocoo()
    tokens = np.asarray(counts.sum(axis=1), np.float64).ravel()
    contexts = tokens**SMOOTHING / max(float((tokens**SMOOTHING).sum()), 1.0)
    row, column = pairs.coords
    information = np.log(pairs.data / (tokens[row] * contexts[column]))
    kept = information > 0
    return csr_array((information[kept], (row[kept], column[kept])), shape=counts.shape)


def _factorise(information: Any, dimensions: int) -> NDArray[np.float64]:
    from sklearn.utils.extmath import randomized_svd  # noqa: PLC0415 - slow to import

    left, strengths, _ = randomized_svd(information, dimensions, n_iter=4, random_state=0)
    return np.asarray(left * np.sqrt(strengths))
