"""What can be given as pretrained vectors, what is said of them, and what is refused."""

import re
import sys
from functools import partial

import numpy as np
import pytest
import torch
from gensim.models import KeyedVectors
from tokenizers import Tokenizer, decoders
from tokenizers.models import WordPiece
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from transformers_rnn import RNNConfig, RNNForSequenceClassification, train_tokenizer
from transformers_rnn.cooccurrence import vectors_from_texts
from transformers_rnn.embedding_training import EmbeddingWarmup, place_vectors, settle_start
from transformers_rnn.encoding import learn_processor, make_vectors, recipe_for
from transformers_rnn.labelled_data import load_labelled_data
from transformers_rnn.pretrained_embeddings import (
    PretrainedVectors,
    known_words,
    settle_vectors,
    vectors_from_file,
    vectors_from_model,
)
from transformers_rnn.training import train_classifier

TEXTS = ["a good film", "a bad film"]
TABLE = {"text": TEXTS * 10, "label": ["yes", "no"] * 10}
TINY = {"hidden_size": 4, "max_steps": 2, "disable_tqdm": True, "log_level": "error", "eval_strategy": "no"}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS)


@pytest.fixture
def glove(tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text("film 1 2 3\ngood 4 5 6\nstranger 7 8 9\n")
    return path


@pytest.fixture(scope="module")
def bert(tmp_path_factory, tokenizer):
    directory = tmp_path_factory.mktemp("bert") / "tiny"
    sizes = {"hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def refused(message, error=ValueError):
    return pytest.raises(error, match=f"^{re.escape(message)}$")


def test_what_is_said_of_the_vectors(glove, bert, tokenizer):
    assert str(vectors_from_file(glove, tokenizer)) == "glove.txt: vectors of width 3 for 2 of 7 tokens"
    assert str(vectors_from_file(glove, tokenizer, limit=1)) == "glove.txt: vectors of width 3 for 1 of 7 tokens"
    assert str(vectors_from_model(bert, tokenizer)) == "tiny (contextual): vectors of width 4 for 4 of 7 tokens"
    static = vectors_from_model(bert, tokenizer, contextual=False, dimensions=2)
    assert str(static) == "tiny (input embeddings): vectors of width 2 for 6 of 7 tokens"


def test_all_kinds_of_sources(glove, bert, tokenizer):
    vectors = vectors_from_file(glove, tokenizer)
    assert settle_vectors(vectors, tokenizer) is vectors
    np.testing.assert_array_equal(settle_vectors(str(glove), tokenizer, 3).table, vectors.table)
    np.testing.assert_array_equal(settle_vectors(vectors.table, tokenizer).table, vectors.table)
    np.testing.assert_array_equal(settle_vectors(torch.tensor(vectors.table), tokenizer).table, vectors.table)
    made = settle_vectors(partial(vectors_from_model, bert, contextual=False), tokenizer)
    assert made.source == "tiny (input embeddings)"
    assert settle_vectors(bert, tokenizer, 3).table.shape == (7, 3)


def test_pieces_of_words_are_looked_up_without_their_marks(tmp_path):
    pieces = train_tokenizer(["good film good film"], "bpe", vocab_size=300)
    path = tmp_path / "glove.txt"
    path.write_text("film 1 2\n")
    vectors = vectors_from_file(path, pieces)
    assert vectors.table[pieces.convert_tokens_to_ids("Ġfilm")].tolist() == [1, 2]


@pytest.mark.parametrize("limit", [None, 2])
def test_known_words_of_every_kind_of_source(limit, glove, bert, tmp_path):
    assert known_words(glove, limit=limit) == ["film", "good", "stranger"][:limit]
    assert known_words(bert, limit=limit) == ["a", "film", "bad", "good"][:limit]
    binary = KeyedVectors(2)
    binary.add_vectors(["film", "good", "stranger"], np.ones((3, 2), np.float32))
    binary.save_word2vec_format(str(tmp_path / "words.bin"), binary=True)
    assert known_words(tmp_path / "words.bin", limit=limit) == ["film", "good", "stranger"][:limit]
    wordpiece = Tokenizer(WordPiece({"[UNK]": 0, "stand": 1, "##ing": 2, "ing": 3, "good": 4}, unk_token="[UNK]"))
    wordpiece.decoder = decoders.WordPiece()
    PreTrainedTokenizerFast(tokenizer_object=wordpiece, unk_token="[UNK]").save_pretrained(tmp_path / "pieces")
    assert known_words(tmp_path / "pieces", limit=limit) == ["stand", "ing", "good"][:limit]
    learned = train_tokenizer(["some more films, some good"] * 9, "bpe", vocab_size=400)
    learned.save_pretrained(tmp_path / "bytes")
    spaced = {token[1:] for token in learned.get_vocab() if token.startswith("Ġ") and len(token) > 1}
    assert set(known_words(tmp_path / "bytes")) == spaced
    assert {"more", "films", "good"} <= spaced


def test_new_texts_are_read_by_words_that_only_the_vectors_know(glove, tmp_path):
    choices = {"processing_options": {"known_words": known_words(glove)}, "pretrained_vectors": glove}
    result = train_classifier(TABLE, tmp_path, **choices, **TINY, embedding_training="frozen")
    embedding = result.model.get_input_embeddings().weight
    (row,) = result.processing_class("stranger")["input_ids"]
    assert embedding[row].tolist() == [7, 8, 9]


def test_a_training_starts_from_them_and_says_so(glove, tmp_path):
    result = train_classifier(TABLE, tmp_path / "model", pretrained_vectors=glove, embedding_training="frozen", **TINY)
    words = result.processing_class.get_vocab()
    assert result.model.config.input_size == 3
    weight = result.model.get_input_embeddings().weight
    assert weight[words["film"]].tolist() == [1, 2, 3]
    run = (tmp_path / "model" / "run.json").read_text()
    assert '"pretrained_vectors": "glove.txt: vectors of width 3 for 2 of 7 tokens"' in run
    assert '"embedding_training": "frozen"' in run


def test_a_training_can_start_from_its_own_texts(tmp_path):
    result = train_classifier(TABLE, tmp_path / "model", pretrained_vectors="texts", input_size=6, **TINY)
    assert result.model.config.input_size == 6
    run = (tmp_path / "model" / "run.json").read_text()
    assert '"pretrained_vectors": "neighbours in the texts: vectors of width 6 for 4 of 7 tokens"' in run


def test_the_recipe_starts_from_texts_that_say_enough():
    table = {"text": ["a good film seen at night " * 40, "a bad film " * 60] * 30, "label": ["yes", "no"] * 30}
    data = load_labelled_data(table)
    recipe = recipe_for(data)
    assert (recipe.pretrained_vectors, recipe.window) == ("texts", 50)
    tokenizer = learn_processor(data, recipe)
    vectors = make_vectors("texts", data, recipe, None)(tokenizer)
    assert vectors.table.shape[1] == recipe.config["input_size"]
    far = vectors_from_texts(data.splits["train"]["text"], tokenizer, dimensions=vectors.table.shape[1], window=50)
    np.testing.assert_allclose(vectors.table, far.table)
    assert recipe_for(load_labelled_data(TABLE)).pretrained_vectors is None


def test_vectors_have_no_texts(tmp_path):
    with refused(
        "pretrained_vectors='texts' makes vectors of training texts, but this data is sequences of vectors. Leave it "
        "out."
    ):
        train_classifier(
            {"series": [np.ones((3, 2)), np.zeros((3, 2))] * 10, "label": ["yes", "no"] * 10},
            tmp_path,
            pretrained_vectors="texts",
            **TINY,
        )


def test_refused_vectors(glove, tokenizer, tmp_path):
    with refused(
        "The pretrained vectors must be a table (V, F) with a row for each of the 7 tokens of the tokenizer, got "
        "(3, 2). Make it with this tokenizer, or pass its own as processing_class."
    ):
        settle_vectors(np.zeros((3, 2)), tokenizer)
    with refused(
        "The pretrained vectors have the width 3, but input_size is 128. Leave input_size out, or give vectors of "
        "that width."
    ):
        settle_vectors(glove, tokenizer, 128)
    with refused("The pretrained vectors must be finite, got NaN or infinity. Repair their source first."):
        settle_vectors(np.full((7, 2), np.nan), tokenizer)
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: .*nowhere\.vec"):
        settle_vectors(tmp_path / "nowhere.vec", tokenizer)


def test_refused_files(tokenizer, tmp_path, monkeypatch):
    path = tmp_path / "words.txt"
    path.write_text("Fremdwort 1 2\n")
    with refused(
        "words.txt knows no token of the vocabulary ('a', 'film', 'bad', 'good'). Give vectors of the same "
        "language, and a tokenizer whose tokens are words or pieces of them."
    ):
        vectors_from_file(path, tokenizer)
    wrong = (
        "words.txt must be word vectors: the text or binary format of word2vec or fastText, or GloVe's text, a word "
        "and its numbers a line; reading it failed with: "
    )
    contents = {
        b"bad 1 2\nfilm 1\n": "'film' has 1 numbers instead of 2",
        b"2 3\nbad 1 2 3\nfilm 1 2\n": "'film' has 2 numbers instead of 3",
        b"film one two\n": "could not convert string to float: 'one'",
        b"film\n": "there are no numbers in its first line",
        b"2 3\nfilm \x00\x01": "unexpected end of input; is count incorrect or file otherwise damaged?",
    }
    for content, reason in contents.items():
        path.write_bytes(content)
        with refused(wrong + reason):
            vectors_from_file(path, tokenizer)
    monkeypatch.setitem(sys.modules, "gensim", None)
    with refused(
        'binary files of word vectors need gensim: pip install "transformers-rnn[vectors]"', ModuleNotFoundError
    ):
        vectors_from_file(path, tokenizer)


def test_words_with_spaces_repeated_words_and_no_final_line_break(tokenizer, tmp_path):
    path = tmp_path / "glove.txt"
    path.write_text("film 1 2\na . . 9 9\nfilm 3 4\na 5 6")
    vectors = vectors_from_file(path, tokenizer)
    assert vectors.table[tokenizer.convert_tokens_to_ids(["film", "a"])].tolist() == [[1, 2], [5, 6]]


def test_refused_choices(bert, tokenizer, tmp_path):
    with refused("sif must be greater than 0, or None for no weights, got 0."):
        vectors_from_model(bert, tokenizer, sif=0)
    with refused("dimensions must be greater than 0, or None for no principal components, got -1."):
        vectors_from_model(bert, tokenizer, dimensions=-1)
    with refused(
        "tiny (contextual) knows no token of the vocabulary ('x', 'y'). Give vectors of the same language, and a "
        "tokenizer whose tokens are words or pieces of them."
    ):
        vectors_from_model(bert, train_tokenizer(["x y"]))
    for given in ("thawed", 1.5, -0.1, True, None):
        with refused(
            "embedding_training must be 'frozen', 'tuned' or the share of all steps (0 to 1) after which the "
            f"embedding is trained, got {given!r}."
        ):
            EmbeddingWarmup(given)
    with refused(
        "embedding_training='frozen' needs pretrained_vectors: an embedding that starts at random has to be trained "
        "from the first step."
    ):
        train_classifier(TABLE, tmp_path, embedding_training="frozen")
    with refused(
        "pretrained_vectors start the embedding of tokens, but this data is sequences of vectors. Leave them out."
    ):
        settle_start(np.ones((2, 2)), "tuned", object(), None)


def test_vectors_that_do_not_fit_the_model():
    vectors = PretrainedVectors(np.ones((5, 3), np.float32), np.ones(5, bool), "test")
    model = RNNForSequenceClassification(RNNConfig(vocab_size=5, pad_token_id=0, input_size=4))
    with refused(
        "The embedding has the shape (V, F) = (5, 4), but the pretrained vectors (5, 3). Build the model with "
        "vocab_size=len(tokenizer) and their width as input_size."
    ):
        place_vectors(model, vectors)
    with pytest.raises(NotImplementedError, match=r"^This model reads vectors \(vocab_size is None\)"):
        place_vectors(RNNForSequenceClassification(RNNConfig()), vectors)
