"""A sequence's logits are the same alone, padded left or right to any length, in any order and in any company."""

import pytest
import torch
from cases import PAD, cases
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

TOLERANCE = 1e-6  # of the largest logit, in float32


def excess(one: Tensor, other: Tensor) -> float:
    """The largest difference, in units of the largest logit."""
    return ((one - other).abs().max() / other.abs().max()).item()


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@given(data=st.data())
@torch.no_grad()
def test_padding_order_and_company_change_nothing(cell, data):
    case = data.draw(cases(cell=cell))
    alone = torch.stack([case.alone(sequence) for sequence in case.sequences])
    side, extra = data.draw(st.sampled_from(["left", "right"])), data.draw(st.integers(0, 5))
    batch, mask = case.padded(side, extra)
    order = data.draw(st.permutations(range(len(batch))))
    together = case.call(batch[order], mask[order]).logits
    assert excess(together, alone[order]) <= TOLERANCE


@given(case=cases(dtype=torch.float64))
@torch.no_grad()
def test_in_float64_the_law_holds_to_the_last_digits(case):
    alone = torch.stack([case.alone(sequence) for sequence in case.sequences])
    for side in ("left", "right"):
        assert excess(case.call(*case.padded(side, 2)).logits, alone) <= 1e-13


@given(case=cases())
@torch.no_grad()
def test_padded_token_ids_need_no_mask(case):
    if case.tokens:
        for side in ("left", "right"):
            batch, mask = case.padded(side, 2, garbage=False)
            assert torch.equal(case.call(batch).logits, case.call(batch, mask).logits)


@torch.no_grad()
def test_a_pad_token_inside_a_text_is_an_item_of_it():
    from transformers_rnn import RNNConfig, RNNForSequenceClassification

    model = RNNForSequenceClassification(RNNConfig(vocab_size=9, pad_token_id=PAD)).eval()
    ids = torch.tensor([[1, PAD, 2, PAD]])
    assert torch.equal(model(ids).logits, model(ids, torch.tensor([[1, 1, 1, 0]])).logits)


@given(case=cases(dtype=torch.float64))
def test_gradients_do_not_see_padding_either(case):
    labels = torch.zeros(len(case.sequences), dtype=torch.long)
    gradients = []
    for side, extra in (("right", 0), ("left", 4)):
        case.model.zero_grad()
        batch, mask = case.padded(side, extra)
        case.call(batch, mask, labels=labels).loss.backward()
        gradients.append([p.grad.clone() for p in case.model.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        assert torch.isfinite(one).all()
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


@given(case=cases(bidirectional=True))
@torch.no_grad()
def test_the_textbook_traps_are_impossible(case):
    """Neither direction may depend on what the padding holds, nor on how long it is."""
    batch, mask = case.padded("right", 3, garbage=False)
    expected = case.call(batch, mask).logits
    changed = batch.masked_fill(mask[..., None] == 0, 7.0) if batch.ndim == 3 else batch.masked_fill(mask == 0, 7)
    assert torch.equal(case.call(changed, mask).logits, expected)
