"""Answers before the end, against TEASER and a probability threshold of `aeon`, on the same data and parts."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from real_data import Loads
from report import Section, Table, figure, seconds
from sklearn.model_selection import StratifiedKFold
from transformers import Trainer, TrainingArguments, set_seed

from transformers_rnn import RNNConfig, RNNForSequenceClassification, SequenceVectorFeatureExtractor
from transformers_rnn.earliness import EarlyResult, evaluate_stopping, fit_stopping_policy, prefix_probabilities

DATASETS = {"BasicMotions": 60, "JapaneseVowels_eq": 30, "GunPoint": 150}  # epochs of ours
FOLDS = 4
POLICIES = {"policy, waiting costs 0.2": 0.2, "policy for the harmonic mean": None}
TREES = 100


@dataclass(frozen=True)
class Split:
    """The archive's own parts: (B, F, T) of equal lengths, and whole numbers as labels."""

    series: np.ndarray
    labels: np.ndarray
    test_series: np.ndarray
    test_labels: np.ndarray


@dataclass(frozen=True)
class Measured:
    """What a contender reached, and processor seconds for fitting and for answering the whole test part."""

    result: EarlyResult
    fit: float
    predict: float


def section(loads: Loads) -> Section:
    """Ours and theirs, on each data set."""
    rows = []
    for name, epochs in list(DATASETS.items())[: 1 if loads.quick else None]:
        split = _read(name, loads.data)
        facts = f"{name}, {len(split.labels)} + {len(split.test_labels)}, T {split.series.shape[2]}"
        for contender, measured in _contenders(split, 2 if loads.quick else epochs, loads.quick):
            result = measured.result
            figures = (result.accuracy, result.earliness, result.harmonic_mean)
            times = (seconds(measured.fit), seconds(measured.predict))
            rows.append((facts, contender, *(figure(value) for value in figures), *times))
            print(rows[-1], flush=True)
    columns = ("data, train + test", "contender", "accuracy", "share read", "harmonic mean", "fit", "predict all")
    note = (
        "Share read is aeon's earliness; the harmonic mean is that of accuracy and 1 - share read: what TEASER and one "
        "of our policies seek. It is large after one step already, hardly better than by chance, so it is no aim by "
        f"itself. Policies are fitted on the training part alone, ours on {FOLDS} folds of it. Times are processor seconds of one thread, compilation by numba included; ours count "
        f"all {FOLDS + 1} trainings. Ours answers after any step, aeon's after at most 20 chosen ones."
    )
    table = Table("Early answers", columns, rows, note)
    return Section("Answers before the end", "One layer, GRU, H 48, one direction, pooling `last`.", tables=[table])


def _contenders(split: Split, epochs: int, quick: bool) -> Any:
    from aeon.classification.early_classification import TEASER, ProbabilityThresholdEarlyClassifier
    from aeon.classification.interval_based import TimeSeriesForestClassifier

    for share in (1.0, 0.0):
        for rule, measured in _ours(split, epochs, share).items():
            yield f"ours, prefix loss {share:g}, {rule}", measured
    forest = TimeSeriesForestClassifier(n_estimators=5 if quick else TREES, random_state=0)
    yield f"aeon TEASER, forest of {TREES}", _theirs(TEASER(forest, random_state=0), split)
    threshold = ProbabilityThresholdEarlyClassifier(forest, random_state=0)
    yield f"aeon probability threshold 0.85, forest of {TREES}", _theirs(threshold, split)
    if not quick and split.series.shape[1] == 1:  # it reads one feature only
        yield "aeon TEASER, its default WEASEL", _theirs(TEASER(random_state=0), split)


def _ours(split: Split, epochs: int, share: float) -> dict[str, Measured]:
    """The policy is fitted on what models believe of folds that they have not seen."""
    begin = process_time()
    beliefs: list[Any] = [None] * len(split.labels)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    for known, unknown in folds.split(split.series, split.labels):
        tables = _train(split.series[known], split.labels[known], epochs, share)(split.series[unknown])
        for index, table in zip(unknown, tables, strict=True):
            beliefs[index] = table
    policies = {"reads everything": None} | {
        name: fit_stopping_policy(beliefs, split.labels, waiting_cost=cost) for name, cost in POLICIES.items()
    }
    believe = _train(split.series, split.labels, epochs, share)
    fitted = process_time()
    tables = believe(split.test_series)
    read = process_time()
    return {
        name: Measured(evaluate_stopping(policy, tables, split.test_labels), fitted - begin, read - fitted)
        for name, policy in policies.items()
    }


def _train(series: np.ndarray, labels: np.ndarray, epochs: int, share: float) -> Any:
    """Train; return what tells the beliefs after each step."""
    set_seed(0)
    extractor = SequenceVectorFeatureExtractor(feature_size=series.shape[1]).fit(list(series.swapaxes(1, 2)))

    def rows(some: np.ndarray, answers: np.ndarray | None = None) -> list[dict[str, Any]]:
        features = extractor(list(some.swapaxes(1, 2)))["input_features"]
        given = [{}] * len(some) if answers is None else [{"labels": int(answer)} for answer in answers]
        return [{"input_features": one, **label} for one, label in zip(features, given, strict=True)]

    config = RNNConfig(
        cell_type="gru",
        input_size=series.shape[1],
        hidden_size=48,
        num_labels=int(labels.max()) + 1,
        classifier_dropout=0.2,
        prefix_loss_weight=share,
        problem_type="single_label_classification",
    )
    model = RNNForSequenceClassification(config)
    with tempfile.TemporaryDirectory() as directory:
        arguments = TrainingArguments(
            directory,
            num_train_epochs=epochs,
            learning_rate=5e-3,
            lr_scheduler_type="cosine",
            per_device_train_batch_size=16,
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            dataloader_pin_memory=False,
        )
        Trainer(model, arguments, train_dataset=rows(series, labels), processing_class=extractor).train()
    return lambda some: prefix_probabilities(model, rows(some), extractor)


def _theirs(classifier: Any, split: Split) -> Measured:
    begin = process_time()
    classifier.fit(split.series, split.labels)
    fitted = process_time()
    _, accuracy, earliness = classifier.score(split.test_series, split.test_labels)
    done = process_time()
    steps = earliness * split.series.shape[2]
    return Measured(EarlyResult(float(accuracy), float(earliness), float(steps)), fitted - begin, done - fitted)


def _read(name: str, data: Path) -> Split:
    """From the folder of data, or from `aeon`'s own wheel; nothing is downloaded."""
    import aeon.datasets

    folder = data / "aeon_ts" / name.removesuffix("_eq")
    if not folder.exists():
        folder = Path(aeon.datasets.__file__).parent / "data" / name
    parts = [aeon.datasets.load_from_ts_file(str(folder / f"{name}_{part}.ts")) for part in ("TRAIN", "TEST")]
    (series, labels), (test_series, test_labels) = parts
    classes = sorted(set(labels))
    numbers = [np.array([classes.index(label) for label in some]) for some in (labels, test_labels)]
    return Split(series, numbers[0], test_series, numbers[1])
