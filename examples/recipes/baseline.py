"""What no recurrent network should stay below: linear models of counted n-grams, or of simple statistics."""

from typing import Any

import numpy as np
from scipy import stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, f1_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from transformers_rnn.labelled_data import LabelledData


def answer_by_counting(data: LabelledData) -> dict[str, float]:
    """Fit on the training and validation rows, answer the test rows, and measure.

    Texts are TF-IDF of words and word pairs (of 1 to 4 characters, where a text is one word), vectors the mean,
    deviation, minimum, maximum and range of steps of every feature; both go to a logistic or ridge regression.
    """
    rows = {name: split.with_format("numpy") for name, split in data.splits.items()}
    known = [rows[name] for name in ("train", "validation") if name in rows]
    read = _texts if data.reads_text else _statistics
    x = [each for part in known for each in read(part)]
    y = np.concatenate([np.stack(part["labels"]) for part in known])
    x_test, y_test = read(rows["test"]), np.stack(rows["test"]["labels"])
    model = make_pipeline(_features(data, x), _head(data.problem_type)).fit(x, y)
    return _measure(data.problem_type, y_test, model.predict(x_test))


def _texts(part: Any) -> list[str]:
    return [str(text) for text in part["text"]]


def _statistics(part: Any) -> list[Any]:
    return [
        np.concatenate([each.mean(0), each.std(0), each.min(0), each.max(0), np.abs(np.diff(each, axis=0)).mean(0)])
        for each in (np.asarray(row, np.float64) for row in part["input_features"])
    ]


def _features(data: LabelledData, x: list[Any]) -> Any:
    if not data.reads_text:
        return StandardScaler()
    if np.mean([" " in text for text in x]) < 0.5:
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
