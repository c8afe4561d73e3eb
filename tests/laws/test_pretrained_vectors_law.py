"""Pretrained vectors: each found token starts where its source has it, padding at zero, and what is frozen stays."""

import numpy as np
import pytest
import torch
from datasets import Dataset
from gensim.models import FastText, KeyedVectors
from gensim.models.fasttext import save_facebook_model
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from sklearn.decomposition import PCA
from transformers import AutoModel, BertConfig, BertModel, Trainer, TrainerCallback, TrainingArguments

from transformers_rnn import RNNConfig, RNNForSequenceClassification, RNNModel, train_tokenizer
from transformers_rnn.embedding_training import EmbeddingWarmup, place_vectors
from transformers_rnn.pretrained_embeddings import settle_vectors, vectors_from_file, vectors_from_model

WORDS = ["the", "a", "Film", "film", "bad", "good", "naïve", "."]
TEXTS = ["the good Film .", "a bad film", "naïve , unseen words"]


def keyed_vectors(words, width=4, seed=0):
    vectors = KeyedVectors(width)
    vectors.add_vectors(words, np.random.default_rng(seed).normal(3, 2, (len(words), width)).astype(np.float32))
    return vectors


def write(vectors, path):
    """Write word vectors in the format that the name stands for."""
    if path.name.startswith("fasttext"):
        model = FastText([WORDS], vector_size=4, min_count=1, bucket=50, epochs=1, workers=1)
        save_facebook_model(model, str(path))
        return model.wv
    vectors.save_word2vec_format(
        str(path), binary=".bin" in path.suffixes, write_header=not path.name.startswith("glove")
    )
    return vectors


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A tiny random BERT with a tokenizer, saved."""
    directory = tmp_path_factory.mktemp("bert")
    tokenizer = train_tokenizer(TEXTS, "char")
    tokenizer.save_pretrained(directory)
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
        )
    ).save_pretrained(directory)
    return directory, tokenizer


@pytest.mark.parametrize(
    "name", ["word2vec.txt", "word2vec.txt.gz", "word2vec.bin", "word2vec.bin.gz", "glove.txt", "fasttext.bin"]
)
@pytest.mark.parametrize("lowercase", [True, False])
def test_the_row_of_a_found_token_is_the_vector_of_the_file(name, lowercase, tmp_path):
    words = write(keyed_vectors(WORDS), tmp_path / name)
    tokenizer = train_tokenizer([*TEXTS, "BAD"], lowercase=lowercase)
    vectors = vectors_from_file(tmp_path / name, tokenizer)
    for token, index in tokenizer.get_vocab().items():
        form = token if token in words.key_to_index else token.lower()
        if form in words.key_to_index:
            assert vectors.found[index]
            np.testing.assert_array_equal(vectors.table[index], words[form])
        else:
            assert vectors.found[index] == (name == "fasttext.bin" and token not in tokenizer.all_special_tokens)
    assert not vectors.table[tokenizer.pad_token_id].any()


@given(st.integers(0, 7), st.integers(1, 5), st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_what_is_not_found_is_drawn_like_what_is(tmp_path_factory, known, width, seed):
    path = tmp_path_factory.mktemp("words") / "glove.txt"
    words = write(keyed_vectors(WORDS[: known + 1], width), path)
    tokenizer = train_tokenizer([" ".join(WORDS), " ".join(f"unseen{index}" for index in range(2_000))])
    vectors = vectors_from_file(path, tokenizer, seed=seed)
    drawn = vectors.table[~vectors.found][1:]  # after the padding
    rows = np.stack([words[token] for token in tokenizer.get_vocab() if token in words.key_to_index])
    np.testing.assert_allclose(drawn.mean(0), rows.mean(0), atol=0.15 * rows.std(0).max() + 1e-3)
    np.testing.assert_allclose(drawn.std(0), rows.std(0), rtol=0.1, atol=1e-3)
    np.testing.assert_array_equal(vectors.table, vectors_from_file(path, tokenizer, seed=seed).table)


def test_a_contextual_row_is_the_mean_state_of_the_token_read_alone(bert):
    directory, letters = bert
    tokenizer = train_tokenizer(TEXTS)
    model = AutoModel.from_pretrained(directory)
    vectors = vectors_from_model(directory, tokenizer, dimensions=None)
    for token in tokenizer.get_vocab().keys() - set(tokenizer.all_special_tokens):
        with torch.no_grad():
            states = model(**letters(" " + token, return_tensors="pt")).last_hidden_state[0]
        np.testing.assert_allclose(vectors.table[tokenizer.get_vocab()[token]], states.mean(0).numpy(), atol=1e-6)
    assert not vectors.table[tokenizer.pad_token_id].any()


def test_the_input_embeddings_of_any_model_with_the_same_tokenizer_are_taken_over(bert, tmp_path):
    directory, letters = bert
    weight = AutoModel.from_pretrained(directory).get_input_embeddings().weight.detach().numpy()
    vectors = vectors_from_model(directory, letters, dimensions=None, contextual=False)
    np.testing.assert_array_equal(vectors.table[1:], weight[1:])
    assert vectors.found.tolist() == [False] + [True] * (len(letters) - 1)
    ours = RNNModel(RNNConfig(vocab_size=len(letters), pad_token_id=0, input_size=3))
    ours.save_pretrained(tmp_path)
    letters.save_pretrained(tmp_path)
    vectors = vectors_from_model(tmp_path, letters, dimensions=None, contextual=False)
    np.testing.assert_array_equal(vectors.table, ours.get_input_embeddings().weight.detach().numpy())


def test_components_and_weights(bert):
    """The table is that of the principal components, each row times a / (a + p) of Zipf's p."""
    directory, _ = bert
    tokenizer = train_tokenizer(TEXTS)
    whole = vectors_from_model(directory, tokenizer, dimensions=None)
    small = vectors_from_model(directory, tokenizer, dimensions=3)
    expected = PCA(3, svd_solver="full").fit_transform(whole.table[whole.found])
    np.testing.assert_allclose(np.abs(small.table[small.found]), np.abs(expected), atol=1e-5)
    weighted = vectors_from_model(directory, tokenizer, dimensions=3, sif=0.1)
    zipf = 1 / np.arange(1, whole.found.sum() + 1)
    weights = 0.1 / (0.1 + zipf / zipf.sum())
    np.testing.assert_allclose(weighted.table[whole.found], small.table[whole.found] * weights[:, None], rtol=1e-5)


