"""A bag of n-grams in a config, a model and a run: what it takes, what it refuses, what is left of it."""

import re

import numpy as np
import pytest
import torch
from cases import fill_bag
from transformers import AutoModelForSequenceClassification, AutoTokenizer, TrainingArguments, pipeline

from transformers_rnn import RNNConfig, RNNForSequenceClassification, RNNModel
from transformers_rnn.bag_fitting import add_bag
from transformers_rnn.distillation import distil
from transformers_rnn.labelled_data import load_labelled_data
from transformers_rnn.ngram_votes import fit_votes
from transformers_rnn.training import train_classifier

TOKENS = {"vocab_size": 9, "pad_token_id": 0}
BAG = {"bag_order": 2, "bag_size": 5, "bag_width": 3}
NONE = (
    "{}=5 is of a bag of n-grams, but bag_order is 0: there is none. Pass bag_order=1 for single tokens (2: pairs "
    "too), or leave it out."
)
SIZES = (
    "bag_order=2 needs bag_size and bag_width of at least 1, got {} and {}: how many n-grams have a vector, and how "
    "wide it is. `add_bag` finds both."
)
TEXTS = [f"{word} film number {number % 5}" for number in range(30) for word in ("good", "bad")]
TINY = {"hidden_size": 4, "num_train_epochs": 2, "disable_tqdm": True, "log_level": "error", "refit": False}


def load(label=("yes", "no"), **options):
    return load_labelled_data(
        {"text": TEXTS, "label": list(label) * 30}, test_size=0.2, validation_size=0.2, **options
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bag_order": -1}, "bag_order must be a whole number of at least 0 (0: no bag of n-grams), got -1."),
        ({"bag_size": 5}, NONE.format("bag_size")),
        ({"bag_width": 5}, NONE.format("bag_width")),
        ({**TOKENS, "bag_order": 2}, SIZES.format(0, 0)),
        ({**TOKENS, "bag_order": 2, "bag_size": 5, "bag_width": -1}, SIZES.format(5, -1)),
        (
            BAG,
            "bag_order=2 belongs to a model of tokens, but vocab_size is None: the model reads vectors. Leave it out.",
        ),
    ],
)
def test_contradictions(fields, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RNNConfig(**fields)


def test_a_bag_that_was_never_filled_says_nothing():
    model = RNNForSequenceClassification(RNNConfig(**TOKENS, **BAG)).eval()
    pooled = model.rnn(torch.tensor([[1, 2, 3]])).pooler_output
    assert pooled.shape == (1, 20 + 3)
    assert not pooled[:, 20:].any()


def test_what_is_filled_learns_on_and_the_unknown_stays_zero():
    torch.manual_seed(0)
    model = RNNForSequenceClassification(RNNConfig(**TOKENS, **{**BAG, "bag_size": 60}))
    fill_bag(model.rnn.bag)
    before = model.rnn.bag.weight.detach().clone()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.randint(1, 9, (8, 6)), labels=torch.arange(8) % 2).loss.backward()
    optimizer.step()
    assert not torch.equal(model.rnn.bag.weight[1:], before[1:])
    assert not model.rnn.bag.weight[0].any()


