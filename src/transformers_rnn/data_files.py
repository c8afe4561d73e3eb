"""A file, or columns of Python values -> a table in memory, as `datasets` has it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from datasets import Dataset
from numpy.typing import NDArray
from pyarrow import csv, parquet

COLUMNS = {".csv": ",", ".tsv": "\t"}
ROWS = (".json", ".jsonl")
SUFFIXES = [*COLUMNS, *ROWS, ".parquet"]
COMPRESSED = (".gz", ".bz2", ".zst")


@dataclass(frozen=True)
class FileFormat:
    """What the files of a source do not say themselves.

    Args:
        column_names: of CSV and TSV files without a header. With them a file of another suffix is tab-separated.
        encoding: of text files.
        quotes: whether quotation marks enclose values in CSV and TSV files; `None`: yes, but not in tab-separated
            files without a header.
    """

    column_names: Sequence[str] | None = None
    encoding: str = "utf-8"
    quotes: bool | None = None


def read_file(path: str | PathLike[str], form: FileFormat) -> Dataset:
    """Read one data file, by its suffix, into memory.

    Raises:
        ValueError: a suffix that names no kind of data file, or a content that is not of this kind.
    """
    path = Path(path)
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in COMPRESSED]
    suffix = suffixes[-1] if suffixes else ""
    if form.column_names is not None and suffix not in SUFFIXES:
        suffix = ".tsv"
    if form.column_names is not None and suffix not in COLUMNS:
        raise ValueError(
            f"column_names={list(form.column_names)} are for CSV and TSV files without a header, but {path} names its "
            "columns itself. Leave them out."
        )
    try:
        if suffix == ".parquet":
            return Dataset(parquet.read_table(path))
        if suffix in COLUMNS:
            return Dataset(_read_csv(path, COLUMNS[suffix], form))
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if suffix in ROWS:
        return _from_rows(_read_rows(path, form.encoding), str(path))
    raise ValueError(
        f"{path} has the suffix {path.suffix!r}, which names no kind of data file that is read here. Rename or "
        f"convert it to one of {', '.join(SUFFIXES)} (and .gz); if its columns are separated by tabs and it has no "
        "header, pass column_names."
    )


def _read_csv(path: Path, delimiter: str, form: FileFormat) -> pa.Table:
    content = _text(path, form.encoding).encode()
    bare = delimiter == "\t" and form.column_names is not None
    quotes = not bare if form.quotes is None else form.quotes
    table = csv.read_csv(
        pa.BufferReader(content),
        # One block: the type of a column is settled by all of its rows.
        read_options=csv.ReadOptions(
            block_size=min(max(len(content), 1) + 1, 2**31 - 1), column_names=form.column_names
        ),
        parse_options=csv.ParseOptions(
            delimiter=delimiter, newlines_in_values=quotes, quote_char='"' if quotes else False
        ),
        convert_options=csv.ConvertOptions(strings_can_be_null=False, timestamp_parsers=[]),
    )
    names = form.column_names
    if names is not None and len(table) and [column[0].as_py() for column in table.columns] == list(names):
        raise ValueError(
            f"{path} begins with the names {list(names)}, so it has a header, but column_names are for files without "
            "one: it would become a row. Leave them out."
        )
    return table


def _text(path: Path, encoding: str) -> str:
    with pa.input_stream(str(path)) as stream:  # decompresses by the suffix
        content: bytes = stream.read()
    try:
        return content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line} is not {encoding}: {error.reason}. Pass the file's encoding, such as 'latin-1'."
        ) from error


def _read_rows(path: Path, encoding: str) -> list[Any]:
    text = _text(path, encoding)
    try:
        content = json.loads(text)
        if isinstance(content, list):
            return content
    except json.JSONDecodeError:
        pass
    rows = []
    for number, line in enumerate(text.split("\n")):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number + 1} is no JSON: {error}. Write one object a line.") from error
    return rows


def _from_rows(rows: list[Any], source: str) -> Dataset:
    for row, content in enumerate(rows):
        if not isinstance(content, dict):
            raise ValueError(f"{source}, row {row} is {describe(content)}. Each row must be an object of its columns.")
    names = dict.fromkeys(name for row in rows for name in row)
    return from_columns({name: [row.get(name) for row in rows] for name in names})


def from_columns(columns: Mapping[str, Any]) -> Dataset:
    """Columns of values, one a row, as [`to_arrow`] takes them.

    Raises:
        ValueError: columns of different lengths.
    """
    arrays = {name: to_arrow(name, values) for name, values in columns.items()}
    sizes = {name: len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"The columns must be equally long, got {sizes}. Give each row a value in every column.")
    return Dataset(pa.table(arrays))


def to_arrow(name: str, values: Any) -> pa.Array:
    """A column of Python, numpy, torch or pandas values, one a row, in the memory layout of `datasets`.

    None, NaN and pandas' NA become missing values. Arrays (T_i, F) keep their type and are copied at numpy speed.

    Raises:
        TypeError: values that are no column.
        ValueError: values of mixed types, with the first row that does not fit.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"Column {name!r} must hold one value a row, got {describe(values)}. Pass a list or an array.")
    flat = hasattr(values, "dtype") and getattr(values, "ndim", 1) == 1
    if isinstance(values, torch.Tensor):
        values = values.numpy(force=True)
    values = values if flat else list(values)
    try:
        if not flat and values and all(getattr(value, "ndim", 0) == 2 for value in values):
            return _vectors([np.asarray(value) for value in values])
        return pa.array(values, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, TypeError) as error:
        raise ValueError(_mixed(name, list(values), error)) from error


def _vectors(arrays: list[NDArray[Any]]) -> pa.Array:
    """Arrays (T_i, F), F free as well, as a list of lists, copied once."""
    steps = np.concatenate([np.full(len(array), array.shape[1]) for array in arrays])
    flat = pa.array(np.concatenate([array.ravel() for array in arrays]))
    inner = pa.LargeListArray.from_arrays(_offsets(steps), flat)
    return pa.LargeListArray.from_arrays(_offsets(np.array([len(array) for array in arrays])), inner)


def _offsets(sizes: NDArray[Any]) -> pa.Array:
    return pa.array(np.concatenate([[0], np.cumsum(sizes)]), pa.int64())


def _mixed(name: str, values: list[Any], error: Exception) -> str:
    """Name the first row whose kind is not that of the rows before."""
    kinds: dict[str, int] = {}
    for row, value in enumerate(values):
        kinds.setdefault(type(value).__name__, row)
    if len(kinds) == 1:
        return f"Column {name!r} cannot be read: {error}. Give every row one kind of value."
    others = ", ".join(f"{kind} (first in row {row})" for kind, row in kinds.items())
    return f"Column {name!r} mixes types: {others}. Give every row one kind of value."


def describe(value: Any) -> str:
    """Kind and beginning of a value, for errors."""
    return f"{type(value).__name__} {str(value)[:60]!r}"
