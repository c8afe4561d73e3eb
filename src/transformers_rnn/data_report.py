"""What was found in a labelled table: counts, lengths, repeats and decisions, readable and as plain numbers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .label_encoding import REGRESSION
from .table_reading import Part, TableReader

STATISTICS = ("mean", "median", "p95", "max")


@dataclass(frozen=True)
class DataReport:
    """What `load_labelled_data` found and decided; `str(report)` is Markdown, `to_dict()` is JSON.

    Attributes:
        problem_type: the host's name of the problem.
        columns: role (`text`, `text_pair`, `input_features`, `labels`) -> column or columns of the source.
        decisions: what was settled without being told, as sentences.
        rows: split -> number of rows; none for a stream.
        left_out: split -> number of rows without input or label that were left out.
        class_counts: split -> label name -> rows that have it.
        targets: split -> target name -> mean, std, min and max, for a regression.
        lengths: split -> unit (`words`, `characters` or `steps`) -> mean, median, p95 and max.
        duplicates: split -> rows that repeat the input of an earlier row of the split.
        contradictions: split -> rows that repeat an input of the split under another label.
        shared: `"train & test"` -> rows of the second split whose input stands in the first.
        unchecked: what a stream hides, as sentences.
        drawn: splits that were drawn from the training set.
    """

    problem_type: str
    columns: Mapping[str, Any]
    decisions: Sequence[str] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)
    class_counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    targets: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    lengths: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    duplicates: Mapping[str, int] = field(default_factory=dict)
    contradictions: Mapping[str, int] = field(default_factory=dict)
    shared: Mapping[str, int] = field(default_factory=dict)
    unchecked: Sequence[str] = ()
    drawn: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """The whole report as what JSON can hold."""
        return asdict(self)

    def __str__(self) -> str:
        """The report as Markdown."""
        columns = ", ".join(f"{role} from `{name}`" for role, name in self.columns.items())
        parts = [f"{self.problem_type}; {columns}.", *self.decisions]
        splits = list(self.rows) or list(self.class_counts)
        if self.rows:
            shown = {"rows": self.rows, "left out": self.left_out, "repeated": self.duplicates}
            shown["contradictory"] = self.contradictions
            parts.append(_table("", splits, {name: part for name, part in shown.items() if any(part.values())}))
        if self.class_counts:
            names = list(next(iter(self.class_counts.values())))
            counts = {name: {split: self.class_counts[split][name] for split in self.class_counts} for name in names}
            parts.append(_table("label", splits, counts))
        for title, nested in (("target", self.targets), ("length", self.lengths)):
            for split_rows in filter(None, [_unfold(nested)]):
                parts.append(_table(title, splits, split_rows))
        parts += [
            f"{count} rows shared by {pair}: figures on them flatter." for pair, count in self.shared.items() if count
        ]
        return "\n\n".join([*parts, *self.unchecked])


def report_on(
    parts: Mapping[str, Part],
    reader: TableReader,
    decisions: Sequence[str],
    left_out: Mapping[str, int],
    drawn: Sequence[str],
) -> DataReport:
    """Count and measure the rows of every split."""
    encoder = reader.encoder
    regression = encoder.problem_type == REGRESSION
    labels = {name: part.labels for name, part in parts.items()}
    return DataReport(
        problem_type=encoder.problem_type,
        columns=reader.check.choice.roles,
        decisions=tuple(decisions),
        rows={name: len(part.rows) for name, part in parts.items()},
        left_out=left_out,
        drawn=tuple(drawn),
        class_counts={} if regression else {name: class_counts(part, encoder.names) for name, part in labels.items()},
        targets={name: target_statistics(part, encoder.names) for name, part in labels.items()} if regression else {},
        lengths={name: _measure(part) for name, part in parts.items()},
        **repeats({name: part.keys() for name, part in parts.items()}, labels),  # type: ignore[arg-type]
    )


def _measure(part: Part) -> dict[str, dict[str, float]]:
    """Statistics of the lengths in each unit; those of a pair count both texts."""
    if part.vectors is not None:
        return {"steps": length_statistics(part.vectors.lengths)}
    texts = [" ".join(pair) for pair in zip(*(column.to_pylist() for column in part.texts.values()), strict=True)]
    counts = {"words": [len(text.split()) for text in texts], "characters": map(len, texts)}
    return {unit: length_statistics(lengths) for unit, lengths in counts.items()}


def _unfold(nested: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, dict[str, str]]:
    """Split -> name -> statistic, as rows `name, statistic` of columns by split."""
    rows: dict[str, dict[str, str]] = {}
    for split, names in nested.items():
        for name, figures in names.items():
            for statistic, value in figures.items():
                rows.setdefault(f"{name}, {statistic}", {})[split] = f"{value:.4g}"
    return rows


def _table(corner: str, columns: Sequence[str], rows: Mapping[str, Mapping[str, Any]]) -> str:
    cells = [[corner, *columns], ["---"] * (len(columns) + 1)]
    cells += [[name, *(str(values.get(column, "")) for column in columns)] for name, values in rows.items()]
    return "\n".join(
        f"| {' | '.join(' '.join(cell.split()).replace('|', chr(92) + '|') for cell in row)} |" for row in cells
    )


def length_statistics(lengths: Iterable[int]) -> dict[str, float]:
    """Mean, median, 95th percentile and maximum; nothing of no rows."""
    counts = np.fromiter(lengths, np.int64)
    if not len(counts):
        return {}
    figures = (counts.mean(), np.median(counts), np.percentile(counts, 95), counts.max())
    return {name: float(figure) for name, figure in zip(STATISTICS, figures, strict=True)}


def class_counts(labels: NDArray[Any], names: Sequence[str]) -> dict[str, int]:
    """Label name -> rows that have it, from class ids (rows,) or indicators (rows, L)."""
    counts = np.bincount(labels, minlength=len(names)) if labels.ndim == 1 else (labels > 0.5).sum(axis=0)
    return {name: int(count) for name, count in zip(names, counts, strict=True)}


def target_statistics(labels: NDArray[Any], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Target name -> mean, std, min and max."""
    columns = labels.reshape(len(labels), -1).T.astype(np.float64)
    if not len(labels):
        return {}
    return {
        name: {
            "mean": float(part.mean()),
            "std": float(part.std()),
            "min": float(part.min()),
            "max": float(part.max()),
        }
        for name, part in zip(names, columns, strict=True)
    }


def repeats(inputs: Mapping[str, Sequence[bytes]], labels: Mapping[str, NDArray[Any]]) -> dict[str, dict[str, int]]:
    """Count repeated inputs within and across splits.

    Args:
        inputs: split -> what tells the inputs of its rows apart.
        labels: split -> its encoded labels.

    Returns:
        `duplicates`, `contradictions` and `shared` of a `DataReport`.
    """
    found: dict[str, dict[str, int]] = {"duplicates": {}, "contradictions": {}, "shared": {}}
    sets: dict[str, set[bytes]] = {}
    for split, keys in inputs.items():
        first: dict[bytes, bytes] = {}
        contradictions = 0
        for key, label in zip(keys, labels[split], strict=True):
            contradictions += first.setdefault(key, label.tobytes()) != label.tobytes()
        found["duplicates"][split] = len(keys) - len(first)
        found["contradictions"][split] = contradictions
        for other, known in sets.items():
            found["shared"][f"{other} & {split}"] = sum(key in known for key in keys)
        sets[split] = set(first)
    return found
