"""Sequences of ids and their labels -> a linear model of counted n-grams, by which each of them votes for itself."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from .bag import without_conflicts
from .figures import MULTI, REGRESSION, SINGLE, logit_losses
from .label_scale import to_head_units
from .ngrams import NOTHING, PRIME, number_ngrams

Array: TypeAlias = NDArray[Any]
Linear: TypeAlias = tuple[Array, Array]  # vectors (K, L) and a bias (L,)
Told: TypeAlias = tuple[float, float]

AT_MOST = 2**15  # n-grams; IMDb and names gain nothing from more
# Inverses of the penalty: noisy labels need a small one, clean topics a large one.
STRENGTHS = (5.0, 20.0, 80.0, 320.0)
FOLDS = 3
MANY = 2_000  # sequences, of which a third tells enough
LOUDEST = 3.0  # the log of a factor of all votes
ITERATIONS = 200


@dataclass(frozen=True)
class NgramVotes:
    """A linear model of n-grams: the sum of the vectors of those a sequence has by the root of their number; a bias.

    Args:
        order: The longest n-gram.
        numbers: (K,), of the n-grams that are known, the commonest first.
        vectors: (K, L).
        bias: (L,).
        told: What held-out parts told: the inverse of the penalty, and a factor of all votes; of several labels, each.
    """

    order: int
    numbers: Array
    vectors: Array
    bias: Array
    told: Sequence[Told]

    def answer(self, sequences: Sequence[Any]) -> Array:
        """The logits of sequences of ids, (N, L)."""
        numbers, steps = _number(sequences, self.order)
        return np.asarray(_share(numbers, steps, self.numbers) @ self.vectors + self.bias)


def fit_votes(
    config: Any, sequences: Sequence[Any], labels: Any, order: int, told: Sequence[Told] | None = None
) -> NgramVotes:
    """Fit a logistic or ridge regression to the n-grams of each sequence.

    An n-gram counts once in a sequence, however often it comes, by the root of how many there are, by its inverse
    document frequency, and by what it tells: one more than how far from usual the log-odds of the labels are where it
    comes (after Wang & Manning, 2012, "Baselines and bigrams"). How strong the penalty is and how loud the votes are,
    held-out parts of the sequences tell. If a sequence may have several labels, each is fitted for itself. Known are
    all single tokens, and what is longer if two sequences have it; of these the commonest 32,768.

    Args:
        config: With `problem_type` and `num_labels`; of regression, what its head gives is what is fitted.
        sequences: The ids of N training sequences.
        labels: (N,) classes, -100 for rows to leave out; or (N, L) zeros and ones or numbers.
        order: The longest n-gram.
        told: Of votes of fewer sequences, whose held-out parts need not be asked again; takes a fifth of the time.
    """
    labels, problem_type = np.asarray(labels), config.problem_type
    if problem_type == REGRESSION:
        labels = to_head_units(labels.reshape(-1, config.num_labels), config)
    if problem_type == SINGLE:
        kept = np.flatnonzero(labels >= 0)
        sequences, labels = [sequences[row] for row in kept.tolist()], np.eye(config.num_labels)[labels[kept]]
    found, steps = _number(sequences, order)
    numbers = _choose(found, steps)
    shares = _share(found, steps, numbers)
    together = np.split(labels, config.num_labels, axis=1) if problem_type == MULTI else [labels]
    told = told or [_ask_held_out(problem_type, shares, table) for table in together]
    fits = [_fit_as_told(problem_type, shares, table, *each) for table, each in zip(together, told, strict=True)]
    vectors, bias = zip(*fits, strict=True)
    return NgramVotes(order, numbers, np.concatenate(vectors, axis=1), np.concatenate(bias), told)


def weigh_ngrams(there: Any, marks: Array) -> Array:
    """The inverse document frequency of each n-gram times one more than what it tells of the labels, (K,).

    That is the root mean square, over the labels as common as they are, of how far from usual their log-odds are
    where the n-gram comes.

    Args:
        there: Sparse (N, K), true where a sequence has the n-gram.
        marks: (N, L), true where it has the label.
    """
    usual = (marks.sum(axis=0) + 1) / (len(marks) + 2)
    found, marked = np.asarray(there.sum(axis=0))[0], there.T @ marks.astype(float)
    odds = (marked + usual) / (found[:, None] - marked + 1 - usual)  # with one more sequence, of the usual odds
    telling = np.sqrt(np.log(odds * (1 - usual) / usual) ** 2 @ (usual / usual.sum()))
    rarity = np.log((1 + len(marks)) / (1 + found)) + 1
    return np.asarray(rarity * (1 + telling))


def _number(sequences: Sequence[Any], order: int) -> tuple[Array, Array]:
    """The number of every n-gram, (all steps and ends, order), and of each sequence how many steps and ends it has."""
    before, after = np.full(order - 1, NOTHING), np.full(1, NOTHING)
    parts = [part for sequence in sequences for part in (before, np.asarray(sequence), after)]
    numbers = number_ngrams(torch.from_numpy(np.concatenate(parts).astype(np.int64)), range(1, order + 1)).numpy()
    steps = np.asarray([len(sequence) + 1 for sequence in sequences])
    ends = np.cumsum(steps + order - 1) - (order - 1)
    real = np.concatenate([np.arange(end - count, end) for end, count in zip(ends, steps, strict=True)])
    return numbers[real], steps


def _choose(found: Array, steps: Array) -> Array:
    """The n-grams to know, those of most sequences first; see `_number` for what was found."""
    rows = np.repeat(np.arange(len(steps)), steps)[:, None]
    numbers, sequences = np.unique(np.unique(rows * PRIME + found) % PRIME, return_counts=True)
    known = (sequences > 1) | np.isin(numbers, found[:, 0])
    numbers, sequences = numbers[known], sequences[known]
    ranked = numbers[np.lexsort((numbers, -sequences))][:AT_MOST]
    return without_conflicts(torch.from_numpy(ranked)).numpy()


def _share(found: Array, steps: Array, known: Array) -> Any:
    """The root of one share for each known n-gram that a sequence has, sparse (N, K); see `_number`."""
    ranks = np.argsort(known)
    place = np.searchsorted(known, found, sorter=ranks).clip(max=len(known) - 1)
    column = ranks[place]
    row = np.broadcast_to(np.repeat(np.arange(len(steps)), steps)[:, None], column.shape)
    there = known[column] == found
    shares = csr_matrix((np.ones(there.sum()), (row[there], column[there])), shape=(len(steps), len(known)))
    shares.sum_duplicates()
    count = np.diff(shares.indptr)
    shares.data = 1 / np.sqrt(np.repeat(count, count))
    return shares


def _fit_as_told(problem_type: str, shares: Any, labels: Array, strength: float, factor: float) -> Linear:
    vectors, bias = _fit(problem_type, shares, labels, [strength])[0]
    return vectors * factor, bias * factor


def _ask_held_out(problem_type: str, shares: Any, labels: Array) -> Told:
    """The penalty that answers held-out sequences best, and how loudly; shares (N, K), labels (N, L)."""
    if len(labels) < 2 * FOLDS:
        return STRENGTHS[0], 1.0
    fold = np.random.default_rng(0).permutation(len(labels)) % FOLDS  # drawn, as labels may come in turn
    folds = FOLDS if len(labels) < MANY else 1
    answers: list[list[Array]] = [[] for _ in STRENGTHS]
    for held in range(folds):
        known = fold != held
        fits = _fit(problem_type, shares[known], labels[known], STRENGTHS)
        for each, (vectors, bias) in zip(answers, fits, strict=True):
            each.append(shares[~known] @ vectors + bias)
    true = np.concatenate([labels[fold == held] for held in range(folds)])
    found = [_best_factor(problem_type, np.concatenate(each), true) for each in answers]
    (_, factor), strength = min(zip(found, STRENGTHS, strict=True))
    return strength, factor


def _best_factor(problem_type: str, answers: Array, labels: Array) -> tuple[float, float]:
    """The least loss of answers (N, L) times a factor, and this factor; a ridge regression is as loud as it should."""

    def loss(scale: float) -> float:
        return float(logit_losses(problem_type, answers * np.exp(scale), labels).sum() + scale**2)

    if problem_type == REGRESSION:
        return loss(0.0), 1.0
    found = minimize_scalar(loss, bounds=(-LOUDEST, LOUDEST), method="bounded")
    return float(found.fun), float(np.exp(found.x))


def _fit(problem_type: str, shares: Any, labels: Array, strengths: Sequence[float]) -> list[Linear]:
    """Fit with each of these penalties; see [`weigh_ngrams`]."""
    weight = weigh_ngrams(shares > 0, labels > labels.mean(axis=0))
    weight /= np.sqrt((shares.power(2) @ weight**2).mean())  # so that a sequence has a length of about 1
    weighted = csr_matrix(shares.multiply(weight), dtype=np.float32)
    fits = [_REGRESSIONS[problem_type](weighted, labels, strength) for strength in strengths]
    return [(vectors * weight[:, None], bias) for vectors, bias in fits]


def _regress_classes(shares: Any, labels: Array, strength: float) -> Linear:
    present, classes = np.unique(labels.argmax(axis=1), return_inverse=True)
    vectors, bias = np.zeros((shares.shape[1], labels.shape[1])), np.full(labels.shape[1], _unlikely(labels))
    vectors[:, present], bias[present] = _regress(shares, classes, strength)
    return vectors, bias


def _regress_label(shares: Any, labels: Array, strength: float) -> Linear:
    given = labels[:, 0] > 0.5
    if given.all() or not given.any():
        return np.zeros((shares.shape[1], 1)), np.full(1, -_unlikely(labels) if given.all() else _unlikely(labels))
    vectors, bias = _regress(shares, given, strength)
    return vectors[:, 1:] * 2, bias[1:] * 2


def _regress_numbers(shares: Any, labels: Array, strength: float) -> Linear:
    ridge = Ridge(20 / strength).fit(shares, labels.astype(np.float32))
    return np.reshape(ridge.coef_, (*labels.shape[1:], -1)).T, np.reshape(ridge.intercept_, labels.shape[1])


def _unlikely(labels: Array) -> float:
    """The bias of a label that no row has."""
    return float(-np.log(len(labels) + 1))


def _regress(shares: Any, classes: Array, strength: float) -> Linear:
    """Logistic regression: weights (K, C) and bias (C,) of the classes 0 to C - 1, each of which some row has."""
    if not classes.any():
        return np.zeros((shares.shape[1], 1)), np.zeros(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # what is not found by then changes no figure
        model = LogisticRegression(C=strength, max_iter=ITERATIONS).fit(shares, classes)
    weights, bias = model.coef_, model.intercept_
    if len(weights) == 1:  # how far the second of two classes is before the first
        weights, bias = (np.concatenate([-one, one]) / 2 for one in (weights, bias))
    return weights.T, bias


_REGRESSIONS: dict[str, Callable[[Any, Array, float], Linear]] = {
    SINGLE: _regress_classes,
    MULTI: _regress_label,
    REGRESSION: _regress_numbers,
}
