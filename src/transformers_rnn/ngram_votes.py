"""Sequences of ids and their labels -> a linear model of counted n-grams, by which each of them votes for itself."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge

from .bag import without_conflicts
from .figures import MULTI, REGRESSION, SINGLE
from .label_scale import to_head_units
from .ngrams import NOTHING, PRIME, number_ngrams

Array = NDArray[Any]
Share = Callable[[Array], tuple[Any, Array]]  # marks (N, L) -> shares (N, K), weights (K,)

AT_MOST = 2**15  # n-grams; IMDb and names gain nothing from more
STRENGTH = 20.0  # the inverse of the penalty
STRENGTH_OF_SEVERAL = 8.0  # labels of which a sequence may have several are noisier
ITERATIONS = 200


@dataclass(frozen=True)
class NgramVotes:
    """A linear model of counted n-grams: the mean of their vectors and a bias.

    Args:
        order: The longest n-gram.
        numbers: (K,), of the n-grams that are known, the commonest first.
        vectors: (K, L).
        bias: (L,).
    """

    order: int
    numbers: Array
    vectors: Array
    bias: Array

    def answer(self, sequences: Sequence[Any]) -> Array:
        """The logits of sequences of ids, (N, L)."""
        numbers, steps = _number(sequences, self.order)
        counts = _count(numbers, steps, self.numbers)
        return np.asarray(counts @ self.vectors / steps[:, None] + self.bias)


def fit_votes(config: Any, sequences: Sequence[Any], labels: Any, order: int) -> NgramVotes:
    """Fit a logistic or ridge regression to the n-grams of each sequence.

    An n-gram counts by its share of the sequence, its inverse document frequency, and by what it tells: one more than
    how far from usual the log-odds of the labels are where it comes (after Wang & Manning, 2012, "Baselines and
    bigrams"), each for itself if a sequence may have several. Known are all single tokens, and what is longer if two
    sequences have it; of these the commonest 32,768.

    Args:
        config: With `problem_type` and `num_labels`; of regression, what its head gives is what is fitted.
        sequences: The ids of N training sequences.
        labels: (N,) classes, -100 for rows to leave out; or (N, L) zeros and ones or numbers.
        order: The longest n-gram.
    """
    labels, problem_type = np.asarray(labels), config.problem_type
    if problem_type == REGRESSION:
        labels = to_head_units(labels.reshape(-1, config.num_labels), config)
    if problem_type == SINGLE and (labels < 0).any():
        kept = np.flatnonzero(labels >= 0)
        sequences, labels = [sequences[row] for row in kept.tolist()], labels[kept]
    all_numbers, steps = _number(sequences, order)
    numbers = _choose(all_numbers, steps)
    counts = _count(all_numbers, steps, numbers)
    solve = {SINGLE: _solve_single, MULTI: _solve_several, REGRESSION: _solve_numbers}[problem_type]
    vectors, bias = solve(partial(_share, counts, steps, order), labels, (len(numbers), config.num_labels))
    return NgramVotes(order, numbers, vectors, bias)


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


def _count(numbers: Array, steps: Array, known: Array) -> Any:
    """How often each known n-gram comes in each sequence, sparse (N, K); see `_number` for the others."""
    ranks = np.argsort(known)
    place = np.searchsorted(known, numbers, sorter=ranks).clip(max=len(known) - 1)
    column = ranks[place]
    row = np.broadcast_to(np.repeat(np.arange(len(steps)), steps)[:, None], column.shape)
    there = known[column] == numbers
    ones = np.ones(int(there.sum()), np.float32)
    return csr_matrix((ones, (row[there], column[there])), shape=(len(steps), len(known)))


def _share(counts: Any, steps: Array, order: int, marks: Array) -> tuple[Any, Array]:
    """What each n-gram counts in each sequence, sparse (N, K), and its weight in that, (K,); see `weigh_ngrams`."""
    weight = weigh_ngrams(counts > 0, marks)
    # So that sequences of usual length have a length of about 1, as after TF-IDF.
    weight *= np.sqrt(order * steps.mean() * counts.sum() / (counts @ weight**2).sum()) / order
    return csr_matrix(counts.multiply(1 / steps[:, None]).multiply(weight), dtype=np.float32), weight


def _solve_single(share: Share, labels: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
    """The vectors (K, L) and the bias (L,) of a linear model, here of one class a sequence."""
    shares, weight = share(np.eye(shape[1], dtype=bool)[labels])
    vectors, bias = _unlikely(len(labels), shape)
    present = np.unique(labels)
    vectors[:, present], bias[present] = _regress(shares, np.searchsorted(present, labels), STRENGTH)
    return vectors * weight[:, None], bias


def _solve_several(share: Share, labels: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
    vectors, bias = _unlikely(len(labels), shape)
    for label, given in enumerate(labels.T > 0.5):
        if given.all():
            bias[label] *= -1
        elif given.any():
            shares, weight = share(given[:, None])
            weights, (_, ahead) = _regress(shares, given, STRENGTH_OF_SEVERAL)
            vectors[:, label], bias[label] = weights[:, 1] * 2 * weight, ahead * 2
    return vectors, bias


def _solve_numbers(share: Share, labels: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
    shares, weight = share(labels > labels.mean(axis=0))
    ridge = Ridge(1.0).fit(shares, labels.astype(np.float32))
    return np.reshape(ridge.coef_, shape[::-1]).T * weight[:, None], np.reshape(ridge.intercept_, shape[1])


def _unlikely(rows: int, shape: tuple[int, int]) -> tuple[Array, Array]:
    """Vectors and bias where no row has a label."""
    return np.zeros(shape), np.full(shape[1], -np.log(rows + 1))


def _regress(shares: Any, classes: Array, strength: float) -> tuple[Array, Array]:
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
