"""What no recurrent network should stay below: linear models of counted n-grams or simple statistics, and fastText."""

import re
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from scipy import stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from transformers_rnn.encoding import recipe_for
from transformers_rnn.labelled_data import LabelledData

READ_BY_FASTTEXT = (  # texts of words with one label each
    *("sst2", "sst2-phrases", "trec6", "trec50", "imdb", "bbc-news", "sms-spam"),
    *("trec6-300", "sst2-1000", "sms-spam-200", "reuters-8", "20-newsgroups", "election-tweets"),
)


def answer_by_counting(data: LabelledData) -> dict[str, float]:
    """Fit on the training and validation rows, answer the test rows, and measure.

    Texts are TF-IDF of words and word pairs (of 1 to 4 characters, where the recipe reads these), vectors the mean,
    deviation, minimum, maximum and range of steps of every feature; both go to a logistic or ridge regression.
    """
    rows = {name: split.with_format("numpy") for name, split in data.splits.items()}
    known = [rows[name] for name in ("train", "validation") if name in rows]
    read = _texts if data.reads_text else _statistics
    x = [each for part in known for each in read(part)]
    y = np.concatenate([np.stack(part["labels"]) for part in known])
    x_test, y_test = read(rows["test"]), np.stack(rows["test"]["labels"])
    model = make_pipeline(_features(data), _head(data.problem_type)).fit(x, y)
    return _measure(data.problem_type, y_test, model.predict(x_test))


def answer_by_fasttext(data: LabelledData, seed: int) -> dict[str, float]:
    """The same with fastText: averaged embeddings of words and word pairs (Joulin et al., 2016), of width 10 as there.

    Learning rate and passes are chosen on the validation rows; then training and validation rows are read together.
    """
    import fasttext  # noqa: PLC0415 # pip install fasttext-wheel: needed by this rival only

    fixed = {"wordNgrams": 2, "dim": 10, "minCount": 1, "seed": seed, "thread": 1, "verbose": 0}
    labels = {name: np.asarray(split["labels"]) for name, split in data.splits.items()}
    with TemporaryDirectory() as folder:
        lines = {name: _fasttext_lines(split) for name, split in data.splits.items()}
        lines["both"] = lines["train"] + lines["validation"]
        for name in ("train", "both"):
            # It learns in the order of the lines: rows sorted by label teach it little.
            Path(folder, name).write_text("".join(Random(seed).sample(lines[name], len(lines[name]))))

        def answer(rate: float, times: int, read: str, asked: str) -> Any:
            model = fasttext.train_supervised(str(Path(folder, read)), lr=rate, epoch=times, **fixed)
            texts = [line.split(" ", 1)[1] for line in lines[asked]]
            # The wrapper's own predict() fails with NumPy 2.
            names = [model.f.predict(text, 1, 0.0, "strict")[0][1] for text in texts]
            return np.asarray([int(name.removeprefix("__label__")) for name in names])

        passes = (5, 25) if len(lines["train"]) >= 10_000 else (5, 25, 100)
        tried = [(rate, times) for times in passes for rate in (0.1, 0.25, 0.5, 1.0)]
        right = [np.mean(answer(*each, "train", "validation") == labels["validation"]) for each in tried]
        answers = answer(*tried[int(np.argmax(right))], "both", "test")
    return _measure(data.problem_type, labels["test"], answers)


def _fasttext_lines(split: Any) -> list[str]:
    """One row a line, with words and punctuation apart, in lower case."""
    words = (" ".join(re.findall(r"\w+|[^\w\s]", text.lower())) for text in split["text"])
    return [f"__label__{label} {text}\n" for label, text in zip(split["labels"], words, strict=True)]


def _texts(part: Any) -> list[str]:
    return [str(text) for text in part["text"]]


def _statistics(part: Any) -> list[Any]:
    return [
        np.concatenate([each.mean(0), each.std(0), each.min(0), each.max(0), np.abs(np.diff(each, axis=0)).mean(0)])
        for each in (np.asarray(row, np.float64) for row in part["input_features"])
    ]


def _features(data: LabelledData) -> Any:
    if not data.reads_text:
        return StandardScaler()
    if recipe_for(data).tokenizer["level"] == "char":
        return TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), sublinear_tf=True, lowercase=False)
    return TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)


def _head(problem_type: str) -> Any:
    if problem_type == "regression":
        return Ridge(1.0)
    if problem_type == "multi_label_classification":
        return OneVsRestClassifier(LogisticRegression(C=10, max_iter=1000, class_weight="balanced"))
    return LogisticRegression(C=10, max_iter=1000)


def _measure(problem_type: str, y: Any, answers: Any) -> dict[str, float]:
    if problem_type == "regression":
        return {"pearson": float(stats.pearsonr(np.ravel(y), np.ravel(answers)).statistic)}
    return {
        "accuracy": float(accuracy_score(y, answers)),
        "macro_f1": float(f1_score(y, answers, average="macro", zero_division=0)),
    }
