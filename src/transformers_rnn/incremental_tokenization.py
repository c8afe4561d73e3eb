"""Text that arrives in pieces -> the token ids of the whole text, each as soon as nothing can change it."""

import json
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from transformers import PreTrainedTokenizerFast

_CACHED = 4096  # characters
_NFC = {"type": "NFC"}
_LOWERCASE_NFC = {"type": "Sequence", "normalizers": [{"type": "Lowercase"}, _NFC]}
_NORMALIZERS = [None, _NFC, {"type": "Sequence", "normalizers": [_NFC]}, _LOWERCASE_NFC]
_HANGUL_VOWELS_AND_TAILS = [*range(0x1161, 0x1176), *range(0x11A7, 0x11C3)]
_ASSIGNED_PLANES = range(0x30000)  # of characters that decompose


class IncrementalTokenizer:
    """Finds where a text may be cut so that its parts, tokenized apart, give the ids of the whole.

    A cut is safe where the characters before it are a normalization unit of their own (Unicode Standard Annex 15: no
    later character composes with them) and the pre-tokenizer always begins a new word there. Both are local: the
    two characters at the cut decide. What follows the last safe cut is held back.

    Args:
        tokenizer: One of `train_tokenizer`, or a fast tokenizer with the same kinds of normalizer (none, NFC,
            lowercase then NFC) and pre-tokenizer (words, characters, byte-level words) and any model.

    Raises:
        TypeError: A tokenizer of another kind, for which this cannot be promised; with the reason.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise _refusal("it is not a fast tokenizer, so how it normalizes and splits cannot be read")
        rules = json.loads(backend.to_str())
        if tokenizer.num_special_tokens_to_add():
            raise _refusal("it puts special tokens around a text, and a stream has no end to put one")
        plain = [token.content for token in tokenizer.added_tokens_decoder.values() if not token.special]
        if plain or not tokenizer.split_special_tokens:
            raise _refusal(
                f"it finds whole added tokens ({', '.join(plain) or 'its special ones'}) in the text, which a cut "
                "could divide"
            )
        if rules["normalizer"] not in _NORMALIZERS:
            raise _refusal(f"its normalizer ({_name(rules['normalizer'])}) is none of NFC and lowercase with NFC")
        if rules["model"].get("dropout"):
            raise _refusal("its model drops merges at random")
        splitter = rules["pre_tokenizer"]
        self._lowercase = rules["normalizer"] == _LOWERCASE_NFC
        normalize: Callable[[str], str] = backend.normalizer.normalize_str if backend.normalizer else str
        self._normalize = lru_cache(_CACHED)(normalize)
        self._split: Callable[[str], list[Any]] = getattr(backend.pre_tokenizer, "pre_tokenize_str", list)
        self._kind = lru_cache(_CACHED)(self._kind_of)
        self._begins = lru_cache(_CACHED)(self._begins_unit)
        self._joined = self._joining_rule(splitter)

    def cut(self, held: str, piece: str) -> tuple[str, str]:
        """Divide what has arrived at the last safe cut.

        Args:
            held: What an earlier call held back.
            piece: What has arrived since.

        Returns:
            What may be tokenized now, and what is held back.
        """
        text = held + piece
        # A place that was no safe cut before is none now.
        for place in range(len(text) - 1, max(len(held), 1) - 1, -1):
            right = text[place]
            if self._begins(right) and not self._joined(self._last_before(text, place), self._normalize(right)[0]):
                return text[:place], text[place:]
        return "", text

    def ids(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens and never truncated."""
        encoded = self.tokenizer(
            texts, add_special_tokens=False, truncation=False, return_attention_mask=False, verbose=False
        )
        return encoded["input_ids"]  # type: ignore[no-any-return]

    def _joining_rule(self, splitter: Any) -> Callable[[str, str], bool]:
        """Whether two characters side by side may belong to one word, so that there is no cut between them."""
        kind = (splitter or {}).get("type")
        if kind == "Whitespace":
            return lambda left, right: self._kind(left) == self._kind(right) != "space"
        if kind == "Split" and splitter["pattern"] == {"Regex": r"[\s\S]"} and splitter["behavior"] == "Isolated":
            return lambda left, right: False
        if kind == "ByteLevel" and splitter["use_regex"] and not splitter["add_prefix_space"]:
            # A word begins with at most one space; an apostrophe takes letters after it, as in 's and 'll.
            return lambda left, right: (
                self._kind(left) in ("space", self._kind(right)) or (left == "'" and self._kind(right) == "a")
            )
        raise _refusal(f"its pre-tokenizer ({_name(splitter)}) is none of words, characters and byte-level words")

    def _kind_of(self, character: str) -> str:
        """Which run of characters a normalized one belongs to, as the pre-tokenizer itself sees it."""
        runs = (kind for kind in "a1!" if self._split(kind + character)[0][1] == (0, 2))
        return next(runs, "space")

    def _begins_unit(self, character: str) -> bool:
        """Whether normalization never joins a character with what stands before it."""
        if unicodedata.category(character) == "Cn":
            return False  # not known here, but perhaps to the tokenizer's newer tables
        first = unicodedata.normalize("NFD", character.lower() if self._lowercase else character)[0]
        return unicodedata.combining(first) == 0 and first not in _composing_backwards()

    def _last_before(self, text: str, place: int) -> str:
        start = place - 1
        while start > 0 and not self._begins(text[start]):
            start -= 1
        return self._normalize(text[start:place])[-1]


@lru_cache(1)
def _composing_backwards() -> frozenset[str]:
    """The second characters of all canonical compositions."""
    pairs = (unicodedata.decomposition(chr(point)).split() for point in _ASSIGNED_PLANES)
    seconds = {int(pair[1], 16) for pair in pairs if len(pair) == 2 and pair[0][0] != "<"}
    return frozenset(map(chr, seconds.union(_HANGUL_VOWELS_AND_TAILS)))


def _name(rule: Any) -> str:
    return "none" if rule is None else str(rule["type"])


def _refusal(reason: str) -> TypeError:
    return TypeError(
        f"This tokenizer cannot read a text in pieces: {reason}. Use one of train_tokenizer, or tokenize whole texts "
        "and push their ids to a StreamingClassifier without a tokenizer."
    )
