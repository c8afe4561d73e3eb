"""No input gives a silently wrong answer: each gets a clear error or a documented meaning."""

import pytest
import torch
from cases import Case, cases
from hypothesis import given
from hypothesis import strategies as st

from transformers_rnn import RNNConfig, RNNForSequenceClassification, RNNModel


@pytest.fixture
def vectors():
    return RNNForSequenceClassification(RNNConfig(input_size=3, hidden_size=4)).eval()


@pytest.fixture
def tokens():
    return RNNForSequenceClassification(RNNConfig(vocab_size=9, pad_token_id=0, input_size=3)).eval()


@given(case=cases(), data=st.data())
def test_a_mask_with_holes_is_refused_wherever_the_hole_is(case, data):
    batch, mask = case.padded("right", 1)
    row = data.draw(st.integers(0, len(batch) - 1))
    if len(case.sequences[row]) < 3:
        return
    mask[row, data.draw(st.integers(1, len(case.sequences[row]) - 2))] = 0
    with pytest.raises(ValueError, match=f"padding to its left or right, but row {row} has holes"):
        case.call(batch, mask)


@given(case=cases(), data=st.data())
def test_a_sequence_without_a_step_is_refused(case, data):
    row = data.draw(st.integers(0, len(case.sequences) - 1))
    emptied = [s[:0] if i == row else s for i, s in enumerate(case.sequences)]
    if len(emptied) > 1:
        with pytest.raises(
            ValueError, match=rf"at least one real step, but of this batch these rows have none: \[{row}\]"
        ):
            case.call(*Case(case.model, emptied).padded())


@given(case=cases(), value=st.sampled_from([torch.nan, torch.inf, -torch.inf]), data=st.data())
def test_vectors_that_are_not_finite_are_refused_with_their_place(case, value, data):
    row = data.draw(st.integers(0, len(case.sequences) - 1))
    step = data.draw(st.integers(0, len(case.sequences[row]) - 1))
    batch, mask = case.padded("left", 1)
    place = batch.shape[1] - len(case.sequences[row]) + step
    if case.tokens:
        batch[row, place] = 1_000
        with pytest.raises(ValueError, match=r"must be from 0 to 10 \(the vocabulary of this model\), got 1000"):
            case.call(batch, mask)
        batch[row, place] = -2
        with pytest.raises(ValueError, match=r"got -2\. Use the tokenizer the model was trained with, or"):
            case.call(batch, mask)
    else:
        batch[row, place, 0] = value
        with pytest.raises(ValueError, match=rf"must be finite, got -?(nan|inf) in sequence {row}, step {step} "):
            case.call(batch, mask)


def test_large_finite_vectors_are_no_mistake(vectors):
    features = torch.full((2, 5, 3), 3e38)
    assert torch.isfinite(vectors(input_features=features).logits).all()


@pytest.mark.parametrize("shape", [(2, 5, 4), (2, 5), (5,), (2, 3, 5, 3)])
def test_a_wrong_shape_or_width_is_refused(vectors, shape):
    with pytest.raises(ValueError, match=r"must have the shape \(B, T, F\) with F = input_size = 3, got") as error:
        vectors(input_features=torch.randn(shape))
    assert str(shape) in str(error.value)


def test_wrong_kinds_of_input_are_refused(vectors, tokens):
    ids, features = torch.ones(2, 5, dtype=torch.long), torch.randn(2, 5, 3)
    with pytest.raises(ValueError, match=r"reads vectors .* pass exactly one of input_features, got none\."):
        vectors()
    with pytest.raises(ValueError, match=r"reads vectors .* pass exactly one of input_features, got input_ids\."):
        vectors(input_ids=ids)
    with pytest.raises(ValueError, match=r"reads token ids .* one of input_ids or inputs_embeds, got input_features"):
        tokens(input_features=features)
    with pytest.raises(ValueError, match="got input_ids and inputs_embeds"):
        tokens(input_ids=ids, inputs_embeds=features)
    with pytest.raises(ValueError, match=r"input_features must be floating point, got torch\.int64\. Convert with"):
        vectors(input_features=features.long())
    with pytest.raises(ValueError, match=r"input_ids must be whole numbers, got torch\.float32\. Vectors go to"):
        tokens(input_ids=ids.float())
    with pytest.raises(ValueError, match=r"shape \(B, T\), got \(5,\)\. For one text add a batch axis: ids\[None\]"):
        tokens(input_ids=ids[0])


def test_what_a_tokenizer_makes_of_an_empty_text_is_refused(tokens):
    with pytest.raises(ValueError, match=r"An empty text or series has no class: leave it out"):
        tokens(input_ids=torch.zeros(1, 0), attention_mask=torch.zeros(1, 0))
    with pytest.raises(ValueError, match=r"these rows have none: \[1\]"):
        tokens(input_ids=torch.tensor([[1, 2], [0, 0]]))


def test_an_empty_batch_is_refused(vectors):
    with pytest.raises(ValueError, match="The batch is empty: pass B >= 1 sequences"):
        vectors(input_features=torch.zeros(0, 4, 3))


def test_masks_that_mean_something_else_are_refused(vectors):
    features = torch.randn(2, 4, 3)
    with pytest.raises(ValueError, match=r"shape \(B, T\) of its sequences, here \(2, 4\), got \(2, 1, 1, 4\)"):
        vectors(input_features=features, attention_mask=torch.zeros(2, 1, 1, 4))
    additive = torch.tensor([[0.0, 0, 0, -1e4], [0, 0, 0, 0]])
    with pytest.raises(ValueError, match=r"got other values \(from -10000\.0 to 0\.0\)\. Additive masks"):
        vectors(input_features=features, attention_mask=additive)


@pytest.mark.parametrize("dtype", [torch.bool, torch.int32, torch.float32, torch.bfloat16])
def test_masks_of_any_type_mean_the_same(vectors, dtype):
    features, mask = torch.randn(2, 4, 3), torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1]])
    expected = vectors(input_features=features, attention_mask=mask).logits
    assert torch.equal(vectors(input_features=features, attention_mask=mask.to(dtype)).logits, expected)


def test_arguments_of_attention_models_are_refused_with_the_reason(tokens):
    ids = torch.ones(1, 2, dtype=torch.long)
    with pytest.raises(TypeError, match="does not take output_attentions: there are no attention layers"):
        tokens(ids, output_attentions=True)
    with pytest.raises(TypeError, match=r"RNNModel\.forward does not take past_key_values: the memory of a recurrent"):
        RNNModel(tokens.config)(ids, past_key_values=((ids,),))
    with pytest.raises(TypeError, match="does not take position_ids: an RNN reads the steps in order"):
        tokens(ids, position_ids=ids)
    with pytest.raises(TypeError, match="does not take atention_mask: there is no such argument"):
        tokens(ids, atention_mask=ids)
    expected = tokens(ids).logits
    ignored = tokens(ids, token_type_ids=torch.zeros_like(ids), output_attentions=None, head_mask=None)
    assert torch.equal(ignored.logits, expected)
