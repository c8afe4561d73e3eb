"""How an embedding starts from pretrained vectors, and from when on it is trained with the rest."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import nn
from transformers import PreTrainedTokenizerBase, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .modeling_pretrained import RNNPreTrainedModel
from .pretrained_embeddings import PretrainedVectors, settle_vectors

EmbeddingTraining: TypeAlias = Literal["frozen", "tuned"] | float


class EmbeddingWarmup(TrainerCallback):
    """Keeps the embedding as it is for the first steps, while the rest learns to read it.

    While it is frozen it gets no gradient and no weight decay. It stays with the optimizer, so that a run that goes on
    from a checkpoint finds the same groups of parameters before and after.

    Args:
        until: `"frozen"`: the embedding is never trained; `"tuned"`: always; or the share of all steps, between 0 and
            1, after which it is.

    Raises:
        ValueError: Anything else.
    """

    def __init__(self, until: EmbeddingTraining) -> None:
        shares = {"frozen": 1.0, "tuned": 0.0}
        share = shares.get(until) if isinstance(until, str) else until
        if share is None or isinstance(share, bool) or not 0 <= share <= 1:
            raise ValueError(
                "embedding_training must be 'frozen', 'tuned' or the share of all steps (0 to 1) after which the "
                f"embedding is trained, got {until!r}."
            )
        self.share = share

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Freeze or unfreeze, by the number of the step alone."""
        _weight(model).requires_grad_(state.global_step >= self.share * state.max_steps)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Leave a model that can be trained further."""
        _weight(model).requires_grad_(True)


@dataclass(frozen=True)
class EmbeddingStart:
    """How the embedding of one run starts and is trained; without vectors, as the model has it.

    Args:
        vectors: The table that fits the tokenizer of the run.
        training: As [`EmbeddingWarmup`] takes it.
    """

    vectors: PretrainedVectors | None = None
    training: EmbeddingTraining = "tuned"

    @property
    def config_fields(self) -> dict[str, Any]:
        """What the vectors decide about a model."""
        return {} if self.vectors is None else {"input_size": self.vectors.table.shape[1]}

    @property
    def callbacks(self) -> list[TrainerCallback]:
        """What the trainer needs."""
        return [] if self.training == "tuned" else [EmbeddingWarmup(self.training)]

    @property
    def description(self) -> dict[str, Any]:
        """What the weights at the end depend on, for JSON."""
        if self.vectors is None:
            return {}
        return {"pretrained_vectors": str(self.vectors), "embedding_training": self.training}

    def place(self, model: RNNPreTrainedModel) -> None:
        """Start the embedding of the model of this run."""
        if self.vectors is not None:
            place_vectors(model, self.vectors)


def settle_start(given: Any, training: EmbeddingTraining, processor: Any, input_size: int | None) -> EmbeddingStart:
    """Make what [`train_classifier`] was given ready for a run.

    Args:
        given: Pretrained vectors as [`settle_vectors`] takes them, or `None`.
        training: As [`EmbeddingWarmup`] takes it.
        processor: The tokenizer of the run.
        input_size: F, if it is decided.

    Raises:
        ValueError: Vectors for a model without tokens, or an untrained embedding without vectors.
    """
    EmbeddingWarmup(training)  # refuses what is no choice before any work
    if given is None:
        if training != "tuned":
            raise ValueError(
                f"embedding_training={training!r} needs pretrained_vectors: an embedding that starts at random has to "
                "be trained from the first step."
            )
        return EmbeddingStart()
    if not isinstance(processor, PreTrainedTokenizerBase):
        raise ValueError(
            "pretrained_vectors start the embedding of tokens, but this data is sequences of vectors. Leave them out."
        )
    return EmbeddingStart(settle_vectors(given, processor, input_size), training)


def place_vectors(model: RNNPreTrainedModel, vectors: PretrainedVectors) -> None:
    """Start the embedding of a model of tokens from pretrained vectors.

    Args:
        model: A model of tokens.
        vectors: The table (V, F).

    Raises:
        NotImplementedError: The model reads vectors.
        ValueError: The table has another shape than the embedding.
    """
    weight = _weight(model)
    if vectors.table.shape != tuple(weight.shape):
        raise ValueError(
            f"The embedding has the shape (V, F) = {tuple(weight.shape)}, but the pretrained vectors "
            f"{vectors.table.shape}. Build the model with vocab_size=len(tokenizer) and their width as input_size."
        )
    with torch.no_grad():
        weight.copy_(torch.from_numpy(vectors.table))


def _weight(model: Any) -> nn.Parameter:
    return model.get_input_embeddings().weight  # type: ignore[no-any-return]
