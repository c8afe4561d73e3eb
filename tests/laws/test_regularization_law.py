"""Noise is there in training only, on real steps only, as much as was asked for, and repeats with the seed."""

from copy import deepcopy

import pytest
import reference
import torch
from cases import CELLS, PAD, VOCABULARY
from torch import nn

from transformers_rnn import RNNConfig, RNNForSequenceClassification
from transformers_rnn.recurrent_layers import RecurrentCell

TOKENS = {"vocab_size": VOCABULARY, "pad_token_id": PAD}
UNK = 1
TOKEN_NOISE = [{"token_dropout": 0.5, "unk_token_id": UNK}, {"vocabulary_dropout": 0.5}]
VECTOR_NOISE = [
    {"input_noise": 0.5},
    {"input_scale_noise": 0.5},
    {"time_warp": 0.4},
    {"mask_time_prob": 0.5, "mask_time_length": 2},
    {"mask_feature_prob": 0.5, "mask_feature_length": 2},
]
HIDDEN_NOISE = [
    {"variational_dropout": True, "hidden_dropout": 0.5, "embedding_dropout": 0.5},
    {"weight_dropout": 0.5},
    {"weight_dropout": 0.5, "cell_type": "lstm", "bidirectional": False},
]
NOISE = [{**TOKENS, **fields} for fields in TOKEN_NOISE] + VECTOR_NOISE + HIDDEN_NOISE


def name_of(fields):
    return ",".join(f"{name}={value}" for name, value in fields.items() if name not in TOKENS)


def built(fields, **others):
    """A model, the same weights for the same sizes."""
    torch.manual_seed(0)
    sizes = {"input_size": 4, "hidden_size": 5, "num_hidden_layers": 2, "cell_type": "gru", "bidirectional": True}
    return RNNForSequenceClassification(RNNConfig(**{**sizes, **fields, **others}))


def batch_of(fields, side="right", size=3, length=7, extra=0):
    """Sequences of several lengths (or all full), and padding that must never be read."""
    torch.manual_seed(1)
    lengths = torch.arange(size) % length + 1
    mask = (torch.arange(length + extra) < lengths[:, None]).long()
    if fields.get("vocab_size"):
        batch = torch.randint(4, VOCABULARY, (size, length)).repeat(1, 2)[:, : length + extra]
        batch, name = batch.masked_fill(mask == 0, PAD), "input_ids"
    else:
        batch = torch.randn(size, length, 4).repeat(1, 2, 1)[:, : length + extra]
        batch, name = batch.masked_fill(mask[:, :, None] == 0, torch.nan), "input_features"
    return (
        {name: batch, "attention_mask": mask}
        if side == "right"
        else {name: batch.flip(1), "attention_mask": mask.flip(1)}
    )


def drawn(model, batch, seed=0):
    torch.manual_seed(seed)
    return model(**batch).logits


@pytest.mark.parametrize("fields", NOISE, ids=name_of)
def test_in_evaluation_there_is_none_and_in_training_it_follows_the_seed(fields):
    same = (*TOKENS, "cell_type", "bidirectional")
    plain = built({name: value for name, value in fields.items() if name in same}).eval()
    noisy, batch = built(fields), batch_of(fields)
    noisy.load_state_dict(plain.state_dict())
    expected, generator = plain(**batch).logits, torch.get_rng_state()
    assert torch.equal(noisy.eval()(**batch).logits, expected)
    assert torch.equal(torch.get_rng_state(), generator), "evaluation draws nothing"
    noisy.train()
    assert torch.equal(drawn(noisy, batch), drawn(noisy, batch))
    assert not torch.equal(drawn(noisy, batch), expected)
    assert not torch.equal(drawn(noisy, batch), drawn(noisy, batch, seed=1))


@pytest.mark.parametrize("fields", NOISE, ids=name_of)
def test_in_training_padding_has_no_gradient_and_stays_zero(fields):
    model = built(fields).train()
    for side in ("right", "left"):
        batch = batch_of(fields, side, extra=2)
        output = model.rnn(**batch, output_hidden_states=True)
        padding = batch["attention_mask"] == 0
        assert all(not states[padding].any() for states in output.hidden_states)
        output.pooler_output.sum().backward()
        assert all(torch.isfinite(parameter.grad).all() for parameter in model.rnn.parameters())


def read_in_training(fields, batch):
    """What the first recurrent layer reads, with an embedding whose rows tell their ids."""
    model = built(fields).train()
    if fields.get("vocab_size"):
        nn.init.zeros_(model.get_input_embeddings().weight)
        model.get_input_embeddings().weight.data += torch.arange(float(VOCABULARY))[:, None]
    torch.manual_seed(2)
    return model.rnn(**batch, output_hidden_states=True).hidden_states[0].detach()


