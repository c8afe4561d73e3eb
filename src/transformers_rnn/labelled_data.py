"""A labelled table -> inputs and labels; the columns and the problem type are settled here, once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import ClassLabel, Dataset, Features, IterableDataset
from numpy.typing import NDArray

from .column_finding import Columns, find_columns
from .data_files import FileFormat
from .data_report import DataReport, report_on
from .data_source import Split, Splits, find_mixture, first_row, read_columns, read_source
from .data_splitting import SplitPlan, draw_part
from .data_streaming import UNCHECKED, read_streams
from .label_encoding import REGRESSION, LabelEncoder, learn_labels
from .losses import ProblemType
from .table_reading import Part, RowCheck, TableReader, where
from .vector_columns import read_vectors

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

    def with_decision(self, said: str) -> "LabelledData":
        """The same data, with a further sentence on what was decided about it in its report."""
        return replace(self, report=replace(self.report, decisions=(*self.report.decisions, said)))


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
    validation_size: float | None = 0.1,
    test_size: float | None = None,
    seed: int = 42,
    max_train_samples: int | None = None,
    max_validation_samples: int | None = None,
    max_test_samples: int | None = None,
    drop_incomplete: bool = False,
    drop_duplicates: bool = False,
    column_names: Sequence[str] | None = None,
    encoding: str = "utf-8",
    quotes: bool | None = None,
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
        validation_size: share (a float) or number of rows (an int) of the training set that becomes the validation
            set, stratified, where there is none; `None`: nothing is drawn.
        test_size: the same for the test set; `None`: there is a test set only if the source has one.
        seed: decides the splits and samples.
        max_train_samples: how many rows to keep at most, drawn by seed; of a stream the first.
        max_validation_samples: the same for the validation set.
        max_test_samples: the same for the test set.
        drop_incomplete: whether rows without input or label are left out; else they are refused.
        drop_duplicates: whether training rows that repeat the input of another row, of any split, are left out.
        column_names: of CSV and TSV files without a header; with them a file of another suffix is tab-separated.
        encoding: of text files.
        quotes: whether quotation marks enclose values in CSV and TSV files; `None`: yes, but not in tab-separated
            files without a header.
        load_options: further arguments of `datasets.load_dataset` for a name on the hub, such as `name`, `revision`
            or `streaming`.

    Raises:
        FileNotFoundError: a source that is not there.
        TypeError: a source of a kind that cannot be read.
        ValueError: no clear choice of columns, labels that fit no problem, a row that cannot be learned (with split,
            row and column), or a split that cannot be made.
    """
    splits = read_source(source, load_options, FileFormat(column_names, encoding, quotes))
    if "train" not in splits:
        raise ValueError(
            f"There is no training set among the splits {', '.join(map(repr, splits))}. Name one 'train'."
        )
    said = [f"Split `{name}` is not used." for name in splits if name not in PARTS]
    splits = {name: splits[name] for name in PARTS if name in splits}
    opened = first_row(splits["train"])
    choice = find_columns(
        opened.schema,
        text_column=text_column,
        text_pair_column=text_pair_column,
        vector_column=vector_column,
        label_column=label_column,
    )
    features = splits["train"].features or Features.from_arrow_schema(opened.schema)
    hidden = len(choice.labels) == 1 and isinstance(features[choice.labels[0]], ClassLabel)
    check = RowCheck(choice, hidden, drop_incomplete)
    table, rows = _training_labels(splits["train"], check)
    encoder = learn_labels(
        table,
        features,
        choice.labels,
        partial(where, "train", rows),
        problem_type=problem_type,
        label_names=label_names,
        separator=label_separator,
    )
    reader = TableReader(check, encoder, _feature_size(splits["train"], check))
    sizes = {"validation": validation_size, "test": test_size}
    plan = SplitPlan(
        sizes={name: size for name, size in sizes.items() if size is not None and name not in splits},
        seed=seed,
        most=dict(zip(PARTS, (max_train_samples, max_validation_samples, max_test_samples), strict=True)),
        drop_duplicates=drop_duplicates,
    )
    said = [*choice.decisions, *encoder.decisions, *said]
    loaded: Mapping[str, Split]
    if any(isinstance(split, IterableDataset) for split in splits.values()):
        loaded, how = read_streams(splits, reader, plan)
        drawn = tuple(plan.sizes)
        report = DataReport(encoder.problem_type, choice.roles, (*said, *how), unchecked=UNCHECKED, drawn=drawn)
    else:
        loaded, report = _load(splits, reader, plan, said)
    return LabelledData(loaded, encoder.problem_type, encoder.names, not choice.vectors, reader.feature_size, report)


