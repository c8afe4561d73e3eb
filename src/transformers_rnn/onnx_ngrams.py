"""N-grams in a graph: which rows of their table they have, and the bag of all of them. Time comes first, (T, B)."""

from typing import Any

import numpy as np

from .configuration_rnn import RNNConfig
from .modeling_rnn import RNNForSequenceClassification
from .ngrams import MULTIPLIER, NOTHING, PRIME
from .onnx_builder import GraphBuilder

END = 2**63 - 1  # of a slice


class NgramGraph:
    """What a graph makes of ids beside their embedding; the rest of it is a [`ClassifierGraph`]."""

    model: RNNForSequenceClassification
    config: RNNConfig
    graph: GraphBuilder
    streaming: bool
    past: dict[str, str]
    present: dict[str, str]
    count: str
    steps: str
    valid: str
    window: str
    last: str
    whole: Any = np.int64  # what n-grams are counted in

    def _remember(self, ids: str) -> None:
        """Aligned ids (T, B) -> `window` (N - 1 + T, B), with those before them, and `last` (N - 1, B); both + 1."""
        graph, before, one = self.graph, self.config.remembered_ids, self.graph.constant(1)
        if not before:
            self.window = graph.add("Add", ids, one)
            return
        if self.streaming:
            previous = graph.add("Transpose", self.past["previous_ids"], perm=[1, 0])
        else:
            batch = graph.add("Slice", graph.add("Shape", ids), graph.constant([1]), graph.constant([2]))
            shape = graph.add("Concat", graph.constant([before]), batch, axis=0)
            previous = graph.add("Expand", graph.constant(NOTHING), shape)
        window = graph.add("Concat", previous, ids, axis=0)
        index = graph.add("Add", graph.cast(self.count, np.int64), graph.constant([[each] for each in range(before)]))
        last = graph.add("GatherElements", window, index, axis=0)
        if self.streaming:
            self.present["previous_ids"] = graph.add("Transpose", last, perm=[1, 0])
        self.window, self.last = graph.add("Add", window, one), graph.add("Add", last, one)

    def _tokens_ending(self, size: int) -> list[str]:
        """Of the n-gram of this size that ends at each step, its tokens, each (T, B)."""
        before = self.config.remembered_ids
        return [self._slice(self.window, before - back, -back) for back in range(size)[::-1]]

    def _tokens_closing(self, size: int) -> list[str]:
        """Of the n-gram of this size that ends behind the last step, its tokens, each (1, B), and nothing, (1, 1)."""
        before, nothing = self.config.remembered_ids, self.graph.constant([[NOTHING + 1]])
        places = range(before - size + 1, before)
        return [*(self._slice(self.last, place, place + 1) for place in places), nothing]

    def _slice(self, ids: str, begin: int, end: int) -> str:
        places = (self.graph.constant([place]) for place in (begin, end or END, 0))
        return self.graph.add("Slice", ids, *places)

    def hash_ngrams(self, tokens: list[str], rows: int) -> str:
        """The row of n-grams, from their ids + 1, each (T, B)."""
        return self.remainder(self.number_ngrams(tokens), rows)

    def number_ngrams(self, tokens: list[str]) -> str:
        """The number of n-grams, from their ids + 1, each (T, B)."""
        graph, number = self.graph, self.graph.constant(len(tokens))
        for token in tokens:
            number = graph.add("Add", graph.add("Mul", number, graph.constant(MULTIPLIER)), token)
            number = graph.add("Mod", number, graph.constant(PRIME))
        return number

    def remainder(self, number: str, divisor: int) -> str:
        """What a division of whole numbers leaves."""
        return self.graph.add("Mod", number, self.graph.constant(divisor))

    def _look_up(self) -> list[str]:
        """The vectors (T, B, W) that are read beside the tokens, of n-grams of each length."""
        ngrams: Any = self.model.rnn.embeddings.ngrams
        if ngrams is None:
            return []
        sizes = range(2, ngrams.order + 1)
        found = [self.hash_ngrams(self._tokens_ending(size), ngrams.num_embeddings) for size in sizes]
        return [self.graph.rows("ngrams", ngrams.weight, rows) for rows in found]

    def _bag(self) -> str:
        """The bag of all n-grams, (B, W), and the fields of the present state that it needs."""
        graph, wide = self.graph, np.float64 if self.streaming else np.float32
        sizes, axis, unknown = range(1, self.config.bag_order + 1), graph.constant([1]), graph.constant(0, np.int32)
        ending = (graph.add("Where", self.valid, self._rows(self._tokens_ending(size)), unknown) for size in sizes)
        rows = self._once(graph.add("Transpose", graph.add("Concat", *ending, axis=0), perm=[1, 0]))
        if self.streaming:
            seen = self.past["bag_seen"]
            rows = graph.add("Where", graph.add("GatherElements", seen, rows, axis=1), unknown, rows)
            found = graph.add("Greater", rows, unknown)
            self.present["bag_seen"] = graph.add("ScatterElements", seen, rows, found, axis=1)
        total, count = self._sum(rows, wide)
        if self.streaming:
            total = self.present["bag_total"] = graph.add("Add", total, self.past["bag_total"])
            count = graph.add("ReduceSum", graph.cast(self.present["bag_seen"], wide), axis, keepdims=1)
            begun = graph.add("Greater", graph.add("Unsqueeze", self.steps, axis), graph.constant(0))
        for size in sizes:
            closing = graph.add("Transpose", self._rows(self._tokens_closing(size)), perm=[1, 0])
            if self.streaming:  # what has not begun does not end
                closing = graph.add("Where", begun, closing, unknown)
            said, known = self._sum(closing, wide)
            total, count = graph.add("Add", total, said), graph.add("Add", count, known)
        divisor = graph.add("Sqrt", graph.add("Max", count, graph.constant(1, wide)))
        return graph.cast(graph.add("Div", total, divisor), np.float32)

    def _sum(self, rows: str, wide: Any) -> tuple[str, str]:
        """Of rows (B, N) the sum of their vectors, (B, W), and how many are known, (B, 1)."""
        graph, axis = self.graph, self.graph.constant([1])
        vectors = graph.rows("bag", self.model.rnn.bag.weight, rows)  # type: ignore[union-attr]
        known = graph.cast(graph.add("Greater", rows, graph.constant(0, np.int32)), wide)
        total = graph.cast(graph.add("ReduceSum", vectors, axis, keepdims=0), wide)
        return total, graph.add("ReduceSum", known, axis, keepdims=1)

    def _once(self, rows: str) -> str:
        """Rows (B, N) in another order, row 0 for what comes again."""
        graph, zero, one = self.graph, self.graph.constant([0]), self.graph.constant([1])
        ordered, _ = graph.add_many("TopK", [rows, graph.add("Gather", graph.add("Shape", rows), one)], 2, axis=1)
        head = graph.add("Slice", ordered, zero, one, one)
        after = graph.add("Slice", ordered, one, graph.constant([END]), one)
        before = graph.add("Slice", ordered, zero, graph.constant([-1]), one)
        again = graph.add("Equal", before, after)
        return graph.add("Concat", head, graph.add("Where", again, graph.constant(0, np.int32), after), axis=1)

    def _rows(self, tokens: list[str]) -> str:
        """The rows of n-grams, of an unknown one row 0."""
        graph, bag, number = self.graph, self.model.rnn.bag, self.number_ngrams(tokens)
        places, numbers = (graph.constant(part.cpu().numpy(), np.int32) for part in (bag.places, bag.numbers))  # type: ignore[union-attr]
        row = graph.add("Gather", places, self.remainder(number, len(bag.places)))  # type: ignore[union-attr]
        # The difference, as zero is what any runtime compares with exactly.
        apart = graph.add("Sub", graph.cast(graph.add("Gather", numbers, row), self.whole), number)
        known = graph.add("Equal", apart, graph.constant(0, self.whole))
        return graph.add("Where", known, row, graph.constant(0, np.int32))
