"""A bag of n-grams beside the recurrent layers: the sum of their vectors, which the head reads with the states.

Each n-gram speaks for itself, in whatever order they come: the direct connections of Mikolov et al. (2011, "Strategies
for training large scale neural network language models"), and what fastText classifies by (Joulin et al., 2017).
"""

import torch
from torch import Tensor, nn

from .ngrams import NOTHING, number_ngrams, with_previous
from .pooling import total_of
from .state import RNNState, wide_dtype

SPARSE = 4  # places for an n-gram; with fewer, more would be in each other's way
UNKNOWN = -1


def count_places(size: int) -> int:
    """How many places so many n-grams are looked for in."""
    return 1 << (SPARSE * size).bit_length()


def without_conflicts(numbers: Tensor) -> Tensor:
    """The n-grams (K,) that are left, in their order, where the first that has a place keeps it."""
    while True:
        _, group = (numbers % count_places(len(numbers))).unique(return_inverse=True)
        rank = torch.arange(len(numbers))
        kept = torch.full_like(rank, len(rank)).scatter_reduce(0, group, rank, "amin")[group] == rank
        if kept.all():
            return numbers
        numbers = numbers[kept]


class NgramBag(nn.Embedding):
    """The sum of the vectors of a sequence's n-grams, by the root of the number of its steps and one more: its end.

    So divided, long and short sequences are about as long as vectors, as after a normalization of counts.

    What stands before the first and behind the last token is nothing, which n-grams may begin or end with, so that
    they tell how a text begins and ends. An n-gram that is not known has a vector of zeros, row 0.

    Args:
        size: K, how many n-grams can be known.
        width: Of a vector.
        order: The longest n-gram; the shortest is a single token.
    """

    numbers: Tensor  # (K + 1,), of the n-gram of each row
    places: Tensor  # where to look for an n-gram by its number: its row

    def __init__(self, size: int, width: int, order: int) -> None:
        super().__init__(size + 1, width, padding_idx=0)
        self.order = order
        self.register_buffer("numbers", torch.full((size + 1,), UNKNOWN, dtype=torch.int32))
        self.register_buffer("places", torch.zeros(count_places(size), dtype=torch.int32))

    @torch.no_grad()
    def learn(self, numbers: Tensor) -> None:
        """Know these n-grams from now on, in place of others.

        Args:
            numbers: (K or fewer,), of different n-grams, each with a place of its own, see [`without_conflicts`].
        """
        rows = torch.arange(1, len(numbers) + 1, dtype=torch.int32)
        self.numbers.fill_(UNKNOWN)[rows] = numbers.to(self.numbers.dtype)
        self.places.zero_()[numbers % len(self.places)] = rows

    def rows(self, window: Tensor) -> Tensor:
        """The row of each n-gram that ends at a step: (..., order - 1 + T) -> (..., T, order)."""
        numbers = number_ngrams(window, range(1, self.order + 1))
        rows = self.places[numbers % len(self.places)]
        return torch.where(self.numbers[rows] == numbers, rows, 0)

    def join(
        self,
        pooled: Tensor,
        carried: dict[str, Tensor],
        ids: Tensor,
        lengths: Tensor,
        valid: Tensor | None,
        before: RNNState | None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Put the bag beside the pooled states.

        Args:
            pooled: (B, P).
            carried: Fields of [`RNNState`] after these steps.
            ids: (B, T), aligned.
            lengths: (B,), how many real steps there are.
            valid: (B, T), true on them; `None` if all are.
            before: What the earlier pieces of these streams left.

        Returns:
            (B, P + width), and the fields with `bag_total`.
        """
        window, steps = self._window(ids if valid is None else ids.where(valid, NOTHING), before), carried["steps"]
        each = self._ending(nn.functional.pad(window, (0, 1), value=NOTHING))
        total, closing = total_of(each[:, :-1], valid), each[torch.arange(ids.shape[0], device=ids.device), lengths]
        if before is not None:
            total = total + before.bag_total
            closing = closing.masked_fill((steps == 0)[:, None], 0.0)  # what has not begun does not end
        bag = (total + closing) / _root(steps + 1, total)[:, None]
        return torch.cat([pooled, bag.to(pooled.dtype)], dim=-1), {**carried, "bag_total": total}

    def join_prefixes(self, pooled: Tensor, ids: Tensor, before: RNNState | None) -> Tensor:
        """Put its bag beside the pooled states of every prefix: (B, T, P) and aligned ids (B, T) -> (B, T, P + width).

        Args:
            pooled: Of `pool_prefixes`.
            ids: Those that were read.
            before: What the earlier pieces of these streams left.
        """
        window = self._window(ids, before)
        total = self._ending(window).cumsum(dim=1, dtype=wide_dtype(ids.device))
        steps = torch.arange(1, ids.shape[1] + 1, device=ids.device)[None, :, None]
        if before is not None:
            total, steps = total + before.bag_total[:, None], steps + before.steps[:, None, None]
        last = window[:, 1:].unfold(1, self.order - 1, 1)
        closing = self._ending(nn.functional.pad(last, (0, 1), value=NOTHING))[:, :, 0]
        bag = (total + closing) / _root(steps + 1, total)
        return torch.cat([pooled, bag.to(pooled.dtype)], dim=-1)

    def _window(self, ids: Tensor, before: RNNState | None) -> Tensor:
        return with_previous(ids, None if before is None else before.previous_ids, self.order - 1)

    def _ending(self, window: Tensor) -> Tensor:
        """The sum of the vectors of the n-grams that end at each step: (..., order - 1 + T) -> (..., T, width)."""
        return self(self.rows(window)).sum(dim=-2)  # type: ignore[no-any-return]


def _root(steps: Tensor, like: Tensor) -> Tensor:
    return steps.to(like.dtype).sqrt()
