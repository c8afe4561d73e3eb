"""Training texts -> what they are read by, words or characters where words tell little; how long n-grams tell most."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Literal, TypeAlias

import numpy as np

from .ngram_votes import AT_MOST

TextKind: TypeAlias = Literal["words", "characters", "letters"]

# Thai to Tibetan, Burmese, Khmer, Japanese and Chinese: written without spaces between words.
UNSPACED = re.compile(r"[\u0e00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
WORD = re.compile(r"\w+|[^\w\s]+")  # as tokenizers of level "word" cut texts
BEGINNING = 1_000  # characters of a text, which tell enough of its words
FAR = 1.4  # times as many new words as usual; phrases of film reviews have 1.3, messages in Finnish 1.5
MANY = 0.3  # of its words at least: a long text tells enough by the others
LONG_CODE = 100  # characters in the mean, from which on strings are no names or codes but sequences, as of genes
LONGEST_NGRAM = 8


def kind_of(texts: Sequence[str]) -> TextKind:
    """What texts are read by.

    Letters where a text is a name or a code; characters where no spaces are between words, or where far more words
    than usual are in one text only: genes, addresses, many languages at once; else words.
    """
    words = [text.split() for text in texts]
    letters, count = sum(len(word) for text in words for word in text), sum(map(len, words))
    unspaced = sum(len(UNSPACED.findall(text)) for text in texts) > letters / 2
    longest = 10 if unspaced else 40  # letters of a name
    if np.mean([len(text) <= 2 and sum(map(len, text)) <= longest for text in words]) >= 0.9:
        return "letters"
    if unspaced:
        return "characters" if letters > 5 * count else "words"  # someone has cut them
    if letters > 15 * count:
        return "letters" if letters <= LONG_CODE * len(texts) else "characters"
    return "characters" if _words_are_new(texts) else "words"


def telling_order(texts: Sequence[str], kind: TextKind, rows: int) -> int:
    """How long n-grams are counted: two words or four characters, or more where there are few different ones.

    So long that, if all were as common, as many as can be known would be different, or as many as there are: of the
    four letters of genes seven, of phonemes three.

    Args:
        texts: Some training texts.
        kind: What they are read by.
        rows: How many training texts there are.
    """
    least = 2 if kind == "words" else 4
    read = _cut(texts) if kind == "words" else [text[:BEGINNING] for text in texts]
    symbols = Counter(chain.from_iterable(read))
    count = np.asarray(list(symbols.values()), float)
    if len(count) < 2:
        return least
    shares = count / count.sum()
    entropy = -float(shares @ np.log(shares))
    different = min(AT_MOST, count.sum() * rows / len(texts))
    return max(least, min(LONGEST_NGRAM, int(np.log(different) / entropy)))


def _words_are_new(texts: Sequence[str]) -> bool:
    """Whether, of the words of every second text, far more than usual are in none of the others.

    After 500 words about half are new in any language, after 5,000 a quarter, and so on (Heaps, 1978).
    """
    cut = _cut(texts)
    read = [word for words in cut[::2] for word in words]
    known, others = set(read), [words for words in cut[1::2] if words]
    if not read or not others:
        return False
    new = np.mean([np.mean([word not in known for word in words]) for words in others])
    usual = 0.5 * (500 / len(read)) ** 0.3
    return bool(new >= max(MANY, FAR * usual))


def _cut(texts: Sequence[str]) -> list[list[str]]:
    """The words that each text begins with."""
    return [WORD.findall(text[:BEGINNING].lower()) for text in texts]
