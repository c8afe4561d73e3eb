"""The logits after step t of one pass are those of the sequence cut after t steps; the loss on them is fair."""

import pytest
import torch
from cases import CELLS, POOLINGS, Case, cases
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from transformers_rnn import RNNConfig, RNNForSequenceClassification
from transformers_rnn.losses import classification_loss
from transformers_rnn.prefixes import prefix_loss


def cut_logits(case: Case, row: int) -> torch.Tensor:
    """(T_i, L), each prefix read on its own."""
    sequence = case.sequences[row]
    return torch.stack([case.alone(sequence[:steps]) for steps in range(1, len(sequence) + 1)])


def tables(case: Case, side: str, extra: int, **kwargs) -> list[torch.Tensor]:
    """(T_i, L) of each sequence, in one pass; nothing but zeros elsewhere."""
    batch, mask = case.padded(side, extra)
    logits = case.call(batch, mask, output_prefix_logits=True, **kwargs).prefix_logits
    assert not logits[mask == 0].any()
    return [table[real.bool()] for table, real in zip(logits, mask, strict=True)]


def excess(one, other):
    return ((one - other).abs().max() / other.abs().max()).item()


@given(case=cases(bidirectional=False, max_length=7), side=st.sampled_from(["left", "right"]), extra=st.integers(0, 3))
@torch.no_grad()
def test_one_pass_gives_what_every_cut_gives(case, side, extra):
    for row, table in enumerate(tables(case, side, extra)):
        assert excess(table, cut_logits(case, row)) <= 1e-6


@given(case=cases(bidirectional=False, dtype=torch.float64, max_length=7), side=st.sampled_from(["left", "right"]))
@torch.no_grad()
def test_in_float64_the_law_holds_to_the_last_digits(case, side):
    batch, mask = case.padded(side, 2)
    whole = case.call(batch, mask).logits
    for row, table in enumerate(tables(case, side, 2)):
        assert excess(table, cut_logits(case, row)) <= 1e-13
        assert excess(table[-1], whole[row]) <= 1e-13


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cell", CELLS, ids="-".join)
def test_gradients_are_those_of_the_cuts(cell, pooling, layers):
    torch.manual_seed(1)
    config = RNNConfig(
        cell_type=cell[0], nonlinearity=cell[1], pooling=pooling, num_hidden_layers=layers, input_size=3, hidden_size=5
    )
    model = RNNForSequenceClassification(config).double().eval()
    case = Case(model, [torch.randn(length, 3, dtype=torch.float64) for length in (6, 1, 4)])
    factors = [torch.randn(len(sequence), 2, dtype=torch.float64) for sequence in case.sequences]
    gradients = []
    for beliefs in (tables(case, "left", 1), [cut_logits(case, row) for row in range(3)]):
        model.zero_grad()
        sum((table * factor).sum() for table, factor in zip(beliefs, factors, strict=True)).backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-6, atol=1e-12, msg=name)


@given(case=cases(bidirectional=False, dtype=torch.float64), data=st.data())
@torch.no_grad()
def test_a_stream_in_pieces_has_the_same_prefixes(case, data):
    sequence = torch.cat(case.sequences)
    cut = data.draw(st.integers(1, len(sequence)))
    first = case.call(sequence[None, :cut], use_cache=True, output_prefix_logits=True)
    pieces = [first.prefix_logits[0]]
    if cut < len(sequence):
        rest = case.call(sequence[None, cut:], state=first.state, output_prefix_logits=True)
        pieces.append(rest.prefix_logits[0])
    whole = case.call(sequence[None], output_prefix_logits=True).prefix_logits[0]
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("factor", [1.0, 1e2, 1e4])
@pytest.mark.parametrize("state", [False, True])
def test_attention_scores_far_apart_cost_no_digits(factor, state):
    """With scores thousands apart, exponentials relative to the largest of all would be zero over zero."""
    torch.manual_seed(0)
    config = RNNConfig(pooling="attention", input_size=3, cell_type="gru")
    model = RNNForSequenceClassification(config).double().eval()
    with torch.no_grad():
        model.rnn.pooling.attention.context.weight.mul_(factor)
    features = torch.randn(4, 40, 3, dtype=torch.float64)
    before, start = (model(input_features=features[:, :9], use_cache=True).state, 9) if state else (None, 0)
    logits = model(input_features=features[:, start:], state=before, output_prefix_logits=True).prefix_logits
    cuts = [model(input_features=features[:, :end]).logits for end in range(start + 1, 41)]
    torch.testing.assert_close(logits, torch.stack(cuts, dim=1), rtol=1e-9, atol=1e-12)
    parameters = list(model.parameters())
    for one, other in zip(
        torch.autograd.grad(logits.sum(), parameters),
        torch.autograd.grad(torch.stack(cuts).sum(), parameters),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


PROBLEMS = ["single_label_classification", "multi_label_classification", "regression"]


def labels_of(problem_type: str, rows: int) -> torch.Tensor:
    if problem_type == "single_label_classification":
        return torch.randint(3, (rows,))
    return torch.randint(2, (rows, 3)).float() if problem_type.startswith("multi") else torch.randn(rows, 3)


@pytest.mark.parametrize("problem_type", PROBLEMS)
@given(lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5), seed=st.integers(0, 999))
def test_the_loss_is_the_mean_of_means_over_each_sequences_prefixes(problem_type, lengths, seed):
    torch.manual_seed(seed)
    choices = {} if problem_type == "regression" else {"focal_gamma": 1.5, "label_smoothing": 0.1}
    logits = torch.randn(len(lengths), max(lengths), 3, dtype=torch.float64)
    labels = labels_of(problem_type, len(lengths))
    alone = [
        torch.stack([classification_loss(row[t][None], label[None], problem_type, **choices) for t in range(n)]).mean()
        for row, label, n in zip(logits, labels, lengths, strict=True)
    ]
    found = prefix_loss(logits, labels, torch.tensor(lengths), problem_type, **choices)
    torch.testing.assert_close(found, torch.stack(alone).mean())


