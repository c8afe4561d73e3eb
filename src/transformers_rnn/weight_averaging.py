"""The average of the weights on the way of a training, which is evaluated and kept in their place."""

from typing import Any

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

_AVERAGE, _IN_MODEL = "average", "average_in_model"


class WeightAveraging(TrainerCallback):
    """Keeps a moving average of the weights: the host evaluates, saves and ends with it, and trains without it.

    Averages of the iterates are Polyak & Juditsky's (1992); stochastic weight averaging (Izmailov et al., 2018) is
    their even mean, this the exponential one: after step n each average a of a weight w becomes d a + (1 - d) w with
    d = min(decay, n / (9 + n)), so that the first steps are soon forgotten and short runs gain, too.

    The average lies with the optimizer, in its groups of parameters, and trades places with the weights of the model
    before each evaluation and checkpoint and at the end of each epoch, until the next step begins. So a checkpoint's
    `model.safetensors` is the average, and its `optimizer.pt` holds the weights that training goes on from. A trainer
    without this callback would go on from the average.

    It works with any `Trainer` that holds whole weights in each process (not with FSDP or DeepSpeed). Give it last:
    it has to see what other callbacks decide about evaluation and checkpoints.

    Args:
        decay: Between 0 and 1; 1 / (1 - decay) steps count, about. 0.99 to 0.999 is usual.

    Raises:
        ValueError: Another decay.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if isinstance(decay, bool) or not isinstance(decay, int | float) or not 0 < decay < 1:
            raise ValueError(
                "weight_averaging is the decay of the average and must be between 0 and 1, such as 0.99 (the last 100 "
                f"steps count) or 0.999, got {decay!r}. Pass None to keep the weights of the last step."
            )
        self.decay = decay

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Any = None,
        **kwargs: Any,
    ) -> None:
        """Begin the average with the weights, or go on with that of a checkpoint."""
        for group in optimizer.param_groups:
            weights = group["params"]
            begun = group.get(_AVERAGE, weights)
            group[_AVERAGE] = [
                average.detach().to(weight.device, copy=True) for average, weight in zip(begun, weights, strict=True)
            ]
            group.setdefault(_IN_MODEL, False)

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Any = None,
        **kwargs: Any,
    ) -> None:
        """Train with the weights."""
        _trade(optimizer, False)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Any = None,
        **kwargs: Any,
    ) -> None:
        """Take the weights into the average, and show it if the host is going to look."""
        decay = min(self.decay, state.global_step / (9 + state.global_step))
        for group in optimizer.param_groups:
            get_ema_multi_avg_fn(decay)(group[_AVERAGE], group["params"], state.global_step)
        if control.should_evaluate or control.should_save:
            _trade(optimizer, True)

    def on_epoch_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Any = None,
        **kwargs: Any,
    ) -> None:
        """Show the average: the host may look, or this was the last step."""
        _trade(optimizer, True)

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Any = None,
        **kwargs: Any,
    ) -> None:
        """Leave the average in the model, or what the host loaded in its place, and forget the rest."""
        for group in optimizer.param_groups:
            group.pop(_AVERAGE)
            group.pop(_IN_MODEL)


@torch.no_grad()
def _trade(optimizer: Any, in_model: bool) -> None:
    """Let the average and the weights trade places, unless they have."""
    for group in optimizer.param_groups:
        if group[_IN_MODEL] is in_model:
            continue
        for weight, other in zip(group["params"], group[_AVERAGE], strict=True):
            held = weight.clone()
            weight.copy_(other)
            other.copy_(held)
        group[_IN_MODEL] = in_model
