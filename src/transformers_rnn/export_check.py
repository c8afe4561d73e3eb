"""The batch law and the stream law, put to an exported model: it answers as the model it came from."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .configuration_rnn import RNNConfig
from .modeling_rnn import RNNForSequenceClassification
from .state import RNNState

TOLERANCE = 1e-5  # of the largest logit, or of 1 where all are smaller
_SIZES = [(1, 1), (1, 30), (2, 3), (5, 12), (8, 40), (3, 150)]  # of batches: B at most, T at most

PAST, PRESENT = "past_", "present_"  # before the names of a state's fields, as inputs and outputs
Run = Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]
RunStream = Callable[[Mapping[str, NDArray[Any]], RNNState], tuple[NDArray[Any], RNNState]]
Answer = Callable[[Mapping[str, NDArray[Any]]], Sequence[NDArray[Any]]]


class ExportError(RuntimeError):
    """An exported model does not answer as the model it came from."""


def check_answers(
    model: RNNForSequenceClassification, answer: Answer, names: Sequence[str], tolerance: float = TOLERANCE
) -> float:
    """Compare a graph, with or without the state as inputs and outputs, on random batches and streams.

    Args:
        model: In evaluation mode, float32.
        answer: All inputs by name -> all outputs.
        names: Of the outputs.
        tolerance: The largest difference that is let pass.

    Returns:
        As `check_batches`.

    Raises:
        ExportError: As `check_batches`.
    """
    fields = [name.removeprefix(PRESENT) for name in names if name.startswith(PRESENT)]

    def run(inputs: Mapping[str, NDArray[Any]], state: RNNState) -> tuple[NDArray[Any], RNNState]:
        past = {PAST + name: state[name].numpy() for name in fields}
        found = dict(zip(names, answer({**inputs, **past}), strict=True))
        after = {name: torch.from_numpy(np.asarray(found[PRESENT + name])) for name in fields}
        return found["logits"], RNNState(**after)

    def run_whole(inputs: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        return run(inputs, RNNState.initial(model.config, len(inputs["attention_mask"])))[0]

    worst = check_batches(model, run_whole, tolerance)
    return max(worst, check_streams(model, run, tolerance)) if fields else worst


@torch.no_grad()
def check_batches(model: RNNForSequenceClassification, run: Run, tolerance: float = TOLERANCE, seed: int = 0) -> float:
    """Compare logits on random batches: any number, lengths and padding on either side, which holds garbage.

    Args:
        model: In evaluation mode.
        run: Answers the inputs of the model, by name, with logits (B, L).
        tolerance: The largest difference that is let pass.
        seed: Of the batches.

    Returns:
        The largest difference, in units of the largest logit (or 1).

    Raises:
        ExportError: It is above the tolerance, or an answer has another shape or is no number.
    """
    generator, worst = np.random.default_rng(seed), 0.0
    for most, longest in _SIZES:
        lengths = generator.integers(1, longest + 1, generator.integers(1, most + 1))
        batch = random_batch(model.config, lengths, generator)
        found = run({name: value.numpy() for name, value in batch.items()})
        where = f"on a batch of lengths {lengths.tolist()}"
        worst = max(worst, difference(found, model(**batch).logits, tolerance, where))
    return worst


@torch.no_grad()
def check_streams(
    model: RNNForSequenceClassification, run: RunStream, tolerance: float = TOLERANCE, seed: int = 0
) -> float:
    """Compare logits of streams that are read in pieces, some of them without a step.

    Args:
        model: Of one direction, in evaluation mode.
        run: Answers the inputs of the model and a state with logits (B, L) and the next state.
        tolerance: As of `check_batches`.
        seed: Of the streams.

    Returns:
        As `check_batches`.

    Raises:
        ExportError: As `check_batches`.
    """
    generator, worst = np.random.default_rng(seed), 0.0
    for most, longest in _SIZES:
        rows = int(generator.integers(1, most + 1))
        own = theirs = RNNState.initial(model.config, rows)
        for piece in range(3):
            lengths = generator.integers(0, longest + 1, rows)
            batch = random_batch(model.config, lengths, generator)
            expected = model(**batch, state=own)
            own = expected.state
            found, theirs = run({name: value.numpy() for name, value in batch.items()}, theirs)
            where = f"on piece {piece} of streams, of lengths {lengths.tolist()}"
            worst = max(worst, difference(found, expected.logits, tolerance, where))
    return worst


def random_batch(config: RNNConfig, lengths: NDArray[Any], generator: np.random.Generator) -> dict[str, Tensor]:
    """A batch of these lengths, padded to the right or left, and some more, with what must never be read.

    Args:
        config: Says what is read.
        lengths: (B,), a 0 for a row without a step.
        generator: Of all numbers.
    """
    size, total = len(lengths), max(1, int(lengths.max())) + int(generator.integers(0, 4))
    first = np.where(generator.random(size) < 0.5, 0, total - lengths)[:, None]
    time = np.arange(total)[None]
    mask = (time >= first) & (time < first + lengths[:, None])
    if config.vocab_size is None:
        vectors = generator.standard_normal((size, total, config.input_size)).astype(np.float32)
        inputs = {"input_features": np.where(mask[:, :, None], vectors, np.float32(np.nan))}
    else:
        ids = generator.integers(0, config.vocab_size, (size, total))
        inputs = {"input_ids": np.where(mask, ids, config.vocab_size + 7)}
    inputs["attention_mask"] = mask.astype(np.int64)
    return {name: torch.from_numpy(value) for name, value in inputs.items()}


def difference(found: NDArray[Any], expected: Tensor, tolerance: float, where: str) -> float:
    """The largest difference of logits, in units of the largest logit (or 1).

    Args:
        found: By the exported model.
        expected: By the model.
        tolerance: The largest that is let pass.
        where: It was found, in words.

    Raises:
        ExportError: It is above the tolerance, or the shapes differ.
    """
    wanted = expected.numpy()
    if found.shape != wanted.shape:
        raise ExportError(f"The exported model gives logits of shape {found.shape} {where}, not {wanted.shape}.")
    largest = float(np.abs(found - wanted).max() / max(1.0, float(np.abs(wanted).max())))
    if not largest <= tolerance:  # also where it is no number
        raise ExportError(
            f"The exported model gives other logits than the model {where}: they differ by {largest:.2g}, and "
            f"{tolerance:g} is allowed. Please report this with the model's config."
        )
    return largest
