"""Each row of a state has its own place; rows can be chosen, merged, reset, moved and kept on disk."""

import tempfile
from pathlib import Path

import pytest
import torch
from cases import cases
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import run
from safetensors.torch import save_file

from transformers_rnn import RNNConfig, RNNForSequenceClassification, RNNState

CLOSE = {"rtol": 1e-10, "atol": 1e-12}
streaming = cases(bidirectional=False, dtype=torch.float64)


def initial(case):
    return RNNState.initial(case.model.config, len(case.sequences), case.model.dtype)


def read(case, parts, state, side="right"):
    """Read one piece of each row; a piece may have no step."""
    batch, mask = type(case)(case.model, parts).padded(side, 1)
    return case.call(batch, mask, state=state)


def assert_same(one, other, **tolerance):
    assert list(one) == list(other)
    for name in one:
        torch.testing.assert_close(one[name], other[name], msg=name, **(tolerance or {"rtol": 0, "atol": 0}))


def some_rows(data, size):
    return data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=4))


@given(case=streaming, data=st.data())
@torch.no_grad()
def test_every_row_has_its_own_place_from_the_very_beginning(case, data):
    """Also the first piece may be empty in some rows, or in all."""
    state, read_so_far = initial(case), [0] * len(case.sequences)
    for _ in range(3):
        ends = [data.draw(st.integers(at, len(s))) for at, s in zip(read_so_far, case.sequences, strict=True)]
        parts = [s[a:b] for s, a, b in zip(case.sequences, read_so_far, ends, strict=True)]
        output = read(case, parts, state, data.draw(st.sampled_from(["left", "right"])))
        state, read_so_far = output.state, ends
        assert state.steps.tolist() == read_so_far
        for row, (sequence, end) in enumerate(zip(case.sequences, read_so_far, strict=True)):
            expected = case.alone(sequence[:end]) if end else case.model.classifier.bias
            torch.testing.assert_close(output.logits[row], expected, **CLOSE)


@settings(max_examples=25)
@given(case=streaming)
@torch.no_grad()
def test_nothing_read_is_no_state(case):
    batch, mask = case.padded()
    from_nothing, fresh = case.call(batch, mask, state=initial(case)), case.call(batch, mask, use_cache=True)
    torch.testing.assert_close(from_nothing.logits, fresh.logits, **CLOSE)
    assert_same(from_nothing.state, fresh.state, **CLOSE)


@settings(max_examples=25)
@given(case=streaming, data=st.data())
@torch.no_grad()
def test_chosen_and_merged_rows_go_on_as_they_would_have(case, data):
    batch, mask = case.padded()
    state = case.call(batch, mask, use_cache=True).state
    rows = some_rows(data, len(case.sequences))
    chosen = RNNState.merge([state.select(rows[:1]), state.select(torch.tensor(rows[1:]))])
    assert_same(chosen, state.select(rows))
    for row, went_on in enumerate(case.call(batch[rows], mask[rows], state=chosen).logits):
        twice = case.alone(torch.cat([case.sequences[rows[row]]] * 2))
        torch.testing.assert_close(went_on, twice, **CLOSE)


@settings(max_examples=25)
@given(case=streaming, data=st.data())
@torch.no_grad()
def test_a_row_that_was_reset_begins_again_and_the_others_go_on(case, data):
    batch, mask = case.padded()
    state = case.call(batch, mask, use_cache=True).state
    before = state.select(slice(None))
    rows = some_rows(data, len(case.sequences))
    output = case.call(batch, mask, state=state.reset(rows))
    assert_same(state, before)
    assert_same(state.reset(), initial(case))
    for row, sequence in enumerate(case.sequences):
        expected = sequence if row in rows else torch.cat([sequence, sequence])
        torch.testing.assert_close(output.logits[row], case.alone(expected), **CLOSE)
        assert output.state.steps[row] == len(expected)


@settings(max_examples=25)
@given(case=streaming, data=st.data())
@torch.no_grad()
def test_rows_are_written_in_place(case, data):
    slots = initial(case)
    rows = sorted(set(some_rows(data, len(case.sequences))))
    state = case.call(*case.padded(), use_cache=True).state
    slots.write(rows, state.select(rows))
    others = [row for row in range(len(case.sequences)) if row not in rows]
    assert_same(slots.select(rows), state.select(rows))
    assert_same(slots.select(others), initial(case).select(others))


@settings(max_examples=25)
@given(case=streaming)
@torch.no_grad()
def test_a_state_on_disk_is_the_same_to_the_last_bit(case):
    state = case.call(*case.padded(), use_cache=True).state
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "state.safetensors"
        state.save(path)
        assert_same(RNNState.load(path), state)


