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
    """The sum of the vectors of the n-grams that a sequence has, by the root of how many they are.

    Each speaks once, where it first comes: that it comes again tells little (Pang, Lee & Vaithyanathan, 2002, "Thumbs
    up?"). So divided, long and short sequences are about as long as vectors.

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
        rows = self.places[numbers % len(self.places)].long()
        return torch.where(self.numbers[rows] == numbers, rows, 0)

    def join(
        self,
        pooled: Tensor,
        carried: dict[str, Tensor],
        ids: Tensor,
        lengths: Tensor,
        valid: Tensor | None,
        before: RNNState | None,
        keep: bool,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Put the bag beside the pooled states.

        Args:
            pooled: (B, P).
            carried: Fields of [`RNNState`] after these steps.
            ids: (B, T), aligned.
            lengths: (B,), how many real steps there are.
            valid: (B, T), true on them; `None` if all are.
            before: What the earlier pieces of these streams left.
            keep: Whether the streams go on.

        Returns:
            (B, P + width), and the fields, if they go on with `bag_total` and `bag_seen`.
        """
        each = self._ending(self._window(ids if valid is None else ids.where(valid, NOTHING), before), closed=True)
        closing = each[torch.arange(ids.shape[0], device=ids.device), lengths]
        if before is not None:
            closing = closing.masked_fill((carried["steps"] == 0)[:, None], 0)  # what has not begun does not end
        ending = each[:, :-1] if valid is None else each[:, :-1].where(valid[:, :, None], 0)
        seen = None if before is None else before.bag_seen
        ending = self._once(ending, seen)
        total, count = total_of(self(ending).sum(dim=-2), None), (ending > 0).sum(dim=(1, 2))
        if before is not None:
            total, count = total + before.bag_total, count + before.bag_seen.sum(dim=1)
        if keep:
            carried = {**carried, "bag_total": total, "bag_seen": self._met(ending.flatten(1), seen)}
        return _beside(pooled, total + self(closing).sum(dim=1), count + (closing > 0).sum(dim=1)), carried

    def join_prefixes(self, pooled: Tensor, ids: Tensor, before: RNNState | None) -> Tensor:
        """Put its bag beside the pooled states of every prefix: (B, T, P) and aligned ids (B, T) -> (B, T, P + width).

        Args:
            pooled: Of `pool_prefixes`.
            ids: Those that were read.
            before: What the earlier pieces of these streams left.
        """
        window = self._window(ids, before)
        ending = self._once(self._ending(window), None if before is None else before.bag_seen)
        total = self(ending).sum(dim=-2).cumsum(dim=1, dtype=wide_dtype(ids.device))
        count = (ending > 0).sum(dim=-1).cumsum(dim=1)
        if before is not None:
            total, count = total + before.bag_total[:, None], count + before.bag_seen.sum(dim=1)[:, None]
        closing = self._ending(window[:, 1:].unfold(1, self.order - 1, 1), closed=True)[:, :, 0]
        return _beside(pooled, total + self(closing).sum(dim=-2), count + (closing > 0).sum(dim=-1))

    def _window(self, ids: Tensor, before: RNNState | None) -> Tensor:
        return with_previous(ids, None if before is None else before.previous_ids, self.order - 1)

    def _ending(self, window: Tensor, closed: bool = False) -> Tensor:
        """The rows of the n-grams that end at each step and, if closed, behind the last: (..., T or T + 1, order)."""
        return self.rows(nn.functional.pad(window, (0, 1), value=NOTHING) if closed else window)

    def _once(self, rows: Tensor, seen: Tensor | None) -> Tensor:
        """Rows (B, T, order), row 0 for what has come before."""
        flat = rows.flatten(1)
        count = flat.shape[1]
        # By row, then by place. Not `sort`, which ExecuTorch does not have.
        ordered = (flat * count + torch.arange(count, device=rows.device)).topk(count, largest=False).values
        again = nn.functional.pad((ordered // count).diff(dim=1) == 0, (1, 0))
        again = again.scatter(1, ordered % count, again)
        if seen is not None:
            again = again | seen.gather(1, flat)
        return flat.masked_fill(again, 0).view_as(rows)

    def _met(self, rows: Tensor, seen: Tensor | None) -> Tensor:
        """What has come by now, (B, K + 1), after these rows (B, N)."""
        found = rows > 0
        return (found.new_zeros(len(rows), self.num_embeddings) if seen is None else seen).scatter(1, rows, found)


def _beside(pooled: Tensor, total: Tensor, count: Tensor) -> Tensor:
    """The pooled states and, beside them, the sum of so many vectors by the root of their number."""
    bag = total / count.clamp(min=1).to(total.dtype).sqrt()[..., None]
    return torch.cat([pooled, bag.to(pooled.dtype)], dim=-1)
