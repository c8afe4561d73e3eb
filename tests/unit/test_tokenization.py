"""Raw texts -> a standard tokenizer."""

import inspect
import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from transformers_rnn.tokenization import train_tokenizer

LEVELS = ["word", "char", "bpe"]
TEXTS = [
    "Hello, World! it's a dog.",
    "the cat  sat\n\n\non the\r\n\tmat",
    "שלום עולם",  # right to left
    "مرحبا بالعالم",
    "日本語のテキスト 中文",
    "e\u0301 café naïve हिन्दी",  # a combining accent, and combining signs that stay
    "😀 👨‍👩‍👧 👍🏽 🇩🇪",
    "[PAD] [UNK] [SEP]",
]
PAIR = ("Hello, dog", "the cat sat")


def normal(text: str) -> str:
    return unicodedata.normalize("NFC", text.lower())


def tokens(tokenizer: PreTrainedTokenizerFast, text: str) -> list[str]:
    return tokenizer.convert_ids_to_tokens(tokenizer(text)["input_ids"])


@pytest.fixture(scope="module")
def trained() -> Callable[[str], PreTrainedTokenizerFast]:
    tokenizers = {level: train_tokenizer(TEXTS, level, vocab_size=400) for level in LEVELS}
    return tokenizers.__getitem__


@pytest.mark.parametrize("level", LEVELS)
class TestEveryLevel:
    def test_special_tokens(self, trained, level):
        tokenizer = trained(level)
        assert isinstance(tokenizer, PreTrainedTokenizerFast)
        assert tokenizer.convert_ids_to_tokens([0, 1, 2]) == ["[PAD]", "[UNK]", "[SEP]"]
        assert (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.sep_token_id) == (0, 1, 2)
        assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))

    def test_only_ids_and_mask_come_out(self, trained, level):
        tokenizer = trained(level)
        names = {"input_ids", "attention_mask"}
        assert set(tokenizer("hello")) == set(tokenizer(*PAIR)) == set(tokenizer([PAIR, PAIR], padding=True)) == names

    def test_nothing_is_added_but_the_separator_of_a_pair(self, trained, level):
        tokenizer = trained(level)
        first, second = (tokenizer(text)["input_ids"] for text in PAIR)
        assert 2 not in first + second
        assert tokenizer(*PAIR)["input_ids"] == [*first, 2, *second]

    def test_padding_goes_right(self, trained, level):
        tokenizer = trained(level)
        batch = tokenizer(["dog", "hello, the cat"], padding=True, return_tensors="np")
        short = len(tokenizer("dog")["input_ids"])
        assert (batch["input_ids"][0, short:] == 0).all()
        assert batch["attention_mask"][0].tolist() == [1] * short + [0] * (batch["input_ids"].shape[1] - short)

    def test_a_text_cannot_forge_special_tokens(self, trained, level):
        assert not {0, 1, 2} & set(trained(level)("[PAD] [UNK] [SEP]")["input_ids"])

    def test_lowercase_is_a_choice(self, trained, level):
        kept = train_tokenizer(["A a J\u030c"], level, lowercase=False)
        assert trained(level)("The CAT")["input_ids"] == trained(level)("the cat")["input_ids"]
        assert kept("A")["input_ids"] != kept("a")["input_ids"]
        assert 1 not in kept("A a")["input_ids"]

    def test_composed_and_decomposed_text_are_the_same(self, trained, level):
        tokenizer = trained(level)
        assert tokenizer("cafe\u0301")["input_ids"] == tokenizer("café")["input_ids"]
        # Lowercasing makes a pair that has a composed form; the capital has none.
        joined = train_tokenizer(["ǰ"], level)
        assert joined("J\u030c")["input_ids"] == joined("ǰ")["input_ids"]
        assert joined.decode(joined("J\u030c")["input_ids"]) == "ǰ"

    def test_offsets_point_into_the_text(self, trained, level):
        text = "Hello, World! it's a dog."
        found = trained(level)(text, return_offsets_mapping=True)
        pieces = [text[start:end].lower() for start, end in found["offset_mapping"]]
        assert pieces == [piece.replace("Ġ", " ") for piece in tokens(trained(level), text)]

    def test_truncation(self, level):
        tokenizer = train_tokenizer(TEXTS, level, max_length=4)
        assert tokenizer.model_max_length == 4
        whole = train_tokenizer(TEXTS, level)("hello, world! the cat sat")["input_ids"]
        assert len(whole) > 4
        assert tokenizer("hello, world! the cat sat", truncation=True)["input_ids"] == whole[:4]
        pair = tokenizer("hello, world!", "the cat sat", truncation=True)["input_ids"]
        assert len(pair) == 4
        assert 2 in pair

    def test_the_same_texts_give_the_same_tokenizer(self, trained, level):
        again = train_tokenizer((text for text in TEXTS), level, vocab_size=400)
        column = train_tokenizer(Dataset.from_dict({"text": TEXTS})["text"], level, vocab_size=400)
        expected = trained(level).backend_tokenizer.to_str()
        assert again.backend_tokenizer.to_str() == column.backend_tokenizer.to_str() == expected

    def test_training_is_silent(self, level, capfd):
        train_tokenizer(TEXTS, level)
        assert capfd.readouterr() == ("", "")

    def test_tokens_can_be_added(self, trained, level, tmp_path):
        trained(level).save_pretrained(tmp_path)
        tokenizer = AutoTokenizer.from_pretrained(tmp_path)
        size = len(tokenizer)
        assert tokenizer.add_tokens(["<url>"]) == 1
        tokenizer.save_pretrained(tmp_path)
        loaded = AutoTokenizer.from_pretrained(tmp_path)
        assert len(loaded) == size + 1
        assert loaded("hello <url> dog")["input_ids"].count(size) == 1


