"""Our models as ONNX graphs by hand: embedding, LSTM / GRU / RNN over true lengths, last outputs, linear layer."""

from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from textbook import Padded

# torch's gates in ONNX's order: LSTM i f g o -> i o f c; GRU r z n -> z r h.
ORDER = {"LSTM": (0, 3, 1, 2), "GRU": (1, 0, 2), "RNN_TANH": (0,)}
OPERATOR = {"LSTM": "LSTM", "GRU": "GRU", "RNN_TANH": "RNN"}


def session(model: Padded) -> onnxruntime.InferenceSession:
    """A session with torch's number of threads; inputs `ids` (B, T) and `lengths` (B,), output `logits` (B, L)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(graph(model), options, providers=["CPUExecutionProvider"])


def graph(model: Padded) -> bytes:
    """The serialised graph of a model of tokens."""
    rnn = model.rnn
    constants: dict[str, NDArray[Any]] = {
        "embedding": _numpy(model.embedding.weight),
        "head": _numpy(model.classifier.weight),
        "head_bias": _numpy(model.classifier.bias),
        "flat": np.array([0, -1]),
    }
    if rnn.num_layers > 1:
        constants["joined"] = np.array([0, 0, -1])
    nodes = [
        helper.make_node("Transpose", ["ids"], ["time_first"], perm=[1, 0]),
        helper.make_node("Gather", ["embedding", "time_first"], ["states_0"]),
    ]
    for layer in range(rnn.num_layers):
        constants |= _weights(rnn, layer)
        nodes += _layer(rnn, layer)
    last = f"last_{rnn.num_layers - 1}"
    nodes += [
        helper.make_node("Transpose", [last], ["batch_first"], perm=[1, 0, 2]),
        helper.make_node("Reshape", ["batch_first", "flat"], ["pooled"]),
        helper.make_node("Gemm", ["pooled", "head", "head_bias"], ["logits"], transB=1),
    ]
    built = helper.make_graph(
        nodes,
        "classifier",
        [
            helper.make_tensor_value_info("ids", TensorProto.INT64, ["B", "T"]),
            helper.make_tensor_value_info("lengths", TensorProto.INT32, ["B"]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", "L"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    onnx_model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return onnx_model.SerializeToString()


def _layer(rnn: torch.nn.RNNBase, layer: int) -> list[Any]:
    """(T, B, F) -> (T, D, B, H) -> (T, B, S), and the last outputs (D, B, H)."""
    weights = [f"{name}_{layer}" for name in ("input", "recurrent", "bias")]
    attributes: dict[str, Any] = {
        "hidden_size": rnn.hidden_size,
        "direction": "bidirectional" if rnn.bidirectional else "forward",
    }
    if rnn.mode == "GRU":
        attributes["linear_before_reset"] = 1
    outputs = [f"all_{layer}", f"last_{layer}"]
    nodes = [
        helper.make_node(OPERATOR[rnn.mode], [f"states_{layer}", *weights, "lengths"], outputs, **attributes),
    ]
    if layer + 1 < rnn.num_layers:
        nodes += [
            helper.make_node("Transpose", [f"all_{layer}"], [f"beside_{layer}"], perm=[0, 2, 1, 3]),
            helper.make_node("Reshape", [f"beside_{layer}", "joined"], [f"states_{layer + 1}"]),
        ]
    return nodes


def _weights(rnn: torch.nn.RNNBase, layer: int) -> dict[str, NDArray[Any]]:
    """torch's weights of a layer, all directions stacked, gates in ONNX's order."""
    directions = ["", "_reverse"] if rnn.bidirectional else [""]

    def stacked(name: str) -> NDArray[Any]:
        parts = [_reordered(rnn, getattr(rnn, f"{name}_l{layer}{direction}")) for direction in directions]
        return np.stack(parts)

    bias = np.concatenate([stacked("bias_ih"), stacked("bias_hh")], axis=1)
    return {f"input_{layer}": stacked("weight_ih"), f"recurrent_{layer}": stacked("weight_hh"), f"bias_{layer}": bias}


def _reordered(rnn: torch.nn.RNNBase, weight: torch.Tensor) -> NDArray[Any]:
    gates = weight.split(rnn.hidden_size)
    return _numpy(torch.cat([gates[index] for index in ORDER[rnn.mode]]))


def _numpy(tensor: torch.Tensor) -> NDArray[Any]:
    return tensor.detach().numpy()
