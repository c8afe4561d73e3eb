"""On OpenVINO the exported model answers as the model, too: in any company, whole or in pieces."""

import itertools

import numpy as np
import openvino
import pytest
import torch
from cases import CELLS, PAD, POOLINGS, VOCABULARY

from transformers_rnn import RNNConfig, RNNForSequenceClassification, RNNState
from transformers_rnn.export_check import check_answers
from transformers_rnn.ngrams import MULTIPLIER, PRIME
from transformers_rnn.openvino_graph import OpenVINOGraph, build_openvino_graph

CHOICES = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}


def model_of(seed=0, **fields):
    """With biases that are not zero, and a padding token that has a vector."""
    torch.manual_seed(seed)
    model = RNNForSequenceClassification(RNNConfig(**{"input_size": 3, "hidden_size": 4, **fields})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
        if model.config.reads_tokens:
            model.get_input_embeddings().weight[model.config.pad_token_id] = 2.0
    return model


def compiled(model, with_state=False):
    core = openvino.Core()
    graph = core.read_model(build_openvino_graph(model, with_state).SerializeToString())
    return core.compile_model(graph, "CPU", CHOICES), [output.any_name for output in graph.outputs]


def worst(model, with_state=False):
    """The largest difference on random batches, padded on either side, and on streams in pieces."""
    program, names = compiled(model, with_state)
    return check_answers(model, lambda inputs: [one.copy() for one in program(inputs).to_tuple()], names)


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_every_architecture(cell):
    kinds = itertools.cycle([0, 1, 2, 3, 1])  # vectors, tokens, pairs of them, triples
    for seed, (pooling, bidirectional) in enumerate(itertools.product(POOLINGS, [False, True])):
        kind, fields = next(kinds), {}
        if kind:
            fields = {"vocab_size": VOCABULARY, "pad_token_id": PAD}
        if kind > 1:
            fields |= {"ngram_order": kind, "ngram_buckets": 50, "ngram_width": 2}
        layers, layer_norm = 1 + seed // 2 % 2, pooling in ("last", "mean")
        sizes = {"num_hidden_layers": layers, "layer_norm": layer_norm, "bidirectional": bidirectional}
        model = model_of(seed, cell_type=cell[0], nonlinearity=cell[1], pooling=pooling, **sizes, **fields)
        worst(model, with_state=not bidirectional)
        if pooling == "concat" and not bidirectional:
            worst(model)


@pytest.mark.parametrize("rows", [1, 50, 999, 77_777, 2**24 - 1])
def test_rows_of_ngrams_are_exact(rows):
    """Where each number on the way is beyond what float32 counts."""
    generator, vocabulary = np.random.default_rng(0), 30_000
    for size in (2, 3, 5):
        graph = OpenVINOGraph(model_of(vocab_size=vocabulary, pad_token_id=0), with_state=False)
        tokens = [graph.graph.input(f"token_{place}", np.int64, ("N",)) for place in range(size)]
        graph.graph.output("rows", graph.hash_ngrams(tokens, rows), np.int32, ("N",))
        content = graph.graph.finish("rows", {}).SerializeToString()
        program = openvino.Core().compile_model(openvino.Core().read_model(content), "CPU", CHOICES)
        ids = generator.integers(0, vocabulary + 1, (size, 5_000))
        number = np.full(5_000, size)
        for each in ids:
            number = (number * MULTIPLIER + each) % PRIME
        np.testing.assert_array_equal(program(dict(zip(tokens, ids, strict=True)))[0], number % rows)


@torch.no_grad()
def test_what_is_no_sequence_has_no_answer_and_its_company_has():
    for cell, with_state in itertools.product(["rnn", "gru", "lstm"], [False, True]):
        model = model_of(cell_type=cell, vocab_size=9, pad_token_id=0, pooling="concat")
        program, _ = compiled(model, with_state)
        ids = torch.tensor([[1, 2, 3], [1, 2, 3], [1, 2, 3], [1, -1, 3], [1, 9, 3], [9, 1, 2], [1, 2, 3]])
        mask = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 2, 0], [1, 1, 1], [1, 1, 1], [0, 1, 1], [0, 0, 0]])
        feed = {"input_ids": ids.numpy(), "attention_mask": mask.numpy()}
        if with_state:
            feed |= {f"past_{name}": value.numpy() for name, value in RNNState.initial(model.config, 7).items()}
        logits = torch.from_numpy(program(feed)["logits"])
        wrong = [1, 2, 3, 4] if with_state else [1, 2, 3, 4, 6]  # a stream may have no step
        assert logits.isnan().all(dim=1).nonzero().flatten().tolist() == wrong
        right = [0, 5]
        torch.testing.assert_close(logits[right], model(ids[right], mask[right]).logits)
