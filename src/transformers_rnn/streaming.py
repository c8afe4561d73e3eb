"""Streams without an end, many at once: items in, the current answer out, in constant memory and time a step."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import safe_open
from transformers import AutoTokenizer

from .feature_extraction_rnn import SequenceVectorFeatureExtractor
from .modeling_rnn import RNNForSequenceClassification
from .state import RNNState
from .stream_answers import Key, StreamAnswer, StreamAnswers, StreamScores
from .stream_items import HeldSteps, IdReader, StreamItems, TextReader, VectorReader
from .stream_reading import StreamReader

_PLACES = 64  # for streams, to begin with


@dataclass
class _Current:
    """The streams of the last push: their keys, places and memory."""

    keys: list[Key]
    rows: list[int]
    state: RNNState


class StreamingClassifier:
    """Reads streams as they come and says at each moment what it believes; an item is read once and forgotten.

    Streams have keys and begin with the first push. All streams that are pushed together are read together, a step
    of all in one batch. Scores are calibrated as the pipelines' are; what the config says of the answers holds from
    here on. With its `stopping_policy` an answer also tells on which label it has settled, and after how many steps.
    One thread at a time may use a classifier.

    Args:
        model: A sequence classifier of one direction, on the device where it is to stay; it is put into evaluation
            mode.
        tokenizer: For a model of tokens: texts are pushed, in any pieces, and read with the ids of the whole text; the
            end of a piece that may still change is held back until the next piece or `finish`. Without it lists of
            token ids are pushed.
        feature_extractor: For a model of vectors: scales them, adds `deltas` and joins `stride` steps to one; until
            they are all there, the last one is repeated, as at the end of a sequence. Without it vectors are read as
            they are. Its `max_length` does not cut a stream.

    Raises:
        ValueError: A model of two directions, or a reader of the other kind or of another width.
        TypeError: A tokenizer that cannot read a text in pieces, with the reason.
    """

    def __init__(
        self,
        model: RNNForSequenceClassification,
        tokenizer: Any = None,
        feature_extractor: SequenceVectorFeatureExtractor | None = None,
    ) -> None:
        config = model.config
        _check_parts(model, tokenizer, feature_extractor)
        self.model = model.eval()
        stride = 1 if feature_extractor is None else feature_extractor.stride
        self._stream, self._scores = StreamReader(self.model), StreamScores(config, stride)
        self._text = None if tokenizer is None else TextReader(tokenizer)
        if config.reads_tokens:
            self._reader: IdReader | VectorReader = IdReader(config.vocab_size or 0, model.device)
        else:
            extractor = feature_extractor or SequenceVectorFeatureExtractor(feature_size=config.input_size)
            self._reader = VectorReader(extractor, model.device, model.dtype)
        self._rows: dict[Key, int] = {}  # where each stream is kept
        self._held: dict[Key, Any] = {}  # text that was pushed and not read, or `HeldSteps`
        self._free = list(range(_PLACES))
        self._slots = self._stream.initial(_PLACES)
        self._current: _Current | None = None

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: "str | os.PathLike[str]", **kwargs: Any) -> Self:
        """Load a saved model and the tokenizer or feature extractor beside it.

        Args:
            pretrained_model_name_or_path: A directory or a name on the hub.
            **kwargs: Of the model's `from_pretrained`, such as `dtype`.
        """
        name = pretrained_model_name_or_path
        model = RNNForSequenceClassification.from_pretrained(name, **kwargs)
        if model.config.reads_tokens:
            return cls(model, tokenizer=AutoTokenizer.from_pretrained(name))
        return cls(model, feature_extractor=SequenceVectorFeatureExtractor.from_pretrained(name))

    def __contains__(self, key: Key) -> bool:
        """Whether there is such a stream."""
        return key in self._rows

    def __len__(self) -> int:
        """How many streams there are."""
        return len(self._rows)

    def __iter__(self) -> Iterator[Key]:
        """The keys, in the order in which the streams began."""
        return iter(self._rows)

    def push(self, items: Any, key: Key = None) -> StreamAnswer:
        """Read what has come of one stream; see `push_many`."""
        return self._push([key], [items]).at(0)

    def push_many(self, items: Any, keys: Sequence[Key] | None = None) -> StreamAnswers:
        """Read what has come of many streams, in one batch.

        Args:
            items: A mapping from each key to a text, to vectors (one (F,), some (T_i, F), of a model with F = 1 also
                (T_i,)) or to token ids (T_i,), none or more of each. With `keys` a list of these, or an array (B, F)
                or (B, T, F): that is the fastest.
            keys: Which stream each item of a list or array belongs to, each once.

        Returns:
            The answers by key, after all that was read so far.

        Raises:
            ValueError: Items of a wrong shape, width or type, numbers that are not finite (with their stream and
                step), ids outside the vocabulary, a key given twice. Then nothing was read of any stream.
            FloatingPointError: The states of a stream overflow, of the first such. All items were read.
        """
        if keys is not None:
            keys = list(keys)
            if len(keys) != len(items):
                raise ValueError(f"keys must name the stream of each of the {len(items)} items, got {len(keys)} keys.")
            return self._push(keys, items)
        if not isinstance(items, Mapping):
            raise ValueError(
                f"push_many reads a mapping from keys to items, or a list with keys=..., got {type(items).__name__}."
            )
        return self._push(list(items), list(items.values()))

    def finish(self, key: Key = None) -> StreamAnswer:
        """Read what is held back of a text that has ended, and answer. What is pushed later begins a new text.

        Raises:
            KeyError: There is no such stream.
        """
        self._row_of(key)
        return self._push([key], ["" if self._text else []], finish=True).at(0)

    @torch.inference_mode()
    def reset(self, key: Key = None) -> None:
        """Let one stream begin again as if it had read nothing.

        Raises:
            KeyError: There is no such stream.
        """
        row = self._row_of(key)
        self._put_back()
        self._slots.write([row], self._stream.initial(1))
        self._held.pop(key, None)

    def drop(self, key: Key = None) -> None:
        """Forget one stream; its place is free for another.

        Raises:
            KeyError: There is no such stream.
        """
        self.reset(key)
        self._free.append(self._rows.pop(key))

    def snapshot(self, path: "str | os.PathLike[str]") -> None:
        """Write all streams to one safetensors file, so that another process can go on; replaced in one go.

        Raises:
            ValueError: A key that is no text, number or `None`.
        """
        for key in self._rows:
            if key is not None and type(key) not in (str, int, float, bool):
                raise ValueError(
                    f"A snapshot keeps keys that are text, numbers or None, got {key!r} of {type(key).__name__}. "
                    "Name the streams otherwise."
                )
        self._put_back()
        held = [self._held.get(key, "") for key in self._rows]
        held = [[one.left.tolist(), one.last.tolist()] if isinstance(one, HeldSteps) else one for one in held]
        notes = {"keys": json.dumps(list(self._rows)), "held": json.dumps(held), "model": self._fingerprint}
        partial = Path(f"{os.fspath(path)}.partial")
        self._slots.select(list(self._rows.values())).save(partial, notes)
        partial.replace(path)

    @torch.inference_mode()
    def restore(self, path: "str | os.PathLike[str]") -> None:
        """Take the streams of a snapshot in place of those that are there.

        The same pushes then give the same answers as in the process that wrote it: to the last bit where processor,
        number of threads and version of torch are the same.

        Raises:
            ValueError: A file that is no snapshot, or one of another model.
        """
        state = RNNState.load(path, self._stream.device)
        with safe_open(path, framework="pt") as file:
            notes = file.metadata()
        if notes.get("model") != self._fingerprint:
            raise ValueError(
                f"{os.fspath(path)} is no snapshot of streams of this model: its weights, choices or type are others. "
                "Load the model that read them."
            )
        self._current = None
        keys = json.loads(notes["keys"])
        self._rows = {key: row for row, key in enumerate(keys)}
        self._held = {key: held for key, held in zip(keys, json.loads(notes["held"]), strict=True) if held}
        if isinstance(self._reader, VectorReader):
            self._held = {key: self._reader.held(*steps) for key, steps in self._held.items()}
        self._free = list(range(len(keys), len(keys) + _PLACES))
        self._slots = RNNState.merge([state, self._stream.initial(_PLACES)])

    @torch.inference_mode()
    def _push(self, keys: list[Key], pieces: Any, finish: bool = False) -> StreamAnswers:
        read = self._read(keys, pieces, finish)
        if self._current is None or self._current.keys != keys:
            self._put_back()
            rows = self._rows_for(keys)
            self._current = _Current(keys, rows, self._slots.select(rows))
        logits, state = self._stream.read(self._current.state, read.ready, torch.from_numpy(read.lengths))
        self._current.state = state
        self._held.update(read.held)
        if read.unfilled is None:
            return self._scores.answers(keys, logits, state)
        # answers as if the streams ended here
        open_rows = torch.from_numpy(read.left.nonzero()[0]).to(logits.device)
        once = torch.ones(len(open_rows), dtype=torch.long)
        ended = self._stream.read(state.select(open_rows), read.unfilled, once)[0]
        return self._scores.answers(keys, logits.index_copy(0, open_rows, ended), state, read.left)

    def _read(self, keys: list[Key], pieces: Any, finish: bool) -> StreamItems:
        """What the model is to read, and what is held back."""
        if isinstance(self._reader, VectorReader):
            return self._reader.read(keys, pieces, self._held, self._steps_of)
        held: dict[Key, Any] = {}
        if self._text is not None:
            pieces, held = self._text.read(keys, pieces, self._held, finish)
        ids, lengths = self._reader.read(keys, pieces, self._steps_of)
        return StreamItems(ids, lengths, held)

    @torch.inference_mode()
    def _put_back(self) -> None:
        """Streams that are pushed again and again stay taken out of their places, until others come."""
        if self._current is not None:
            self._slots.write(self._current.rows, self._current.state)
            self._current = None

    def _rows_for(self, keys: list[Key]) -> list[int]:
        """Where these streams are kept; new ones get a place."""
        if len(set(keys)) != len(keys):
            raise ValueError(
                f"keys must name each stream once, got {len(keys)} keys, {len(set(keys))} of them different. Join "
                "what belongs to one stream before it is pushed."
            )
        new = [key for key in keys if key not in self._rows]
        if new:
            missing = len(new) - len(self._free)
            if missing > 0:
                begin = self._slots.batch_size
                more = max(missing, begin)  # twice as many, so that growing costs little in all
                self._slots = RNNState.merge([self._slots, self._stream.initial(more)])
                self._free.extend(range(begin, begin + more))
            rows, self._free = self._free[: len(new)], self._free[len(new) :]
            self._rows.update(zip(new, rows, strict=True))
        return [self._rows[key] for key in keys]

    def _row_of(self, key: Key) -> int:
        if key not in self._rows:
            raise KeyError(f"There is no stream {key!r}. A stream begins with the first push; see list(classifier).")
        return self._rows[key]

    def _steps_of(self, key: Key) -> int:
        self._put_back()
        if key not in self._rows:
            return 0
        held = self._held.get(key)
        left = len(held.left) if isinstance(held, HeldSteps) else 0
        return int(self._slots.steps[self._rows[key]]) * self._scores.stride + left

    @property
    def _fingerprint(self) -> str:
        """Tells models apart whose streams cannot be exchanged."""
        choices = self.model.config.to_diff_dict()
        told = [choices.get(name) for name in ("cell_type", "nonlinearity", "pooling", "stopping_policy")]
        if isinstance(self._reader, VectorReader):
            told += [self._reader.extractor.stride, self._reader.extractor.deltas]
        digest = hashlib.sha256(repr(told).encode())
        for name, value in self.model.state_dict().items():
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


def _check_parts(model: Any, tokenizer: Any, feature_extractor: Any) -> None:
    config = model.config
    if config.bidirectional:
        raise ValueError(
            "A bidirectional model cannot stream: its backward direction begins at the end of the sequence, which a "
            "stream does not have yet. Train with bidirectional=False."
        )
    wrong = feature_extractor if config.reads_tokens else tokenizer
    if wrong is not None:
        reads = "token ids: pass a tokenizer" if config.reads_tokens else "vectors: pass a feature_extractor"
        raise ValueError(f"This model reads {reads}, not a {type(wrong).__name__}.")
    if feature_extractor is not None and feature_extractor.input_size != config.input_size:
        raise ValueError(
            f"The feature extractor gives F = {feature_extractor.input_size} numbers a step, but this model reads "
            f"{config.input_size}. Pass the one that was saved with the model."
        )
