"""`examples/serve.py` with long texts: reviews and news."""

import gzip
import json
import random
from dataclasses import replace
from statistics import mean, median

from loads import Load
from real_data import Loads
from report import Section
from serving import add

from transformers_rnn import train_tokenizer

CHARACTERS = 10_000  # that the server takes by default; longer texts are cut there
INTRO = (
    "As above, with whole texts of some hundred words, which are read to their end: an LSTM of one layer in both "
    "directions. Every request got its answer: a lost or refused one ends the run."
)


def section(loads: Loads) -> Section:
    """IMDb reviews and BBC news."""
    result = Section("Serving long texts", INTRO)
    for load in (imdb(loads), bbc_news(loads)):
        words = [len(text.split()) for text in load.raw_test[:500]]
        note = f"{mean(words):.0f} words a text on average, median {median(words):.0f}, at most {max(words):,}."
        add(result, load, 20 if loads.quick else 500, loads.rounds, note)
    return result


def imdb(loads: Loads) -> Load:
    """The reviews, with a smaller model."""
    load = loads.long
    tests = [text[:CHARACTERS] for text in load.raw_test]
    return replace(load, raw_test=tests, num_layers=1, input_size=128, hidden_size=128)


def bbc_news(loads: Loads) -> Load:
    """The articles, a fifth of them for the requests."""
    with gzip.open(loads.data / "bbc_news" / "all.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    random.Random(0).shuffle(rows)
    rows = rows[:200] if loads.quick else rows
    texts, names = [row["text"][:CHARACTERS] for row in rows], sorted({row["label"] for row in rows})
    labels, tests = [names.index(row["label"]) for row in rows], len(rows) // 5
    tokenizer = train_tokenizer(texts[tests:], min_frequency=2)
    sizes = {"input_size": 128, "hidden_size": 128, "bidirectional": True}
    return Load("BBC News", tokenizer, texts[tests:], texts[:tests], labels[tests:], **sizes)