@settings(max_examples=25)
@given(case=streaming)
@torch.no_grad()
def test_a_state_moves_and_its_sums_stay_wide(case):
    state = case.call(*case.padded(), use_cache=True).state
    moved = state.to("cpu", torch.float32)
    for name, value in moved.items():
        wide = name in ("total", "bag_total") or name.startswith("attention")
        kept = {"steps": torch.long, "previous_ids": torch.long, "bag_seen": torch.bool}.get(name)
        assert value.dtype == (kept or (torch.float64 if wide else torch.float32))
    assert all(value.is_meta for value in state.to("meta").values())
    case.model.float()
    batch, mask = case.padded()
    batch = batch if case.tokens else batch.float()
    again = case.call(batch, mask, state=moved).logits
    expected = case.call(batch, mask, state=case.call(batch, mask, use_cache=True).state).logits
    torch.testing.assert_close(again, expected, rtol=1e-4, atol=1e-5)


def test_a_state_can_be_read_in_another_process(tmp_path):
    model = RNNForSequenceClassification(RNNConfig(cell_type="lstm", pooling="concat")).eval()
    model.save_pretrained(tmp_path)
    features = torch.randn(2, 5, 10)
    with torch.no_grad():
        before = model(input_features=features, use_cache=True)
        after = model(input_features=features, state=before.state).logits
    before.state.save(tmp_path / "state.safetensors")
    save_file({"features": features}, tmp_path / "features.safetensors")
    printed = run(
        "-W",
        "error",
        "-c",
        "import torch\n"
        "from safetensors.torch import load_file\n"
        "from transformers_rnn import RNNForSequenceClassification, RNNState\n"
        "model = RNNForSequenceClassification.from_pretrained('.').eval()\n"
        "features = load_file('features.safetensors')['features']\n"
        "with torch.no_grad():\n"
        "    print(model(input_features=features, state=RNNState.load('state.safetensors')).logits.tolist())\n",
        cwd=tmp_path,
        OMP_NUM_THREADS=str(torch.get_num_threads()),
    )
    assert printed.strip() == str(after.tolist())


def test_no_gradient_flows_through_a_detached_state():
    model = RNNForSequenceClassification(RNNConfig(cell_type="lstm", pooling="attention"))
    state = model(input_features=torch.randn(1, 3, 10), use_cache=True).state
    assert state.hidden.requires_grad
    assert not any(value.requires_grad for value in state.detach().values())


def test_a_stream_of_a_long_life_does_not_drift():
    """The sums of float32 states are as right after many pieces as after one."""
    torch.manual_seed(0)
    model = RNNForSequenceClassification(
        RNNConfig(input_size=2, hidden_size=3, cell_type="gru", pooling="mean")
    ).eval()
    features, state, total = torch.randn(1, 300_000, 2), None, 0
    with torch.no_grad():
        for piece in features.split(99_991, dim=1):
            output = model.rnn(input_features=piece, state=state)
            state, total = output.state, total + output.last_hidden_state.double().sum(dim=1)
    assert state.steps.item() == 300_000
    torch.testing.assert_close(state.total, total, rtol=1e-13, atol=0)


def test_what_cannot_be_merged_loaded_or_continued_is_refused(tmp_path):
    one, other = (RNNState.initial(RNNConfig(pooling=pooling), 1) for pooling in ("last", "mean"))
    with pytest.raises(ValueError, match=r"^merge needs at least one state, got none\.$"):
        RNNState.merge([])
    with pytest.raises(ValueError, match=r"state 1 holds \{'hidden': \(1, 20\), 'steps': \(\), 'total': \(20,\)\}"):
        RNNState.merge([one, other])
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"holds no state of streams \(its content is None\)\. Pass a file"):
        RNNState.load(tmp_path / "a.safetensors")
    model = RNNForSequenceClassification(RNNConfig(pooling="concat"))
    with pytest.raises(ValueError, match="pools with 'concat' and needs total and maximum of the steps read so far"):
        model(input_features=torch.randn(1, 3, 10), state=one)
    tokens = {"vocab_size": 9, "pad_token_id": 0, "ngram_buckets": 7, "ngram_width": 2}
    pairs, triples = (RNNForSequenceClassification(RNNConfig(**tokens, ngram_order=order)) for order in (2, 3))
    state = pairs(torch.tensor([[1, 2]]), use_cache=True).state
    with pytest.raises(
        ValueError, match="needs previous_ids of the steps read so far, which this state does not hold"
    ):
        triples(torch.tensor([[1, 2]]), state=state)
