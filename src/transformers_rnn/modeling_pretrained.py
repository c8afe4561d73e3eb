"""What both models share with the host: its contract for a `PreTrainedModel`."""

from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .configuration_rnn import RNNConfig
from .denormals import restore_denormals
from .freed_memory import return_freed_memory
from .initialization import initialize_module

# Arguments of the host's attention models, and why there is none here.
_MEANINGLESS = {
    "position_ids": "an RNN reads the steps in order and needs no positions",
    "past_key_values": "the memory of a recurrent model is `state`; pass use_cache=True to get it",
    "cache_params": "the memory of a recurrent model is `state`; pass use_cache=True to get it",
    "head_mask": "there are no attention heads",
    "output_attentions": "there are no attention layers",
    "encoder_hidden_states": "there is no cross-attention",
    "input_values": "vectors are passed as `input_features` (B, T, F)",
}

_ALIGNMENT = 64  # bytes, of torch's own allocations


class RNNPreTrainedModel(PreTrainedModel):
    """What both models share with the host."""

    config: RNNConfig
    base_model_prefix = "rnn"
    supports_gradient_checkpointing = True
    _no_split_modules = ["RecurrentLayer"]  # noqa: RUF012 - the host's own form
    _supports_context_parallel = False
    _can_compile_fullgraph = True

    def __init__(self, config: RNNConfig, *inputs: Any, **kwargs: Any) -> None:
        super().__init__(config, *inputs, **kwargs)
        config.validate_architecture()  # it may have been changed since it was made
        if not config.reads_tokens:
            self.main_input_name = "input_features"
            self.input_modalities = ["time"]

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """Load as the host does, and move the weights to memory of their own.

        The host leaves them in the file's memory map, at odd addresses, where products get other last bits than they
        had in the saved model. See `PreTrainedModel.from_pretrained` for the arguments.

        Raises:
            ValueError: A `quantization_config`: it would have next to no effect.
        """
        if kwargs.get("quantization_config") is not None:
            raise ValueError(
                "quantization_config has no effect on recurrent models: the library's quantizers replace linear "
                "layers, but nearly all weights are in the recurrent cells and the embedding, and would stay as they "
                'are. Pass dtype=torch.bfloat16 for half the size, or export_onnx(..., quantize="int8") for a quarter.'
            )
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        for parameter in model.parameters():
            if parameter.data_ptr() % _ALIGNMENT:
                parameter.data = parameter.data.clone()
        return loaded

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; evaluation ends what training on a CPU begins (denormals, freed memory)."""
        if not mode:
            restore_denormals()
            return_freed_memory()
        super().train(mode)
        return self

    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        """The smallest legal input."""
        if self.config.reads_tokens:
            return {"input_ids": torch.zeros(1, 2, dtype=torch.long), "attention_mask": torch.ones(1, 2).long()}
        return {"input_features": torch.zeros(1, 2, self.config.input_size, dtype=self.dtype)}

    def get_input_embeddings(self) -> nn.Module:
        """The token embedding, an `nn.Embedding` of V rows and width F.

        Raises:
            NotImplementedError: A model of vectors has none.
        """
        self._refuse_without_tokens()
        return super().get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the token embedding.

        Args:
            value: An `nn.Embedding` of width F with a row for each token; V becomes the number of its rows.

        Raises:
            NotImplementedError: A model of vectors has none.
            TypeError: A module of another kind.
            ValueError: An embedding of another width, or without a row for padding.
        """
        self._refuse_without_tokens()
        if not isinstance(value, nn.Embedding):
            raise TypeError(f"The input embeddings must be an nn.Embedding, got {type(value).__name__}.")
        width = value.embedding_dim
        if width != self.config.input_size:
            raise ValueError(
                f"The embedding must have the width input_size = {self.config.input_size} that the recurrent layers "
                f"read, got {width}. Build a model with input_size={width} instead."
            )
        self._refuse_without_padding(value.num_embeddings)
        super().set_input_embeddings(value)
        self.config.vocab_size = value.num_embeddings

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args: Any, **kwargs: Any) -> nn.Embedding:
        """Grow or shrink the vocabulary as the host does; see `PreTrainedModel.resize_token_embeddings`.

        Raises:
            NotImplementedError: A model of vectors has none.
            ValueError: The padding would fall out of the vocabulary.
        """
        self._refuse_without_tokens()
        if new_num_tokens is not None:
            self._refuse_without_padding(new_num_tokens)
        return super().resize_token_embeddings(new_num_tokens, *args, **kwargs)

    def _refuse_without_padding(self, rows: int) -> None:
        if rows <= (self.config.pad_token_id or 0):
            raise ValueError(
                f"A vocabulary of {rows} tokens has no place for pad_token_id = {self.config.pad_token_id}. "
                "Keep at least that many, or set another pad_token_id first."
            )

    def _refuse_without_tokens(self) -> None:
        if not self.config.reads_tokens:
            raise NotImplementedError(
                "This model reads vectors (vocab_size is None) and has no token embeddings to get, set or resize. "
                "Pass vocab_size and pad_token_id to RNNConfig for a model of tokens."
            )

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if not initialize_module(module):
            super()._init_weights(module)

    def _output_choices(
        self, output_hidden_states: bool | None, return_dict: bool | None, ignored: dict[str, Any]
    ) -> tuple[bool, bool]:
        """Refuse arguments that have no meaning here; let the config decide what was left open."""
        for name, value in ignored.items():
            if value is None or value is False:
                continue
            reason = _MEANINGLESS.get(name, "there is no such argument")
            raise TypeError(f"{type(self).__name__}.forward does not take {name}: {reason}. Leave it out.")
        chosen = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        as_dict = self.config.return_dict if return_dict is None else return_dict
        return bool(chosen), bool(as_dict)
