"""A bag of n-grams for a trained model: what each of them says by itself, and how much that counts beside the states.

Counted n-grams and recurrent states err in different places: a mixture of both answers better than either (Mikolov et
al., 2011; Mesnil et al., 2015, "Ensemble of generative and discriminative techniques for sentiment analysis").
"""

from copy import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import nn

from .bag import NgramBag
from .calibration import fit_calibration
from .figures import REGRESSION, SINGLE, logit_losses
from .label_scale import to_head_units
from .modeling_rnn import RNNForSequenceClassification
from .ngram_votes import NgramVotes

Array = NDArray[Any]

HALF = 0.5  # of what is answered, before any row is seen
TRUST = 16.0  # a quarter of it is what the rows must gain, in nats, until one of the two is not heard


def fit_shares(config: Any, logits: Any, votes: Any, labels: Any) -> tuple[float, float]:
    """Factors of the model's logits and of the votes, with the least loss on rows that neither has learned from.

    They are found for calibrated logits. Few rows change little of the mean of both.

    Args:
        config: Of the model.
        logits: (N, L), of the model alone.
        votes: (N, L), of the n-grams alone.
        labels: As for [`fit_calibration`].
    """
    config = copy(config)
    fit_calibration(config, logits, labels)
    both, true = np.stack([to_head_units(logits, config) / config.temperature, votes]), np.asarray(labels)
    if config.problem_type == SINGLE:
        both, true = both[:, true >= 0], np.eye(config.num_labels)[true[true >= 0]]
    spread = 1.0
    if config.problem_type == REGRESSION:
        true = to_head_units(true.reshape(votes.shape), config)
        spread = float((true**2).mean()) or 1.0

    def loss(choice: Array) -> float:
        scale, own = choice
        mixed = np.exp(scale) * (own * both[0] + (1 - own) * both[1])
        losses = logit_losses(config.problem_type, mixed, true) / spread
        return float(losses.sum() + TRUST * (own - HALF) ** 2 + scale**2)

    scale, own = minimize(loss, (0.0, HALF), bounds=[(None, None), (0, 1)]).x
    return float(np.exp(scale) * own / config.temperature), float(np.exp(scale) * (1 - own))


@torch.no_grad()
def add_bag(
    model: RNNForSequenceClassification, votes: NgramVotes, shares: tuple[float, float] = (HALF, HALF)
) -> None:
    """Let n-grams speak beside the recurrent layers of a trained model, in place.

    Its logits are from now on its own times the first share and the votes times the second; calibrate it again.

    Args:
        model: Of tokens, without a bag.
        votes: See [`fit_votes`].
        shares: See [`fit_shares`].

    Raises:
        ValueError: A model of vectors, one that has a bag, or votes for other labels.
    """
    config, head = model.config, model.classifier
    if not config.reads_tokens or config.bag_order or votes.vectors.shape[1] != config.num_labels:
        raise ValueError(
            f"add_bag needs a model of tokens without a bag of n-grams and votes for its num_labels = "
            f"{config.num_labels}, got vocab_size={config.vocab_size}, bag_order={config.bag_order} and votes for "
            f"{votes.vectors.shape[1]} labels. Fit the votes to the ids and labels of this model."
        )
    _fill_bag(model, votes)
    wider = nn.Linear(config.pooled_size, config.bag_width).to(head.weight.device, head.weight.dtype)
    own, voted = wider.weight.split([head.in_features, config.bag_width], dim=1)
    own.copy_(head.weight * shares[0])
    voted.copy_(torch.eye(config.bag_width) * shares[1])
    wider.bias.copy_(head.bias * shares[0] + head.bias.new_tensor(votes.bias) * shares[1])
    model.classifier = wider.train(model.training)


@torch.no_grad()
def renew_bag(model: RNNForSequenceClassification, former: NgramVotes, votes: NgramVotes) -> None:
    """Let votes of more rows speak in place of the former ones, as loudly as these, in place.

    Args:
        model: With the bag of the former.
        former: What [`add_bag`] was given.
        votes: For the same labels.
    """
    head = model.classifier
    loudness = head.weight[:, -model.config.bag_width :]
    head.bias.add_(loudness @ head.bias.new_tensor(votes.bias - former.bias))
    _fill_bag(model, votes)


def _fill_bag(model: RNNForSequenceClassification, votes: NgramVotes) -> None:
    config, weight = model.config, model.classifier.weight
    config.bag_order, (config.bag_size, config.bag_width) = votes.order, votes.vectors.shape
    bag = NgramBag(config.bag_size, config.bag_width, config.bag_order)
    bag.learn(torch.from_numpy(votes.numbers))
    bag.weight[0] = 0.0
    bag.weight[1:] = torch.from_numpy(votes.vectors)
    model.rnn.bag = bag.to(weight.device, weight.dtype).train(model.training)
