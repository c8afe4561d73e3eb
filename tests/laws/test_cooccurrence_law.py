"""Vectors of texts: a plain loop gives the same information, and the same texts give the same vectors."""

from collections import Counter
from math import log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transformers_rnn import train_tokenizer
from transformers_rnn.cooccurrence import SMOOTHING, _count_pairs, _information, vectors_from_texts

WORDS = ["sun", "rain", "wind", "snow", "cloud", "storm"]
TEXTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join), min_size=1, max_size=6)
TOKENIZER = train_tokenizer([" ".join(WORDS[:5])], max_length=4)  # "storm" is unknown to it; it would cut at four


def by_loop(texts, window):
    """{(i, j): max(0, log p(i, j) / (p(i) p(j)))} by the definitions, one pair of tokens after the other."""
    counts, vocabulary = Counter(), TOKENIZER.get_vocab()
    for text in texts:
        words = text.split()
        for here, word in enumerate(words):
            for there, other in enumerate(words):
                distance = abs(here - there)
                if 1 <= distance <= window and word in vocabulary and other in vocabulary:
                    counts[vocabulary[word], vocabulary[other]] += 1 - (distance - 1) / window
    tokens = Counter()
    for (token, _), count in counts.items():
        tokens[token] += count
    total, smooth = sum(tokens.values()), sum(count**SMOOTHING for count in tokens.values())
    found = {}
    for (token, context), count in counts.items():
        chance = tokens[token] / total * tokens[context] ** SMOOTHING / smooth
        found[token, context] = max(0.0, log(count / total / chance))
    return found


@settings(max_examples=60)
@given(TEXTS, st.integers(1, 4))
def test_information_equals_the_plain_loop(texts, window):
    information = _information(_count_pairs(texts, TOKENIZER, window)).toarray()
    expected = np.zeros_like(information)
    for pair, value in by_loop(texts, window).items():
        expected[pair] = value
    np.testing.assert_allclose(information, expected, atol=1e-5)


def test_all_dimensions_keep_the_directions_of_the_information():
    texts = ["sun rain wind", "snow rain cloud sun", "wind cloud sun snow rain"] * 2
    vectors = vectors_from_texts(texts, TOKENIZER, dimensions=5, window=2)
    information = _information(_count_pairs(texts, TOKENIZER, 2)).toarray()
    left, strengths, _ = np.linalg.svd(information)
    expected = left[:, :5] * np.sqrt(strengths[:5])
    expected /= np.maximum(np.linalg.norm(expected, axis=1, keepdims=True), 1e-12)
    rows = vectors.table[vectors.found]
    cosines = rows @ rows.T / (0.1**2 * 5)
    wanted = expected[vectors.found]
    np.testing.assert_allclose(cosines, wanted @ wanted.T, atol=1e-4)


def test_the_same_texts_give_the_same_vectors_and_padding_is_zero():
    texts = ["sun rain wind storm", "", "snow rain cloud sun"]
    first, again = (vectors_from_texts(iter(texts), TOKENIZER, dimensions=8) for _ in range(2))
    np.testing.assert_array_equal(first.table, again.table)
    assert first.table.shape == (len(TOKENIZER), 8)
    assert not first.table[TOKENIZER.pad_token_id].any()
    assert not first.found[TOKENIZER.unk_token_id]
    assert str(first) == "neighbours in the texts: vectors of width 8 for 5 of 8 tokens"


@pytest.mark.parametrize("name", ["dimensions", "window"])
def test_nothing_to_choose(name):
    with pytest.raises(ValueError, match=f"^{name} must be a whole number of at least 1, got 0.$"):
        vectors_from_texts(["sun rain"], TOKENIZER, **{name: 0})


def test_no_neighbours():
    message = (
        "No token of the texts has a neighbour that it knows, so there is nothing to count. Give texts of several "
        "tokens each, in the language of the tokenizer."
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        vectors_from_texts(["sun", "storm rain"], TOKENIZER)
