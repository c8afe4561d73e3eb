"""ONNX nodes and constants, collected one after another; how weights are stored is settled here."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

Storage = Literal["float32", "float16", "bfloat16", "int8", "int8_dynamic"]

OPSET, IR_VERSION = 17, 9  # read by every ONNX Runtime since 1.14
RUNTIME_DOMAIN = "com.microsoft"  # of ONNX Runtime's own operators
_FORMATS = {"onnx": "ONNX", "openvino": "OpenVINO", "executorch": "ExecuTorch"}  # by the extra that writes them
_INT8 = 127  # symmetric: -128 is not used
# Where weights meet activations of 8 bits, processors without VNNI add pairs of products in 16 bits, which 255 * 127
# twice would overflow without a word.
_INT7 = 63
_INT8_STORAGE = ("int8", "int8_dynamic")


class GraphBuilder:
    """Collects a graph.

    Args:
        storage: How weights are kept in the file. All but `"float32"` are widened in the graph: constants by the
            runtime when it loads the file, rows of an embedding when they are taken. `"int8_dynamic"` is int8, and
            what `GraphBuilder.int8` adds is computed with as it is.

    Raises:
        ImportError: onnx is not installed.
        ValueError: An unknown storage.
    """

    def __init__(self, storage: Storage = "float32") -> None:
        if storage not in get_args(Storage):
            raise ValueError(f"storage must be one of {', '.join(map(repr, get_args(Storage)))}, got {storage!r}.")
        self.storage = storage
        self._onnx = require("onnx")
        require("onnx.numpy_helper")
        self._nodes: list[Any] = []
        self._initializers: dict[str, Any] = {}
        self._constants: dict[Any, str] = {}
        self._domains = {"": OPSET}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._names = 0

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output; its name."""
        return self.add_many(operator, inputs, 1, **attributes)[0]

    def add_many(self, operator: str, inputs: Sequence[str], count: int, **attributes: Any) -> list[str]:
        """Add a node of some outputs; their names."""
        outputs = [self._new_name(operator.lower()) for _ in range(count)]
        self._domains.setdefault(attributes.get("domain", ""), 1)
        self._nodes.append(self._onnx.helper.make_node(operator, list(inputs), outputs, **attributes))
        return outputs

    def cast(self, name: str, dtype: "type[np.generic] | type[bool]") -> str:
        """Add a conversion to numpy's type."""
        return self.add("Cast", name, to=self._type(dtype))

    def constant(self, value: Any, dtype: Any = np.int64) -> str:
        """Add numbers that are no weights; the same ones are kept once."""
        array = np.asarray(value, dtype=dtype)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = self._new_name("constant")
            self._initializers[self._constants[key]] = self._onnx.numpy_helper.from_array(array, self._constants[key])
        return self._constants[key]

    def weight(self, name: str, value: Tensor) -> str:
        """Add a weight (..., columns), stored as chosen; int8 has one scale for each row."""
        return self._widen(*self._stored(name, value.detach().to("cpu", torch.float32)))

    def bias(self, name: str, value: Tensor) -> str:
        """Add a bias, which is too small to be worth rounding."""
        return self._keep(name, value.detach().to("cpu", torch.float32))

    def int8(self, name: str, value: Tensor) -> list[str]:
        """Add a weight (D, rows, columns) as ONNX Runtime reads it: (D, columns, rows), scales, zero points."""
        numbers, scale = quantize_rows(value.detach().to("cpu", torch.float32), _INT7)
        scale = scale.squeeze(-1)
        zeros = self.constant(np.zeros(scale.shape), np.int8)
        return [self._keep(name, numbers.transpose(1, 2)), self._keep(f"{name}.scale", scale), zeros]

    def rows(self, name: str, value: Tensor, indices: str) -> str:
        """Take rows of a weight (V, F) by number; only what was taken is widened."""
        parts = self._stored(name, value.detach().to("cpu", torch.float32))
        return self._widen(*(self.add("Gather", part, indices) for part in parts))

    def input(self, name: str, dtype: Any, shape: Sequence[int | str]) -> str:
        """Declare an input."""
        self._inputs.append(self._onnx.helper.make_tensor_value_info(name, self._type(dtype), list(shape)))
        return name

    def output(self, name: str, source: str, dtype: Any, shape: Sequence[int | str]) -> None:
        """Declare an output, with the name that it shall have."""
        self._nodes.append(self._onnx.helper.make_node("Identity", [source], [name]))
        self._outputs.append(self._onnx.helper.make_tensor_value_info(name, self._type(dtype), list(shape)))

    def finish(self, name: str, notes: Mapping[str, str]) -> Any:
        """The model, an `onnx.ModelProto`, checked by ONNX's own checker."""
        helper = self._onnx.helper
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, list(self._initializers.values()))
        operators = [helper.make_opsetid(domain, number) for domain, number in self._domains.items()]
        model = helper.make_model(graph, opset_imports=operators, ir_version=IR_VERSION)
        helper.set_model_props(model, dict(notes))
        self._onnx.checker.check_model(model)
        return model

    def _stored(self, name: str, value: Tensor) -> list[str]:
        """The parts of which a weight is kept: the numbers and, for int8, the scale of each row."""
        if self.storage in _INT8_STORAGE:
            numbers, scale = quantize_rows(value)
            halved = scale.half()
            exact = torch.equal(halved.float(), scale)  # but for rows of very small or large numbers
            return [self._keep(name, numbers), self._keep(f"{name}.scale", halved if exact else scale)]
        return [self._keep(name, value.to(getattr(torch, self.storage)))]

    def _widen(self, stored: str, scale: str | None = None) -> str:
        if self.storage == "float32":
            return stored
        # Not DequantizeLinear: runtimes do not fold that one, and would do it again in every call.
        wide = self.cast(stored, np.float32)
        return wide if scale is None else self.add("Mul", wide, self.cast(scale, np.float32))

    def _keep(self, name: str, value: Tensor) -> str:
        if value.dtype == torch.bfloat16:  # numpy has none
            kind, raw = self._onnx.TensorProto.BFLOAT16, value.contiguous().view(torch.int16).numpy().tobytes()
            tensor = self._onnx.helper.make_tensor(name, kind, list(value.shape), raw, raw=True)
        else:
            tensor = self._onnx.numpy_helper.from_array(value.contiguous().numpy(), name)
        self._initializers[name] = tensor
        return name

    def _type(self, dtype: Any) -> int:
        return int(self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def _new_name(self, stem: str) -> str:
        self._names += 1
        return f"{stem}_{self._names}"


def require(module: str, extra: Literal["onnx", "openvino", "executorch"] = "onnx") -> Any:
    """Import a module of an extra.

    Raises:
        ImportError: It is not installed; with the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        name, written = module.partition(".")[0], _FORMATS[extra]
        raise ImportError(
            f"Exporting to {written} needs {name}, which is not installed. Install it with pip install "
            f'"transformers-rnn[{extra}]".'
        ) from error


def quantize_rows(value: Tensor, largest: int = _INT8) -> tuple[Tensor, Tensor]:
    """The nearest int8 numbers up to the largest of each row (..., columns), and the row's scale (..., 1).

    The scale is rounded to float16, half of its bytes, before the numbers are; that moves the largest number of a row
    by at most one part in 2,000. What float16 cannot hold as exactly stays float32.
    """
    scale = value.abs().amax(dim=-1, keepdim=True) / largest
    half = torch.finfo(torch.float16)
    scale = torch.where(scale > 0, scale, 1.0)
    held = (scale >= half.smallest_normal) & (scale <= half.max)
    scale = torch.where(held, scale.half().float(), scale)
    return (value / scale).round().clamp(-largest, largest).to(torch.int8), scale


def as_stored(value: Tensor, storage: Storage) -> Tensor:
    """What a float32 weight becomes by being stored so."""
    if storage == "float32" or value.ndim < 2:
        return value
    if storage in _INT8_STORAGE:
        numbers, scale = quantize_rows(value)
        return numbers * scale
    return value.to(getattr(torch, storage)).to(value.dtype)
