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
    order, buckets, width = config.ngram_order, config.ngram_buckets, config.ngram_width
    if order < 1:
        raise ValueError(f"ngram_order must be a whole number of at least 1 (1: no n-grams), got {order}.")
    if order == 1:
        for name in ("ngram_buckets", "ngram_width"):
            if getattr(config, name):
                raise ValueError(
                    f"{name}={getattr(config, name)} is of n-grams, but ngram_order is 1: there are none. Pass "
                    "ngram_order=2 for pairs of tokens (3: triples too), or leave it out."
                )
        return
    if not config.reads_tokens:
        raise ValueError(
            f"ngram_order={order} belongs to a model of tokens, but vocab_size is None: the model reads vectors. "
            "Leave it out."
        )
    if buckets < 1 or width < 1:
        raise ValueError(
            f"ngram_order={order} needs ngram_buckets and ngram_width of at least 1, got {buckets} and {width}. Pass "
            "for example ngram_buckets=100_000, ngram_width=16."
        )


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
            previous: (B, order - 1), the ids before them; `NOTHING` where there is none.

        Returns:
            (B, T, width * (order - 1)).
        """
        window, length = self._window(ids, previous), ids.shape[1]
        rows = []
        for size in range(2, self.order + 1):
            number = torch.full_like(window[:, :length], size)
            for place in range(self.order - size, self.order):
                number = (number * MULTIPLIER + window[:, place : place + length] + 1) % PRIME
            rows.append(number % self.num_embeddings)
        return super().forward(torch.stack(rows, dim=2)).flatten(2)

    def remember(self, ids: Tensor, lengths: Tensor, previous: Tensor | None) -> Tensor:
        """The last ids of each sequence, (B, order - 1), which the n-grams of what follows begin with.

        Args:
            ids: (B, T), aligned.
            lengths: (B,).
            previous: As in `forward`.
        """
        last = lengths[:, None] + torch.arange(self.order - 1, device=ids.device)
        return self._window(ids, previous).gather(1, last.expand(ids.shape[0], -1))

    def _window(self, ids: Tensor, previous: Tensor | None) -> Tensor:
        ids = ids.long()
        before = ids.new_full((ids.shape[0], self.order - 1), NOTHING) if previous is None else previous
        return torch.cat([before, ids], dim=1)
