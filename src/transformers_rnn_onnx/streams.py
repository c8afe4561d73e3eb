"""One stream: pieces of a sequence in, what the model believes so far out."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .texts import TextReader
from .vectors import VectorReader

PAST, PRESENT = "past_", "present_"  # before the names of a state's fields
_HELD = "held"  # in a state: steps that those to come are joined to or compared with
_BEGINNING = {"maximum": -np.inf, "attention_peak": -np.inf, "previous_ids": -1}  # all others begin at zero

State = dict[str, NDArray[Any]]


class OnnxStream:
    """Reads a sequence as it comes, in constant memory; made by `OnnxSequenceClassifier.stream()`.

    Args:
        reader: A piece -> its steps, checked.
        run: The steps and a state -> logits (1, L) and the next state.
        decide: The logits -> the answer.
        state: The memory of a stream that has read nothing.

    Attributes:
        state: What is remembered, arrays by name; it may be kept and put back.
    """

    def __init__(
        self,
        reader: TextReader | VectorReader,
        run: Callable[[NDArray[Any], State], tuple[NDArray[Any], State]],
        decide: Callable[[NDArray[Any]], Any],
        state: State,
    ) -> None:
        self._reader, self._run, self._decide = reader, run, decide
        self._beginning, self.state = state, dict(state)

    def push(self, steps: Any) -> Any:
        """Read on, and answer for all that was read so far.

        Args:
            steps: One vector (F,) or some (T, F), to be scaled; of a model of tokens, a list of ids. It may be empty.

        Returns:
            As `OnnxSequenceClassifier.__call__` gives it for one of many sequences.

        Raises:
            ValueError: What is no such thing; nothing is read then. Or nothing was read as yet.
            FloatingPointError: With it the states overflow; it is not read.
        """
        piece, unfilled, held = self._reader.advance(steps, self.state.get(_HELD))
        if not len(piece) and unfilled is None and not self.steps:
            raise ValueError("The stream has read nothing yet, so there is no answer. Push at least one step.")
        after = {name: value for name, value in self.state.items() if name != _HELD}
        if len(piece) or unfilled is None:
            logits, after = self._run(piece, after)
        if unfilled is not None:  # answers as if the stream ended here
            logits, _ = self._run(unfilled, after)
        answer = self._decide(logits)
        self.state = after if held is None else {**after, _HELD: held}
        return answer

    @property
    def steps(self) -> int:
        """How many steps were read."""
        return int(self.state["steps"][0]) * self._reader.stride + self._reader.waiting(self.state.get(_HELD))

    def reset(self) -> None:
        """Begin again, as if nothing had been read."""
        self.state = dict(self._beginning)


def initial_state(inputs: Mapping[str, tuple[str, list[Any]]], size: int) -> State:
    """The memory of streams that have read nothing.

    Args:
        inputs: The type and shape of each input of the file.
        size: B.
    """
    types = {
        "tensor(float)": np.float32,
        "tensor(double)": np.float64,
        "tensor(int64)": np.int64,
        "tensor(bool)": np.bool_,
    }
    state: State = {}
    for name, (kind, shape) in inputs.items():
        if name.startswith(PAST):
            field = name.removeprefix(PAST)
            state[field] = np.full((size, *shape[1:]), _BEGINNING.get(field, 0), types[kind])
    return state
