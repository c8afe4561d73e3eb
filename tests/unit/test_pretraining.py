"""From sequences without labels to a trunk, and from the trunk to a classifier."""

import json
import re

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import AutoTokenizer, TrainerCallback

from transformers_rnn import RNNForPreTraining, SequenceVectorFeatureExtractor, pretraining, train_tokenizer
from transformers_rnn.cooccurrence import vectors_from_texts
from transformers_rnn.pretraining import pretrain
from transformers_rnn.training import train_classifier
from transformers_rnn.unlabelled_data import load_sequences

QUIET = {"disable_tqdm": True, "log_level": "error"}
TINY = {"hidden_size": 4, "input_size": 3, "learning_rate": 0.05, "num_train_epochs": 2, **QUIET}
TEXTS = ["we eat at noon today", "they eat at night", "we sleep at night", "they sleep at noon today"] * 10
TABLE = {"text": TEXTS, "label": ["we" if text.startswith("we") else "they" for text in TEXTS]}
SERIES = [np.random.default_rng(row).normal(row % 2, 1, (3 + row % 4, 3)) for row in range(40)]


@pytest.fixture(scope="module")
def trunk(tmp_path_factory):
    """A small bidirectional LSTM that has read some texts."""
    return pretrain(
        TEXTS, tmp_path_factory.mktemp("trunk") / "texts", **TINY | {"prediction_window": 1, "num_train_epochs": 30}
    )


@pytest.fixture(scope="module")
def vector_trunk(tmp_path_factory):
    return pretrain(SERIES, tmp_path_factory.mktemp("trunk") / "series", hidden_size=4, max_steps=3, **QUIET)


def refused(message, error=ValueError):
    return pytest.raises(error, match=f"^{re.escape(message)}$")


class FirstWeights(TrainerCallback):
    """What a run starts from."""

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.weights = {name: weight.detach().clone() for name, weight in model.named_parameters()}


def test_the_directory_and_what_was_learned(trunk):
    assert {path.name for path in trunk.directory.iterdir()} >= {
        "config.json", "model.safetensors", "tokenizer.json", "run.json", "all_results.json", "trainer_state.json",
    }  # fmt: skip
    assert not list(trunk.directory.glob("checkpoint-*"))
    assert trunk.metrics["perplexity"] == pytest.approx(np.exp(trunk.metrics["loss"]))
    assert trunk.metrics["perplexity"] < 3  # of 11 tokens; what comes is certain but for every other word
    assert json.loads((trunk.directory / "all_results.json").read_text())["eval_loss"] == trunk.metrics["loss"]
    assert (trunk.model.config.bidirectional, trunk.model.config.num_hidden_layers) == (True, 1)
    again = RNNForPreTraining.from_pretrained(trunk.directory)
    batch = AutoTokenizer.from_pretrained(trunk.directory)(TEXTS[:3], padding=True, return_tensors="pt")
    assert torch.equal(again(**batch).loss, trunk.model(**batch).loss)


@pytest.mark.parametrize("kind", ["texts", "vectors"])
def test_a_classifier_starts_from_the_trunk_bit_for_bit(kind, trunk, vector_trunk, tmp_path):
    start = trunk if kind == "texts" else vector_trunk
    table = TABLE if kind == "texts" else {"series": SERIES, "label": ["ab"[row % 2] for row in range(40)]}
    first = FirstWeights()
    choices = {"layerwise_lr_decay": 0.5, "gradual_unfreezing": True, "num_train_epochs": 3, **QUIET}
    result = train_classifier(table, tmp_path, pretrained_model=start.directory, callbacks=[first], **choices)
    for name, weight in load_file(start.directory / "model.safetensors").items():
        if name.startswith(("rnn.embeddings", "rnn.layers")):
            assert torch.equal(first.weights[name], weight), name
    assert type(result.processing_class) is type(start.processing_class)
    if kind == "texts":
        assert result.processing_class.get_vocab() == start.processing_class.get_vocab()
    else:
        assert result.processing_class.mean == start.processing_class.mean
    run = json.loads((tmp_path / "run.json").read_text())
    assert re.fullmatch(rf"{kind.replace('vectors', 'series')} \([0-9a-f]{{16}}\)", run["pretrained_model"])
    saved = load_file(tmp_path / "model.safetensors")
    assert not torch.equal(saved["rnn.layers.0.cell.weight_hh_l0"], first.weights["rnn.layers.0.cell.weight_hh_l0"])


