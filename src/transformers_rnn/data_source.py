"""Whatever holds the data -> named splits of `datasets`, with nothing written to any cache by local files."""

from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
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

from .data_files import COMPRESSED, SUFFIXES, FileFormat, describe, from_columns, read_file

Split: TypeAlias = Dataset | IterableDataset
Splits = dict[str, Split]

USUAL = FileFormat()
BATCH_SIZE = 256  # rows of a stream that are read at once
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


def read_source(source: Any, load_options: Mapping[str, Any] | None = None, form: FileFormat = USUAL) -> Splits:
    """Open the data; a lone table is the split `"train"`.

    Files are read whole into memory. In CSV no text is taken for a missing value ("NA" and "null" stay texts); an
    empty cell of a column of numbers is missing. A folder's files belong to the split in their name, as `datasets`
    has it.

    Args:
        source: what `load_labelled_data` takes.
        load_options: for a name on the hub, further arguments of `datasets.load_dataset`.
        form: of the files.

    Raises:
        FileNotFoundError: a file or folder that is not there, or a folder without data files.
        TypeError: a source of a kind that cannot be read.
        ValueError: a file whose columns do not fit together, or `load_options` with a source that is not on the hub.
    """
    on_hub = isinstance(source, str) and not Path(source).exists() and not _looks_local(source)
    if load_options and not on_hub:
        raise ValueError(
            f"load_options={dict(load_options)} are arguments of datasets.load_dataset, for a name on the hub, but "
            f"the source is {describe(source)}. Leave them out."
        )
    in_memory = not isinstance(source, str | PathLike | Mapping)
    if form.column_names is not None and (on_hub or in_memory):
        raise ValueError(
            f"column_names={list(form.column_names)} are for files without a header, but the source is "
            f"{describe(source)}. Leave them out."
        )
    if on_hub:
        return _named(load_dataset(source, **(load_options or {})))
    return _named(_open(source, form))


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


def _open(source: Any, form: FileFormat) -> Any:
    if isinstance(source, str | PathLike):
        path = Path(source)
        if not path.exists():
            raise FileNotFoundError(f"There is no file or folder {str(path)!r}. Expected {EXPECTED}.")
        return _read_folder(path, form) if path.is_dir() else read_file(path, form)
    if isinstance(source, Dataset | IterableDataset | DatasetDict | IterableDatasetDict):
        return source
    if isinstance(source, Mapping) and source:
        parts = str | PathLike | Dataset | IterableDataset | Mapping
        if all(isinstance(part, parts) or _is_frame(part) for part in source.values()):
            return {str(name): _open(part, form) for name, part in source.items()}
        return from_columns(source)
    if _is_frame(source):
        return from_columns({str(name): source[name] for name in source.columns})
    raise TypeError(f"The source is {describe(source)}. Expected {EXPECTED}.")


def _named(data: Any) -> Splits:
    """The splits under the names that the field uses."""
    if isinstance(data, Dataset | IterableDataset):
        return {"train": data}
    splits: Splits = {}
    for name, part in data.items():
        if not isinstance(part, Dataset | IterableDataset):
            raise TypeError(f"Split {name!r} is {describe(part)}, not one table. Pass a file, or load the folder.")
        if split_name(name) in splits:
            raise ValueError(
                f"Two splits are the {split_name(name)} set: {', '.join(map(repr, data))}. Leave one of them out."
            )
        splits[split_name(name)] = part
    return splits


def _looks_local(source: str) -> bool:
    return source.startswith((".", "/", "~")) or any(
        suffix in SUFFIXES or suffix in COMPRESSED for suffix in Path(source).suffixes
    )


def _is_frame(value: Any) -> bool:
    return hasattr(value, "columns") and hasattr(value, "iloc")


def _read_folder(path: Path, form: FileFormat) -> Splits | DatasetDict | Dataset:
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
    return {split: _join(split, sorted(names), form) for split, names in files.items() if names}


def _join(split: str, files: list[Path], form: FileFormat) -> Dataset:
    tables = [read_file(file, form) for file in files]
    for file, table in zip(files, tables, strict=True):
        if table.features != tables[0].features:
            raise ValueError(
                f"The files of split {split!r} differ: {files[0].name} has {tables[0].features}, {file.name} has "
                f"{table.features}. Give them the same columns."
            )
    return concatenate_datasets(tables)
