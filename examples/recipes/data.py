"""The data sets of the recipes, each from its original files to what `train_classifier` reads."""

import csv
import gzip
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sound import UNCHANGED, WARPS, Warp, cepstra, log_mels, recordings
from torch import Tensor

Columns = dict[str, list[Any]]


@dataclass(frozen=True)
class DataSet:
    """Data and how to read it.

    Args:
        source: split -> columns.
        options: of `load_labelled_data`.
        unlabelled: further sequences.
        figure: the metric that the set is judged by.
        card: title, name and licence.
    """

    source: dict[str, Columns]
    figure: str
    card: dict[str, str]
    options: dict[str, Any] = field(default_factory=dict)
    unlabelled: list[str] = field(default_factory=list)


def sst2(folder: Path) -> DataSet:
    """Film reviews, one sentence each; official split."""

    def read(part: str) -> Columns:
        text = (folder / "sst2" / f"stsa.binary.{part}").read_text(encoding="latin-1")
        rows = [line for line in text.split("\n") if line]
        return {"text": [row[2:] for row in rows], "label": [("negative", "positive")[int(row[0])] for row in rows]}

    source = {"train": read("train"), "validation": read("dev"), "test": read("test")}
    return DataSet(source, "accuracy", card_of("SST-2", "Stanford Sentiment Treebank, binary, sentences"))


def sst2_phrases(folder: Path) -> DataSet:
    """The same sentences, and for training every phrase of them that is not neutral."""
    sentences = sst2(folder)
    phrases: dict[str, str] = {}
    for line in (folder / "sst_trees" / "train.txt").read_text(encoding="utf-8").splitlines():
        for score, text in _phrases(line):
            if score != 2:
                phrases.setdefault(text.lower(), "negative" if score < 2 else "positive")
    train = {"text": list(phrases), "label": list(phrases.values())}
    card = card_of("SST-2, with phrases", "Stanford Sentiment Treebank, binary, phrases")
    return DataSet({**sentences.source, "train": train}, "accuracy", card)


def trec6(folder: Path) -> DataSet:
    """Questions and the kind of their answers, coarse; official split."""
    return _trec(folder, fine=False)


def trec50(folder: Path) -> DataSet:
    """The same questions with 50 fine labels; official split."""
    return _trec(folder, fine=True)


def imdb(folder: Path) -> DataSet:
    """Film reviews; official split."""
    source = {}
    for part in ("train", "test"):
        rows = _reviews(folder, part)
        labels = [("negative", "positive")[row["label"]] for row in rows]
        source[part] = {"text": [row["text"] for row in rows], "label": labels}
    return DataSet(source, "accuracy", card_of("IMDb", "Large Movie Review Dataset"))


def imdb_unlabelled(folder: Path) -> DataSet:
    """The same, and the 50,000 reviews without labels."""
    card = card_of("IMDb, with unlabelled reviews", "Large Movie Review Dataset, with its unlabelled part")
    return replace(imdb(folder), card=card, unlabelled=[row["text"] for row in _reviews(folder, "unsup")])