def test_token_dropout_makes_its_share_of_the_real_tokens_unknown():
    fields = {**TOKENS, "token_dropout": 0.3, "unk_token_id": UNK}
    batch = batch_of(fields, "left", size=4000, length=9, extra=3)
    ids, real = batch["input_ids"], batch["attention_mask"] == 1
    read = read_in_training(fields, batch)[..., 0].long()
    assert not read[~real].any()
    unknown = read[real] == UNK
    assert abs(unknown.float().mean() - 0.3) < 4 * (0.21 / real.sum()) ** 0.5
    assert torch.equal(read[real][~unknown], ids[real][~unknown])


def test_token_dropout_hides_no_wrong_id():
    model = built({**TOKENS, "token_dropout": 0.99, "unk_token_id": UNK}).train()
    with pytest.raises(ValueError, match=r"must be from 0 to 10 \(the vocabulary of this model\), got 99"):
        model(input_ids=torch.full((1, 2), 99))


def test_vocabulary_dropout_drops_tokens_wherever_they_occur_and_scales_the_others():
    fields, share, found = {**TOKENS, "vocabulary_dropout": 0.4}, [], []
    model, batch = built(fields).train(), batch_of(fields, size=40)
    ids, real = batch["input_ids"], batch["attention_mask"] == 1
    whole = model.get_input_embeddings()(ids).detach()
    for _ in range(300):
        read = model.rnn(**batch, output_hidden_states=True).hidden_states[0].detach()
        dropped = {int(token) for token in ids[real & (read == 0).all(dim=2)]}
        expected = whole / 0.6
        expected[torch.isin(ids, torch.tensor(sorted(dropped), dtype=torch.long))] = 0
        torch.testing.assert_close(read[real], expected[real])
        share.append(len(dropped) / len(ids[real].unique()))
        found.append(frozenset(dropped))
    assert abs(sum(share) / 300 - 0.4) < 0.04
    assert len(set(found)) > 50, "each batch has its own"


def test_jitter_and_scaling_have_the_deviation_asked_for():
    batch = batch_of({}, size=3000, length=6)
    real = batch["attention_mask"] == 1
    given = batch["input_features"]
    noise = (read_in_training({"input_noise": 0.3}, batch) - given)[real]
    assert abs(noise.mean()) < 0.01
    assert abs(noise.std() - 0.3) < 0.01
    factors = read_in_training({"input_scale_noise": 0.2}, batch) / given
    torch.testing.assert_close(
        factors[:, 0].expand(6, -1, -1).transpose(0, 1)[real], factors[real], rtol=1e-4, atol=1e-4
    )
    assert abs(factors[:, 0].mean() - 1) < 0.01
    assert abs(factors[:, 0].std() - 0.2) < 0.01


@pytest.mark.parametrize(("axis", "length"), [("time", 1), ("time", 3), ("time", 50), ("feature", 1), ("feature", 2)])
def test_every_step_or_feature_is_masked_equally_often_in_spans(axis, length):
    fields = {f"mask_{axis}_prob": 0.4, f"mask_{axis}_length": length}
    batch = batch_of({}, "left", size=7000, length=7)
    real, given = batch["attention_mask"] == 1, batch["input_features"]
    read = read_in_training(fields, batch)
    masked = (read == 0) & real[:, :, None]
    assert torch.equal(read[real][~masked[real]], given[real][~masked[real]])
    whole = masked[real.all(dim=1)]  # sequences of all steps
    whole = whole.all(dim=2) if axis == "time" else whole.all(dim=1)
    assert whole.any()
    assert torch.equal(whole.sum(), masked[real.all(dim=1)].sum() // (4 if axis == "time" else 7)), "all or nothing"
    expected = 1 - (1 - 0.4 / length) ** length
    assert (whole.float().mean(dim=0) - expected).abs().max() < 4 * (expected * (1 - expected) / len(whole)) ** 0.5
    if length > 1:
        inner = whole[:, 1:-1] & ~whole[:, :-2] & ~whole[:, 2:]
        assert not inner.any(), "no span is shorter than it should be"


def test_warped_time_runs_forward_from_the_first_step_to_the_last():
    size, length = 500, 21
    lengths = torch.arange(size) % length + 1
    mask = (torch.arange(length) < lengths[:, None]).long()
    time = (torch.arange(length) / (lengths - 1).clamp(min=1)[:, None]).mul(mask)
    batch = {"input_features": time[:, :, None].expand(-1, -1, 4), "attention_mask": mask}
    read = read_in_training({"time_warp": 0.3}, batch)[..., 0]
    moved = (read - time).abs()
    assert moved.max() <= 0.3 + 1e-6
    assert moved.max() > 0.25
    assert moved[mask == 0].max() == 0
    assert (read.diff(dim=1)[mask[:, 1:] == 1] >= -1e-6).all()
    assert not moved[:, 0].any()
    torch.testing.assert_close(read.amax(dim=1), time.amax(dim=1))
    assert (moved.amax(dim=1)[lengths > 2] > 0).float().mean() > 0.98


@pytest.mark.parametrize("place", ["embedding_dropout", "hidden_dropout"])
@pytest.mark.parametrize("variational", [False, True])
def test_variational_dropout_drops_the_same_values_at_all_steps_of_a_sequence(variational, place):
    model = built({"variational_dropout": variational, place: 0.4, "hidden_size": 30}).train()
    seen = []
    layer = model.rnn.layers[0 if place == "embedding_dropout" else 1]
    layer.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    torch.manual_seed(0)
    inputs = torch.rand(400, 6, 4) + 1
    output = model.rnn(input_features=inputs, output_hidden_states=True)
    before = output.hidden_states[1] if place == "hidden_dropout" else inputs
    factors = (seen[0] / before).detach()
    dropped = factors == 0
    torch.testing.assert_close(factors[~dropped], torch.full_like(factors[~dropped], 1 / 0.6))
    assert abs(dropped.float().mean() - 0.4) < 0.03
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped)) == variational
    assert not torch.equal(dropped[:1].expand_as(dropped), dropped), "each sequence has its own"


