"""What texts are read by: words, characters or letters."""

import random

import pytest

from transformers_rnn.encoding import SAMPLE, recipe_for, some_rows
from transformers_rnn.labelled_data import load_labelled_data
from transformers_rnn.text_kind import kind_of, telling_order

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def drawn(rows, words_of_a_text, vocabulary, seed=0):
    """Texts whose words are drawn from so many."""
    draw = random.Random(seed)
    words = ["".join(draw.choices(LETTERS, k=7)) for _ in range(vocabulary)]
    return [" ".join(draw.choices(words, k=words_of_a_text)) for _ in range(rows)]


@pytest.mark.parametrize(
    ("rows", "vocabulary", "kind"),
    [(2_000, 2_000, "words"), (2_000, 40_000, "characters"), (300, 300, "words"), (300, 10_000, "characters")],
)
def test_texts_whose_words_are_in_no_other_are_read_by_characters(rows, vocabulary, kind):
    assert kind_of(drawn(rows, 6, vocabulary)) == kind
    assert kind_of([text.upper() for text in drawn(rows, 6, vocabulary)]) == kind


def test_a_few_texts_tell_nothing_of_their_words():
    assert kind_of(drawn(12, 6, 40_000)) == "words"
    assert kind_of(["one text of some words"]) == "words"
    assert kind_of(["", "", "one text of some words", ""] * 3) == "words"


def test_case_and_punctuation_make_no_other_words():
    said = ["it was good", "(It was GOOD!)", "good: it... was", "Was it good?"]
    assert kind_of([f"{one} {other}" for one in said for other in said] * 40) == "words"


def test_what_a_sorted_file_has_at_its_beginning_is_not_taken_for_all():
    one, other = drawn(1_000, 6, 800, seed=1), drawn(1_000, 6, 800, seed=2)
    assert kind_of(one + other) == "words", "the words of each half are in none of the other half"
    texts = ["Smith", "Schmidt"] * SAMPLE + drawn(SAMPLE, 6, 500)
    data = load_labelled_data({"train": {"text": texts, "label": ["one", "two"] * (len(texts) // 2)}})
    assert recipe_for(data).tokenizer["level"] == "word"
    assert len(some_rows(data.splits["train"])) <= SAMPLE


def test_long_strings_without_spaces_are_sequences_of_characters_not_codes():
    draw = random.Random(0)
    genes = ["".join(draw.choices("ACGT", k=length)) for length in (90, 95, 100, 105, 115) for _ in range(20)]
    assert kind_of(genes) == "characters"
    assert kind_of([gene[:-10] for gene in genes]) == "letters"


@pytest.mark.parametrize(
    ("symbols", "length", "kind", "order"),
    [
        ("ACGT", 50, "characters", 7),
        ("01", 50, "characters", 8),  # at most
        ("0", 50, "characters", 4),
        ("ACGT", 3, "letters", 6),  # 6,000 letters
        (LETTERS, 50, "letters", 4),
        (LETTERS[:10], 50, "words", 4),
        (LETTERS, 50, "words", 3),
    ],
)
def test_the_fewer_different_symbols_there_are_the_longer_ngrams_are_counted(symbols, length, kind, order):
    draw, between = random.Random(0), " " if kind == "words" else ""
    texts = [between.join(draw.choices(symbols, k=length)) for _ in range(200)]
    assert telling_order(texts, kind, rows=2_000) == order


def test_pairs_of_words_are_counted_in_the_usual_text():
    assert telling_order(drawn(200, 6, 2_000), "words", rows=100_000) == 2
    assert telling_order(["", ""], "words", rows=2) == 2
