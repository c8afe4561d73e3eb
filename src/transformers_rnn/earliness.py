"""Answers before the end: a stopping policy fitted on validation data, and what it costs and saves.

Earliness is the share of a sequence that was read, 1 for all of it, as in the literature of early classification of
time series (its name notwithstanding: less is earlier). The harmonic mean is that of accuracy and 1 - earliness.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import DataCollatorWithPadding

from .modeling_rnn import RNNForSequenceClassification
from .stopping import StoppingPolicy, check_probabilities

NEVER = 2.0  # a threshold that no probability reaches
PATIENCE = (1, 2, 3, 4, 5, 8, 12)
READ_FIRST = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)  # shares of the median length, for min_steps
THRESHOLDS = 200


@dataclass(frozen=True)
class EarlyResult:
    """How right the answers are, and how early.

    Args:
        accuracy: Share of right answers.
        earliness: Mean share of each sequence that was read, from 0 to 1.
        mean_steps: Mean number of steps that were read.
    """

    accuracy: float
    earliness: float
    mean_steps: float

    @property
    def harmonic_mean(self) -> float:
        """Of accuracy and 1 - earliness."""
        saved = 1 - self.earliness
        return 2 * self.accuracy * saved / (self.accuracy + saved) if self.accuracy + saved else 0.0

    def cost(self, waiting_cost: float) -> float:
        """Share of wrong answers + `waiting_cost` * earliness."""
        return 1 - self.accuracy + waiting_cost * self.earliness


@dataclass(frozen=True)
class EarlinessCurve:
    """Accuracy against the share that was read.

    Args:
        stopping: Results of the policy with thresholds from low to high.
        fixed: Results of reading the same share of every sequence, for comparison.
        chosen: The result of the policy as it is.
    """

    stopping: list[EarlyResult]
    fixed: list[EarlyResult]
    chosen: EarlyResult | None = None


def prefix_probabilities(
    model: RNNForSequenceClassification, dataset: Any, processing_class: Any, batch_size: int = 32
) -> list[Tensor]:
    """What a model believes after each step of each sequence.

    Args:
        model: Of one direction, for single labels.
        dataset: Examples as the `Trainer` takes them: `input_ids` or `input_features`, other columns are ignored.
        processing_class: The tokenizer or feature extractor, which pads.
        batch_size: B.

    Returns:
        One table (T_i, L) of probabilities for each sequence, calibrated as the pipelines' are, on the CPU.

    Raises:
        ValueError: A model of both directions, of several labels or of regression.
    """
    config = model.config
    if config.num_labels == 1 or config.problem_type not in ("single_label_classification", None):
        raise ValueError(
            f"Answers before the end need a model of single labels, got num_labels={config.num_labels} and "
            f"problem_type={config.problem_type!r}."
        )
    names = (model.main_input_name, "attention_mask")
    rows = [{name: row[name] for name in names if name in row} for row in dataset]
    padded = DataCollatorWithPadding(processing_class)
    loader: DataLoader[Any] = DataLoader(rows, batch_size=batch_size, collate_fn=padded)  # type: ignore[arg-type]
    training, tables = model.training, []
    model.eval()
    with torch.no_grad():
        for batch in loader:
            inputs = {name: value.to(model.device) for name, value in batch.items()}
            logits = model(**inputs, output_prefix_logits=True, return_dict=True).prefix_logits
            beliefs = (logits.float() / config.temperature).softmax(dim=-1).cpu()
            tables += [table[mask.bool()] for table, mask in zip(beliefs, batch["attention_mask"], strict=True)]
    model.train(training)
    return tables


def fit_stopping_policy(
    prefix_probabilities: Sequence[Tensor], labels: Sequence[int] | Tensor, *, waiting_cost: float | None = 0.1
) -> StoppingPolicy:
    """Choose the policy that costs least on data that the model has not learned from.

    The cost of an answer is 1 if it is wrong, plus `waiting_cost` times the share of the sequence that was read (the
    trade-off of Mori et al., 2018, "Early classification of time series by simultaneously optimizing the accuracy and
    earliness", for the rule of [`StoppingPolicy`]). All combinations of thresholds, patience and first steps are
    tried; of equal ones the most careful is taken.

    Args:
        prefix_probabilities: One table (T_i, L) for each sequence, as `prefix_probabilities` gives them.
        labels: (B,), the true ones.
        waiting_cost: What reading a whole sequence costs, in wrong answers: 0.1 pays for reading to the end if that
            saves more than one mistake in ten sequences; 0 seeks accuracy alone. `None`: the policy with the largest
            harmonic mean of accuracy and 1 - earliness is taken, as TEASER does; beware that it gladly answers after
            the first step, hardly better than by chance, because nothing was read.

    Returns:
        The policy; `model.config.stopping_policy = policy.to_dict()` saves it with the model.

    Raises:
        ValueError: Tables that are no probabilities, labels that do not fit, or a negative cost.
    """
    if waiting_cost is not None and not 0 <= waiting_cost < float("inf"):
        raise ValueError(f"waiting_cost must be a finite number of at least 0, or None, got {waiting_cost}.")
    beliefs = _Beliefs.of(prefix_probabilities, labels)
    median = float(beliefs.lengths.double().median())
    first_steps = sorted({max(1, round(share * median)) for share in READ_FIRST})
    thresholds = beliefs.thresholds
    best, least = StoppingPolicy(NEVER), float("inf")
    for patience in reversed([number for number in PATIENCE if number <= beliefs.lengths.max()]):
        for min_steps in reversed(first_steps):
            results = beliefs.results(beliefs.stops(thresholds, patience, min_steps))
            for threshold, result in reversed(list(zip(thresholds.tolist(), results, strict=True))):
                cost = -result.harmonic_mean if waiting_cost is None else result.cost(waiting_cost)
                if cost < least - 1e-9:
                    best, least = StoppingPolicy(threshold, patience, min_steps), cost
    return best


def evaluate_stopping(
    policy: StoppingPolicy | None, prefix_probabilities: Sequence[Tensor], labels: Sequence[int] | Tensor
) -> EarlyResult:
    """Tell how right and how early the answers of a policy are.

    Args:
        policy: `None`: everything is read.
        prefix_probabilities: One table (T_i, L) for each sequence.
        labels: (B,), the true ones.

    Raises:
        ValueError: Tables that are no probabilities, or labels that do not fit.
    """
    policy = policy or StoppingPolicy(NEVER)
    beliefs = _Beliefs.of(prefix_probabilities, labels)
    threshold = torch.tensor([policy.threshold], dtype=beliefs.confidence.dtype)
    return beliefs.results(beliefs.stops(threshold, policy.patience, policy.min_steps))[0]


def earliness_curve(
    prefix_probabilities: Sequence[Tensor], labels: Sequence[int] | Tensor, policy: StoppingPolicy | None = None
) -> EarlinessCurve:
    """Tell how accuracy grows with the share that is read.

    Args:
        prefix_probabilities: One table (T_i, L) for each sequence.
        labels: (B,), the true ones.
        policy: Whose patience and first steps hold for all thresholds; by default 1 and 1.

    Raises:
        ValueError: Tables that are no probabilities, or labels that do not fit.
    """
    rule = policy or StoppingPolicy(NEVER)
    beliefs = _Beliefs.of(prefix_probabilities, labels)
    stopping = beliefs.results(beliefs.stops(beliefs.thresholds, rule.patience, rule.min_steps))
    shares = torch.arange(1, 21) / 20
    fixed = (shares * beliefs.lengths[:, None]).ceil().long().clamp(min=1)
    chosen = None if policy is None else evaluate_stopping(policy, prefix_probabilities, labels)
    return EarlinessCurve(sorted(stopping, key=lambda result: result.earliness), beliefs.results(fixed), chosen)


@dataclass(frozen=True)
class _Beliefs:
    """The most probable label after each step and its probability, (B, T) each, -1 behind the end; the truth."""

    label: Tensor
    confidence: Tensor
    lengths: Tensor
    true: Tensor

    @classmethod
    def of(cls, tables: Sequence[Tensor], labels: Sequence[int] | Tensor) -> "_Beliefs":
        tables = [torch.as_tensor(table) for table in tables]
        true = torch.as_tensor(labels)
        if not tables or true.shape != (len(tables),) or true.is_floating_point():
            raise ValueError(
                f"There must be at least one table of probabilities and one whole number as label for each, got "
                f"{len(tables)} tables and labels of shape {tuple(true.shape)} and type {true.dtype}."
            )
        for table in tables:
            check_probabilities(table, "(T_i, L)")
        width = tables[0].shape[1]
        if any(table.shape[1] != width or not len(table) for table in tables):
            raise ValueError(f"All tables must have a step and the same number of labels, here {width}.")
        if not bool(((true >= 0) & (true < width)).all()):
            raise ValueError(f"labels must be from 0 to {width - 1}, got {true.min().item()} to {true.max().item()}.")
        best = [table.max(dim=-1) for table in tables]
        pad = torch.nn.utils.rnn.pad_sequence
        confidence = pad([one.values for one in best], batch_first=True, padding_value=-1)
        label = pad([one.indices for one in best], batch_first=True, padding_value=-1)
        return cls(label, confidence, torch.tensor([len(table) for table in tables]), true)

    @cached_property
    def thresholds(self) -> Tensor:
        """Values that tell the confidences apart, from low to high, and one that none reaches."""
        seen = self.confidence[self.confidence >= 0].unique()
        picked = seen[torch.linspace(0, len(seen) - 1, min(THRESHOLDS, len(seen))).round().long()]
        return torch.cat([picked, picked.new_tensor([NEVER])])

    def stops(self, thresholds: Tensor, patience: int, min_steps: int) -> Tensor:
        """How many steps each sequence is read for with each of N thresholds, (B, N)."""
        sure = self._sureness(patience)
        sure[:, : min_steps - 1] = -1
        highest = sure.cummax(dim=1).values.contiguous()
        first = torch.searchsorted(highest, thresholds.expand(len(sure), -1).contiguous())
        return torch.minimum(first + 1, self.lengths[:, None])

    def _sureness(self, patience: int) -> Tensor:
        """(B, T), the least probability of the last `patience` steps if they name one label, or else -1."""
        steps = torch.arange(self.label.shape[1])
        changed = torch.ones_like(self.label, dtype=torch.bool)
        changed[:, 1:] = self.label[:, 1:] != self.label[:, :-1]
        streak = steps - torch.where(changed, steps, 0).cummax(dim=1).values + 1
        least = torch.full_like(self.confidence, -1)
        if patience <= len(steps):
            least[:, patience - 1 :] = self.confidence.unfold(1, patience, 1).amin(dim=-1)
        return least.masked_fill(streak < patience, -1)

    def results(self, stops: Tensor) -> list[EarlyResult]:
        """One result for each column of (B, N)."""
        right = self.label.gather(1, stops - 1) == self.true[:, None]
        parts = (right.double(), stops / self.lengths[:, None].double(), stops.double())
        return [EarlyResult(*figures) for figures in torch.stack([part.mean(dim=0) for part in parts], 1).tolist()]
