"""Splits of a stream -> the same columns, read only when they are asked for."""

from functools import partial

import numpy as np
import pyarrow as pa
from datasets import Dataset, Features, IterableDataset
from numpy.typing import NDArray

from .data_source import BATCH_SIZE, Splits, first_row
from .data_splitting import SplitPlan, draw_streamed
from .table_reading import TableReader

UNCHECKED = (
    "A stream is read when it is used: its rows are checked then, and neither counted nor measured.",
    "Repeated rows within and across splits cannot be seen, and drawn splits are not stratified.",
)


def read_streams(splits: Splits, reader: TableReader, plan: SplitPlan) -> tuple[dict[str, IterableDataset], list[str]]:
    """The splits that came and those that are drawn, and sentences on how.

    A row belongs to a drawn split by the seed and its place in the stream, so that nothing is kept in memory.

    Raises:
        ValueError: a plan that needs the number of rows.
    """
    said, shares = [], _shares(plan)
    if plan.drop_duplicates:
        raise ValueError(
            "Repeated rows of a stream cannot be seen. Leave drop_duplicates out, or load the data whole."
        )
    for name, (first, last) in shares.items():
        if name != "train":
            said.append(
                f"Split `{name}` is drawn from the training stream with seed {plan.seed}: {last - first:.0%} of it."
            )
    names = [name for name in plan.most if name in splits or name in shares]
    return {name: _read(splits, name, reader, plan, shares.get(name, (0.0, 1.0))) for name in names}, said


def _shares(plan: SplitPlan) -> dict[str, tuple[float, float]]:
    """Split -> the interval of [0, 1) whose rows it gets."""
    if not plan.sizes:
        return {}
    shares, last = {}, 0.0
    for name, size in plan.sizes.items():
        shares[name] = (last, last + size)
        last += size
    if last >= 1 or not all(isinstance(size, float) and size > 0 for size in plan.sizes.values()):
        raise ValueError(
            f"A stream is split by shares between 0 and 1 that leave a training set, got {dict(plan.sizes)}. Pass "
            "such shares, or bring splits of your own."
        )
    return {**shares, "train": (last, 1.0)}


def _read(
    splits: Splits, name: str, reader: TableReader, plan: SplitPlan, shares: tuple[float, float]
) -> IterableDataset:
    origin = name if name in splits else "train"
    stream = splits[origin]
    if isinstance(stream, Dataset):
        stream = stream.to_iterable_dataset()
    columns = stream.column_names or first_row(stream).column_names
    features = reader.features()
    stream = stream.with_format("arrow").map(
        partial(_read_batch, reader=reader, features=features, split=origin, shares=shares, seed=plan.seed),
        with_indices=True,
        batched=True,
        batch_size=BATCH_SIZE,
        # `datasets` would also remove a column of the result that has the name of one of the source.
        remove_columns=[column for column in columns if column not in features],
        features=features,
    )
    most = plan.most[name]
    stream = stream if most is None else stream.take(most)
    return stream.with_format(None if reader.feature_size is None else "numpy")


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
