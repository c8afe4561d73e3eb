"""A model as an ONNX graph of ONNX's own recurrent operators over true lengths, with dynamic batch and length.

In the graph, time comes first: (T, B, ...) is what the operators read.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from .export_check import PAST, PRESENT
from .modeling_rnn import RNNForSequenceClassification
from .onnx_builder import RUNTIME_DOMAIN, GraphBuilder, Storage
from .onnx_ngrams import END, NgramGraph
from .recurrent_layers import RecurrentCell
from .state import RNNState

# torch's gates in ONNX's order: LSTM i f g o -> i o f c; GRU r z n -> z r h.
_ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN_TANH": (0,), "RNN_RELU": (0,)}
_OPERATOR = {"LSTM": "LSTM", "GRU": "GRU", "RNN_TANH": "RNN", "RNN_RELU": "RNN"}

_REFUSED = -1  # a length that no runtime takes


def build_graph(model: RNNForSequenceClassification, with_state: bool = False, storage: Storage = "float32") -> Any:
    """Build the graph of a model in evaluation mode.

    Inputs are `input_ids` (B, T) or `input_features` (B, T, F), and `attention_mask` (B, T) of 1 and 0, padded to the
    right or left; the output is `logits` (B, L). A mask with holes, a row without a step and an id outside the
    vocabulary are refused by the runtime; vectors that are not finite are not.

    Args:
        model: Any cell, direction, depth and pooling.
        with_state: Whether the fields of [`RNNState`] are inputs `past_...` and outputs `present_...`: then a row may
            have no step.
        storage: How weights are kept, see [`GraphBuilder`].

    Returns:
        An `onnx.ModelProto`.

    Raises:
        ImportError: onnx is not installed.
        ValueError: `with_state` for a model of both directions, `"int8_dynamic"` for another cell than the LSTM, or an
            unknown storage.
    """
    if storage == "int8_dynamic" and model.config.cell_type != "lstm":
        raise ValueError(
            "ONNX Runtime computes an LSTM with int8 numbers, but has no such operator for a GRU or a plain RNN. Use "
            "'int8': the file is as small, and computed with float32."
        )
    return ClassifierGraph(model, with_state, storage).build()


class ClassifierGraph(NgramGraph):
    """One graph on its way, for the arguments of `build_graph`; what several steps of it read are its attributes.

    Raises:
        ValueError: `with_state` for a model of both directions.
    """

    def __init__(self, model: RNNForSequenceClassification, with_state: bool, storage: Storage = "float32") -> None:
        if with_state and model.config.bidirectional:
            raise ValueError(
                "A bidirectional model cannot stream: its backward direction begins at the end of the sequence, which "
                "a stream does not have yet. Export without with_state, or train with bidirectional=False."
            )
        self.model, self.config, self.streaming = model, model.config, with_state
        self.graph = GraphBuilder(storage)
        fields = RNNState.initial(self.config, 1) if with_state else {}
        self.fields = {name: (_numpy_type(one.dtype), one.shape[1:]) for name, one in fields.items()}
        self.past: dict[str, str] = {}
        self.present: dict[str, str] = {}

    def build(self) -> Any:
        graph, config = self.graph, self.config
        vectors = ("input_features", np.float32, ("B", "T", config.input_size))
        sequence = graph.input(*(("input_ids", np.int64, ("B", "T")) if config.reads_tokens else vectors))
        mask = graph.input("attention_mask", np.int64, ("B", "T"))
        for field, (dtype, width) in self.fields.items():
            self.past[field] = graph.input(PAST + field, dtype, ("B", *width))
        self._align(mask)
        states, last = self._recur(self._embed(sequence))
        pooled = self._pool(states, last)
        classifier = self.model.classifier
        weight = graph.weight("classifier.weight", classifier.weight)
        logits = graph.add("Gemm", pooled, weight, graph.bias("classifier.bias", classifier.bias), transB=1)
        if config.label_scale is not None:
            scaled = graph.add("Mul", logits, graph.constant(config.label_scale, np.float32))
            logits = graph.add("Add", scaled, graph.constant(config.label_mean, np.float32))
        graph.output("logits", logits, np.float32, ("B", classifier.out_features))
        for field, (dtype, width) in self.fields.items():
            graph.output(PRESENT + field, self.present[field], dtype, ("B", *width))
        notes = {"cell_type": config.cell_type, "pooling": config.pooling, "storage": graph.storage}
        return graph.finish("transformers_rnn", notes)

    def _align(self, mask: str) -> None:
        """Where each sequence truly is: `count` and `lengths` (B,), `index` (T, B) into time, `valid` (T, B).

        `end` (B,) is where the last step is, and `steps` (B,) were read in all.
        """
        graph = self.graph
        mask = graph.add("Transpose", graph.cast(mask, np.int32), perm=[1, 0])
        self.count = graph.add("ReduceSum", mask, graph.constant([0]), keepdims=0)
        first, last = (graph.add("ArgMax", mask, axis=0, keepdims=0, select_last_index=side) for side in (0, 1))
        span = graph.add("Add", graph.add("Sub", last, first), graph.constant(1))
        whole = graph.add("Equal", graph.cast(span, np.int32), self.count)  # of no step both ends are found apart
        steps = self.count
        if self.streaming:
            self.read = graph.add("Greater", self.count, graph.constant(0, np.int32))
            whole = graph.add("Or", whole, graph.add("Not", self.read))
            steps = graph.add("Max", self.count, graph.constant(1, np.int32))
        self.lengths = graph.add("Where", whole, steps, graph.constant(_REFUSED, np.int32))
        self.end = graph.add("Sub", self.lengths, graph.constant(1, np.int32))
        length = graph.add("Gather", graph.add("Shape", mask), graph.constant(0))
        time = graph.add("Range", graph.constant(0), length, graph.constant(1))
        time = graph.add("Unsqueeze", time, graph.constant([1]))
        self.index = graph.add("Mod", graph.add("Add", time, first), length)
        self.valid = graph.add("Less", graph.cast(time, np.int32), self.count)
        self.steps = graph.cast(self.count, np.int64)
        if self.streaming:
            self.steps = self.present["steps"] = graph.add("Add", self.steps, self.past["steps"])

    def _embed(self, sequence: str) -> str:
        """Ids or vectors, aligned -> (T, B, F)."""
        graph, config = self.graph, self.config
        if config.vocab_size is None:
            index = graph.add("Unsqueeze", graph.add("Transpose", self.index, perm=[1, 0]), graph.constant([2]))
            vectors = graph.add("GatherND", sequence, index, batch_dims=1)
            vectors = graph.add("Transpose", vectors, perm=[1, 0, 2])
            return graph.add("Where", self._over_features(self.valid), vectors, graph.constant(0, np.float32))
        ids = graph.add("Transpose", sequence, perm=[1, 0])
        ids = graph.add("GatherElements", ids, self.index, axis=0)
        ids = graph.add("Where", self.valid, ids, graph.constant(config.pad_token_id))
        ids = self._check_ids(ids)
        if config.ngram_order > 1 or config.bag_order:
            self._remember(ids)
        embedding: Tensor = self.model.get_input_embeddings().weight  # type: ignore[assignment]
        vectors, ngrams = graph.rows("embedding", embedding, ids), self._look_up()
        return graph.add("Concat", vectors, *ngrams, axis=2) if ngrams else vectors

    def _check_ids(self, ids: str) -> str:
        # ONNX counts negative numbers from the end; here they are as wrong as those beyond it.
        negative = self.graph.add("Less", ids, self.graph.constant(0))
        return self.graph.add("Where", negative, self.graph.constant(self.config.vocab_size), ids)

    def _recur(self, states: str) -> tuple[str, str]:
        """All layers: (T, B, F) -> states (T, B, S) and the last output of each direction (B, S)."""
        graph, after = self.graph, []
        memory = ["hidden", "cell"][: 2 if self.config.cell_type == "lstm" else 1]
        before = {name: self._by_layer(name) for name in memory} if self.streaming else {}
        for number, layer in enumerate(self.model.rnn.layers):
            cell: RecurrentCell = layer.plain_cell  # type: ignore[assignment]
            start = [before[name][number] for name in before]
            attributes: dict[str, Any] = {
                "hidden_size": cell.hidden_size,
                "direction": "bidirectional" if cell.bidirectional else "forward",
            }
            if cell.mode == "GRU":
                attributes["linear_before_reset"] = 1
            if cell.mode == "RNN_RELU":
                attributes["activations"] = ["Relu"] * cell.num_directions
            states, *ends = self._run_layer(f"layer_{number}", cell, states, start, attributes)
            states = self._normalize(f"layer_{number}", layer.layer_norm, self._join_directions(states, time=True))
            after.append(ends)
        if not self.streaming:
            last = self._join_directions(after[-1][0], time=False)
            return states, self._ends(states) if self.config.layer_norm else last
        kept = graph.add("Unsqueeze", self.read, graph.constant([1, 2]))
        for name, parts in zip(memory, zip(*after, strict=True), strict=True):
            joined = graph.add("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]
            joined = graph.add("Transpose", joined, perm=[1, 0, 2])
            self.present[name] = graph.add("Where", kept, joined, self.past[name])
        last = graph.add("Gather", self.present["hidden"], graph.constant(len(after) - 1), axis=1)
        if self.config.layer_norm:
            last = self._normalize(f"layer_{len(after) - 1}", self.model.rnn.layers[-1].layer_norm, last)
            nothing = graph.add("Equal", graph.add("Unsqueeze", self.steps, graph.constant([1])), graph.constant(0))
            last = graph.add("Where", nothing, graph.constant(0, np.float32), last)
        return states, last

    def _normalize(self, name: str, norm: Any, states: str) -> str:
        if norm is None:
            return states
        scale, shift = (self.graph.bias(f"{name}.norm.{part}", getattr(norm, part)) for part in ("weight", "bias"))
        return self.graph.add("LayerNormalization", states, scale, shift, axis=-1, epsilon=norm.eps)

    def _ends(self, states: str) -> str:
        """The last output of each direction (B, S), from the states (T, B, S): the backward direction ends first."""
        graph = self.graph
        index = graph.add("Unsqueeze", graph.cast(self.end, np.int64), graph.constant([1]))
        last = graph.add("GatherND", graph.add("Transpose", states, perm=[1, 0, 2]), index, batch_dims=1)
        if not self.config.bidirectional:
            return last
        first = graph.add("Gather", states, graph.constant(0), axis=0)
        half, end, axis = graph.constant([self.config.hidden_size]), graph.constant([END]), graph.constant([1])
        forward = graph.add("Slice", last, graph.constant([0]), half, axis)
        return graph.add("Concat", forward, graph.add("Slice", first, half, end, axis), axis=1)

    def _run_layer(
        self, name: str, cell: RecurrentCell, states: str, start: list[str], attributes: dict[str, Any]
    ) -> list[str]:
        """One operator: (T, B, F) -> states (T, D, B, H), hidden and, of an LSTM, cell (D, B, H)."""
        graph, (weights, recurrent, bias) = self.graph, self._weights(cell)
        outputs, given = (3 if cell.mode == "LSTM" else 2), graph.bias(f"{name}.bias", bias)
        if graph.storage == "int8_dynamic":
            read, *read_scale = graph.int8(f"{name}.input", weights)
            recall, *recall_scale = graph.int8(f"{name}.recurrent", recurrent)
            absent = [""] * (2 - len(start) + 1)  # where nothing begins, and of peepholes
            inputs = [states, read, recall, given, self.lengths, *start, *absent, *read_scale, *recall_scale]
            return graph.add_many("DynamicQuantizeLSTM", inputs, outputs, domain=RUNTIME_DOMAIN, **attributes)
        read, recall = graph.weight(f"{name}.input", weights), graph.weight(f"{name}.recurrent", recurrent)
        inputs = [states, read, recall, given, self.lengths, *start]
        return graph.add_many(_OPERATOR[cell.mode], inputs, outputs, **attributes)

    def _weights(self, cell: RecurrentCell) -> tuple[Tensor, Tensor, Tensor]:
        """torch's weights of a layer in ONNX's order of gates: (D, G * H, F), (D, G * H, H) and (D, 2 * G * H)."""

        def reordered(weight: Tensor) -> Tensor:
            gates = weight.detach().split(cell.hidden_size)
            return torch.cat([gates[index] for index in _ORDER[cell.mode]])

        stacked = [torch.stack([reordered(one) for one in each]) for each in zip(*cell.all_weights, strict=True)]
        return stacked[0], stacked[1], torch.cat(stacked[2:], dim=1)

    def _by_layer(self, name: str) -> list[str]:
        """A field (B, N, H) of the past as the (1, B, H) of each layer."""
        stacked = self.graph.add("Transpose", self.past[name], perm=[1, 0, 2])
        count = self.config.num_hidden_layers
        if count == 1:
            return [stacked]
        return self.graph.add_many("Split", [stacked, self.graph.constant([1] * count)], count, axis=0)

    def _join_directions(self, states: str, time: bool) -> str:
        """(T, D, B, H) -> (T, B, S), or without time (D, B, H) -> (B, S)."""
        graph, axis = self.graph, int(time)
        if not self.config.bidirectional:
            return graph.add("Squeeze", states, graph.constant([axis]))
        beside = graph.add("Transpose", states, perm=[0, 2, 1, 3] if time else [1, 0, 2])
        return graph.add("Reshape", beside, graph.constant([0, 0, -1] if time else [0, -1]))

    def _pool(self, states: str, last: str) -> str:
        """(T, B, S) -> (B, P), and the fields of the present state that are not memory."""
        graph, pooling, steps = self.graph, self.config.pooling, self.steps
        parts = [last] if pooling in ("last", "concat") else []
        if pooling in ("mean", "concat"):
            parts.append(self._mean(states, steps))
        if pooling in ("max", "concat"):
            parts.append(self._maximum(states, steps))
        if pooling == "attention":
            parts.append(self._attend(states))
        if self.config.bag_order:
            parts.append(self._bag())
        return graph.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]

    def _mean(self, states: str, steps: str) -> str:
        graph = self.graph
        real = graph.add("Where", self._over_features(self.valid), states, graph.constant(0, np.float32))
        total = graph.add("ReduceSum", real, graph.constant([0]), keepdims=0)
        wide = np.float64 if self.streaming else np.float32
        if self.streaming:
            total = graph.add("Add", graph.cast(total, wide), self.past["total"])
            self.present["total"] = total
            steps = graph.add("Max", steps, graph.constant(1))
        divisor = graph.add("Unsqueeze", graph.cast(steps, wide), graph.constant([1]))
        mean = graph.add("Div", total, divisor)
        return graph.cast(mean, np.float32) if self.streaming else mean

    def _maximum(self, states: str, steps: str) -> str:
        graph = self.graph
        real = graph.add("Where", self._over_features(self.valid), states, graph.constant(-np.inf, np.float32))
        maximum = graph.add("ReduceMax", real, axes=[0], keepdims=0)
        if not self.streaming:
            return maximum
        self.present["maximum"] = maximum = graph.add("Max", maximum, self.past["maximum"])
        nothing = graph.add("Equal", graph.add("Unsqueeze", steps, graph.constant([1])), graph.constant(0))
        return graph.add("Where", nothing, graph.constant(0, np.float32), maximum)

    def _attend(self, states: str) -> str:
        """The softmax-weighted mean of the states, which pieces of a stream can be added to."""
        graph, attention = self.graph, self.model.rnn.pooling.attention
        project, context = attention.projection, attention.context
        keys = graph.add("MatMul", states, _transposed(graph, "attention.projection", project.weight))
        keys = graph.add("Tanh", graph.add("Add", keys, graph.bias("attention.bias", project.bias)))
        scores = graph.add("MatMul", keys, _transposed(graph, "attention.context", context.weight))
        valid = self._over_features(self.valid)
        scores = graph.add("Where", valid, scores, graph.constant(-np.inf, np.float32))
        peak = graph.add("ReduceMax", scores, axes=[0], keepdims=0)
        if self.streaming:
            before = {name: self.past[f"attention_{name}"] for name in ("peak", "mass", "total")}
            lowest = graph.constant(np.finfo(np.float32).min, np.float32)  # finite also where nothing was read
            peak = graph.add("Max", peak, graph.cast(before["peak"], np.float32), lowest)
        weights = graph.add("Exp", graph.add("Sub", scores, peak))
        mass = graph.add("ReduceSum", weights, graph.constant([0]), keepdims=0)
        total = graph.add("ReduceSum", graph.add("Mul", weights, states), graph.constant([0]), keepdims=0)
        if self.streaming:
            peak, mass, total = (graph.cast(part, np.float64) for part in (peak, mass, total))
            faded = graph.add("Exp", graph.add("Sub", before["peak"], peak))
            mass, total = (
                graph.add("Add", part, graph.add("Mul", faded, before[name]))
                for name, part in (("mass", mass), ("total", total))
            )
            self.present |= {"attention_peak": peak, "attention_mass": mass, "attention_total": total}
            mass = graph.add("Max", mass, graph.constant(0.5, np.float64))  # at least 1, or 0 where nothing was read
        mean = graph.add("Div", total, mass)
        return graph.cast(mean, np.float32) if self.streaming else mean

    def _over_features(self, mask: str) -> str:
        """(T, B) -> (T, B, 1)."""
        return self.graph.add("Unsqueeze", mask, self.graph.constant([2]))


def _transposed(graph: GraphBuilder, name: str, weight: Tensor) -> str:
    """The weight (out, in) of a linear layer, as a product from the right needs it."""
    return graph.add("Transpose", graph.weight(name, weight), perm=[1, 0])


def _numpy_type(dtype: torch.dtype) -> Any:
    return torch.empty(0, dtype=dtype).numpy().dtype
