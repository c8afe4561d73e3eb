"""Exported models in fewer bits: size, accuracy lost, and time, in one table for each model."""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
from onnxruntime import quantization
from real_data import Loads
from report import Aim, Section, Table, figure, seconds
from trained import Trained, accuracy, train_sst2, train_vowels

from transformers_rnn.export_cost import Cost, compare_cost
from transformers_rnn.onnx_export import FILE, Quantization, export_onnx
from transformers_rnn_onnx import OnnxSequenceClassifier

WHOLE, DYNAMIC, STATIC = "float32", "onnxruntime's `quantize_dynamic`", "onnxruntime's `quantize_static`"
CALIBRATED_ON = 64  # training sequences, for the ranges of activations
INTRO = (
    "`train_classifier` with nothing chosen but the data (and the cell), exported by `export_onnx(..., quantize=...)` "
    "and classified by `OnnxSequenceClassifier`; and onnxruntime's own quantization of the float32 file, its LSTMs "
    "with a scale for each row. One sequence and 32 together have 30 steps each; seconds of one thread, the fastest of seven rounds in turn. `int8`, `float16` and `bfloat16` are "
    "widened when the file is loaded and computed in float32; `int8_dynamic` and `quantize_dynamic` compute an LSTM "
    "with int8 numbers, in which a score depends a little on the company. ONNX Runtime has no such operator for a GRU, "
    "and for static ranges it has none for any recurrent layer: there they leave the weights as they are."
)


def section(loads: Loads) -> Section:
    """Text and vectors, an LSTM and a GRU."""
    result = Section("Fewer bits", INTRO)
    with tempfile.TemporaryDirectory() as home:
        for index, train in enumerate((train_sst2, train_vowels, _train_gru)):
            trained = train(loads)
            directories = _export(trained, Path(home) / str(index))
            files = {name: directory / FILE for name, directory in directories.items()}
            costs = compare_cost(trained.model.config, files)
            right = {name: _accuracy(trained, directory) for name, directory in directories.items()}
            result.tables.append(_table(trained, costs, right))
            result.aims += _aims(trained, costs, right)
    return result


def _train_gru(loads: Loads) -> Trained:
    return train_vowels(loads, cell_type="gru")


def _export(trained: Trained, home: Path) -> dict[str, Path]:
    """A directory for each way."""
    ways = [None, *get_args(Quantization)]
    if trained.model.config.cell_type != "lstm":
        ways.remove("int8_dynamic")
    found = {}
    for way in ways:
        found[way or WHOLE] = export_onnx(trained.model, home / str(way), trained.reader, quantize=way).parent
    logging.getLogger().setLevel(logging.ERROR)  # its advice to pre-process is about models that are not ours
    for name in (DYNAMIC, STATIC):
        found[name] = home / str(len(found))
        shutil.copytree(found[WHOLE], found[name])
    source = found[WHOLE] / FILE
    options = {"per_channel": True, "weight_type": quantization.QuantType.QInt8}
    quantization.quantize_dynamic(source, found[DYNAMIC] / FILE, **options)
    classifier = OnnxSequenceClassifier(found[WHOLE])
    quantization.quantize_static(source, found[STATIC] / FILE, _Activations(classifier, trained.train[0]), **options)
    return found


class _Activations(quantization.CalibrationDataReader):
    """Some training sequences, from which the ranges of the activations are learned."""

    def __init__(self, classifier: OnnxSequenceClassifier, items: list[Any]) -> None:
        self.rows = iter(classifier.reader.read(items[:CALIBRATED_ON]))
        self.name = classifier.reader.name

    def get_next(self) -> dict[str, Any] | None:
        row = next(self.rows, None)
        return None if row is None else {self.name: row[None], "attention_mask": np.ones((1, len(row)), np.int64)}

    def __iter__(self) -> Iterator[Any]:
        return iter(self.get_next, None)


def _accuracy(trained: Trained, directory: Path) -> float:
    items, labels = trained.test
    return accuracy(OnnxSequenceClassifier(directory)(items, abstain_below=None), labels)


def _table(trained: Trained, costs: dict[str, Cost], right: dict[str, float]) -> Table:
    whole = costs[WHOLE]
    rows = [
        (
            f"`{name}`" if name in get_args(Quantization) else name,
            f"{cost.size / 1e6:.2f} MB",
            f"{whole.size / cost.size:.2f}",
            f"{right[name]:.2f}",
            f"{right[name] - right[WHOLE]:+.2f}",
            f"{seconds(cost.one)} ({figure(cost.one / whole.one)})",
            f"{seconds(cost.many)} ({figure(cost.many / whole.many)})",
        )
        for name, cost in costs.items()
    ]
    columns = (
        "weights",
        "file",
        "times smaller",
        "accuracy, %",
        "points",
        "one sequence (of float32's)",
        "32 together",
    )
    return Table(f"{trained.name}, {len(trained.test[0]):,} test sequences", columns, rows)


def _aims(trained: Trained, costs: dict[str, Cost], right: dict[str, float]) -> list[Aim]:
    whole = costs[WHOLE]
    best = "int8_dynamic" if "int8_dynamic" in costs else "int8"
    found = []
    for name in dict.fromkeys(("int8", best)):
        cost, what = costs[name], f"{trained.name}, exported in `{name}`"
        size = f"{cost.size / 1e6:.2f} of {whole.size / 1e6:.2f} MB"
        found.append(Aim(f"{what}: size", "float32", whole.size / cost.size, size, at_least=4))
        lost = right[WHOLE] - right[name]
        points = f"{right[name]:.2f} of {right[WHOLE]:.2f} %"
        found.append(Aim(f"{what}: accuracy lost", "float32", lost, points, at_most=0.3, unit=" points"))
        time = f"{seconds(cost.one)} against {seconds(whole.one)}"
        found.append(Aim(f"{what}: one sequence", "float32", cost.one / whole.one, time, at_most=1.1))
    return found
