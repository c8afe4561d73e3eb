"""Layers near the data learn more slowly, or later, than the head: for weights that know something already."""

from typing import Any

from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import has_length


def layer_depths(model: Any) -> dict[nn.Parameter, int]:
    """How far each weight is from the answer: the head 0, the last layer 1, the first N, the embedding N + 1."""
    layers = model.base_model.layers
    depths = dict.fromkeys(model.parameters(), 0)
    for index, layer in enumerate(layers):
        depths |= dict.fromkeys(layer.parameters(), len(layers) - index)
    return depths | dict.fromkeys(model.base_model.embeddings.parameters(), len(layers) + 1)


def check_layerwise_lr_decay(decay: float) -> None:
    """Refuse what is no factor.

    Raises:
        ValueError: A number that is not more than 0 and at most 1.
    """
    if isinstance(decay, bool) or not isinstance(decay, int | float) or not 0 < decay <= 1:
        raise ValueError(
            "layerwise_lr_decay is the learning rate of a layer as a share of that of the next and must be more than "
            f"0 and at most 1 (the same rate everywhere), got {decay!r}. Howard & Ruder take 1 / 2.6 = 0.38."
        )


def decay_learning_rates(trainer: Trainer, decay: float) -> None:
    """Give each layer its own learning rate, the discriminative fine-tuning of Howard & Ruder (2018).

    The head has that of the arguments, each layer below `decay` times that of the layer above, the embedding the
    smallest. It makes the optimizer of the trainer, with the host's groups for weight decay, split; the schedule then
    scales all rates alike. Call it before `train`.

    Args:
        trainer: Any trainer of the host with a model of this package.
        decay: More than 0 and at most 1.

    Raises:
        ValueError: Another decay.
    """
    check_layerwise_lr_decay(decay)
    depths = layer_depths(trainer.model)
    optimizer = trainer.create_optimizer()
    groups = []
    for group in optimizer.param_groups:
        for depth in sorted({depths[weight] for weight in group["params"]}):
            weights = [weight for weight in group["params"] if depths[weight] == depth]
            groups.append({**group, "params": weights, "lr": group["lr"] * decay**depth})
    optimizer.param_groups[:] = groups


class GradualUnfreezing(TrainerCallback):
    """Trains the head alone in the first epoch and one layer more in each further one (Howard & Ruder, 2018).

    The last layer comes second, the embedding last. What is frozen gets no gradient and no weight decay; it stays with
    the optimizer, so that a run that goes on from a checkpoint finds the same groups of parameters.
    """

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        train_dataloader: Any = None,
        **kwargs: Any,
    ) -> None:
        """Check that there are epochs enough.

        Raises:
            ValueError: Fewer epochs than layers, or a stream, which has none.
        """
        needed = 1 + max(layer_depths(model).values())
        came = f"{state.num_train_epochs} epochs" if has_length(train_dataloader) else "a stream, which has none"
        if not has_length(train_dataloader) or state.num_train_epochs < needed:
            raise ValueError(
                f"gradual_unfreezing trains one layer more in each epoch and this model needs at least {needed} "
                f"epochs until all are trained, got {came}. Train longer, or leave it out."
            )

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Freeze or unfreeze, by the number of the epoch alone."""
        for weight, depth in layer_depths(model).items():
            weight.requires_grad_(depth <= (state.epoch or 0))

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Leave a model that can be trained further."""
        model.requires_grad_(True)