@pytest.fixture
def drawn_weights(monkeypatch):
    """What every call of every cell computed with."""
    drawn, draw = [], RecurrentCell.weights_for_batch
    monkeypatch.setattr(RecurrentCell, "weights_for_batch", lambda cell: drawn.append(draw(cell)) or drawn[-1])
    return drawn


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize(("cell", "nonlinearity"), CELLS)
def test_weight_dropout_is_the_plain_loop_over_the_weights_that_are_left(
    cell, nonlinearity, bidirectional, full, drawn_weights
):
    fields = {"cell_type": cell, "nonlinearity": nonlinearity, "bidirectional": bidirectional, "pooling": "concat"}
    model = built({"weight_dropout": 0.4, **fields}).double().train()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    batch = {name: value.nan_to_num().double() for name, value in batch_of({}).items()}
    if full:
        batch.pop("attention_mask")
    output = model(**batch, use_cache=not bidirectional)  # one direction keeps its memory, too
    output.logits.square().sum().backward()
    assert len(drawn_weights) == 2, "one draw a batch and layer"

    left, kept = deepcopy(model).eval(), {}
    for index, (layer, weights) in enumerate(zip(left.rnn.layers, drawn_weights, strict=True)):
        for suffix, (_, weight, *_) in zip(("", "_reverse"), weights, strict=False):
            parameter = getattr(layer.cell, f"weight_hh_l0{suffix}")
            kept[f"rnn.layers.{index}.cell.weight_hh_l0{suffix}"] = (weight != 0).double() / 0.6
            torch.testing.assert_close(weight, parameter * (weight != 0) / 0.6)
            parameter.data.copy_(weight)
    left.zero_grad()
    lengths = [7] * 3 if full else batch["attention_mask"].sum(dim=1).int().tolist()
    sequences = [row[:length] for row, length in zip(batch["input_features"], lengths, strict=True)]
    expected = torch.stack([reference.logits_of(left, sequence) for sequence in sequences])
    expected.square().sum().backward()
    torch.testing.assert_close(output.logits, expected, rtol=1e-9, atol=1e-11)
    for (name, one), other in zip(model.named_parameters(), left.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad * kept.get(name, 1), rtol=1e-8, atol=1e-10, msg=name)
    if not bidirectional:
        memory = left(**batch, use_cache=True).state
        for name in output.state:
            torch.testing.assert_close(output.state[name], memory[name], rtol=1e-9, atol=1e-11, msg=name)


def test_weight_dropout_drops_its_share_anew_for_each_batch(drawn_weights):
    model = built({"weight_dropout": 0.3, "hidden_size": 60, "num_hidden_layers": 1}).train()
    batch = batch_of({})
    for _ in range(2):
        model(**batch)
    dropped = [direction[1] == 0 for weights in drawn_weights for direction in weights]
    for one in dropped:
        assert abs(one.float().mean() - 0.3) < 0.02
        assert sum(torch.equal(one, other) for other in dropped) == 1


@pytest.mark.parametrize("fields", HIDDEN_NOISE, ids=name_of)
def test_gradient_checkpoints_draw_the_same_noise_again(fields):
    model, gradients = built(fields).train(), []
    for _ in range(2):
        model.zero_grad()
        drawn(model, batch_of(fields)).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
        model.activation_checkpointing_enable()
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
