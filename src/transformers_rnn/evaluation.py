"""A trainer that evaluates from long to short sequences, and what its model answers to the rows in their own order."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from transformers import Trainer

from .vector_columns import row_lengths


class LengthOrderedTrainer(Trainer):
    """The host's trainer; evaluation and prediction read the longest sequences first.

    So the sequences of a batch are as alike as they can be, and next to nothing is computed for padding. The host's
    own grouping by length shuffles windows of 50 batches, which are larger than a small evaluation set. Metrics do
    not depend on the order; [`answer`] gives it back. Streams are read as they come.
    """

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        if not isinstance(eval_dataset, Dataset):
            return super()._get_eval_sampler(eval_dataset)
        return longest_first(lengths_of(eval_dataset, _input_name(self))).tolist()


@dataclass(frozen=True)
class Answers:
    """What a model answered to the rows of a split, in their order.

    Args:
        split: Its name.
        logits: (B, L).
        labels: (B,) or (B, L).
        lengths: T_i of each row.
    """

    split: str
    logits: NDArray[Any]
    labels: NDArray[Any]
    lengths: NDArray[Any]


def answer(trainer: LengthOrderedTrainer, name: str, rows: Any) -> Answers:
    """Run a trainer's model over encoded rows and return its logits in their order."""
    lengths = lengths_of(rows, _input_name(trainer))
    output = trainer.predict(rows, metric_key_prefix=name)
    order = longest_first(lengths) if isinstance(rows, Dataset) else np.arange(len(lengths))
    back = np.argsort(order)
    return Answers(name, np.asarray(output.predictions)[back], np.asarray(output.label_ids)[back], lengths)


def config_of(trainer: Trainer) -> Any:
    """The config of a trainer's model."""
    return trainer.model.config  # type: ignore[union-attr]


def longest_first(lengths: NDArray[Any]) -> NDArray[Any]:
    """The order of rows from the longest to the shortest, equal ones as they come."""
    return np.argsort(-lengths, kind="stable")


def lengths_of(rows: Any, column: str) -> NDArray[Any]:
    """T_i of each row of a table or stream of encoded sequences."""
    if isinstance(rows, Dataset):
        return np.asarray(row_lengths(rows.select_columns([column]).with_format("arrow")[:].column(column)))
    return np.array([len(row[column]) for row in rows])


def _input_name(trainer: Trainer) -> str:
    return str(trainer.model.main_input_name)  # type: ignore[union-attr]
