"""What texts are read by: words, characters or letters."""

import random

import pytest

from transformers_rnn.encoding import SAMPLE, recipe_for, some_rows
from transformers_rnn.labelled_data import load_labelled_data
from transformers_rnn.text_kind import kind_of

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
