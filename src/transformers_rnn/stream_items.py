"""What was pushed to streams -> all their steps, one after another, checked."""

from collections.abc import Callable, Mapping, Sequence
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


class VectorReader:
    """Vectors -> scaled vectors (N, F).

    Args:
        extractor: Checks and scales.
        device: Of the model.
        dtype: Of the model.
    """

    def __init__(self, extractor: SequenceVectorFeatureExtractor, device: torch.device, dtype: torch.dtype) -> None:
        self.extractor, self.device, self.dtype = extractor, device, dtype

    def read(self, keys: Sequence[Key], pieces: Any, steps_of: Callable[[Key], int]) -> tuple[Tensor, Lengths]:
        """Join and scale.

        Args:
            keys: Of the streams.
            pieces: The vectors of each: a list of (F,) or (T_i, F), or an array (B, F) or (B, T, F).
            steps_of: How many steps a stream has read already, for messages.

        Raises:
            ValueError: Vectors of another width, or not finite, with their stream and step.
        """
        width = self.extractor.feature_size
        whole = _steps(_as_array(pieces), width, axes=3)
        if whole is not None and len(whole) == len(keys):
            flat, lengths = whole.reshape(-1, width), np.full(len(keys), whole.shape[1], np.int64)
        else:
            parts = [_steps(_as_array(piece), width, axes=2) for piece in pieces]
            for key, piece, part in zip(keys, pieces, parts, strict=True):
                if part is None:
                    self._refuse(key, piece)
            lengths = np.array([len(part) for part in parts], np.int64)  # type: ignore[arg-type]
            flat = np.concatenate(parts) if parts else np.zeros((0, width))  # type: ignore[arg-type]
        if not len(flat):
            return torch.zeros(0, width, device=self.device, dtype=self.dtype), lengths
        try:
            scaled = self.extractor.prepare(flat)
        except ValueError:
            for key, part in zip(keys, np.split(flat, lengths.cumsum()[:-1]), strict=True):
                if len(part):  # says which one it was
                    self.extractor.prepare(part, f"Stream {key!r}, after its first {steps_of(key)} steps")
            raise
        return torch.tensor(scaled, device=self.device, dtype=self.dtype), lengths

    def _refuse(self, key: Key, piece: Any) -> None:
        array = _as_array(piece)
        got = type(piece).__name__ if array is None else f"{array.shape} of {array.dtype}"
        raise ValueError(
            f"Stream {key!r} reads numbers of shape (F,) or (T, F) with F = {self.extractor.feature_size}, got {got}. "
            "Check the order of the axes (time before features), or push the items of each stream apart."
        )


class StepGroups:
    """Steps that come in any pieces -> groups of `stride` steps, as the feature extractor joins them.

    Args:
        stride: k.
    """

    def __init__(self, stride: int) -> None:
        self.stride = stride

    def join(
        self, keys: Sequence[Key], steps: Tensor, lengths: Lengths, held: Mapping[Key, Tensor]
    ) -> tuple[Tensor, Lengths, dict[Key, Tensor]]:
        """Join what is full, and hold the rest.

        Args:
            keys: Of the streams.
            steps: The steps (N, F) of all, one stream after another.
            lengths: How many of them each stream has.
            held: The steps of some that were left over.

        Returns:
            The groups (M, k F), how many of them each stream has, and what is left over now.
        """
        full, left = [steps.new_zeros(0, self.stride * steps.shape[1])], {}
        for key, part in zip(keys, steps.split(lengths.tolist()), strict=True):
            known = torch.cat([held[key], part]) if key in held else part
            rest = len(known) % self.stride
            full.append(known[: len(known) - rest].reshape(-1, self.stride * steps.shape[1]))
            left[key] = known[len(known) - rest :].clone()  # not the rest of what was pushed
        return torch.cat(full), np.array([len(groups) for groups in full[1:]], np.int64), left

    def fill(self, left: Sequence[Tensor]) -> Tensor:
        """What is left over (n, F) of some streams as a group each, (B, k F): the last step is repeated."""
        filled = [torch.cat([part, part[-1:].expand(self.stride - len(part), -1)]) for part in left]
        return torch.stack(filled).flatten(1)


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