def _reviews(folder: Path, part: str) -> list[dict[str, Any]]:
    with gzip.open(folder / "imdb" / f"{part}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def bbc_news(folder: Path) -> DataSet:
    """News and their section; a fifth becomes the test set."""
    with gzip.open(folder / "bbc_news" / "all.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    columns = {"text": [row["text"] for row in rows], "label": [row["id"].split("/")[0] for row in rows]}
    return without_split(columns, 0.2, "accuracy", card_of("BBC News", "BBC News (Greene & Cunningham, 2006)"))


def sms_spam(folder: Path) -> DataSet:
    """Messages, wanted or not; a fifth becomes the test set."""
    rows = [line.split("\t", 1) for line in _lines(folder / "sms_spam" / "SMSSpamCollection")]
    columns = {"text": [row[1] for row in rows], "label": [row[0] for row in rows]}
    return without_split(columns, 0.2, "accuracy", card_of("SMS Spam", "SMS Spam Collection", "cc-by-4.0"))


def surnames(folder: Path) -> DataSet:
    """Surnames and their language, each pair once; a tenth becomes the test set."""
    pairs = dict.fromkeys(
        (name.strip(), path.stem)
        for path in sorted((folder / "surnames").glob("*.txt"))
        if path.stem.istitle()  # not SOURCE.txt
        for name in _lines(path)
    )
    names, languages = (list(column) for column in zip(*pairs, strict=True))
    source = {"train": {"text": names, "label": languages}}
    card = card_of("Surnames", "Surnames of 18 languages", "mit")
    return DataSet(source, "accuracy", card, {"test_size": 0.1})


def goemotions(folder: Path) -> DataSet:
    """Comments and the emotions in them, several at once; official split."""
    names = _lines(folder / "goemotions" / "labels.txt")

    def read(part: str) -> Columns:
        with (folder / "goemotions" / f"{part}.tsv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        return {
            "text": [row[0] for row in rows],
            "label": [[names[int(index)] for index in row[1].split(",")] for row in rows],
        }

    source = {"train": read("train"), "validation": read("dev"), "test": read("test")}
    return DataSet(source, "macro_f1", card_of("GoEmotions", "GoEmotions (Demszky et al., 2020)", "cc-by-4.0"))


def vader_movie(folder: Path) -> DataSet:
    """Sentences of film reviews and how positive they are; a tenth becomes the test set."""
    return _vader(folder, "movieReviewSnippets", "VADER movie snippets")


def vader_tweets(folder: Path) -> DataSet:
    """Tweets and how positive they are; a tenth becomes the test set."""
    return _vader(folder, "tweets", "VADER tweets")


def japanese_vowels(folder: Path) -> DataSet:
    """Nine speakers saying two vowels; official split."""
    return _archive(folder, "JapaneseVowels", card_of("Japanese Vowels", "Japanese Vowels", "cc-by-4.0"))


def basic_motions(folder: Path) -> DataSet:
    """Four motions, measured at the wrist; official split."""
    return _archive(folder, "BasicMotions", card_of("BasicMotions", "BasicMotions"))


def spoken_digits(folder: Path) -> DataSet:
    """Spoken digits as log-mel vectors; official split."""
    return _digits(folder, lambda speaker, number: number < 5, log_mels)


def spoken_digits_without(speaker: str, folder: Path) -> DataSet:
    """The same for a voice that was never heard: cepstra, and for training the other voices warped as well."""
    return _digits(folder, lambda other, number: other == speaker, cepstra, WARPS)


# Long series, few of them: the package aeon brings the files (aeon/datasets/data), the recipes' DATA may lack them.
SMALL_SERIES = {
    "arrow-head": "ArrowHead",
    "gun-point": "GunPoint",
    "italy-power-demand": "ItalyPowerDemand",
    "osu-leaf": "OSULeaf",
    "acsf1": "ACSF1",
    "pickup-gesture": "PickupGestureWiimoteZ",
}


def small_series(name: str, folder: Path) -> DataSet:
    """A set of the UCR archive; official split."""
    return _archive(folder, name, card_of(name, name))


def few_texts(read: Callable[[Path], DataSet], count: int, folder: Path) -> DataSet:
    """So many training rows of a set of texts, always the same, and its test set, or else all other rows as one."""
    data = read(folder)
    rows = data.source["train"]
    order = random.Random(0).sample(range(len(rows["label"])), len(rows["label"]))
    parts = order[:count], order[count:]
    few, others = ({name: [column[row] for row in part] for name, column in rows.items()} for part in parts)
    options = {name: value for name, value in data.options.items() if name != "test_size"}
    return DataSet({"train": few, "test": data.source.get("test", others)}, data.figure, data.card, options)


SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
SETS: dict[str, Callable[[Path], DataSet]] = {
    "sst2": sst2,
    "sst2-phrases": sst2_phrases,
    "trec6": trec6,
    "trec50": trec50,
    "imdb": imdb,
    "imdb-unlabelled": imdb_unlabelled,
    "bbc-news": bbc_news,
    "sms-spam": sms_spam,
    "surnames": surnames,
    "goemotions": goemotions,
    "vader-movie": vader_movie,
    "vader-tweets": vader_tweets,
    "japanese-vowels": japanese_vowels,
    "basic-motions": basic_motions,
    "spoken-digits": spoken_digits,
    "trec6-300": partial(few_texts, trec6, 300),
    "sst2-1000": partial(few_texts, sst2, 1_000),
    "sms-spam-200": partial(few_texts, sms_spam, 200),
    "vader-movie-300": partial(few_texts, vader_movie, 300),
    **{name: partial(small_series, stored) for name, stored in SMALL_SERIES.items()},
    **{f"spoken-digits-without-{speaker}": partial(spoken_digits_without, speaker) for speaker in SPEAKERS},
}


def card_of(title: str, name: str, licence: str | None = None) -> dict[str, str]:
    """Title, name and licence as a model card has them."""
    return {"title": title, "dataset_name": name, **({"dataset_license": licence} if licence else {})}


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def of_series(splits: dict[str, Columns], card: dict[str, str]) -> DataSet:
    """A set of vectors in the column `series`."""
    return DataSet(splits, "accuracy", card, {"vector_column": "series", "label_column": "label"})


def without_split(columns: Columns, test_size: float, figure: str, card: dict[str, str]) -> DataSet:
    """A set without a split: the test set is drawn by the seed of the run, after duplicates are gone."""
    return DataSet({"train": columns}, figure, card, {"test_size": test_size, "drop_duplicates": True})


def _trec(folder: Path, fine: bool) -> DataSet:
    def read(part: str) -> Columns:
        text = (folder / "trec6" / "raw" / f"TREC.{part}").read_text(encoding="latin-1")
        rows = [line.split(" ", 1) for line in text.splitlines() if line]
        labels = [row[0] if fine else row[0].split(":")[0] for row in rows]
        return {"text": [row[1] for row in rows], "label": labels}

    card = card_of("TREC-50" if fine else "TREC-6", "TREC questions")
    return DataSet({"train": read("train"), "test": read("test")}, "accuracy", card)


def _vader(folder: Path, name: str, title: str) -> DataSet:
    text = (folder / "vader" / f"{name}_GroundTruth.txt").read_text(encoding="latin-1")
    rows = [line.split("\t", 2) for line in text.split("\n") if line.strip()]
    columns = {"text": [row[2] for row in rows], "label": [float(row[1]) for row in rows]}
    return without_split(columns, 0.1, "pearson", card_of(title, title, "mit"))


def _phrases(tree: str) -> Iterator[tuple[int, str]]:
    """Every node of a tree in brackets: its score and its words."""
    open_nodes: list[tuple[int, list[str]]] = []
    for token in re.findall(r"\((?=\d)|\)|[^\s()]+", tree):
        if token == "(":
            open_nodes.append((-1, []))
        elif token == ")":
            score, words = open_nodes.pop()
            yield score, " ".join(words)
            if open_nodes:
                open_nodes[-1][1].extend(words)
        elif open_nodes[-1][0] < 0:
            open_nodes[-1] = (int(token), [])
        else:
            open_nodes[-1][1].append(token)


def _digits(
    folder: Path,
    is_test: Callable[[str, int], bool],
    read: Callable[[Tensor, Warp], np.ndarray],
    warps: tuple[Warp, ...] = (),
) -> DataSet:
    """Recordings as vectors; with `warps`, training has each recording so many times more.

    Warped copies of one recording must not stand on both sides, so the validation set is then every tenth recording.
    """
    splits: dict[str, Columns] = {part: {"vectors": [], "label": []} for part in ("train", "validation", "test")}
    for digit, speaker, number, sound in recordings(folder / "fsdd" / "recordings.tar.gz"):
        held_out = "validation" if warps and number % 10 == 5 else "train"
        name = "test" if is_test(speaker, number) else held_out
        for warp in (UNCHANGED, *(warps if name == "train" else ())):
            splits[name]["vectors"].append(read(sound, warp))
            splits[name]["label"].append(digit)
    card = card_of("Spoken digits", "Free Spoken Digit Dataset", "cc-by-sa-4.0")
    options = {"vector_column": "vectors", "label_column": "label"}
    return DataSet({name: split for name, split in splits.items() if split["label"]}, "accuracy", card, options)


def _archive(folder: Path, name: str, card: dict[str, str]) -> DataSet:
    """A set of the UEA archive: after @data one sequence a line, channels between colons, the label at the end."""
    splits = {}
    for split in ("train", "test"):
        text = (folder / "aeon_ts" / name / f"{name}_{split.upper()}.ts").read_text(encoding="utf-8")
        cases = [line.rsplit(":", 1) for line in text.partition("@data")[2].split()]
        series = [
            np.array([channel.split(",") for channel in channels.split(":")], np.float32).T for channels, _ in cases
        ]
        splits[split] = {"series": series, "label": [label for _, label in cases]}
    return of_series(splits, card)
