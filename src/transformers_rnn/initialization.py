"""How each weight starts, in the terms that the host's loader respects.

The loader marks every loaded parameter and calls the initialisation for the rest; the functions of
`transformers.initialization` leave marked parameters alone, but only when they are handed the parameter itself, never
a slice of it. So every vector or matrix is built whole and then copied.
"""

import torch
from torch import Tensor, nn
from transformers import initialization as init

from .bag import UNKNOWN, NgramBag
from .ngrams import NgramEmbedding

EMBEDDING_DEVIATION = 0.1


def initialize_module(module: nn.Module) -> bool:
    """Initialise one module's own weights.

    Recurrent weights are orthogonal for each gate (Saxe et al., 2014), input weights Xavier-uniform for each gate
    (Glorot & Bengio, 2010), biases zero but for a forget gate of 1 (Jozefowicz et al., 2015). A ReLU RNN starts its
    recurrence at the identity (Le et al., 2015). Linear layers are Xavier-uniform with zero biases; embeddings are
    normal with deviation 0.1 and a zero row for padding; n-grams start at zero, so that one that was never met says
    nothing.

    Args:
        module: Any module of this package.

    Returns:
        Whether the module was of a kind known here.
    """
    if isinstance(module, nn.RNNBase):
        for name, parameter in module.named_parameters(recurse=False):
            if not _is_loaded(parameter):
                init.copy_(parameter, _recurrent_start(module, name, parameter))
    elif isinstance(module, nn.Linear):
        init.xavier_uniform_(module.weight)
        if module.bias is not None:
            init.zeros_(module.bias)
    elif isinstance(module, NgramEmbedding):
        init.zeros_(module.weight)
    elif isinstance(module, NgramBag):
        for value, number in ((module.weight, 0), (module.numbers, UNKNOWN), (module.places, 0)):
            init.constant_(value, number)
    elif isinstance(module, nn.Embedding):
        if not _is_loaded(module.weight):
            start = torch.empty_like(module.weight).normal_(std=EMBEDDING_DEVIATION)
            if module.padding_idx is not None:
                start[module.padding_idx] = 0.0
            init.copy_(module.weight, start)
    else:
        return False
    return True


def _is_loaded(parameter: Tensor) -> bool:
    return getattr(parameter, "_is_hf_initialized", False)


def _recurrent_start(cell: nn.RNNBase, name: str, parameter: Tensor) -> Tensor:
    """The whole starting value of `weight_ih_l0`, `weight_hh_l0`, `bias_ih_l0` or `bias_hh_l0` (or a reverse one)."""
    start = torch.zeros_like(parameter, dtype=torch.float32)
    for gate in start.split(cell.hidden_size):
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(gate)
        elif name.startswith("weight_hh"):
            if cell.mode == "RNN_RELU":
                nn.init.eye_(gate)
            else:
                nn.init.orthogonal_(gate)
    if name.startswith("bias_ih") and cell.mode == "LSTM":
        start[cell.hidden_size : 2 * cell.hidden_size] = 1.0
    return start.to(parameter.dtype)
