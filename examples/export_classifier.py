"""Export a saved classifier, checked against the model, so that it runs without this package.

    python examples/export_classifier.py sms-spam --format onnx
    python examples/export_classifier.py sms-spam --format onnx --quantize int8 --output sms-spam-int8
    python examples/export_classifier.py text-stream --format onnx --with_state
    python examples/export_classifier.py sms-spam --format openvino
    python examples/export_classifier.py text-stream --format executorch
    python examples/export_classifier.py sms-spam --format torch_export

Prints what an ONNX file costs, and says so where fewer bits are slower. ONNX needs pip install ".[onnx]", OpenVINO
".[openvino]", ExecuTorch ".[executorch]".
"""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from transformers import AutoTokenizer
from transformers.utils import logging

from transformers_rnn import RNNForSequenceClassification, SequenceVectorFeatureExtractor
from transformers_rnn.executorch_export import export_executorch
from transformers_rnn.export_cost import TOGETHER, compare_cost
from transformers_rnn.onnx_export import Quantization, export_onnx
from transformers_rnn.openvino_export import export_openvino
from transformers_rnn.torch_export import export_program


def main() -> None:
    """Read the command, export, tell the cost."""
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("directory", type=Path, help="what save_pretrained or train_classifier wrote")
    parser.add_argument("--format", choices=["onnx", "openvino", "executorch", "torch_export"], default="onnx")
    parser.add_argument("--output", type=Path, help="the directory to write; DIRECTORY-FORMAT if it is left out")
    parser.add_argument("--quantize", choices=get_args(Quantization), help="keep the weights in fewer bits")
    parser.add_argument("--with_state", action="store_true", help="for streams, of a model of one direction")
    chosen = parser.parse_args()
    logging.disable_progress_bar()
    model = RNNForSequenceClassification.from_pretrained(chosen.directory)
    reader = AutoTokenizer if model.config.reads_tokens else SequenceVectorFeatureExtractor
    output = chosen.output or chosen.directory.with_name(f"{chosen.directory.name}-{chosen.format}")
    processor = reader.from_pretrained(chosen.directory)
    if chosen.quantize and chosen.format != "onnx":
        parser.error("--quantize is of --format onnx")
    if chosen.with_state and chosen.format not in ("onnx", "openvino"):
        parser.error("--with_state is of --format onnx and openvino")
    if chosen.format == "onnx":
        file = export_onnx(model, output, processor, with_state=chosen.with_state, quantize=chosen.quantize)
    elif chosen.format == "openvino":
        file = export_openvino(model, output, processor, with_state=chosen.with_state)
    else:
        export = export_executorch if chosen.format == "executorch" else export_program
        file = export(model, output, processor)
    print(f"{file}: answers as the model, on random batches")
    if chosen.format == "onnx":
        tell_cost(model, file, chosen)


def tell_cost(model: RNNForSequenceClassification, file: Path, chosen: Namespace) -> None:
    """Print what the file costs, and what it would cost in float32."""
    with TemporaryDirectory() as home:
        plain = export_onnx(model, Path(home) / "plain.onnx", with_state=chosen.with_state)
        costs = compare_cost(model.config, {"exported": file, "float32": plain})
    for name, cost in costs.items():
        times = f"{1e3 * cost.one:.2f} ms for one sequence of 30 steps, {1e3 * cost.many:.2f} ms for {TOGETHER}"
        print(f"{name}: {cost.size / 1e6:.2f} MB, {times}")
    slower = costs["exported"].slower_than(costs["float32"])
    if chosen.quantize and slower:
        print(f"Warning: slower than float32 here: {', '.join(slower)}. Only the file is smaller.")


if __name__ == "__main__":
    main()
