"""What a config says of the decision that follows the logits: calibration, abstention, answers before the end."""

from math import inf
from typing import Any

from .stopping import StoppingPolicy


def check_calibration(config: Any) -> None:
    """Refuse a temperature, thresholds or an abstention that make no sense, or not together."""
    if not 0 < config.temperature < inf:
        raise ValueError(
            f"temperature divides the logits and must be a positive number, got {config.temperature}. "
            "Leave it at 1.0, or learn it with transformers_rnn.calibration.fit_calibration."
        )
    if config.problem_type == "regression" and config.temperature != 1:
        raise ValueError(
            f"temperature={config.temperature} belongs to classification, but problem_type is 'regression', whose "
            "numbers are not probabilities. Leave it at 1.0."
        )
    if config.thresholds is not None:
        if config.problem_type not in ("multi_label_classification", None):
            raise ValueError(
                f"thresholds belong to problem_type='multi_label_classification', but it is "
                f"{config.problem_type!r}. Leave them out; for one label there is abstain_below."
            )
        if len(config.thresholds) != config.num_labels or not all(0 <= number <= 1 for number in config.thresholds):
            raise ValueError(
                f"thresholds must be num_labels={config.num_labels} numbers from 0 to 1, got {config.thresholds}."
            )
    if config.abstain_below is not None:
        if config.problem_type not in ("single_label_classification", None):
            raise ValueError(
                f"abstain_below belongs to problem_type='single_label_classification', but it is "
                f"{config.problem_type!r}. Leave it out; for several labels there are thresholds."
            )
        if not 0 <= config.abstain_below <= 1:
            raise ValueError(f"abstain_below is a score and must be from 0 to 1, got {config.abstain_below}.")


def check_prefixes(config: Any) -> None:
    """Refuse a prefix loss or a stopping policy that make no sense, or not with this model."""
    if not 0 <= config.prefix_loss_weight <= 1:
        raise ValueError(f"prefix_loss_weight is a share of the loss, from 0 to 1, got {config.prefix_loss_weight}.")
    if config.stopping_policy is not None:
        StoppingPolicy.from_dict(config.stopping_policy)
        if config.problem_type not in ("single_label_classification", None):
            raise ValueError(
                f"stopping_policy waits until one label is sure, which {config.problem_type} does not have. "
                "Leave it out."
            )
    for name in ("prefix_loss_weight", "stopping_policy"):
        if config.bidirectional and getattr(config, name):
            raise ValueError(
                f"{name} needs a belief after each step, which a bidirectional model does not have: its backward "
                "direction begins at the end of the sequence. Pass bidirectional=False, or leave it out."
            )