def test_vectors_in_place_of_ids_are_refused():
    model = RNNForSequenceClassification(RNNConfig(**TOKENS, **BAG, input_size=3))
    message = (
        "This model reads token ids and their n-grams (bag_order is 2): pass exactly one of input_ids, got "
        "inputs_embeds."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model(inputs_embeds=torch.randn(1, 2, 3))


def test_a_hand_written_model_has_no_such_weights():
    modules = torch.nn.GRU(4, 6), torch.nn.Linear(6, 2), torch.nn.Embedding(9, 4, padding_idx=0)
    with pytest.raises(ValueError, match=r"^bag_order=2 needs weights that the modules do not have\. Leave it out\.$"):
        RNNForSequenceClassification.from_torch(*modules, **BAG)


def test_a_state_of_a_model_without_a_bag_is_refused():
    with_bag, without = (RNNForSequenceClassification(RNNConfig(**TOKENS, **bag)) for bag in (BAG, {}))
    state = without(torch.tensor([[1, 2]]), use_cache=True).state
    with pytest.raises(ValueError, match="needs previous_ids and bag_total and bag_seen of the steps read so far"):
        with_bag(torch.tensor([[1, 2]]), state=state)


@pytest.mark.parametrize("fields", [{**TOKENS, **BAG}, {}, {**TOKENS, "num_labels": 3}])
def test_a_bag_goes_into_a_model_of_tokens_without_one(fields):
    votes = fit_votes(RNNConfig(**TOKENS, problem_type="single_label_classification"), [[1, 2], [3]], [0, 1], 2)
    config = RNNConfig(**fields)
    message = (
        "add_bag needs a model of tokens without a bag of n-grams and votes for its num_labels = "
        f"{config.num_labels}, got vocab_size={config.vocab_size}, bag_order={config.bag_order} and votes for 2 "
        "labels. Fit the votes to the ids and labels of this model."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        add_bag(RNNForSequenceClassification(config), votes)


def test_rows_without_a_label_and_labels_without_a_row():
    config = RNNConfig(**TOKENS, num_labels=4, problem_type="single_label_classification")
    ids, labels = [[1, 2], [3, 4], [1, 5], [3, 6], [7]], [0, 2, 0, 2, -100]
    votes = fit_votes(config, ids, labels, 2)
    same = fit_votes(config, ids[:-1], labels[:-1], 2)
    assert np.array_equal(votes.numbers, same.numbers)
    assert votes.answer([[1, 2], [3, 4]]).argmax(1).tolist() == [0, 2]
    assert (votes.answer([[8]])[0, [1, 3]] == -np.log(5)).all(), "unlikely, whatever is read"
    only = fit_votes(config, ids, [0] * 5, 2)
    assert only.answer([[1, 2]]).argmax() == 0
    several = RNNConfig(**TOKENS, num_labels=3, problem_type="multi_label_classification")
    always = fit_votes(several, ids, [[1, 0, row % 2] for row in range(5)], 1)
    assert always.answer([[1]])[0, 0] == np.log(6) == -always.answer([[1]])[0, 1]


def test_a_run_counts_pairs_of_words_and_keeps_them_in_the_model(tmp_path):
    result = train_classifier(load(), tmp_path, **TINY)
    config = result.model.config
    assert (config.bag_order, config.bag_width) == (2, 2)
    assert min(result.shares) > 0
    assert config.bag_size == len(result.model.rnn.bag.weight) - 1 > 5
    assert result.metrics["accuracy"] == 1.0, "one word tells"
    expected = result.model(**result.processing_class(["good film"], return_tensors="pt")).logits
    loaded = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert torch.equal(
        loaded(**AutoTokenizer.from_pretrained(tmp_path)(["good film"], return_tensors="pt")).logits, expected
    )
    assert pipeline("text-classification", model=str(tmp_path))("a bad film")[0]["label"] == "no"
    card = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert f"{config.bag_size} n-grams of up to 2 tokens speak for themselves" in " ".join(card.split())
    trunk = RNNModel.from_pretrained(tmp_path)
    again = train_classifier(load(), tmp_path / "again", pretrained_model=tmp_path, **TINY)
    assert trunk.config.bag_size == again.model.config.bag_size


@pytest.mark.parametrize(
    "choices",
    [
        {"count_ngrams": 0},
        {"class_weights": "balanced"},
        {"focal_gamma": 2.0},
        {"bidirectional": False, "prefix_loss_weight": 0.5},
        {"args": "whole"},
        {"bag_order": 1, "bag_size": 3, "bag_width": 1},
    ],
)
def test_a_run_of_other_choices_counts_nothing(choices, tmp_path):
    tiny = dict(TINY)
    if "args" in choices:
        whole = TrainingArguments(str(tmp_path), num_train_epochs=1, report_to=[], disable_tqdm=True)
        whole.dataloader_pin_memory = False
        choices = {"args": whole}
        tiny = {"hidden_size": 4, "refit": False}
    result = train_classifier(load(), tmp_path, **choices, **tiny)
    assert result.shares is None
    assert result.model.config.bag_order == choices.get("bag_order", 0)


def test_the_second_run_takes_the_shares_of_the_first(tmp_path):
    once = train_classifier(load(), tmp_path / "once", **TINY)
    both = train_classifier(load(), tmp_path / "both", **{**TINY, "refit": True})
    assert both.shares == once.shares
    assert both.model.config.temperature == once.model.config.temperature
    assert train_classifier(load(), tmp_path / "one", **TINY, count_ngrams=1).model.config.bag_order == 1


def test_without_a_validation_set_both_have_half(tmp_path):
    data = load_labelled_data({"text": TEXTS, "label": ["yes", "no"] * 30}, validation_size=None)
    assert train_classifier(data, tmp_path, **TINY).shares == (0.5, 0.5)


def test_answers_of_a_teacher_are_not_counted(tmp_path):
    data, teacher = load(), train_classifier(load(), tmp_path / "teacher", **TINY)
    soft = distil(data, teacher.directory)
    assert train_classifier(soft, tmp_path / "taught", **TINY).shares is None
    message = "count_ngrams=2, but the labels are a teacher's. Leave count_ngrams out, or pass 0."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        train_classifier(soft, tmp_path / "counted", count_ngrams=2, **TINY)


@pytest.mark.parametrize(
    ("choices", "reason"),
    [
        ({"class_weights": [1.0, 2.0]}, "the loss is weighed, which counting does not know"),
        ({"prefix_loss_weight": 0.5, "bidirectional": False}, "the model is trained for early answers"),
        ({"bag_order": 1, "bag_size": 3, "bag_width": 1}, "the config has a bag of n-grams already"),
    ],
)
def test_counting_that_was_chosen_does_not_give_way(choices, reason, tmp_path):
    message = f"count_ngrams=1, but {reason}. Leave count_ngrams out, or pass 0."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        train_classifier(load(), tmp_path, count_ngrams=1, **choices, **TINY)


def test_series_and_streams_cannot_be_counted(tmp_path):
    series = {"series": [np.full((3, 1), row % 2, np.float32) for row in range(60)], "label": ["yes", "no"] * 30}
    with pytest.raises(ValueError, match=r"^count_ngrams=2, but the data has no texts\. Leave"):
        train_classifier(load_labelled_data(series), tmp_path, count_ngrams=2, **TINY)
    splits, names = load().splits, ["no", "yes"]
    stream = load_labelled_data({"train": splits["train"].to_iterable_dataset()}, label_names=names)
    half = {"train": splits["train"], "validation": splits["validation"].to_iterable_dataset()}
    for data in (stream, load_labelled_data(half, label_names=names)):
        with pytest.raises(ValueError, match=r"^count_ngrams=2, but a stream cannot be counted\. Leave"):
            train_classifier(data, tmp_path / "stream", count_ngrams=2, max_steps=2, **TINY)
        assert train_classifier(data, tmp_path / "stream", max_steps=2, resume=False, **TINY).shares is None


@pytest.mark.parametrize("given", [-1, True, 1.5, "pairs"])
def test_what_is_no_order_is_refused(given, tmp_path):
    message = (
        "count_ngrams must be the number of tokens in the longest n-gram (2: single tokens and pairs; 0: none are "
        f"counted) or 'recipe', got {given!r}."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        train_classifier(load(), tmp_path, count_ngrams=given, **TINY)