def test_all_that_the_weights_decide_comes_with_them(tmp_path):
    ngrams = {"ngram_order": 2, "ngram_buckets": 5, "ngram_width": 3, "layer_norm": True, "token_dropout": 0.1}
    sizes = {"hidden_size": 4, "num_hidden_layers": 2, "bidirectional": False, "cell_type": "gru", "max_steps": 2}
    pretrain(TEXTS, tmp_path / "trunk", **ngrams, **sizes, **QUIET)
    result = train_classifier(TABLE, tmp_path / "model", pretrained_model=tmp_path / "trunk", max_steps=1, **QUIET)
    config = result.model.config
    assert (config.ngram_buckets, config.layer_norm, config.num_hidden_layers, config.cell_type) == (5, True, 2, "gru")
    assert config.token_dropout == 0.2  # of the recipe for so few texts


class Stop(TrainerCallback):
    """Ends the process, nearly, within the second epoch."""

    def on_step_end(self, args, state, control, **kwargs):
        if state.epoch > 1:
            raise KeyboardInterrupt


@pytest.mark.parametrize("strategy", ["epoch", "steps"])
def test_interrupted_it_goes_on_as_if_nothing_had_been(strategy, tmp_path):
    choices = {**TINY, "save_strategy": strategy, **({"save_steps": 2} if strategy == "steps" else {})}
    pretrain(TEXTS, tmp_path / "whole", **choices)
    with pytest.raises(KeyboardInterrupt):
        pretrain(TEXTS, tmp_path / "again", callbacks=[Stop()], **choices)
    assert list((tmp_path / "again").glob("checkpoint-*"))
    with pytest.raises(ValueError, match=r"holds checkpoints of another run.*hidden_size: 4 there, 5 now"):
        pretrain(TEXTS, tmp_path / "again", **{**choices, "hidden_size": 5})
    pretrain(TEXTS, tmp_path / "again", **choices)
    files = [tmp_path / name / "model.safetensors" for name in ("whole", "again")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_long_sequences_become_pieces_and_single_steps_are_left_out(tmp_path):
    tokenizer = train_tokenizer(["a b c d e f g"], max_length=3)
    found = pretrain(["a b c d e f g", "a", "", "b c"], tmp_path / "texts", processing_class=tokenizer,
                     validation_size=None, max_steps=1, hidden_size=2, **QUIET)  # fmt: skip
    pieces = [tokenizer.decode(ids) for ids in found.trainer.train_dataset["input_ids"]]
    assert pieces == ["a b c", "d e f", "b c"]
    assert found.metrics == {}
    extractor = SequenceVectorFeatureExtractor(feature_size=3, max_length=4)
    found = pretrain(SERIES[:4], tmp_path / "series", processing_class=extractor, validation_size=1, max_steps=1,
                     hidden_size=2, **QUIET)  # fmt: skip
    assert found.metrics.keys() == {"loss"}
    rows = found.trainer.train_dataset["input_features"]
    assert {np.shape(row)[0] for row in rows} <= {2, 3, 4}
    extractor = SequenceVectorFeatureExtractor(feature_size=3, max_length=4, stride=2)
    found = pretrain(SERIES, tmp_path / "joined", processing_class=extractor, max_steps=1, hidden_size=2, **QUIET)
    assert {np.shape(row) for row in found.trainer.train_dataset["input_features"]} == {(2, 6)}
    table = {"series": SERIES, "label": ["ab"[row % 2] for row in range(40)]}
    result = train_classifier(table, tmp_path / "model", pretrained_model=found.directory, max_steps=1, **QUIET)
    assert (result.model.config.input_size, result.processing_class.stride) == (6, 2)
    with refused("No training sequence has two steps, so there is nothing to predict. Give longer ones."):
        pretrain(["a", "b"], tmp_path / "none", validation_size=None, hidden_size=2, **QUIET)


def test_texts_of_words_are_read_for_what_comes_near_and_rare_words_count_most(tmp_path):
    found = pretrain([*TEXTS, "once only"], tmp_path, **TINY)
    assert found.model.config.prediction_window == 24
    assert found.metrics.keys() == {"loss"}, "a mean over windows is no perplexity"
    batch = found.trainer.data_collator([{"input_ids": ids} for ids in found.trainer.train_dataset["input_ids"]])
    counts = torch.bincount(batch["input_ids"][batch["attention_mask"] > 0], minlength=len(found.processing_class))
    common, rare = (found.processing_class.convert_tokens_to_ids(word) for word in ("noon", "once"))
    for token in (common, rare):
        told = batch["step_weights"][batch["input_ids"] == token].unique()
        assert told.tolist() == pytest.approx(
            [min(1.0, (2e-4 * int(counts.sum()) / max(1, int(counts[token]))) ** 0.5)]
        )
    assert not batch["step_weights"][batch["input_ids"] == found.processing_class.unk_token_id].any()
    assert pretrain(["Anna", "Otto"] * 30, tmp_path / "names", **TINY).model.config.prediction_window == 1
    series = pretrain(SERIES, tmp_path / "series", hidden_size=2, max_steps=1, prediction_window=5, **QUIET)
    assert series.model.config.prediction_window == 5


def test_windows_are_asked_for_the_commonest_words_whose_numbers_are_known_at_the_start(tmp_path, monkeypatch):
    first, tiny = FirstWeights(), {**TINY, "max_steps": 1}
    monkeypatch.setattr(pretraining, "PREDICTED", 6)
    found = pretrain(TEXTS, tmp_path / "texts", callbacks=[first], **tiny)
    assert found.model.config.prediction_vocab_size == 6
    ids = torch.tensor(np.concatenate(found.trainer.train_dataset["input_ids"]))
    weighted = torch.bincount(ids) * found.trainer.data_collator.weights
    for direction in range(2):
        shares = first.weights[f"heads.{direction}.bias"].exp()
        torch.testing.assert_close(shares, weighted[:6].clamp(min=1) / weighted[:6].clamp(min=1).sum())
    assert pretrain(TEXTS, tmp_path / "given", prediction_vocab_size=4, **tiny).model.config.prediction_vocab_size == 4
    untold = {name: value for name, value in tiny.items() if name != "learning_rate"}
    whole = pretrain(TEXTS, tmp_path / "next", prediction_window=1, **untold)
    assert whole.model.config.prediction_vocab_size is None
    assert whole.model.config.prediction_window == 1
    assert whole.trainer.args.learning_rate == 2e-3
    assert pretrain(TEXTS, tmp_path / "rate", **untold).trainer.args.learning_rate == 6e-3
    assert pretrain(["Anna", "Otto"] * 30, tmp_path / "names", **untold).trainer.args.learning_rate == 2e-3
    monkeypatch.setattr(pretraining, "PREDICTED", 0)  # the padding is not among the commonest
    assert pretrain(TEXTS, tmp_path / "padding", **tiny).model.config.prediction_vocab_size is None


def test_the_embedding_starts_as_that_of_a_classifier(tmp_path):
    first = FirstWeights()
    found = pretrain(TEXTS, tmp_path / "texts", pretrained_vectors="texts", callbacks=[first], **TINY)
    start = first.weights["rnn.embeddings.embed_tokens.weight"].numpy()
    rows = load_sequences(TEXTS, validation_size=0.02)["train"]
    told = vectors_from_texts(rows, found.processing_class, dimensions=3)
    np.testing.assert_array_equal(start, told.table)


def test_the_tokenizer_reads_as_much_as_that_of_a_classifier(tmp_path):
    long = " ".join(f"word{number % 40}" for number in range(450))
    found = pretrain([long] * 30, tmp_path, max_steps=1, validation_size=None, hidden_size=2, **QUIET)
    assert found.processing_class.model_max_length == 1000
    assert {len(ids) for ids in found.trainer.train_dataset["input_ids"]} == {200, 50}


def test_where_the_sequences_are():
    table = {"id": ["1", "2"], "review": ["a b", "c d"], "title": ["e", "f"]}
    assert load_sequences(table)["train"] == ["a b", "c d"]
    assert load_sequences(table, "title")["train"] == ["e", "f"]
    assert load_sequences(
        {"train": Dataset.from_dict({"note": ["a"]}), "dev": Dataset.from_dict({"note": ["b"]})}
    ) == {
        "train": ["a"],
        "validation": ["b"],
    }
    drawn = load_sequences(TEXTS, validation_size=0.25)
    assert sorted(drawn["train"] + drawn["validation"]) == sorted(TEXTS)
    assert len(drawn["validation"]) == 10
    vectors = load_sequences({"id": list(range(40)), "series": SERIES})["train"]
    np.testing.assert_allclose(vectors[5], SERIES[5], rtol=1e-6)


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (
            {"one": ["a"], "two": ["b"]},
            {},
            "The data needs one column of texts or vectors, but its columns are 'one' (string), 'two' (string). Pass "
            "column=, the name of the one that holds the sequences.",
        ),
        (
            {"text": ["a"], "number": [1]},
            {"column": "number"},
            "The data needs one column of texts or vectors, 'number', but its columns are 'text' (string), 'number' "
            "(int64). Pass column=, the name of the one that holds the sequences.",
        ),
        ({"text": ["a", None]}, {}, "Split 'train', row 1: there is no text. Leave it out."),
        (
            {"test": Dataset.from_dict({"text": ["a"]})},
            {},
            "There is no training set among the splits. Name one 'train'.",
        ),
        (
            {"train": Dataset.from_dict({"text": ["a"]}).to_iterable_dataset()},
            {},
            "Pretraining reads a table, but the data is a stream. Pass a file or a table of a part of it.",
        ),
        (
            ["a", "b"],
            {"validation_size": 2},
            "validation_size=2 of 2 rows leaves a part empty. Pass a share between 0 and 1 (a float), a number of "
            "rows (an int), or None to leave the set out.",
        ),
    ],
)
def test_data_that_cannot_be(source, options, message):
    with refused(message):
        load_sequences(source, **options)