@pytest.mark.parametrize("share", [0.3, 1.0])
@pytest.mark.parametrize("problem_type", PROBLEMS)
def test_padding_and_accumulation_change_nothing(problem_type, share):
    """Parts of a step add up to the gradients of the whole, however they are padded."""
    torch.manual_seed(2)
    config = RNNConfig(
        input_size=3, num_labels=3, problem_type=problem_type, prefix_loss_weight=share, pooling="concat"
    )
    model = RNNForSequenceClassification(config).double().eval()
    case = Case(model, [torch.randn(length, 3, dtype=torch.float64) for length in (2, 9, 5, 1, 4)])
    labels = labels_of(problem_type, 5)
    count = labels.numel()
    batch, mask = case.padded("right", 2)
    whole = case.call(batch, mask, labels=labels)
    whole.loss.backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    total = 0.0
    for rows, side in (((0, 1), "left"), ((2, 3, 4), "right")):
        part = Case(model, [case.sequences[row] for row in rows])
        batch, mask = part.padded(side, 1)
        loss = part.call(batch, mask, labels=labels[list(rows)], num_items_in_batch=count).loss
        loss.backward()
        total += loss.item()
    assert total == pytest.approx(whole.loss.item())
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    assert whole.prefix_logits is None, "the loss alone does not return them"


def test_shares_of_the_loss():
    torch.manual_seed(3)
    config = RNNConfig(input_size=3, prefix_loss_weight=0.25)
    model = RNNForSequenceClassification(config).eval()
    features, labels = torch.randn(2, 4, 3), torch.tensor([0, 1])
    output = model(input_features=features, labels=labels, output_prefix_logits=True)
    last = functional.cross_entropy(output.logits, labels)
    every = functional.cross_entropy(output.prefix_logits.flatten(0, 1), labels.repeat_interleave(4))
    torch.testing.assert_close(output.loss, 0.75 * last + 0.25 * every)
    left_out = model(input_features=features, labels=torch.tensor([0, -100])).loss
    torch.testing.assert_close(left_out, model(input_features=features[:1], labels=labels[:1]).loss)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_time_for_all_prefixes_is_linear(pooling):
    """Counted in bytes that are kept for the backward pass, not in seconds."""
    model = RNNForSequenceClassification(RNNConfig(pooling=pooling, input_size=3)).eval()
    kept = []
    for steps in (200, 400):
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, s=sizes: s.append(t.nbytes) or t, lambda t: t):
            model(input_features=torch.randn(1, steps, 3), output_prefix_logits=True)
        kept.append(sum(sizes))
    assert kept[1] <= 2.05 * kept[0]


def test_a_model_of_both_directions_refuses_with_the_reason():
    model = RNNForSequenceClassification(RNNConfig(bidirectional=True))
    with pytest.raises(ValueError, match=r"its backward direction .* or leave out output_prefix_logits"):
        model(input_features=torch.randn(1, 3, 10), output_prefix_logits=True)


@pytest.mark.parametrize("pooling", ["attention", "concat"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_training_on_prefixes_compiles_without_a_graph_break(pooling):
    torch._dynamo.reset()
    torch.manual_seed(0)
    config = RNNConfig(
        input_size=3, prefix_loss_weight=1.0, pooling=pooling, problem_type="single_label_classification"
    )
    model = RNNForSequenceClassification(config).eval()
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
    inputs = {"input_features": torch.randn(2, 5, 3), "attention_mask": mask, "labels": torch.tensor([1, 0])}
    gradients = []
    for run in (torch.compile(model, fullgraph=True, backend="aot_eager"), model):
        model.zero_grad()
        run(**inputs).loss.backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
