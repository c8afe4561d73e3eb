"""The exported model answers as the model: alone, padded on either side, in any company, whole or in pieces."""

import itertools

import numpy as np
import onnxruntime
import pytest
import torch
from cases import CELLS, PAD, POOLINGS, VOCABULARY, Case, cases
from hypothesis import example, given
from hypothesis import strategies as st

from transformers_rnn import RNNConfig, RNNForSequenceClassification, RNNState
from transformers_rnn.onnx_builder import as_stored
from transformers_rnn.onnx_export import ROUGH, rounded
from transformers_rnn.onnx_graph import PAST, PRESENT, build_graph

TOLERANCE = 1e-5  # of the largest logit, or of 1


def session_of(model, with_state=False, storage="float32"):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    content = build_graph(model, with_state, storage).SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def feed(batch, mask, state=None):
    name = "input_ids" if batch.ndim == 2 else "input_features"
    past = {} if state is None else {PAST + key: np.asarray(value) for key, value in state.items()}
    return {name: batch.numpy(), "attention_mask": mask.numpy(), **past}


def excess(found, expected):
    expected = expected.numpy()
    return np.abs(found - expected).max() / max(1.0, np.abs(expected).max())


def random_case(cell, pooling, bidirectional, layers, tokens, seed):
    """A model with biases that are not zero, and sequences of random number and lengths."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    config = RNNConfig(
        cell_type=cell[0],
        nonlinearity=cell[1],
        input_size=3,
        hidden_size=4,
        num_hidden_layers=layers,
        bidirectional=bidirectional,
        pooling=pooling,
        num_labels=3,
        **({"vocab_size": VOCABULARY, "pad_token_id": PAD} if tokens else {}),
    )
    model = RNNForSequenceClassification(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    lengths = torch.randint(1, 20, (int(torch.randint(1, 6, (), generator=generator)),), generator=generator)
    read = (lambda n: torch.randint(4, VOCABULARY, (n,))) if tokens else (lambda n: torch.randn(n, 3))
    return Case(model, [read(int(length)) for length in lengths])


@pytest.mark.parametrize("cell", CELLS, ids=str)
@torch.no_grad()
def test_every_architecture(cell):
    choices = itertools.product(POOLINGS, [False, True], [1, 2], [False, True])
    for seed, (pooling, bidirectional, layers, tokens) in enumerate(choices):
        case = random_case(cell, pooling, bidirectional, layers, tokens, seed)
        runtime = session_of(case.model)
        alone = torch.stack([case.alone(sequence) for sequence in case.sequences])
        for side in ("left", "right"):
            found = runtime.run(["logits"], feed(*case.padded(side, extra=seed % 3)))[0]
            assert excess(found, alone) <= TOLERANCE, case
        assert excess(runtime.run(["logits"], feed(*Case(case.model, case.sequences[:1]).padded()))[0], alone[:1]) <= (
            TOLERANCE
        )


@given(case=cases() | cases(layer_norm=True), data=st.data())
@torch.no_grad()
def test_padding_order_and_company_change_nothing(case, data):
    runtime = session_of(case.model)
    alone = torch.stack([case.alone(sequence) for sequence in case.sequences])
    for side in ("left", "right"):
        batch, mask = case.padded(side, data.draw(st.integers(0, 5)))
        order = data.draw(st.permutations(range(len(batch))))
        assert excess(runtime.run(["logits"], feed(batch[order], mask[order]))[0], alone[order]) <= TOLERANCE


@given(case=cases(bidirectional=False) | cases(bidirectional=False, layer_norm=True), data=st.data())
@torch.no_grad()
def test_pieces_give_what_the_whole_gives(case, data):
    """Every row is cut at its own places, and some pieces have no step."""
    runtime, pieces = session_of(case.model, with_state=True), data.draw(st.integers(1, 4))
    cuts = [
        [0, *sorted(data.draw(st.lists(st.integers(0, len(one)), min_size=pieces, max_size=pieces))), len(one)]
        for one in case.sequences
    ]
    names = [one.name for one in runtime.get_outputs()]
    state = {name: value.numpy() for name, value in RNNState.initial(case.model.config, len(cuts)).items()}
    for piece in range(pieces + 1):
        parts = [one[cut[piece] : cut[piece + 1]] for one, cut in zip(case.sequences, cuts, strict=True)]
        batch, mask = Case(case.model, parts).padded(data.draw(st.sampled_from(["left", "right"])), 1)
        found = dict(zip(names, runtime.run(names, feed(batch, mask, state)), strict=True))
        state = {name.removeprefix(PRESENT): value for name, value in found.items() if name.startswith(PRESENT)}
    whole = case.call(*case.padded(), use_cache=True)
    assert excess(found["logits"], whole.logits) <= TOLERANCE
    for name, value in whole.state.items():
        np.testing.assert_allclose(state[name], value.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@torch.no_grad()
def test_a_row_that_never_had_a_step_changes_nothing(cell):
    for pooling, layer_norm in itertools.product(POOLINGS, [False, True]):
        model = RNNForSequenceClassification(RNNConfig(cell_type=cell, pooling=pooling, layer_norm=layer_norm)).eval()
        if layer_norm:
            torch.nn.init.normal_(model.rnn.layers[0].layer_norm.bias)
        runtime, state = session_of(model, with_state=True), RNNState.initial(model.config, 2)
        features, mask = torch.randn(2, 3, 10), torch.tensor([[0, 0, 0], [1, 1, 1]])
        expected = model(input_features=features, attention_mask=mask, state=state).logits
        assert excess(runtime.run(["logits"], feed(features, mask, state))[0], expected) <= TOLERANCE


@pytest.mark.parametrize("storage", ["float16", "bfloat16", "int8"])
@torch.no_grad()
def test_fewer_bits_round_the_weights_and_nothing_else(storage):
    for seed, cell in enumerate(CELLS):
        case = random_case(cell, "attention", bidirectional=True, layers=2, tokens=True, seed=seed)
        runtime, near = session_of(case.model, storage=storage), rounded(case.model, storage)
        found = runtime.run(["logits"], feed(*case.padded("left")))[0]
        assert excess(found, case.call(*case.padded()).logits) > 1e-6, "something was rounded"
        assert excess(found, near.rnn and Case(near, case.sequences).call(*case.padded()).logits) <= TOLERANCE


@torch.no_grad()
def test_int8_activations_are_near_for_any_depth_and_direction():
    """And their company matters, which is why nobody gets them without having asked."""
    moved = 0.0
    for bidirectional, layers, tokens in itertools.product([False, True], [1, 2], [False, True]):
        case = random_case(("lstm", "tanh"), "concat", bidirectional, layers, tokens, seed=layers)
        runtime = session_of(case.model, storage="int8_dynamic")
        found = runtime.run(["logits"], feed(*case.padded("left")))[0]
        assert excess(found, case.call(*case.padded()).logits) <= ROUGH
        alone = [runtime.run(["logits"], feed(*Case(case.model, [one]).padded()))[0] for one in case.sequences]
        moved = max(moved, np.abs(np.concatenate(alone) - found).max())
    assert TOLERANCE < moved <= ROUGH


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-3, 1e3))
@example(seed=0, scale=0.0078125)  # float16 does not hold the scales of such rows
def test_rounding_is_to_the_nearest_and_done_once(seed, scale):
    value = torch.randn(5, 7, generator=torch.Generator().manual_seed(seed)) * scale
    value[2] = 0
    for storage, error in (("float16", 2**-11), ("bfloat16", 2**-8), ("int8", 0.5 / 127)):
        stored = as_stored(value, storage)
        largest = value.abs().amax(dim=1, keepdim=True)
        assert ((stored - value).abs() <= error * largest * 1.001 + 1e-7).all()
        torch.testing.assert_close(as_stored(stored, storage), stored, rtol=1e-6, atol=0)
        assert torch.equal(as_stored(value[0], storage), value[0]), "a bias stays"


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_the_file_itself_answers_no_nonsense(cell, with_state):
    model = RNNForSequenceClassification(RNNConfig(cell_type=cell, vocab_size=9, pad_token_id=0)).eval()
    runtime, state = session_of(model, with_state), RNNState.initial(model.config, 1) if with_state else None
    holes = [([1, 2, 3], [1, 0, 1]), ([1, 2, 3], [0, 2, 0])]
    wrong = [([1, -1, 3], [1, 1, 1]), ([1, 9, 3], [1, 1, 1])]
    for ids, mask in holes + wrong + ([] if with_state else [([1, 2, 3], [0, 0, 0])]):
        message = "indices element out of data bounds" if (ids, mask) in wrong else "Invalid value/s in sequence_lens"
        with pytest.raises(Exception, match=message):
            runtime.run(["logits"], feed(torch.tensor([ids]), torch.tensor([mask]), state))