def test_choices_that_cannot_be(trunk, vector_trunk, tmp_path):
    texts, series = str(trunk.directory), str(vector_trunk.directory)
    with refused(
        "pretrain has no choice 'hiden_size': it is no field of RNNConfig, no argument of TrainingArguments. Did you "
        "mean 'hidden_size'?",
        TypeError,
    ):
        pretrain(TEXTS, tmp_path, hiden_size=3)
    brings = "pretrained_model brings its own tokenizer or feature extractor and its own embedding, but {} came too. "
    for name, value in (
        ("processing_class", trunk.processing_class),
        ("processing_options", {"level": "char"}),
        ("pretrained_vectors", "glove.txt"),
    ):
        with refused(brings.format(name) + "Leave one of them out."):
            train_classifier(TABLE, tmp_path, pretrained_model=texts, **{name: value})
    with refused(
        f"pretrained_model={series!r} reads vectors of 3 numbers, but this data is texts. Pretrain on data of "
        "its kind."
    ):
        train_classifier(TABLE, tmp_path, pretrained_model=series)
    wide = {"series": [np.ones((3, 2)), np.zeros((4, 2))] * 10, "label": ["a", "b"] * 10}
    for directory, read in ((series, "vectors of 3 numbers"), (texts, "token ids")):
        with refused(
            f"pretrained_model={directory!r} reads {read}, but this data is sequences of vectors of 2 numbers. "
            "Pretrain on data of its kind."
        ):
            train_classifier(wide, tmp_path, pretrained_model=directory)
    with refused(
        f"hidden_size=8 contradicts pretrained_model={texts!r}, which has 4. Leave it out, or pretrain with it."
    ):
        train_classifier(TABLE, tmp_path, pretrained_model=texts, hidden_size=8)
