"""A table of sequences without labels -> the texts or vectors of one column."""

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from datasets import Dataset
from numpy.typing import NDArray

from .column_finding import ROW_NAMES, TEXT_NAMES, VECTOR_NAMES
from .data_source import first_row, read_columns, read_source
from .table_reading import where
from .vector_columns import read_vectors, vector_rank

Rows: TypeAlias = list[str] | list[NDArray[np.float32]]


def load_sequences(
    source: Any, column: str | None = None, validation_size: float | None = None, seed: int = 42
) -> dict[str, Rows]:
    """Read sequences, and split them where they are not split.

    Args:
        source: A list of texts or of (T_i, F) arrays, or whatever [`load_labelled_data`] takes, but for streams.
            Splits that are neither for training nor for validation are left out.
        column: Which column holds them; `None`: found by its name, or the only one.
        validation_size: Share (a float) or number of rows (an int) of the training set that becomes the validation
            set where there is none; `None`: nothing is drawn.
        seed: Decides which.

    Returns:
        `"train"` and, where there is one, `"validation"`: texts, or arrays (T_i, F).

    Raises:
        ValueError: No training set, a stream, no clear choice of a column, a row without a sequence, or a split that
            leaves a part empty.
    """
    if isinstance(source, list | tuple) and source:
        source = {"text" if isinstance(source[0], str) else "input_features": source}
    splits = {name: split for name, split in read_source(source).items() if name in ("train", "validation")}
    if "train" not in splits:
        raise ValueError("There is no training set among the splits. Name one 'train'.")
    if not all(isinstance(split, Dataset) for split in splits.values()):
        raise ValueError(
            "Pretraining reads a table, but the data is a stream. Pass a file or a table of a part of it."
        )
    schema = first_row(splits["train"]).schema
    name = _find(schema, column)
    rows = {split: _read(table, name, split) for split, table in splits.items()}
    if "validation" not in rows and validation_size is not None:
        rows["train"], rows["validation"] = _divide(rows["train"], validation_size, seed)
    return rows


def _find(schema: pa.Schema, told: str | None) -> str:
    usable: list[str] = [
        name for name, kind in zip(schema.names, schema.types, strict=True) if _is_text(kind) or vector_rank(kind)
    ]
    if told is None:
        free = [name for name in usable if name.lower() not in ROW_NAMES]
        usual = [name for known in (*TEXT_NAMES, *VECTOR_NAMES) for name in free if name.lower() == known]
        if len(free) == 1 or usual:
            return (usual or free)[0]
    elif told in usable:
        return told
    came = ", ".join(f"{name!r} ({kind})" for name, kind in zip(schema.names, schema.types, strict=True))
    raise ValueError(
        f"The data needs one column of texts or vectors{f', {told!r}' if told else ''}, but its columns are {came}. "
        "Pass column=, the name of the one that holds the sequences."
    )


def _read(table: Any, name: str, split: str) -> Rows:
    (found,) = read_columns(table, [name], split)
    column = found.column(name)
    if not _is_text(column.type):
        return read_vectors({name: column}, partial(where, split, np.arange(len(column)))).rows
    texts: list[str] = column.to_pylist()
    if None in texts:
        raise ValueError(f"{where(split, np.arange(len(texts)), texts.index(None))}: there is no text. Leave it out.")  # type: ignore[arg-type]
    return texts


def _divide(rows: Rows, size: float, seed: int) -> tuple[Rows, Rows]:
    number = max(1, round(size * len(rows))) if isinstance(size, float) and size > 0 else size
    if not 0 < number < len(rows):
        raise ValueError(
            f"validation_size={size} of {len(rows)} rows leaves a part empty. Pass a share between 0 and 1 (a float), "
            "a number of rows (an int), or None to leave the set out."
        )
    order = np.random.default_rng(seed).permutation(len(rows))
    parts: Sequence[Any] = [[rows[index] for index in np.sort(part)] for part in (order[number:], order[:number])]
    return parts[0], parts[1]


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