class TestWord:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Hello, World! it's a dog.", ["hello", ",", "world", "!", "it", "'", "s", "a", "dog", "."]),
            ("the cat  sat\non the\r\n\tmat", ["the", "cat", "sat", "on", "the", "mat"]),
            ("שלום עולם", ["שלום", "עולם"]),
            ("日本語のテキスト 中文", ["日本語のテキスト", "中文"]),
            ("हिन्दी 👍🏽", ["हिन्दी", "👍🏽"]),
            ("unseen dog", ["[UNK]", "dog"]),
            ("", []),
        ],
    )
    def test_splits_at_space_and_punctuation(self, trained, text, expected):
        tokenizer = trained("word")
        assert tokens(tokenizer, text) == expected
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == " ".join(expected)

    def test_the_most_frequent_words_stay(self):
        tokenizer = train_tokenizer(["c c c b b a", "b a d"], vocab_size=5)
        assert tokenizer.get_vocab() == {"[PAD]": 0, "[UNK]": 1, "[SEP]": 2, "b": 3, "c": 4}

    def test_rare_words_go(self):
        assert set(train_tokenizer(["c c c b b a"], min_frequency=2).get_vocab()) == {
            "[PAD]", "[UNK]", "[SEP]", "b", "c"
        }  # fmt: skip

    def test_known_words_follow_those_of_the_texts(self):
        known = ["Film", "the", "don't", "", "cafe\u0301", "film", "later"]
        tokenizer = train_tokenizer(["the the cat"], known_words=iter(known), min_frequency=2)
        words = ["[PAD]", "[UNK]", "[SEP]", "the", "film", "café", "later"]
        assert tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))) == words
        assert tokens(tokenizer, "The film café cat") == ["the", "film", "café", "[UNK]"]
        assert "later" not in train_tokenizer(["the"], known_words=known, vocab_size=6).get_vocab()

    @given(st.lists(st.sampled_from(["a", "B", "c c", "d", "é", "!"]), max_size=6), st.booleans())
    @settings(max_examples=30, deadline=None)
    def test_known_words_change_no_other_id(self, known, lowercase):
        without = train_tokenizer(TEXTS, lowercase=lowercase).get_vocab()
        tokenizer = train_tokenizer(TEXTS, lowercase=lowercase, known_words=known)
        assert {token: index for token, index in tokenizer.get_vocab().items() if token in without} == without
        assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))
        assert "[UNK]" not in tokens(tokenizer, " ".join(word for word in known if " " not in word))


class TestCharacterAndBytes:
    @pytest.mark.parametrize("text", [*TEXTS, "", " ", "two  spaces , kept !"])
    @pytest.mark.parametrize("level", ["char", "bpe"])
    def test_decoding_gives_the_text_back(self, trained, level, text):
        tokenizer = trained(level)
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == normal(text)

    @pytest.mark.parametrize("text", TEXTS)
    def test_every_character_is_a_token(self, trained, text):
        assert tokens(trained("char"), text) == list(normal(text))

    def test_unseen_characters_are_unknown(self, trained):
        assert tokens(trained("char"), "aЖ d") == ["a", "[UNK]", " ", "d"]

    @settings(max_examples=60, deadline=None)
    @given(text=st.text())
    def test_bytes_need_no_unknown_token(self, trained, text):
        tokenizer = trained("bpe")
        ids = tokenizer(text)["input_ids"]
        assert not {0, 1, 2} & set(ids)
        assert tokenizer.decode(ids) == tokenizer.backend_tokenizer.normalizer.normalize_str(text)

    @settings(max_examples=30, deadline=None)
    @given(text=st.text(min_size=1))
    def test_characters_of_any_script(self, text):
        tokenizer = train_tokenizer([text], "char")
        ids = tokenizer(text)["input_ids"]
        assert tokenizer.decode(ids) == tokenizer.backend_tokenizer.normalizer.normalize_str(text)
        assert len(tokenizer) == 3 + len(set(ids))

    def test_pieces_are_learned_up_to_the_size(self):
        texts = ["low lower lowest"] * 5
        tokenizer = train_tokenizer(texts, "bpe", vocab_size=261)
        assert len(tokenizer) == 261
        assert tokens(tokenizer, "low") == ["low"]
        assert len(train_tokenizer(texts, "bpe", min_frequency=99)) == 259