def model_of(table):
    size, width = table.shape
    torch.manual_seed(0)
    return RNNForSequenceClassification(
        RNNConfig(vocab_size=size, pad_token_id=0, input_size=width, cell_type="gru", embedding_dropout=0.2)
    )


def test_saved_and_loaded_the_embedding_is_the_same(tmp_path):
    tokenizer = train_tokenizer(TEXTS)
    vectors = settle_vectors(np.random.default_rng(0).normal(size=(len(tokenizer), 4)), tokenizer)
    model = model_of(vectors.table)
    place_vectors(model, vectors)
    model.save_pretrained(tmp_path)
    loaded = RNNForSequenceClassification.from_pretrained(tmp_path).get_input_embeddings().weight
    np.testing.assert_array_equal(loaded.detach().numpy(), vectors.table)


class Watch(TrainerCallback):
    """Sees the embedding and its gradient before each step of the optimizer."""

    def __init__(self):
        self.gradients, self.weights = {}, {}

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
        weight = model.get_input_embeddings().weight
        self.gradients[state.global_step] = weight.grad is not None
        self.weights[state.global_step] = weight.detach().clone()


def train(directory, until, resume=None):
    """Ten steps with weight decay, a checkpoint after each."""
    ids = np.random.default_rng(0).integers(1, 9, (40, 5))
    data = Dataset.from_dict({"input_ids": ids.tolist(), "labels": (ids[:, 0] % 2).tolist()})
    tokenizer = train_tokenizer(["a b c d e f"])
    vectors = settle_vectors(np.vstack([np.zeros(4), np.ones((8, 4))]), tokenizer)
    model, watch = model_of(vectors.table), Watch()
    place_vectors(model, vectors)
    arguments = TrainingArguments(
        directory, per_device_train_batch_size=4, num_train_epochs=1, learning_rate=0.1, weight_decay=0.1,
        save_steps=1, disable_tqdm=True, report_to=[], dataloader_pin_memory=False, logging_strategy="no",
    )  # fmt: skip
    trainer = Trainer(
        model, arguments, train_dataset=data, processing_class=tokenizer, callbacks=[EmbeddingWarmup(until), watch]
    )
    trainer.train(resume_from_checkpoint=resume)
    return model, watch


@pytest.mark.parametrize(("until", "first"), [("frozen", 10), (0.45, 5), (0.3, 3), ("tuned", 0)])
def test_frozen_it_gets_no_gradient_and_stays_and_then_it_moves(until, first, tmp_path):
    model, watch = train(tmp_path, until)
    assert watch.gradients == {step: step >= first for step in range(10)}
    moved = {step: not torch.equal(weight, watch.weights[0]) for step, weight in watch.weights.items()}
    assert moved == {step: step > first for step in range(10)}
    weight = model.get_input_embeddings().weight
    assert weight.requires_grad
    assert torch.equal(weight, watch.weights[0]) == (until == "frozen")
    assert not weight[0].any()  # the padding


@pytest.mark.parametrize("step", [2, 3, 7])
def test_it_thaws_at_the_same_step_if_the_run_was_interrupted(step, tmp_path):
    _, watch = train(tmp_path, 0.3)
    whole = load_file(tmp_path / "checkpoint-10" / "model.safetensors")
    model, again = train(tmp_path, 0.3, str(tmp_path / f"checkpoint-{step}"))
    assert again.gradients == {number: number >= 3 for number in range(step, 10)}
    for number, weight in again.weights.items():
        assert torch.equal(weight, watch.weights[number])
    for name, parameter in model.state_dict().items():
        assert torch.equal(parameter, whole[name]), name
