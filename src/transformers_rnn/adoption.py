"""A hand-written `nn.RNN`, `nn.GRU` or `nn.LSTM` with its `nn.Linear` -> our config and weights."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from .configuration_rnn import RNNConfig

_CELL_TYPES = {"RNN_TANH": "rnn", "RNN_RELU": "rnn", "GRU": "gru", "LSTM": "lstm"}


def adopted_config(
    rnn: nn.RNNBase, classifier: nn.Linear, embedding: nn.Embedding | None, fields: dict[str, Any]
) -> RNNConfig:
    """Read a config off modules.

    Args:
        rnn: The recurrent layers.
        classifier: The linear layer on the pooled states.
        embedding: The token embedding, if any.
        fields: What the modules do not tell: `pooling`, `id2label`, `pad_token_id`, ...

    Raises:
        TypeError: A module of another kind.
        ValueError: Modules that do not fit each other or the fields.
    """
    _check_kinds(rnn, classifier, embedding)
    told: dict[str, Any] = {
        "input_size": rnn.input_size,
        "hidden_size": rnn.hidden_size,
        "cell_type": _CELL_TYPES[rnn.mode],
        "nonlinearity": "relu" if rnn.mode == "RNN_RELU" else "tanh",
        "num_hidden_layers": rnn.num_layers,
        "bidirectional": rnn.bidirectional,
        "hidden_dropout": rnn.dropout,
        "dtype": classifier.weight.dtype,
    }
    if embedding is not None:
        told["vocab_size"] = embedding.num_embeddings
        if embedding.padding_idx is not None:
            told["pad_token_id"] = embedding.padding_idx
    for name, value in told.items():
        if fields.get(name, value) != value:
            raise ValueError(f"{name}={fields[name]!r} contradicts the modules, which have {value!r}. Leave it out.")
    if "id2label" not in fields and "label2id" not in fields:
        fields = {"num_labels": classifier.out_features, **fields}
    config = RNNConfig(**{**told, **fields})
    for name, without in (("ngram_order", 1), ("bag_order", 0), ("layer_norm", False)):
        if getattr(config, name) != without:
            raise ValueError(
                f"{name}={getattr(config, name)} needs weights that the modules do not have. Leave it out."
            )
    if classifier.in_features != config.pooled_size or classifier.out_features != config.num_labels:
        raise ValueError(
            f"The classifier must read P = {config.pooled_size} values (pooling={config.pooling!r}) and give "
            f"L = {config.num_labels} logits, but it reads {classifier.in_features} and gives "
            f"{classifier.out_features}. Pass the pooling and the labels that it was made for."
        )
    return config


def _check_kinds(rnn: nn.Module, classifier: nn.Module, embedding: nn.Module | None) -> None:
    if not isinstance(rnn, nn.RNNBase) or not isinstance(classifier, nn.Linear):
        raise TypeError(
            "from_torch adopts an nn.RNN, nn.GRU or nn.LSTM and an nn.Linear, got "
            f"{type(rnn).__name__} and {type(classifier).__name__}."
        )
    if embedding is not None and not isinstance(embedding, nn.Embedding):
        raise TypeError(f"embedding must be an nn.Embedding, got {type(embedding).__name__}.")
    if rnn.proj_size:
        raise ValueError(
            f"from_torch does not adopt an nn.LSTM with proj_size={rnn.proj_size}: RNNConfig has no projected cell."
        )
    if embedding is not None and embedding.embedding_dim != rnn.input_size:
        raise ValueError(
            f"The embedding has the width {embedding.embedding_dim}, but the recurrent layers read {rnn.input_size}."
        )


@torch.no_grad()
def copy_recurrent_weights(rnn: nn.RNNBase, cells: Sequence[nn.RNNBase]) -> None:
    """Copy the weights of stacked layers into one module a layer; biases that are missing become zeros."""
    for index, cell in enumerate(cells):
        for name, parameter in cell.named_parameters():
            source = getattr(rnn, name.replace("_l0", f"_l{index}"), None)
            if source is None:
                parameter.zero_()
            else:
                parameter.copy_(source)
