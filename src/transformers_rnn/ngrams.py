"""Hashed n-grams: a narrow vector for each pair, triple, ... of tokens that ends at a step, from one small table.

Which row of the table an n-gram has is plain integer arithmetic on its ids, the same on every machine and in every
graph; two n-grams may share a row (Joulin et al., 2017, "Bag of tricks for efficient text classification").
"""

from typing import Any

import torch
from torch import Tensor, nn

NOTHING = -1  # in place of an id before the first one
MULTIPLIER, PRIME = 1_103_515_245, 2**31 - 1  # their product is below 2**62


def check_ngrams(config: Any) -> None:
    """Refuse n-grams that make no sense, or not for this model."""
    advice = (
        "is of n-grams, but ngram_order is 1: there are none. Pass ngram_order=2 for pairs of tokens (3: triples too)"
    )
    sizes = ". Pass for example ngram_buckets=100_000, ngram_width=16."
    _check_table(config, ("ngram_order", "ngram_buckets", "ngram_width"), 1, ("no n-grams", advice), sizes)


def check_bag(config: Any) -> None:
    """Refuse a bag that makes no sense, or not for this model."""
    advice = (
        "is of a bag of n-grams, but bag_order is 0: there is none. Pass bag_order=1 for single tokens (2: pairs too)"
    )
    sizes = ": how many n-grams have a vector, and how wide it is. `add_bag` finds both."
    _check_table(config, ("bag_order", "bag_size", "bag_width"), 0, ("no bag of n-grams", advice), sizes)


def _check_table(config: Any, names: tuple[str, str, str], least: int, none: tuple[str, str], sizes: str) -> None:
    """Refuse an order of n-grams below the least, which has none, and sizes of their table that do not fit it.

    Args:
        config: Of a model.
        names: Of the order, the rows of the table and their width.
        least: The order that means that there are no n-grams.
        none: What the least order means, and what to do about a size that came with it.
        sizes: What to do about sizes that are missing.
    """
    order, *found = (getattr(config, name) for name in names)
    if order < least:
        raise ValueError(f"{names[0]} must be a whole number of at least {least} ({least}: {none[0]}), got {order}.")
    if order == least:
        for name, value in zip(names[1:], found, strict=True):
            if value:
                raise ValueError(f"{name}={value} {none[1]}, or leave it out.")
        return
    if not config.reads_tokens:
        raise ValueError(
            f"{names[0]}={order} belongs to a model of tokens, but vocab_size is None: the model reads vectors. "
            "Leave it out."
        )
    if min(found) < 1:
        raise ValueError(
            f"{names[0]}={order} needs {names[1]} and {names[2]} of at least 1, got {found[0]} and {found[1]}{sizes}"
        )


def with_previous(ids: Tensor, previous: Tensor | None, count: int) -> Tensor:
    """Ids (B, T) behind the last `count` of those before them, or behind nothing: (B, count + T)."""
    ids = ids.long()
    if previous is None:
        previous = ids.new_full((ids.shape[0], count), NOTHING)
    return torch.cat([previous[:, previous.shape[1] - count :], ids], dim=1)


def last_ids(ids: Tensor, lengths: Tensor, previous: Tensor | None, count: int) -> Tensor:
    """The last `count` ids of each sequence, (B, count), which the n-grams of what follows begin with.

    Args:
        ids: (B, T), aligned.
        lengths: (B,).
        previous: (B, count), the ids before these; `None` at the beginning.
        count: How many.
    """
    last = lengths[:, None] + torch.arange(count, device=ids.device)
    return with_previous(ids, previous, count).gather(1, last.expand(ids.shape[0], -1))


def number_ngrams(window: Tensor, sizes: range) -> Tensor:
    """The number of each n-gram that ends at a step, from 0 to 2**31 - 2; that two have the same one is a rare chance.

    Args:
        window: (..., N - 1 + T), the ids, and those before them that the longest n-gram needs.
        sizes: Of the n-grams, the last one N.

    Returns:
        (..., T, the number of sizes).
    """
    longest = sizes[-1]
    length, numbers = window.shape[-1] - longest + 1, []
    for size in sizes:
        number = torch.full_like(window[..., :length], size)
        for place in range(longest - size, longest):
            number = (number * MULTIPLIER + window[..., place : place + length] + 1) % PRIME
        numbers.append(number)
    return torch.stack(numbers, dim=-1)


class NgramEmbedding(nn.Embedding):
    """The vectors of the n-grams that end at each step, the pairs first, side by side.

    Args:
        buckets: Rows of the table, for n-grams of all lengths.
        width: Of a row.
        order: The longest n-gram.
    """

    def __init__(self, buckets: int, width: int, order: int) -> None:
        super().__init__(buckets, width)
        self.order = order

    def forward(self, ids: Tensor, previous: Tensor | None = None) -> Tensor:
        """Look the n-grams up.

        Args:
            ids: (B, T), aligned.
            previous: (B, order - 1 or more), the ids before them; `NOTHING` where there is none.

        Returns:
            (B, T, width * (order - 1)).
        """
        window = with_previous(ids, previous, self.order - 1)
        return super().forward(number_ngrams(window, range(2, self.order + 1)) % self.num_embeddings).flatten(2)
