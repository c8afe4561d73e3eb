"""What was pushed to streams -> all their steps, one after another, checked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from .feature_extraction_rnn import SequenceVectorFeatureExtractor
from .incremental_tokenization import IncrementalTokenizer
from .stream_answers import Key

Lengths = NDArray[np.int64]  # (B,), how many steps were pushed to each stream


class TextReader:
    """Pieces of texts -> the token ids that are certain by now.

    Args:
        tokenizer: See [`IncrementalTokenizer`].
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.incremental = IncrementalTokenizer(tokenizer)

    def read(
        self, keys: Sequence[Key], pieces: Sequence[Any], held: Mapping[Key, str], finish: bool
    ) -> tuple[list[list[int]], dict[Key, str]]:
        """Tokenize.

        Args:
            keys: Of the streams.
            pieces: The text that has come of each.
            held: The text that was held back of some.
            finish: Whether nothing more is to be held back.

        Returns:
            The ids of each stream, and what is held back now.

        Raises:
            ValueError: A piece that is no text.
        """
        ready, now_held = [], {}
        for key, piece in zip(keys, pieces, strict=True):
            if not isinstance(piece, str) or not _is_unicode(piece):
                got = f"half characters (surrogates) in {piece!r}" if isinstance(piece, str) else type(piece).__name__
                raise ValueError(
                    f"Stream {key!r} reads text, got {got}. Push strings, in any pieces of whole characters."
                )
            certain, rest = self.incremental.cut(held.get(key, ""), piece)
            ready.append(certain + rest if finish else certain)
            now_held[key] = "" if finish else rest
        return self.incremental.ids(ready) if any(ready) else [[] for _ in ready], now_held


class IdReader:
    """Lists of token ids -> ids (N,).

    Args:
        vocab_size: V.
        device: Of the model.
    """

    def __init__(self, vocab_size: int, device: torch.device) -> None:
        self.vocab_size, self.device = vocab_size, device

    def read(
        self, keys: Sequence[Key], pieces: Sequence[Any], steps_of: Callable[[Key], int]
    ) -> tuple[Tensor, Lengths]:
        """Join.

        Args:
            keys: Of the streams.
            pieces: The ids of each.
            steps_of: How many steps a stream has read already, for messages.

        Raises:
            ValueError: What is no id of the vocabulary, with its stream and step.
        """
        lists: Any = _as_array(pieces) if hasattr(pieces, "shape") else None
        if lists is not None and lists.ndim == 2 and lists.dtype.kind in "iu":
            flat: Any = lists.reshape(-1).astype(np.int64)
            lengths = np.full(len(lists), lists.shape[1], np.int64)
        else:
            lists = [piece.tolist() if hasattr(piece, "tolist") else piece for piece in pieces]
            flat, lengths = _join(lists)
        if flat is None or (len(flat) and not (flat.min() >= 0 and flat.max() < self.vocab_size)):
            for key, ids in zip(keys, lists, strict=True):
                self._check(key, ids.tolist() if hasattr(ids, "tolist") else ids, steps_of)
        return torch.from_numpy(flat).to(self.device), lengths

    def _check(self, key: Key, ids: Any, steps_of: Callable[[Key], int]) -> None:
        wanted = f"Stream {key!r} reads lists of token ids from 0 to {self.vocab_size - 1}"
        if not isinstance(ids, list | tuple):
            raise ValueError(f"{wanted}, got {type(ids).__name__}. Pass a tokenizer to push texts.")
        for step, one in enumerate(ids):
            if type(one) is not int or not 0 <= one < self.vocab_size:
                raise ValueError(
                    f"{wanted}, got {one!r} as step {steps_of(key) + step}. Use the tokenizer the model was trained "
                    "with."
                )


@dataclass
class HeldSteps:
    """What a stream of vectors goes on from.

    Args:
        left: (n, S), scaled steps that fill no group yet.
        last: (F,), the step that came last, as it came.
    """

    left: NDArray[np.float32]
    last: NDArray[Any]


@dataclass
class StreamItems:
    """What a reader made of a push.

    Args:
        ready: What the model is to read, ids (N,) or groups of steps (N, k S), one stream after another.
        lengths: How much of it each stream has.
        held: What the next push of a stream goes on from.
        unfilled: A group for each stream that has steps left over, (M, k S): as if it ended here; `None` if none has.
        left: (B,), how many steps of each stream are left over; empty where they are read one by one.
    """

    ready: Tensor
    lengths: Lengths
    held: dict[Key, Any]
    unfilled: Tensor | None = None
    left: Lengths = field(default_factory=lambda: np.zeros(0, np.int64))


