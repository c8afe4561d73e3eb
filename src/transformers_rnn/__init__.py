"""Recurrent sequence classifiers (RNN, GRU, LSTM) as first-class citizens of 🤗 Transformers."""

__version__ = "0.1.0"
