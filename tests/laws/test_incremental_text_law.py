"""Text cut anywhere gives the ids of the whole text, for every level of `train_tokenizer`."""

from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from transformers_rnn import train_tokenizer
from transformers_rnn.incremental_tokenization import IncrementalTokenizer

CORPUS = [
    "It's 5 o'clock, we'll see: they've got 3.5 m!  Café İstanbul Ångström naïve über ΣΟΦΟΣ",
    "각 가 한국어 漢字かな交じり文。 हिन्दी কো ≠ = \u0958 ½ ﬁ don't I'm he'd you're 'tis",
    "tabs\tand\nlines\r\n  and   spaces 100,000 x_y __init__ [SEP] [PAD] 👩‍👩‍👧 🇩🇪",
]
# What composes, expands, belongs to contractions, or separates; the rest of Unicode now and then.
CHARACTERS = st.one_of(
    st.sampled_from("aeios\u0131İIΣ\u03c3ςK\u212bÅé=<'\u2019.,!?_-0159½ \t\n\u00a0\u2000\u3000\u200d"),
    st.sampled_from("\u0300\u0301\u0307\u0308\u030a\u0323\u0327\u0338\u0344\u0345\u093c\u3099"),
    st.sampled_from("\u1100\u1161\u11a8가각\u09c7\u09be\u09d7\u0915\u0958\u0f71\u0f72\u0f73漢か🇩👩"),
    st.sampled_from(["'s", "'ll", "'re", "the", "[SEP]", "[PAD]", "  "]),
    st.characters(exclude_categories=["Cs"]),
)
TEXTS = st.lists(CHARACTERS, max_size=14).map("".join)


@cache
def tokenizer_of(level, lowercase):
    return train_tokenizer(CORPUS * 2, level, vocab_size=600, lowercase=lowercase)


def in_pieces(incremental, text, cuts):
    ids, held = [], ""
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        ready, held = incremental.cut(held, text[start:end])
        ids += incremental.ids([ready])[0]
    return ids + incremental.ids([held])[0], held


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("level", ["word", "char", "bpe"])
@settings(max_examples=100)
@given(text=TEXTS, data=st.data())
def test_any_cuts_give_the_ids_of_the_whole(level, lowercase, text, data):
    tokenizer = tokenizer_of(level, lowercase)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    ids, _ = in_pieces(IncrementalTokenizer(tokenizer), text, cuts)
    assert ids == tokenizer(text)["input_ids"]


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("level", ["word", "char", "bpe"])
@settings(max_examples=100)
@given(text=TEXTS)
@example(" ".join(CORPUS))
def test_character_by_character(level, lowercase, text):
    tokenizer = tokenizer_of(level, lowercase)
    ids, held = in_pieces(IncrementalTokenizer(tokenizer), text, range(1, len(text)))
    assert ids == tokenizer(text)["input_ids"]
    assert text.endswith(held)


@pytest.mark.parametrize(
    ("level", "text", "held"),
    [
        ("word", "hello wor", "wor"),
        ("word", "hello, ", " "),
        ("word", "漢字。かな", "かな"),
        ("word", "good=", "="),
        ("char", "cafe", "e"),
        ("char", "cafe\u0301", "e\u0301"),
        ("bpe", "hello wor", " wor"),
        ("bpe", "漢字。かな", "かな"),
        ("bpe", "it's", "'s"),
    ],
)
def test_no_more_is_held_back_than_may_still_change(level, text, held):
    assert IncrementalTokenizer(tokenizer_of(level, True)).cut("", text) == (text.removesuffix(held), held)


def broken(change):
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer_of("word", True).backend_tokenizer.from_str(
            tokenizer_of("word", True).backend_tokenizer.to_str()
        ),
        split_special_tokens=True,
    )
    change(tokenizer)
    return tokenizer


def set_backend(name, value):
    return lambda tokenizer: setattr(tokenizer.backend_tokenizer, name, value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (set_backend("normalizer", normalizers.NFKC()), r"its normalizer \(NFKC\) is none of NFC and lowercase"),
        (
            set_backend("pre_tokenizer", pre_tokenizers.Metaspace()),
            r"its pre-tokenizer \(Metaspace\) is none of words",
        ),
        (set_backend("pre_tokenizer", None), r"its pre-tokenizer \(none\) is none of words"),
        (lambda tokenizer: tokenizer.add_tokens(["<url>"]), r"it finds whole added tokens \(<url>\) in the text"),
        (lambda tokenizer: setattr(tokenizer, "split_special_tokens", False), r"added tokens \(its special ones\)"),
    ],
)
def test_a_tokenizer_that_cannot_promise_it_is_refused_with_the_reason(change, reason):
    with pytest.raises(TypeError, match=f"^This tokenizer cannot read a text in pieces: .*{reason}"):
        IncrementalTokenizer(broken(change))


def test_special_tokens_slow_tokenizers_and_random_merges_are_refused(tmp_path):
    from tokenizers import Tokenizer, models, processors

    ends = broken(
        set_backend("post_processor", processors.TemplateProcessing("$A [SEP]", special_tokens=[("[SEP]", 2)]))
    )
    with pytest.raises(TypeError, match="it puts special tokens around a text, and a stream has no end"):
        IncrementalTokenizer(ends)
    with pytest.raises(TypeError, match="it is not a fast tokenizer"):
        IncrementalTokenizer(object())
    random = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE({"a": 0}, [], dropout=0.5)), split_special_tokens=True
    )
    with pytest.raises(TypeError, match="its model drops merges at random"):
        IncrementalTokenizer(random)
