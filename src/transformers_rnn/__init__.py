"""Recurrent sequence classifiers (RNN, GRU, LSTM) as first-class citizens of 🤗 Transformers.

Importing this package registers its classes with the Auto classes and the pipelines of the host; nothing else happens.
"""

from .configuration_rnn import RNNConfig
from .feature_extraction_rnn import SequenceVectorFeatureExtractor
from .modeling_pretraining import RNNForPreTraining
from .modeling_rnn import RNNForSequenceClassification, RNNModel
from .pipeline import SequenceClassificationPipeline
from .registration import register
from .state import RNNState
from .streaming import StreamingClassifier
from .tokenization import train_tokenizer

__version__ = "0.1.0"

__all__ = [
    "RNNConfig",
    "RNNForPreTraining",
    "RNNForSequenceClassification",
    "RNNModel",
    "RNNState",
    "SequenceClassificationPipeline",
    "SequenceVectorFeatureExtractor",
    "StreamingClassifier",
    "train_tokenizer",
]

register()