def described(tokenizer: PreTrainedTokenizerFast) -> list[object]:
    return [
        tokenizer(TEXTS, padding=True, truncation=True, return_offsets_mapping=True).data,
        tokenizer(*PAIR).data,
        [tokenizer.decode(tokenizer(text, truncation=True)["input_ids"]) for text in TEXTS],
        [len(tokenizer), tokenizer.pad_token_id, tokenizer.model_max_length, tokenizer.model_input_names],
    ]


FRESH = f"""
import json, sys
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedTokenizerFast

TEXTS, PAIR = json.load(sys.stdin)

{inspect.getsource(described)}

class Registered(PreTrainedConfig):
    model_type = "rnn_classifier"

found = [described(AutoTokenizer.from_pretrained(directory)) for directory in sys.argv[1:]]
imported = "transformers_rnn" in sys.modules
AutoConfig.register("rnn_classifier", Registered)
registered = [described(AutoTokenizer.from_pretrained(directory)) for directory in sys.argv[1:]]
print(json.dumps([imported, found, registered]))
"""


def test_saved_and_loaded_it_is_the_same_everywhere(tmp_path: Path):
    """Here and in a process without this package; alone, beside an unknown model's config, beside a registered one."""
    expected = {}
    for level in LEVELS:
        tokenizer = train_tokenizer(TEXTS, level, vocab_size=400, max_length=30)
        for name, config in (("alone", None), ("model", {"model_type": "rnn_classifier", "hidden_size": 4})):
            directory = tmp_path / f"{level}-{name}"
            tokenizer.save_pretrained(directory)
            assert sorted(path.name for path in directory.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
            if config:
                (directory / "config.json").write_text(json.dumps(config))
            else:
                assert described(AutoTokenizer.from_pretrained(directory)) == described(tokenizer)
            expected[str(directory)] = json.loads(json.dumps(described(tokenizer)))
    result = subprocess.run(
        [sys.executable, "-c", FRESH, *expected],
        input=json.dumps([TEXTS, PAIR]),
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    imported, found, registered = json.loads(result.stdout)
    assert not imported
    assert found == list(expected.values())
    assert registered == list(expected.values())


@pytest.mark.parametrize(
    ("texts", "options", "error", "message"),
    [
        (["a"], {"level": "words"}, ValueError, "level must be one of 'word', 'char', 'bpe', got 'words'"),
        (
            "a text",
            {},
            TypeError,
            "texts must be an iterable of strings, got one str: "
            "put a single text in a list, or pass the column that holds the texts",
        ),
        (
            {"text": ["a"]},
            {},
            TypeError,
            "texts must be an iterable of strings, got one dict: "
            "put a single text in a list, or pass the column that holds the texts",
        ),
        ([], {}, ValueError, "texts must hold at least one text that is not empty, got no texts"),
        (["", ""], {}, ValueError, "texts must hold at least one text that is not empty, got 2 empty texts"),
        (
            ["a", "b", None],
            {},
            TypeError,
            "texts must hold strings only, got NoneType at index 2: convert or drop such items first",
        ),
        (
            [{"text": "a"}],
            {"level": "bpe"},
            TypeError,
            "texts must hold strings only, got dict at index 0: convert or drop such items first",
        ),
        (
            ["a"],
            {"vocab_size": 3},
            ValueError,
            "vocab_size must be at least 4 at level 'word' (3 special tokens and 1 to tell texts apart), got 3",
        ),
        (
            ["a"],
            {"level": "bpe", "vocab_size": 258},
            ValueError,
            "vocab_size must be at least 259 at level 'bpe' (3 special tokens and 256 to tell texts apart), got 258",
        ),
        (["a"], {"min_frequency": 0}, ValueError, "min_frequency must be at least 1, got 0"),
        (["a"], {"max_length": 0}, ValueError, "max_length must be at least 1, or None for no limit, got 0"),
        (
            ["a"],
            {"known_words": "film"},
            TypeError,
            "known_words must be an iterable of words, got one str: put it in a list",
        ),
        (
            ["a"],
            {"known_words": ["film", "good"], "level": "char"},
            ValueError,
            "known_words are for level 'word', got 2 with level 'char': leave them out",
        ),
        (
            ["a b"],
            {"min_frequency": 2},
            ValueError,
            "no token at level 'word' occurs at least min_frequency=2 times in the texts: "
            "lower min_frequency or give more text",
        ),
        (
            [" \n"],
            {},
            ValueError,
            "no token at level 'word' occurs at least min_frequency=1 times in the texts: "
            "lower min_frequency or give more text",
        ),
    ],
)
def test_errors(texts, options, error, message):
    with pytest.raises(error) as caught:
        train_tokenizer(texts, **options)
    assert str(caught.value) == message


def test_some_texts_may_be_empty():
    assert len(train_tokenizer(["", "a b", ""])) == 5


def test_choices_are_checked_before_any_text_is_read():
    def unread():
        pytest.fail("a text was read")
        yield ""

    with pytest.raises(ValueError, match="vocab_size must be at least"):
        train_tokenizer(unread(), vocab_size=1)
