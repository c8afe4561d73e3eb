"""The same graph for OpenVINO, whose CPU plugin overlooks lengths, refuses nothing and counts in 32 bits.

Its recurrent operators run over the padding, too. One number more in each step says what is padding, with weights that
close the gates: an LSTM or GRU keeps its memory there, and a plain RNN that begins in the padding stays at zero.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .modeling_rnn import RNNForSequenceClassification
from .ngrams import MULTIPLIER, PRIME
from .onnx_graph import ClassifierGraph
from .recurrent_layers import RecurrentCell

_CLOSED = 1e4  # far beyond what a gate is fed, and still a float16


def build_openvino_graph(model: RNNForSequenceClassification, with_state: bool = False) -> Any:
    """Build the graph of a model in evaluation mode.

    Inputs and outputs are those of `build_graph`; the logits of what ONNX Runtime refuses are no numbers.

    Args:
        model: Any cell, direction, depth and pooling.
        with_state: See `build_graph`.

    Returns:
        An `onnx.ModelProto`.

    Raises:
        ImportError: onnx is not installed.
        ValueError: `with_state` for a model of both directions.
    """
    return OpenVINOGraph(model, with_state).build()


class OpenVINOGraph(ClassifierGraph):
    """The steps that are taken otherwise; see [`ClassifierGraph`]."""

    whole = np.int32

    @property
    def vocabulary(self) -> int:
        """V, of a model of tokens."""
        return self.config.vocab_size or 0

    def _align(self, mask: str) -> None:
        """Beside the rest: `wrong` (B,), what must not be answered, and `padding` (T, B, 1), 1 where it is."""
        super()._align(mask)
        graph, apart = self.graph, self.graph.constant([1])
        self.wrong = graph.add("Less", self.lengths, graph.constant(0, np.int32))
        end = graph.add("Where", self.wrong, graph.constant(0, np.int32), self.end)
        self.end = graph.cast(end, np.int64)
        batch = graph.add("Gather", graph.add("Shape", self.end), graph.constant(0))
        rows = graph.add("Range", graph.constant(0), batch, graph.constant(1))
        parts = (graph.add("Unsqueeze", part, apart) for part in (self.end, rows))
        self.place = graph.add("Concat", *parts, axis=1)
        self.lengths = ""
        self.padding = graph.cast(self._over_features(graph.add("Not", self.valid)), np.float32)

    def _check_ids(self, ids: str) -> str:
        graph, zero = self.graph, self.graph.constant(0)
        # Compared with zero, which is exact; larger numbers are compared as float32.
        above = graph.add("Less", graph.add("Sub", graph.constant(self.vocabulary - 1), ids), zero)
        unknown = graph.add("Or", above, graph.add("Less", ids, zero))
        found = graph.add("ReduceMax", graph.cast(unknown, np.int32), axes=[0], keepdims=0)
        self.wrong = graph.add("Or", self.wrong, graph.cast(found, np.bool_))
        return graph.add("Where", unknown, graph.constant(self.config.pad_token_id), ids)

    def number_ngrams(self, tokens: list[str]) -> str:
        """The products are taken from tables: only sums and differences of 32 bits are exact here."""
        graph, last = self.graph, len(tokens) - 1
        begin, number = len(tokens) * MULTIPLIER ** len(tokens) % PRIME, ""
        known, prime = np.arange(self.vocabulary + 1), graph.constant(PRIME, np.int32)
        for place, token in enumerate(tokens):
            product = graph.cast(token, np.int32)
            if place < last or not place:
                table = known * (MULTIPLIER ** (last - place) % PRIME) % PRIME
                table = table if place else (table + begin) % PRIME
                product = graph.add("Gather", graph.constant(table, np.int32), token)
            if place:
                product = self._at_least_zero(graph.add("Add", graph.add("Sub", number, prime), product), prime)
            number = product
        return number

    def remainder(self, number: str, divisor: int) -> str:
        """Without the operator, which rounds."""
        graph, count = self.graph, self.graph.constant(divisor, np.int32)
        for _ in range(2):  # the first quotient is off by what float32 rounds away
            whole = graph.add("Mul", graph.add("Div", number, count), count)
            number = graph.add("Sub", number, whole)
        return self._at_least_zero(number, count)

    def _at_least_zero(self, number: str, added: str) -> str:
        negative = self.graph.add("Less", number, self.graph.constant(0, np.int32))
        return self.graph.add("Where", negative, self.graph.add("Add", number, added), number)

    @property
    def _tells_padding(self) -> bool:
        """A single direction cannot see what follows; but the cell of an LSTM is not known at every step."""
        return self.config.bidirectional or self.streaming

    def _weights(self, cell: RecurrentCell) -> tuple[Tensor, Tensor, Tensor]:
        weights, recurrent, bias = super()._weights(cell)
        if not self._tells_padding:
            return weights, recurrent, bias
        size, column = cell.hidden_size, torch.zeros_like(weights[:, :, :1])
        if cell.mode == "LSTM":  # nothing comes in, nothing is forgotten: c stays
            column[:, :size], column[:, 2 * size : 3 * size] = -_CLOSED, _CLOSED
        elif cell.mode == "GRU":  # h stays
            column[:, :size] = _CLOSED
        else:  # from zero, h stays zero
            both = bias[:, :size] + bias[:, size:]
            bias, column = torch.cat([both, torch.zeros_like(both)], dim=1), -both[:, :, None]
        return torch.cat([weights, column], dim=2), recurrent, bias

    def _run_layer(
        self, name: str, cell: RecurrentCell, states: str, start: list[str], attributes: dict[str, Any]
    ) -> list[str]:
        graph, zero, one = self.graph, self.graph.constant([0]), self.graph.constant([1])
        if self._tells_padding:
            if cell.mode.startswith("RNN"):
                states = graph.add("Where", self._over_features(self.valid), states, graph.constant(0, np.float32))
            states = graph.add("Concat", states, self.padding, axis=2)
        states, hidden, *rest = super()._run_layer(name, cell, states, start, attributes)
        forward = graph.add("Squeeze", graph.add("Slice", states, zero, one, one), one)
        last = graph.add("Unsqueeze", graph.add("GatherND", forward, self.place), zero)
        if self.config.bidirectional:  # the backward direction ends at the first step
            last = graph.add("Concat", last, graph.add("Slice", hidden, one, graph.constant([2]), zero), axis=0)
        return [states, last, *rest]

    def _pool(self, states: str, last: str) -> str:
        pooled, nan = super()._pool(states, last), self.graph.constant(np.nan, np.float32)
        return self.graph.add("Where", self.graph.add("Unsqueeze", self.wrong, self.graph.constant([1])), nan, pooled)
