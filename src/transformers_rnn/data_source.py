"""Whatever holds the data -> named splits of `datasets`, with nothing written to any cache by local files."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import torch
from datasets import (
    Dataset,
    DatasetDict,
    IterableDataset,
    IterableDatasetDict,
    concatenate_datasets,
    load_dataset,
    load_from_disk,
)
from datasets.data_files import DataFilesDict, EmptyDatasetError, get_data_patterns
from numpy.typing import NDArray
from pyarrow import csv, parquet

Split: TypeAlias = Dataset | IterableDataset
Splits = dict[str, Split]

BATCH_SIZE = 256  # rows of a stream that are read at once
COLUMNS = {".csv": ",", ".tsv": "\t"}
ROWS = (".json", ".jsonl")
SUFFIXES = [*COLUMNS, *ROWS, ".parquet"]
COMPRESSED = (".gz", ".bz2", ".zst")
# What people call the three splits, as `datasets` reads file names.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "dev": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
EXPECTED = (
    "a file or folder of CSV, TSV, JSON, JSON lines or Parquet, a folder of save_to_disk, a name on the hub, a "
    "mapping of split to file, a Dataset, a DatasetDict, their streaming kin, a DataFrame, or a mapping of column to "
    "values"
)


def read_source(source: Any, load_options: Mapping[str, Any] | None = None) -> Splits:
    """Open the data; a lone table is the split `"train"`.

    Files are read whole into memory. In CSV no text is taken for a missing value ("NA" and "null" stay texts); an
    empty cell of a column of numbers is missing. A folder's files belong to the split in their name, as `datasets`
    has it.

    Args:
        source: what `load_labelled_data` takes.
        load_options: for a name on the hub, further arguments of `datasets.load_dataset`.

    Raises:
        FileNotFoundError: a file or folder that is not there, or a folder without data files.
        TypeError: a source of a kind that cannot be read.
        ValueError: a file whose columns do not fit together, or `load_options` with a source that is not on the hub.
    """
    on_hub = isinstance(source, str) and not Path(source).exists() and not _looks_local(source)
    if load_options and not on_hub:
        raise ValueError(
            f"load_options={dict(load_options)} are arguments of datasets.load_dataset, for a name on the hub, but "
            f"the source is {_describe(source)}. Leave them out."
        )
    if on_hub:
        return _named(load_dataset(source, **(load_options or {})))
    return _named(_open(source))


def split_name(name: str) -> str:
    """The split that a name means: `"dev"` is `"validation"`; an unknown name stays itself."""
    return SPLIT_NAMES.get(name.lower(), name)


def first_row(split: Split) -> pa.Table:
    """The first row, for the types of the columns.

    Raises:
        ValueError: there is none.
    """
    if isinstance(split, Dataset) and len(split):
        return split.with_format("arrow")[:1]
    if isinstance(split, IterableDataset):
        for table in split.with_format("arrow").iter(batch_size=1):
            return table
    raise ValueError("The training set has no rows. Give it some.")


def read_columns(split: Split, columns: Sequence[str], name: str) -> Iterator[pa.Table]:
    """Some columns of a split: whole from a table, in batches from a stream.

    Raises:
        ValueError: a column that is not there.
    """
    known = split.column_names or []
    missing = [column for column in columns if known and column not in known]
    if missing:
        raise ValueError(
            f"Split {name!r} has no column {missing[0]!r}, which the training set has; its columns are "
            f"{', '.join(map(repr, known))}. Give every split the same columns."
        )
    chosen = split.select_columns(list(columns)).with_format("arrow")
    if isinstance(split, Dataset):
        yield chosen[:]
    else:
        yield from chosen.iter(batch_size=BATCH_SIZE)


def find_mixture(split: Split, columns: Sequence[str], name: str) -> str:
    """A sentence on the first row whose value is of another kind than those before; empty if there is none."""
    kinds: dict[str, str] = {}
    for row, values in enumerate(split.select_columns(list(columns)).with_format(None)):
        for column, value in values.items():
            kind = type(value).__name__
            if value is not None and kinds.setdefault(column, kind) != kind:
                return (
                    f"Split {name!r}, row {row}, column {column!r} holds {kind}, the rows before hold {kinds[column]}"
                    ". Give every row one kind of value."
                )
    return ""


def _open(source: Any) -> Any:
    if isinstance(source, str | PathLike):
        path = Path(source)
        if not path.exists():
            raise FileNotFoundError(f"There is no file or folder {str(path)!r}. Expected {EXPECTED}.")
        return _read_folder(path) if path.is_dir() else read_file(path)
    if isinstance(source, Dataset | IterableDataset | DatasetDict | IterableDatasetDict):
        return source
    if isinstance(source, Mapping) and source:
        parts = str | PathLike | Dataset | IterableDataset | Mapping
        if all(isinstance(part, parts) or _is_frame(part) for part in source.values()):
            return {str(name): _open(part) for name, part in source.items()}
        return _from_columns(source)
    if _is_frame(source):
        return _from_columns({str(name): source[name] for name in source.columns})
    raise TypeError(f"The source is {_describe(source)}. Expected {EXPECTED}.")


def _named(data: Any) -> Splits:
    """The splits under the names that the field uses."""
    if isinstance(data, Dataset | IterableDataset):
        return {"train": data}
    splits: Splits = {}
    for name, part in data.items():
        if not isinstance(part, Dataset | IterableDataset):
            raise TypeError(f"Split {name!r} is {_describe(part)}, not one table. Pass a file, or load the folder.")
        if split_name(name) in splits:
            raise ValueError(
                f"Two splits are the {split_name(name)} set: {', '.join(map(repr, data))}. Leave one of them out."
            )
        splits[split_name(name)] = part
    return splits


def read_file(path: str | PathLike[str]) -> Dataset:
    """Read one data file, by its suffix, into memory."""
    path = Path(path)
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in COMPRESSED]
    suffix = suffixes[-1] if suffixes else ""
    try:
        if suffix == ".parquet":
            return Dataset(parquet.read_table(path))
        if suffix in COLUMNS:
            return Dataset(_read_csv(path, COLUMNS[suffix]))
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if suffix in ROWS:
        return _from_rows(_read_rows(path), str(path))
    raise ValueError(
        f"{path} has the suffix {path.suffix!r}, which names no kind of data file that is read here. Rename or "
        f"convert it to one of {', '.join(SUFFIXES)} (and .gz)."
    )


def _read_csv(path: Path, delimiter: str) -> pa.Table:
    content = _content(path)
    return csv.read_csv(
        pa.BufferReader(content),
        # One block: the type of a column is settled by all of its rows.
        read_options=csv.ReadOptions(block_size=min(max(len(content), 1) + 1, 2**31 - 1)),
        parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=csv.ConvertOptions(strings_can_be_null=False, timestamp_parsers=[]),
    )


def _content(path: Path) -> bytes:
    with pa.input_stream(str(path)) as stream:  # decompresses by the suffix
        content: bytes = stream.read()
    return content


def _read_rows(path: Path) -> list[Any]:
    text = _content(path).decode("utf-8-sig")
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
            raise ValueError(
                f"{source}, row {row} is {_describe(content)}. Each row must be an object of its columns."
            )
    names = dict.fromkeys(name for row in rows for name in row)
    return _from_columns({name: [row.get(name) for row in rows] for name in names})


def _from_columns(columns: Mapping[str, Any]) -> Dataset:
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
        raise TypeError(
            f"Column {name!r} must hold one value a row, got {_describe(values)}. Pass a list or an array."
        )
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


def _looks_local(source: str) -> bool:
    return source.startswith((".", "/", "~")) or any(
        suffix in SUFFIXES or suffix in COMPRESSED for suffix in Path(source).suffixes
    )


def _is_frame(value: Any) -> bool:
    return hasattr(value, "columns") and hasattr(value, "iloc")


def _describe(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:60]!r}"


def _read_folder(path: Path) -> Splits | DatasetDict | Dataset:
    """A folder of `save_to_disk`, or data files whose names tell their split."""
    if (path / "dataset_dict.json").exists() or (path / "state.json").exists():
        return load_from_disk(path)
    files: dict[str, list[Path]] = {}
    try:
        found = DataFilesDict.from_patterns(
            get_data_patterns(str(path)), base_path=str(path), allowed_extensions=[*SUFFIXES, *COMPRESSED]
        )
        files = {str(split): [Path(file) for file in names] for split, names in found.items()}
    except (EmptyDatasetError, FileNotFoundError):
        pass
    if not any(files.values()):
        raise FileNotFoundError(
            f"The folder {str(path)!r} holds no data files ({', '.join(SUFFIXES)}). Expected {EXPECTED}."
        )
    return {split: _join(split, sorted(names)) for split, names in files.items() if names}


def _join(split: str, files: list[Path]) -> Dataset:
    tables = [read_file(file) for file in files]
    for file, table in zip(files, tables, strict=True):
        if table.features != tables[0].features:
            raise ValueError(
                f"The files of split {split!r} differ: {files[0].name} has {tables[0].features}, {file.name} has "
                f"{table.features}. Give them the same columns."
            )
    return concatenate_datasets(tables)
