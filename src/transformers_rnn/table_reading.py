"""The chosen columns of a table -> checked inputs and encoded labels, for tables and for batches of a stream."""

from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets import Array2D, ClassLabel, Dataset, DatasetInfo, Features, List, Value
from numpy.typing import NDArray

from .column_finding import ColumnChoice, is_text
from .label_encoding import REGRESSION, SINGLE, UNLABELLED, LabelEncoder
from .vector_columns import Vectors, read_vectors, row_lengths, vector_rank

TEXT_ROLES = ("text", "text_pair")


def where(split: str, rows: NDArray[np.int64], row: int) -> str:
    """How an error names a row that stands at `row` among those that were kept."""
    return f"Split {split!r}, row {rows[row]}"


@dataclass(frozen=True)
class Part:
    """Checked rows of a split.

    Attributes:
        texts: role -> strings; empty for vectors.
        vectors: the inputs; `None` for texts.
        labels: as the encoder gives them.
        rows: index of each row in the source's split.
        left_out: how many rows without input or label were left out.
    """

    texts: dict[str, pa.ChunkedArray]
    vectors: Vectors | None
    labels: NDArray[Any]
    rows: NDArray[np.int64]
    left_out: int = 0

    def take(self, rows: NDArray[Any]) -> "Part":
        """Some of the rows: their indices in order, or true for those to keep."""
        rows = np.flatnonzero(rows) if rows.dtype == bool else rows
        texts = {role: column.take(pa.array(rows)) for role, column in self.texts.items()}
        vectors = None if self.vectors is None else self.vectors.take(rows)
        return Part(texts, vectors, self.labels[rows], self.rows[rows], self.left_out)

    def keys(self) -> list[bytes]:
        """What tells the inputs apart, 16 bytes a row."""
        if self.vectors is not None:
            contents = [row.tobytes() for row in self.vectors.rows]
        else:
            pairs = zip(*(column.to_pylist() for column in self.texts.values()), strict=True)
            contents = ["\0".join(pair).encode("utf-8", "surrogatepass") for pair in pairs]
        return [blake2b(content, digest_size=16).digest() for content in contents]

    def to_table(self, features: Features) -> pa.Table:
        """The columns of the result."""
        columns: dict[str, Any] = dict(self.texts)
        if self.vectors is not None:
            columns["input_features"] = self.vectors.to_arrow()
        flat = pa.array(self.labels.reshape(-1))
        wide = self.labels.ndim == 2
        columns["labels"] = pa.FixedSizeListArray.from_arrays(flat, self.labels.shape[1]) if wide else flat
        schema = features.arrow_schema
        arrays = [_cast(columns[name], schema.field(name).type) for name in schema.names]
        return pa.table(arrays, schema=schema)

    def to_dataset(self, features: Features) -> Dataset:
        """A table in memory; vectors and their labels come out of it as numpy arrays."""
        dataset = Dataset(self.to_table(features), info=DatasetInfo(features=features))
        return dataset if self.vectors is None else dataset.with_format("numpy")


@dataclass(frozen=True)
class RowCheck:
    """Which rows of a table can be read at all.

    Attributes:
        choice: the columns.
        hidden: whether the label -1 means none, as with `ClassLabel`.
        drop_incomplete: whether rows without input or label are left out; else they are refused.
    """

    choice: ColumnChoice
    hidden: bool
    drop_incomplete: bool

    def complete(self, table: pa.Table, split: str, rows: NDArray[np.int64]) -> tuple[pa.Table, NDArray[np.int64]]:
        """The rows of which no column is empty, and their indices.

        Raises:
            ValueError: a row has none, and such rows are not to be left out.
        """
        keep = np.ones(len(table), bool)
        for name in table.column_names:
            missing = self._missing(table.column(name), name)
            if missing.any() and not self.drop_incomplete:
                what = "has no label" if name in self.choice.labels else "is empty"
                raise ValueError(
                    f"{where(split, rows, int(np.flatnonzero(missing)[0]))}, column {name!r} {what} ({missing.sum()} "
                    f"of the {len(table)} rows read). Fill it in, remove such rows, or pass drop_incomplete=True."
                )
            keep &= ~missing
        return (table, rows) if keep.all() else (table.filter(pa.array(keep)), rows[keep])

    def _missing(self, column: pa.ChunkedArray, name: str) -> NDArray[np.bool_]:
        if name in self.choice.vectors:
            return np.asarray(row_lengths(column) == 0)
        kind = column.type
        if vector_rank(kind) or isinstance(kind, pa.ExtensionType):
            empty = pc.is_null(column)
        elif is_text(kind):
            column = column.cast(pa.large_string())
            empty = pc.fill_null(pc.equal(pc.utf8_length(pc.utf8_trim_whitespace(column)), 0), True)
        else:
            empty = pc.is_null(column, nan_is_null=True)
            if self.hidden and pa.types.is_integer(kind):
                empty = pc.or_(empty, pc.fill_null(pc.equal(column, UNLABELLED), True))
        return np.asarray(
            empty.to_numpy(zero_copy_only=False) if isinstance(empty, pa.Array) else empty.to_numpy(), bool
        )


@dataclass(frozen=True)
class TableReader:
    """How the rows of every split are read.

    Attributes:
        check: the columns, and what is done about gaps.
        encoder: of the labels.
        feature_size: F; `None` for texts.
    """

    check: RowCheck
    encoder: LabelEncoder
    feature_size: int | None

    def read(self, table: pa.Table, split: str, rows: NDArray[np.int64]) -> Part:
        """Check and encode.

        Raises:
            ValueError: a row that cannot be learned, with split, row and column.
        """
        before = len(table)
        table = table.select(list(dict.fromkeys(self.check.choice.all)))
        table, rows = self.check.complete(table, split, rows)
        place = partial(where, split, rows)
        for name in self.check.choice.text + self.check.choice.vectors if len(table) else ():
            kind = table.column(name).type
            if not (is_text(kind) if name in self.check.choice.text else vector_rank(kind)):
                raise ValueError(
                    f"{place(0)}, column {name!r} holds {kind}, other than the training set. Give every row one kind "
                    "of value."
                )
        vectors, texts = None, {}
        if self.check.choice.vectors:
            vectors = read_vectors(
                {name: table.column(name) for name in self.check.choice.vectors}, place, self.feature_size
            )
        for role, name in zip(TEXT_ROLES, self.check.choice.text, strict=False):
            texts[role] = table.column(name).cast(pa.string())
        return Part(texts, vectors, self.encoder.encode(table, place), rows, before - len(table))

    def features(self) -> Features:
        """Types of the result's columns."""
        names = list(self.encoder.names)
        label: Any = List(Value("float32"), length=len(names))
        if self.encoder.problem_type == SINGLE:
            label = ClassLabel(names=names)
        elif self.encoder.problem_type == REGRESSION and len(names) == 1:
            label = Value("float32")
        if self.feature_size is not None:
            return Features({"input_features": Array2D((None, self.feature_size), "float32"), "labels": label})
        roles = TEXT_ROLES[: len(self.check.choice.text)]
        return Features({**{role: Value("string") for role in roles}, "labels": label})


def _cast(column: Any, kind: pa.DataType) -> Any:
    """To the type of the result; an extension array wraps its storage."""
    if not isinstance(kind, pa.ExtensionType):
        return column.cast(kind)
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return pa.chunked_array(
        [pa.ExtensionArray.from_storage(kind, chunk.cast(kind.storage_type)) for chunk in chunks], kind
    )
