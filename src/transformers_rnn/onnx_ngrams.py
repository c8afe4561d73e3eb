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
        """The bag of all n-grams, (B, W), and the sum of their vectors among the fields of the present state."""
        graph, first, wide = self.graph, self.graph.constant([0]), np.float64 if self.streaming else np.float32
        sizes = range(1, self.config.bag_order + 1)
        ending, closing = (
            graph.add("Sum", *(self._vectors(tokens(size)) for size in sizes))
            for tokens in (self._tokens_ending, self._tokens_closing)
        )
        valid = graph.add("Unsqueeze", self.valid, graph.constant([2]))
        real = graph.add("Where", valid, ending, graph.constant(0, np.float32))
        total = graph.cast(graph.add("ReduceSum", real, first, keepdims=0), wide)
        if self.streaming:
            total = self.present["bag_total"] = graph.add("Add", total, self.past["bag_total"])
        closing = graph.cast(graph.add("Squeeze", closing, first), wide)
        steps = graph.add("Unsqueeze", self.steps, graph.constant([1]))
        if self.streaming:  # what has not begun does not end
            closing = graph.add(
                "Where", graph.add("Equal", steps, graph.constant(0)), graph.constant(0, wide), closing
            )
        divisor = graph.add("Sqrt", graph.cast(graph.add("Add", steps, graph.constant(1)), wide))
        return graph.cast(graph.add("Div", graph.add("Add", total, closing), divisor), np.float32)

    def _vectors(self, tokens: list[str]) -> str:
        """The vectors of n-grams, of an unknown one zeros."""
        graph, bag, number = self.graph, self.model.rnn.bag, self.number_ngrams(tokens)
        places, numbers = (graph.constant(part.cpu().numpy(), np.int32) for part in (bag.places, bag.numbers))  # type: ignore[union-attr]
        row = graph.add("Gather", places, self.remainder(number, len(bag.places)))  # type: ignore[union-attr]
        # The difference, as zero is what any runtime compares with exactly.
        apart = graph.add("Sub", graph.cast(graph.add("Gather", numbers, row), self.whole), number)
        known = graph.add("Equal", apart, graph.constant(0, self.whole))
        return graph.rows("bag", bag.weight, graph.add("Where", known, row, graph.constant(0, np.int32)))  # type: ignore[union-attr]
