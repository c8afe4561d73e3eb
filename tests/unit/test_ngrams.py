"""Hashed n-grams: which rows they have, for ever, and which choices of them a config takes."""

import re

import pytest
import torch
from torch import nn

from transformers_rnn import RNNConfig, RNNForSequenceClassification
from transformers_rnn.ngrams import NgramEmbedding

TOKENS = {"vocab_size": 9, "pad_token_id": 0}
NGRAMS = {"ngram_order": 3, "ngram_buckets": 40, "ngram_width": 2}
SIZES = (
    "ngram_order=2 needs ngram_buckets and ngram_width of at least 1, got {} and {}. Pass for example "
    "ngram_buckets=100_000, ngram_width=16."
)
NONE = (
    "{}=5 is of n-grams, but ngram_order is 1: there are none. Pass ngram_order=2 for pairs of tokens (3: triples "
    "too), or leave it out."
)


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = RNNForSequenceClassification(RNNConfig(**TOKENS, **NGRAMS, input_size=3)).eval()
    nn.init.normal_(model.rnn.embeddings.ngrams.weight)
    return model


def rows_of(ids, buckets=1000):
    """The rows of pairs and triples, told by a table of row numbers."""
    table = NgramEmbedding(buckets, 1, 3)
    table.weight.data = torch.arange(float(buckets))[:, None]
    return table(torch.tensor([ids]))[0].long().tolist()


def test_an_ngram_has_the_same_row_for_ever():
    """A table that was saved means these rows: no change of the hash may pass unseen."""
    assert rows_of([5, 7, 5, 7, 2**31 - 1]) == [[835, 683], [366, 214], [207, 895], [366, 236], [202, 890]]


def test_rows_are_used_evenly():
    ids = torch.arange(200).repeat_interleave(200), torch.arange(200).repeat(200)
    table = NgramEmbedding(1000, 1, 2)
    table.weight.data = torch.arange(1000.0)[:, None]
    rows = table(torch.stack(ids, dim=1))[:, 1, 0].long()
    counts = rows.bincount(minlength=1000)  # 40,000 pairs of frequent tokens
    assert counts.float().std() < 40**0.5 * 1.2, "as even as chance"


def test_an_ngram_ends_at_its_step_and_begins_with_nothing(model):
    embed = model.rnn.embeddings.ngrams
    one, other = embed(torch.tensor([[4, 5, 6, 7]])), embed(torch.tensor([[4, 1, 6, 7]]))
    assert one.shape == (1, 4, 4)
    assert torch.equal(one[:, 0], other[:, 0])
    changed = (one != other).view(4, 2, 2).all(dim=2)  # steps, pairs and triples
    assert changed.tolist() == [[False, False], [True, True], [True, True], [False, True]]
    assert torch.equal(embed(torch.tensor([[4]])), one[:, :1])


def test_the_vocabulary_may_grow(model):
    ids = torch.tensor([[1, 2, 8]])
    with torch.no_grad():
        logits = model(ids).logits
    model.resize_token_embeddings(20, mean_resizing=False)
    assert torch.equal(model(ids).logits, logits)
    assert model.rnn.embeddings.ngrams.weight.shape == (40, 2)
    assert model.get_input_embeddings() is model.rnn.embeddings.embed_tokens


def test_vectors_in_place_of_ids_are_refused(model):
    message = (
        "This model reads token ids and their n-grams (ngram_order is 3): pass exactly one of input_ids, got "
        "inputs_embeds."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        model(inputs_embeds=torch.randn(1, 2, 3))


@pytest.mark.parametrize(("name", "fields"), [("ngram_order=3", NGRAMS), ("layer_norm=True", {"layer_norm": True})])
def test_a_hand_written_model_has_no_such_weights(name, fields):
    modules = nn.GRU(4, 6), nn.Linear(6, 2), nn.Embedding(9, 4, padding_idx=0)
    message = rf"^{name} needs weights that the modules do not have\. Leave it out\.$"
    with pytest.raises(ValueError, match=message):
        RNNForSequenceClassification.from_torch(*modules, **fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ngram_order": 0}, "ngram_order must be a whole number of at least 1 (1: no n-grams), got 0."),
        ({"ngram_buckets": 5}, NONE.format("ngram_buckets")),
        ({"ngram_width": 5}, NONE.format("ngram_width")),
        ({**TOKENS, "ngram_order": 2}, SIZES.format(0, 0)),
        ({**TOKENS, "ngram_order": 2, "ngram_buckets": -1, "ngram_width": 4}, SIZES.format(-1, 4)),
        (
            {"ngram_order": 2, "ngram_buckets": 5, "ngram_width": 4},
            "ngram_order=2 belongs to a model of tokens, but vocab_size is None: the model reads vectors. Leave it "
            "out.",
        ),
    ],
)
def test_contradictions(fields, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        RNNConfig(**fields)
