"""Classifiers of transformers-rnn on ONNX Runtime: numpy and tokenizers beside it, neither torch nor transformers.

`transformers_rnn.onnx_export.export_onnx` makes the directories that are read here.
"""

from .classifier import OnnxSequenceClassifier
from .streams import OnnxStream

__all__ = ["OnnxSequenceClassifier", "OnnxStream"]
