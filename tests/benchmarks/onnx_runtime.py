"""Inference against ONNX Runtime with the same weights and threads."""

import numpy as np
import onnxruntime
import torch
from loads import Load
from measure import interleave, repeated
from real_data import Loads
from report import Aim, Section, Table, figure, seconds
from textbook import CELLS, Padded, ours

from transformers_rnn import RNNForSequenceClassification
from transformers_rnn.denormals import restore_denormals
from transformers_rnn.onnx_graph import build_graph

INTRO = (
    "A forward pass from token ids to logits, against the graph that `export_onnx` writes: ONNX's operators LSTM, GRU "
    "or RNN over the true lengths. The logits agree within 1e-4 before anything is timed. Batches from the middle of a window: "
    "half of the batches are longer."
)


def section(loads: Loads) -> Section:
    """Both text loads, all three cells, a batch and a single text."""
    result = Section("Inference against ONNX Runtime", INTRO)
    rows = []
    for load in (loads.long, loads.short):
        for cell in CELLS:
            for size in (load.batch_size, 1):
                name, times = f"{load.name}, {load.model}, {cell}, B {size}", _times(load, cell, size, loads)
                ratio = times["onnx"] / times["ours"]
                rows.append([name, seconds(times["onnx"]), seconds(times["ours"]), figure(ratio)])
                if cell == "LSTM":
                    absolute = f"{seconds(times['ours'])} against {seconds(times['onnx'])}"
                    result.aims.append(Aim(f"{name}: inference", "ONNX Runtime", ratio, absolute))
    columns = ["model", "ONNX Runtime", "ours", "ONNX Runtime / ours"]
    result.tables.append(Table("A forward pass", columns, rows))
    return result


def session(model: RNNForSequenceClassification) -> onnxruntime.InferenceSession:
    """A session with torch's number of threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    content = build_graph(model).SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _times(load: Load, cell: str, size: int, loads: Loads) -> dict[str, float]:
    torch.manual_seed(0)
    model = Padded(load, cell)
    adopted = ours(model).eval()
    restore_denormals()
    runtime = session(adopted)
    batch = load.batch(load.grouped_batches[len(load.grouped_batches) // 2][:size])
    inputs = batch.inputs()
    feed = {name: value.numpy() for name, value in inputs.items()}

    @torch.inference_mode()
    def forward() -> torch.Tensor:
        return adopted(**inputs).logits

    def by_onnx() -> np.ndarray:
        return runtime.run(None, feed)[0]

    if not np.allclose(forward().numpy(), by_onnx(), atol=1e-4):
        raise ValueError(f"{load.name}, {cell}: ONNX Runtime gives other logits.")
    at_least = 0.0 if loads.quick else 0.2
    return interleave({"onnx": repeated(by_onnx, at_least), "ours": repeated(forward, at_least)}, loads.rounds)