def _training_labels(split: Split, check: RowCheck) -> tuple[pa.Table, NDArray[np.int64]]:
    """The labels of the training set and their rows; a stream is read to its end unless they are `ClassLabel`."""
    if isinstance(split, IterableDataset) and check.hidden:
        split = split.take(1)
    columns = check.choice.labels
    tables, places, start = [], [], 0
    try:
        for table in read_columns(split, columns, "train"):
            kept, rows = check.complete(table, "train", np.arange(start, start + len(table)))
            start += len(table)
            tables.append(kept)
            places.append(rows)
        joined = pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:  # a stream whose types nobody declared
        raise ValueError(find_mixture(split, columns, "train") or str(error)) from error
    if not len(joined):
        raise ValueError("The training set has no rows with a label. Give it some.")
    return joined, np.concatenate(places)


def _feature_size(split: Split, check: RowCheck) -> int | None:
    """F, from the first row that has steps; `None` for texts."""
    if not check.choice.vectors:
        return None
    for table in read_columns(split, check.choice.vectors, "train"):
        kept, rows = check.complete(table, "train", np.arange(len(table)))
        if len(kept):
            columns = {name: kept.column(name)[:1] for name in kept.column_names}
            return int(read_vectors(columns, partial(where, "train", rows)).steps.shape[1])
    raise ValueError("The training set has no rows with an input. Give it some.")


def _load(
    splits: Splits, reader: TableReader, plan: SplitPlan, said: list[str]
) -> tuple[dict[str, Dataset], DataReport]:
    parts: dict[str, Part] = {}
    left_out: dict[str, int] = {}
    for name, split in splits.items():
        (table,) = read_columns(split, reader.check.choice.all, name)
        part = reader.read(table, name, np.arange(len(table)))
        left_out[name] = part.left_out
        if len(part.rows):
            parts[name] = part
        elif name == "train":
            raise ValueError("No row of the training set has both an input and a label. Give it some.")
        else:
            said.append(f"Split `{name}` has no row with an input and a label, so it is not used.")
    if plan.drop_duplicates:
        parts["train"], dropped = _without_repeats(parts)
        said.append(f"{dropped} training rows that repeat the input of another row are left out.")
    parts = _split(parts, reader.encoder, plan, said)
    generator = np.random.default_rng([plan.seed, 1])
    for name, part in parts.items():
        most = plan.most[name]
        if most is not None and most < len(part.rows):
            parts[name] = part.take(np.sort(generator.permutation(len(part.rows))[:most]))
            said.append(f"Of the {len(part.rows)} rows of split `{name}`, {most} are kept.")
    parts = {name: parts[name] for name in PARTS if name in parts}
    features = reader.features()
    datasets = {name: part.to_dataset(features) for name, part in parts.items()}
    return datasets, report_on(parts, reader, said, left_out, list(plan.sizes))


def _without_repeats(parts: Mapping[str, Part]) -> tuple[Part, int]:
    """The training set without inputs that stand in another split or earlier in itself."""
    known = {key for name, part in parts.items() if name != "train" for key in part.keys()}  # noqa: SIM118 - no mapping
    keep = np.ones(len(parts["train"].rows), bool)
    for row, key in enumerate(parts["train"].keys()):
        keep[row] = key not in known
        known.add(key)
    return parts["train"].take(keep), int((~keep).sum())


def _split(parts: dict[str, Part], encoder: LabelEncoder, plan: SplitPlan, said: list[str]) -> dict[str, Part]:
    """Draw the validation and test sets that are not there from the training set."""
    generator = np.random.default_rng(plan.seed)
    train = parts["train"]
    total = len(train.rows)
    for index, (name, size) in enumerate(plan.sizes.items()):
        drawn = draw_part(
            train.labels,
            size * total / len(train.rows) if isinstance(size, float) else size,
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
