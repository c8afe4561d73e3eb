"""Texts -> token ids, by a saved `tokenizer.json`, as the pipelines read them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_NO_LIMIT = 10**20  # above it the host's `model_max_length` means none
_FILE = "tokenizer.json"


class TextReader:
    """Reads texts, or mappings with `text` and `text_pair`.

    Args:
        directory: Holds `tokenizer.json`, and perhaps `tokenizer_config.json`.
        vocab_size: V.

    Raises:
        ImportError: tokenizers is not installed.
        ValueError: There is no `tokenizer.json`.
    """

    name = "input_ids"
    stride = 1

    def __init__(self, directory: Path, vocab_size: int) -> None:
        try:
            from tokenizers import Tokenizer  # noqa: PLC0415 - models of vectors do without
        except ImportError as error:
            raise ImportError("Reading texts needs tokenizers. Install it with pip install tokenizers.") from error
        if not (directory / _FILE).is_file():
            raise ValueError(
                f"This model reads tokens, but {directory} holds no {_FILE}. Export the model together with its "
                "tokenizer: export_onnx(model, directory, tokenizer)."
            )
        settings = directory / "tokenizer_config.json"
        choices: dict[str, Any] = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
        self.vocab_size = vocab_size
        self.longest = choices.get("model_max_length") or _NO_LIMIT
        self.cut_at = choices.get("truncation_side") or "right"
        self.tokenizer = Tokenizer.from_file(str(directory / _FILE))
        self.tokenizer.encode_special_tokens = bool(choices.get("split_special_tokens", False))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self._limit = _NO_LIMIT

    def as_many(self, inputs: Any) -> Any:
        """The texts to go through; `None` if the input is one text."""
        return None if isinstance(inputs, str | Mapping) else inputs

    def read(
        self, items: Sequence[Any], truncation: bool | None = None, max_length: int | None = None, first: int = 0
    ) -> list[NDArray[Any]]:
        """Token ids of each text, (T_i,).

        Args:
            items: Texts or mappings.
            truncation: Whether texts are cut; `None`: if there is a `max_length`.
            max_length: In tokens; `None`: the tokenizer's.
            first: The number of the first of them, for messages.

        Raises:
            ValueError: An item that is no text, a text without a token, or an id outside the vocabulary.
        """
        self._truncate(truncation, max_length)
        encoded = self.tokenizer.encode_batch([self._as_text(item) for item in items])
        return [self.check(one.ids, f"Text {index}") for index, one in enumerate(encoded, first)]

    def check(self, ids: Any, name: str, empty: bool = False) -> NDArray[Any]:
        """Ids as an array (T,).

        Args:
            ids: Whole numbers.
            name: What an error calls them.
            empty: Whether there may be none, as in a piece of a stream.

        Raises:
            ValueError: They are none, or outside the vocabulary.
        """
        found = np.asarray(ids)
        if not len(found):
            found = found.astype(np.int64)
        if found.ndim != 1 or found.dtype.kind not in "iu":
            raise ValueError(f"{name} must be a list of token ids, got {type(ids).__name__} of {found.dtype}.")
        if not len(found) and not empty:
            raise ValueError(f"{name} has no token. An empty text has no class: leave it out.")
        if len(found) and not (found.min() >= 0 and found.max() < self.vocab_size):
            wrong = found.min() if found.min() < 0 else found.max()
            raise ValueError(
                f"{name} has the token id {wrong}, but ids must be from 0 to {self.vocab_size - 1} (the vocabulary of "
                "this model). Use the tokenizer the model was trained with."
            )
        return found.astype(np.int64)

    def advance(self, ids: Any, held: Any) -> tuple[NDArray[Any], None, None]:
        """The next ids of a stream, which are read one by one: nothing is held.

        Raises:
            ValueError: A text, or what `check` refuses.
        """
        if isinstance(ids, str):
            raise ValueError(
                "A stream reads token ids: of a piece of text they are not sure until the next piece is there. Push "
                "ids, or use transformers_rnn.StreamingClassifier, which holds back what may still change."
            )
        return self.check(ids, "A piece", empty=True), None, None

    def waiting(self, held: Any) -> int:
        """How many steps are held."""
        return 0

    def pad(self, sequences: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """(B, T)."""
        padded = np.zeros((len(sequences), max(1, *map(len, sequences))), np.int64)
        for row, ids in zip(padded, sequences, strict=True):
            row[: len(ids)] = ids
        return padded

    def _truncate(self, truncation: bool | None, max_length: int | None) -> None:
        limit = max_length or (self.longest if truncation else _NO_LIMIT)
        limit = _NO_LIMIT if truncation is False else limit
        if limit == self._limit:
            return  # other threads may be reading
        if limit >= _NO_LIMIT:
            self.tokenizer.no_truncation()
        else:
            self.tokenizer.enable_truncation(limit, direction=self.cut_at)
        self._limit = limit

    @staticmethod
    def _as_text(item: Any) -> Any:
        first, second = (item.get("text"), item.get("text_pair")) if isinstance(item, Mapping) else (item, None)
        for text in (first, *([] if second is None else [second])):
            if not isinstance(text, str):
                raise ValueError(
                    f"A model of tokens classifies texts, got {type(text).__name__}. Pass strings, or mappings with "
                    "the key 'text'."
                )
        return first if second is None else (first, second)
