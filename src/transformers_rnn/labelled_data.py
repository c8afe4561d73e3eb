"""A labelled table -> inputs and labels; the columns and the problem type are settled here, once."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset, Features, IterableDataset
from numpy.typing import NDArray

from .column_finding import Columns, find_columns
from .data_report import DataReport, class_counts, length_statistics, repeats, target_statistics
from .data_source import Split, Splits, read_source
from .data_splitting import draw_part, draw_streamed
from .label_encoding import REGRESSION, LabelEncoder, learn_labels
from .losses import ProblemType
from .table_reading import Part, TableReader, where
from .vector_columns import read_vectors

STREAM_BATCH = 256
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class LabelledData:
    """Inputs and labels, ready for a tokenizer or a feature extractor.

    Attributes:
        splits: `"train"`, `"validation"` and, where there is one, `"test"`. Columns: `text` (and `text_pair`) or
            `input_features`, arrays (T_i, F) in float32; and `labels`: a class id, L indicators, or the targets.
        problem_type: the host's name of the problem.
        label_names: of the L labels in the order of their indices; of the targets in a regression.
        reads_text: whether the input is text.
        feature_size: F; `None` for text.
        report: what was found and decided.
    """

    splits: Mapping[str, Dataset | IterableDataset]
    problem_type: ProblemType
    label_names: tuple[str, ...]
    reads_text: bool
    feature_size: int | None
    report: DataReport

    def config_fields(self) -> dict[str, Any]:
        """The fields of `RNNConfig` that the data decide."""
        fields: dict[str, Any] = {
            "problem_type": self.problem_type,
            "num_labels": len(self.label_names),
            "id2label": dict(enumerate(self.label_names)),
        }
        return fields if self.feature_size is None else {**fields, "input_size": self.feature_size}


def load_labelled_data(
    source: Any,
    *,
    text_column: str | None = None,
    text_pair_column: str | None = None,
    vector_column: Columns | None = None,
    label_column: Columns | None = None,
    problem_type: ProblemType | None = None,
    label_names: Sequence[str] | None = None,
    label_separator: str | None = None,
    validation_size: float = 0.1,
    test_size: float | None = None,
    seed: int = 42,
    max_train_samples: int | None = None,
    max_validation_samples: int | None = None,
    max_test_samples: int | None = None,
    drop_incomplete: bool = False,
    drop_duplicates: bool = False,
    load_options: Mapping[str, Any] | None = None,
) -> LabelledData:
    """Read a table of texts or vectors with labels, check it, and split it where it is not split.

    Nothing is written to the caches of `datasets` (but by itself, for a name on the hub). The same source and seed
    give the same data.

    Args:
        source: path of a CSV, TSV, JSON, JSON lines or Parquet file (also .gz); a folder of them, split by their
            names as `datasets` does; a folder of `save_to_disk`; a name on the hub; a mapping of split to file or
            table; a `Dataset`, `DatasetDict` or their streaming kin; a DataFrame, or a mapping of column to values.
        text_column: the column of texts; `None`: found by its name, else by its type.
        text_pair_column: the column of second texts.
        vector_column: the column of vectors (T_i, F) or series (T_i,), or several columns of series that are the F
            features of one sequence.
        label_column: the column of labels; several columns of zeros and ones are the labels of a multi-label
            problem, several of other numbers the targets of a regression.
        problem_type: the host's name of the problem; `None`: told from the labels, and said in the report.
        label_names: all labels in the order of their indices; `None`: learned from the training set.
        label_separator: what stands between several labels in one string, such as `","`.
        validation_size: share (or number of rows) of the training set that becomes the validation set, stratified,
            where there is none.
        test_size: the same for the test set; `None`: there is a test set only if the source has one.
        seed: decides the splits and samples.
        max_train_samples: how many rows to keep at most, drawn by seed; of a stream the first.
        max_validation_samples: the same for the validation set.
        max_test_samples: the same for the test set.
        drop_incomplete: whether rows without input or label are left out; else they are refused.
        drop_duplicates: whether training rows that repeat the input of another row, of any split, are left out.
        load_options: further arguments of `datasets.load_dataset` for a name on the hub, such as `name`, `revision`
            or `streaming`.

    Raises:
        FileNotFoundError: a source that is not there.
        TypeError: a source of a kind that cannot be read.
        ValueError: no clear choice of columns, labels that fit no problem, a row that cannot be learned (with split,
            row and column), or a split that cannot be made.
    """
    splits = read_source(source, load_options)
    if "train" not in splits:
        raise ValueError(
            f"There is no training set among the splits {', '.join(map(repr, splits))}. Name one 'train'."
        )
    said = [f"Split `{name}` is not used." for name in splits if name not in PARTS]
    splits = {name: splits[name] for name in PARTS if name in splits}
    opened = _open_table(splits["train"])
    choice = find_columns(
        opened.schema,
        text_column=text_column,
        text_pair_column=text_pair_column,
        vector_column=vector_column,
        label_column=label_column,
    )
    features = splits["train"].features or Features.from_arrow_schema(opened.schema)
    hidden = len(choice.labels) == 1 and isinstance(features[choice.labels[0]], ClassLabel)
    reader = TableReader(choice, hidden, drop_incomplete)
    encoder = _learn(splits["train"], features, reader, problem_type, label_names, label_separator)
    reader = replace(reader, encoder=encoder, feature_size=_feature_size(opened, reader))
    sizes = {"validation": validation_size, **({} if test_size is None else {"test": test_size})}
    sizes = {name: size for name, size in sizes.items() if name not in splits}
    most = dict(zip(PARTS, (max_train_samples, max_validation_samples, max_test_samples), strict=True))
    plan = _Plan(sizes, seed, most, drop_duplicates)
    said = [*choice.decisions, *encoder.decisions, *said]
    if any(isinstance(split, IterableDataset) for split in splits.values()):
        return _stream(splits, reader, encoder, plan, said)
    return _load(
        {name: split for name, split in splits.items() if isinstance(split, Dataset)}, reader, encoder, plan, said
    )


@dataclass(frozen=True)
class _Plan:
    """What is made of the splits that came."""

    sizes: Mapping[str, float]
    seed: int
    most: Mapping[str, int | None]
    drop_duplicates: bool


def _open_table(split: Split) -> pa.Table:
    """The first row, for the types of the columns."""
    if isinstance(split, Dataset):
        return split.with_format("arrow")[:1]
    for table in split.with_format("arrow").iter(batch_size=1):
        return table
    raise ValueError("The training set has no rows. Give it some.")


def _read_columns(split: Split, names: Sequence[str], part: str, batch_size: int | None = None) -> Iterator[pa.Table]:
    """Some columns of a split: whole, or in batches of a stream."""
    known = split.column_names
    missing = [name for name in names if known is not None and name not in known]
    if missing:
        raise ValueError(
            f"Split {part!r} has no column {missing[0]!r}, which the training set has; its columns are "
            f"{', '.join(map(repr, known))}. Give every split the same columns."
        )
    if isinstance(split, Dataset):
        yield split.select_columns(list(names)).with_format("arrow")[:]
    else:
        yield from split.select_columns(list(names)).with_format("arrow").iter(batch_size=batch_size)


def _learn(
    split: Split,
    features: Features,
    reader: TableReader,
    problem_type: ProblemType | None,
    label_names: Sequence[str] | None,
    separator: str | None,
) -> LabelEncoder:
    """Learn the labels from the training set; a stream is read to its end unless its labels are `ClassLabel`."""
    columns = reader.choice.labels
    if isinstance(split, IterableDataset) and reader.hidden:
        split = split.take(1)
    labels_only = replace(reader, choice=replace(reader.choice, text=(), vectors=()))
    tables, places, start = [], [], 0
    for table in _read_columns(split, columns, "train", STREAM_BATCH):
        rows = np.arange(start, start + len(table))
        start += len(table)
        kept, rows = labels_only.complete(table, "train", rows)
        tables.append(kept)
        places.append(rows)
    if not sum(map(len, tables)):
        raise ValueError("The training set has no rows with a label. Give it some.")
    return learn_labels(
        pa.concat_tables(tables, promote_options="permissive"),
        features,
        columns,
        partial(where, "train", np.concatenate(places)),
        problem_type=problem_type,
        label_names=label_names,
        separator=separator,
    )


def _feature_size(first: pa.Table, reader: TableReader) -> int | None:
    """F, from the first row with steps; `None` for texts."""
    if not reader.choice.vectors:
        return None
    columns = {name: first.column(name) for name in reader.choice.vectors}
    return read_vectors(columns, partial(where, "train", np.arange(1))).steps.shape[1]


def _load(
    splits: dict[str, Dataset], reader: TableReader, encoder: LabelEncoder, plan: _Plan, said: list[str]
) -> LabelledData:
    parts: dict[str, Part] = {}
    for name, split in splits.items():
        (table,) = _read_columns(split, reader.choice.all, name)
        parts[name] = reader.read(table, name, np.arange(len(table)))
    left_out = {name: part.left_out for name, part in parts.items()}
    if plan.drop_duplicates:
        parts["train"], dropped = _without_repeats(parts)
        said.append(f"{dropped} training rows that repeat the input of another row are left out.")
    parts = _split(parts, encoder, plan, said)
    generator = np.random.default_rng([plan.seed, 1])
    for name, part in parts.items():
        most = plan.most[name]
        if most is not None and most < len(part.rows):
            parts[name] = part.take(np.sort(generator.permutation(len(part.rows))[:most]))
            said.append(f"Of the {len(part.rows)} rows of split `{name}`, {most} are kept.")
    features = reader.features()
    datasets = {name: parts[name].to_dataset(features) for name in PARTS if name in parts}
    report = _report({name: parts[name] for name in datasets}, reader, encoder, said, left_out)
    return _result(datasets, reader, encoder, report)


def _result(
    splits: Mapping[str, Split], reader: TableReader, encoder: LabelEncoder, report: DataReport
) -> LabelledData:
    return LabelledData(
        splits, encoder.problem_type, encoder.names, not reader.choice.vectors, reader.feature_size, report
    )


def _without_repeats(parts: Mapping[str, Part]) -> tuple[Part, int]:
    """The training set without inputs that stand in another split or earlier in itself."""
    known = {key for name, part in parts.items() if name != "train" for key in part.keys()}  # noqa: SIM118 - no mapping
    keep = np.ones(len(parts["train"].rows), bool)
    for row, key in enumerate(parts["train"].keys()):
        keep[row] = key not in known
        known.add(key)
    return parts["train"].take(keep), int((~keep).sum())


def _split(parts: dict[str, Part], encoder: LabelEncoder, plan: _Plan, said: list[str]) -> dict[str, Part]:
    """Draw the validation and test sets that are not there from the training set."""
    generator = np.random.default_rng(plan.seed)
    train = parts["train"]
    total = len(train.rows)
    for index, (name, size) in enumerate(plan.sizes.items()):
        drawn = draw_part(
            train.labels,
            size if size >= 1 else size * total / max(len(train.rows), 1),
            generator,
            names=encoder.names,
            regression=encoder.problem_type == REGRESSION,
            parts=1 + len(plan.sizes) - index,
            where=partial(where, "train", train.rows),
            option=f"{name}_size",
        )
        parts = {**parts, name: train.take(drawn)}
        train = train.take(~drawn)
        said.append(
            f"Split `{name}` is drawn from the training set with seed {plan.seed}: {drawn.sum()} of {total} rows, "
            f"stratified by {'the rank of the target' if encoder.problem_type == REGRESSION else 'label'}."
        )
    return {**parts, "train": train}


def _report(
    parts: dict[str, Part], reader: TableReader, encoder: LabelEncoder, said: list[str], left_out: dict[str, int]
) -> DataReport:
    regression = encoder.problem_type == REGRESSION
    measure = target_statistics if regression else class_counts
    measured: dict[str, Any] = {name: measure(part.labels, encoder.names) for name, part in parts.items()}
    lengths: dict[str, dict[str, dict[str, float]]] = {}
    for name, part in parts.items():
        if part.vectors is not None:
            lengths[name] = {"steps": length_statistics(part.vectors.lengths)}
            continue
        texts = [" ".join(pair) for pair in zip(*(column.to_pylist() for column in part.texts.values()), strict=True)]
        counted = {"words": [len(text.split()) for text in texts], "characters": map(len, texts)}
        lengths[name] = {unit: length_statistics(counts) for unit, counts in counted.items()}
    return DataReport(
        problem_type=encoder.problem_type,
        columns=reader.choice.roles,
        decisions=tuple(said),
        rows={name: len(part.rows) for name, part in parts.items()},
        left_out=left_out,
        **{"targets" if regression else "class_counts": measured},
        lengths=lengths,
        **repeats(
            {name: part.keys() for name, part in parts.items()}, {name: part.labels for name, part in parts.items()}
        ),
    )


def _stream(splits: Splits, reader: TableReader, encoder: LabelEncoder, plan: _Plan, said: list[str]) -> LabelledData:
    """The same, read when asked for."""
    edges = np.cumsum([size for size in plan.sizes.values()])
    if any(size >= 1 for size in plan.sizes.values()) or (len(edges) and edges[-1] >= 1):
        raise ValueError(
            f"A stream is split by shares between 0 and 1 that leave a training set, got {dict(plan.sizes)}. Pass "
            "shares, or bring splits of your own."
        )
    features = reader.features()
    result: dict[str, Split] = {}
    for name in [name for name in PARTS if name in splits or name in plan.sizes]:
        source = splits.get(name, splits["train"])
        origin = name if name in splits else "train"
        shares = (0.0, 1.0)
        if name in plan.sizes:
            end = float(edges[list(plan.sizes).index(name)])
            shares = (end - plan.sizes[name], end)
            said.append(
                f"Split `{name}` is drawn from the training stream with seed {plan.seed}: {plan.sizes[name]:.0%}."
            )
        elif name == "train" and plan.sizes:
            shares = (float(edges[-1]), 1.0)
        stream = source.to_iterable_dataset() if isinstance(source, Dataset) else source
        columns = stream.column_names or _open_table(stream).column_names
        stream = stream.with_format("arrow").map(
            partial(_read_batch, reader=reader, features=features, split=origin, shares=shares, seed=plan.seed),
            with_indices=True,
            batched=True,
            batch_size=STREAM_BATCH,
            remove_columns=[column for column in columns if column not in features],
            features=features,
        )
        most = plan.most[name]
        stream = stream if most is None else stream.take(most)
        result[name] = stream.with_format(None if reader.feature_size is None else "numpy")
    unchecked = (
        "A stream is read when it is used: its rows are checked then, and neither counted nor measured.",
        "Repeated rows within and across splits cannot be seen, and drawn splits are not stratified.",
    )
    report = DataReport(encoder.problem_type, reader.choice.roles, tuple(said), unchecked=unchecked)
    return _result(result, reader, encoder, report)


def _read_batch(
    table: pa.Table,
    indices: list[int],
    *,
    reader: TableReader,
    features: Features,
    split: str,
    shares: tuple[float, float],
    seed: int,
) -> pa.Table:
    rows: NDArray[np.int64] = np.asarray(indices, np.int64)
    if shares != (0.0, 1.0):
        kept = draw_streamed(rows, shares, seed)
        table, rows = table.filter(pa.array(kept)), rows[kept]
    return reader.read(table, split, rows).to_table(features)