class VectorReader:
    """Vectors in any pieces -> what the feature extractor makes of the whole sequences, group by group.

    Args:
        extractor: Checks, adds deltas, scales and joins k steps of S numbers to one.
        device: Of the model.
        dtype: Of the model.
    """

    def __init__(self, extractor: SequenceVectorFeatureExtractor, device: torch.device, dtype: torch.dtype) -> None:
        self.extractor, self.device, self.dtype = extractor, device, dtype

    def read(
        self, keys: Sequence[Key], pieces: Any, held: Mapping[Key, HeldSteps], steps_of: Callable[[Key], int]
    ) -> StreamItems:
        """Go on reading.

        Args:
            keys: Of the streams.
            pieces: The vectors of each: a list of (F,) or (T_i, F), or an array (B, F) or (B, T, F).
            held: What some of the streams go on from.
            steps_of: How many steps a stream has read already, for messages.

        Raises:
            ValueError: Vectors of another width, or not finite, with their stream and step.
        """
        flat, lengths = self._one_after_another(keys, pieces)
        before = self._before(keys, flat, lengths, held) if self.extractor.deltas else None
        scaled = self._prepare(keys, flat, before, lengths, steps_of)
        if not self.extractor.deltas and self.extractor.stride == 1:
            return StreamItems(self._tensor(scaled), lengths, {})
        ready, now, unfilled, left = [], {}, [], np.zeros_like(lengths)
        for index, (key, end) in enumerate(zip(keys, lengths.cumsum(), strict=True)):
            part = scaled[end - lengths[index] : end]
            known = np.concatenate([held[key].left, part]) if key in held else part
            left[index] = len(known) % self.extractor.stride
            full = len(known) - left[index]
            ready.append(self.extractor.stack(known[:full]))
            if len(part):
                now[key] = HeldSteps(known[full:].copy(), flat[end - 1].copy())  # not the rest of what was pushed
            if left[index]:
                unfilled.append(self.extractor.stack(known[full:]))
        lengths = np.array([len(groups) for groups in ready], np.int64)
        full_groups = np.concatenate([np.zeros((0, self.extractor.input_size), np.float32), *ready])
        ended = self._tensor(np.concatenate(unfilled)) if unfilled else None
        return StreamItems(self._tensor(full_groups), lengths, now, ended, left)

    def held(self, left: Any, last: Any) -> HeldSteps:
        """From the lists that a snapshot holds."""
        return HeldSteps(np.reshape(np.array(left, np.float32), (-1, self.extractor.step_size)), np.array(last))

    def _one_after_another(self, keys: Sequence[Key], pieces: Any) -> tuple[NDArray[Any], Lengths]:
        """All steps (N, F) as they came, and how many of them each stream has."""
        width = self.extractor.feature_size
        whole = _steps(_as_array(pieces), width, axes=3)
        if whole is not None and len(whole) == len(keys):
            return whole.reshape(-1, width), np.full(len(keys), whole.shape[1], np.int64)
        parts = [_steps(_as_array(piece), width, axes=2) for piece in pieces]
        for key, piece, part in zip(keys, pieces, parts, strict=True):
            if part is None:
                self._refuse(key, piece)
        lengths = np.array([len(part) for part in parts], np.int64)  # type: ignore[arg-type]
        return np.concatenate(parts) if parts else np.zeros((0, width)), lengths  # type: ignore[arg-type]

    def _before(
        self, keys: Sequence[Key], flat: NDArray[Any], lengths: Lengths, held: Mapping[Key, HeldSteps]
    ) -> NDArray[np.float64]:
        """The step before each of all; a stream begins as if its first step had been there before."""
        before: NDArray[np.float64] = np.concatenate([flat[:1], flat[:-1]]).astype(np.float64)
        for key, start, length in zip(keys, lengths.cumsum() - lengths, lengths, strict=True):
            if length:
                before[start] = held[key].last if key in held else flat[start]
        return before

    def _prepare(
        self,
        keys: Sequence[Key],
        flat: NDArray[Any],
        before: NDArray[np.float64] | None,
        lengths: Lengths,
        steps_of: Callable[[Key], int],
    ) -> NDArray[np.float32]:
        if not len(flat):
            return np.zeros((0, self.extractor.step_size), np.float32)
        try:
            return self.extractor.prepare(flat, before=before)
        except ValueError:
            starts = lengths.cumsum() - lengths
            for key, start, length in zip(keys, starts, lengths, strict=True):
                if length:  # says which one it was
                    at = slice(start, start + length)
                    name = f"Stream {key!r}, after its first {steps_of(key)} steps"
                    self.extractor.prepare(flat[at], name, None if before is None else before[at])
            raise

    def _tensor(self, steps: NDArray[np.float32]) -> Tensor:
        return torch.tensor(steps, device=self.device, dtype=self.dtype)

    def _refuse(self, key: Key, piece: Any) -> None:
        array = _as_array(piece)
        got = type(piece).__name__ if array is None else f"{array.shape} of {array.dtype}"
        raise ValueError(
            f"Stream {key!r} reads numbers of shape (F,) or (T, F) with F = {self.extractor.feature_size}, got {got}. "
            "Check the order of the axes (time before features), or push the items of each stream apart."
        )


def _join(lists: Sequence[Any]) -> tuple[NDArray[np.int64] | None, Lengths]:
    """Lists of ids one after another and their lengths; `None` where one is no list or holds no number of 64 bits."""
    if not all(isinstance(ids, list | tuple) for ids in lists) or set(map(type, chain.from_iterable(lists))) - {int}:
        return None, np.zeros(0, np.int64)
    lengths = np.fromiter(map(len, lists), np.int64, len(lists))
    try:
        return np.fromiter(chain.from_iterable(lists), np.int64, int(lengths.sum())), lengths
    except OverflowError:
        return None, lengths


def _as_array(value: Any) -> NDArray[Any] | None:
    """Numbers as an array; `None` where they do not form one."""
    if isinstance(value, list | tuple) and value and isinstance(value[0], Tensor):
        value = [one.numpy(force=True) for one in value]
    if isinstance(value, Tensor):
        return value.numpy(force=True)
    try:
        array = np.asarray(value)
    except ValueError:  # ragged
        return None
    return array if array.dtype.kind in "biuf" else None


def _steps(array: NDArray[Any] | None, width: int, axes: int) -> NDArray[Any] | None:
    """An array with all its axes, time and features last: (T, F) or (B, T, F); `None` if it is of another shape."""
    if array is None or array.ndim > axes:
        return None
    if array.size == 0 and array.ndim < axes and axes == 2:
        return np.zeros((0, width))
    if width == 1 and array.ndim < axes:  # a plain series
        array = array[..., None]
    if array.ndim == axes - 1:  # one step of each
        array = array[..., None, :]
    return array if array.ndim == axes and array.shape[-1] == width else None


def _is_unicode(text: str) -> bool:
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        return False
    return True
