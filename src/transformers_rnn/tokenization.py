"""Raw texts -> a standard `PreTrainedTokenizerFast`, learned here."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, get_args

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

Level = Literal["word", "char", "bpe"]

PAD, UNK, SEP = SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[SEP]")  # ids 0, 1, 2
BYTES = 256


def train_tokenizer(
    texts: Iterable[str],
    level: Level = "word",
    *,
    vocab_size: int = 20_000,
    min_frequency: int = 1,
    lowercase: bool = True,
    max_length: int | None = None,
    known_words: Iterable[str] = (),
    show_progress: bool = False,
) -> PreTrainedTokenizerFast:
    """Learn a tokenizer from raw texts: the same texts in the same order give the same vocabulary.

    The result gives `input_ids` and `attention_mask`, never `token_type_ids`. `[SEP]` stands between the texts of a
    pair, nothing around them. Text is brought to Unicode's NFC; where it spells a special token (`"[PAD]"`) it is
    still plain text. Save it with `save_pretrained`; `AutoTokenizer` loads it anywhere.

    Args:
        texts: any iterable of strings, read once: a list, a generator, a column of a `datasets` table.
        level: `"word"` splits at whitespace and punctuation, and decodes to words joined by spaces; `"char"` makes
            every character a token, spaces too; `"bpe"` learns byte-level pieces and needs no unknown token.
        vocab_size: V, the most tokens to keep, the three special ones (and for `"bpe"` the 256 bytes) included.
        min_frequency: how often a token (for `"bpe"` a merge) must occur to be kept.
        lowercase: whether case is dropped.
        max_length: T at which `truncation=True` cuts; `None` for no limit.
        known_words: further words for level `"word"`, the most important first: those of pretrained vectors (see
            `known_words` of `transformers_rnn.pretrained_embeddings`), so that new texts have fewer unknown ones. They
            follow the words of the texts as far as `vocab_size` goes; what is not one token is left out.
        show_progress: whether a progress bar is drawn.

    Raises:
        TypeError: `texts` or `known_words` is one string or a mapping, or an item of the texts is not a string.
        ValueError: an unknown level, a number out of its range, known words for another level, or texts that leave
            nothing to learn.
    """
    _check_choices(level, vocab_size, min_frequency, max_length)
    known_words = _checked_words(known_words, level)
    if isinstance(texts, str | Mapping):
        raise TypeError(
            f"texts must be an iterable of strings, got one {type(texts).__name__}: "
            "put a single text in a list, or pass the column that holds the texts"
        )
    tokenizer, trainer = _untrained(
        level, vocab_size=vocab_size, min_frequency=min_frequency, show_progress=show_progress
    )
    # NFC comes last: lowercasing can leave a pair of characters that NFC would join.
    steps = [normalizers.Lowercase()] if lowercase else []
    tokenizer.normalizer = normalizers.Sequence([*steps, normalizers.NFC()])
    tokenizer.train_from_iterator(_checked(texts), trainer)
    if tokenizer.get_vocab_size() == len(SPECIAL_TOKENS):
        raise ValueError(
            f"no token at level {level!r} occurs at least min_frequency={min_frequency} times in the texts: "
            "lower min_frequency or give more text"
        )
    if known_words:
        _extend(tokenizer, known_words, vocab_size)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A", pair=f"$A {SEP} $B", special_tokens=[(SEP, SPECIAL_TOKENS.index(SEP))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        unk_token=UNK,
        sep_token=SEP,
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
        split_special_tokens=True,
        **({} if max_length is None else {"model_max_length": max_length}),
    )


def _untrained(level: Level, **choices: Any) -> tuple[Tokenizer, Any]:
    """The tokenizer of a level, still empty, and the trainer that fills it."""
    choices["special_tokens"] = list(SPECIAL_TOKENS)
    if level == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        return tokenizer, trainers.BpeTrainer(initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), **choices)
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNK))
    if level == "char":
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        tokenizer.decoder = decoders.Fuse()
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer, trainers.WordLevelTrainer(**choices)


def _extend(tokenizer: Tokenizer, words: Iterable[str], vocab_size: int) -> None:
    """Give words that are one token, as the tokenizer cuts texts, the ids behind those that it has learned."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    for word in words:
        if len(vocabulary) >= vocab_size:
            break
        pieces = tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(word))
        if len(pieces) == 1:
            vocabulary.setdefault(pieces[0][0], len(vocabulary))
    tokenizer.model = models.WordLevel(vocabulary, unk_token=UNK)


def _checked(texts: Iterable[str]) -> Iterator[str]:
    """The texts one by one, each a string and not all of them empty."""
    count, empty = 0, True
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(
                f"texts must hold strings only, got {type(text).__name__} at index {count}: "
                "convert or drop such items first"
            )
        count += 1
        empty = empty and not text
        yield text
    if empty:
        raise ValueError(
            f"texts must hold at least one text that is not empty, got {f'{count} empty' if count else 'no'} texts"
        )


def _checked_words(words: Iterable[str], level: Level) -> list[str]:
    if isinstance(words, str | Mapping):
        raise TypeError(f"known_words must be an iterable of words, got one {type(words).__name__}: put it in a list")
    words = list(words)
    if words and level != "word":
        raise ValueError(f"known_words are for level 'word', got {len(words)} with level {level!r}: leave them out")
    return words


def _check_choices(level: Level, vocab_size: int, min_frequency: int, max_length: int | None) -> None:
    if level not in get_args(Level):
        raise ValueError(f"level must be one of {', '.join(map(repr, get_args(Level)))}, got {level!r}")
    needed = BYTES if level == "bpe" else 1
    least = len(SPECIAL_TOKENS) + needed
    if vocab_size < least:
        raise ValueError(
            f"vocab_size must be at least {least} at level {level!r} "
            f"({len(SPECIAL_TOKENS)} special tokens and {needed} to tell texts apart), got {vocab_size}"
        )
    if min_frequency < 1:
        raise ValueError(f"min_frequency must be at least 1, got {min_frequency}")
    if max_length is not None and max_length < 1:
        raise ValueError(f"max_length must be at least 1, or None for no limit, got {max_length}")
