"""The equations, one plain Python loop over the steps of one sequence at a time: no batch, no padding, no kernels."""

import torch
from torch import Tensor

from transformers_rnn import RNNForSequenceClassification


def step(cell: torch.nn.RNNBase, suffix: str, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """One step of one cell, h and c of shape (H,): the equations of torch's documentation."""
    w_ih, w_hh, b_ih, b_hh = (
        getattr(cell, f"{name}_l0{suffix}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    read, recalled = w_ih @ x + b_ih, w_hh @ h + b_hh
    if cell.mode == "RNN_TANH":
        return torch.tanh(read + recalled), c
    if cell.mode == "RNN_RELU":
        return torch.relu(read + recalled), c
    if cell.mode == "GRU":
        (r_x, z_x, n_x), (r_h, z_h, n_h) = read.chunk(3), recalled.chunk(3)
        r, z = torch.sigmoid(r_x + r_h), torch.sigmoid(z_x + z_h)
        return (1 - z) * torch.tanh(n_x + r * n_h) + z * h, c
    i, f, g, o = (read + recalled).chunk(4)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def run(cell: torch.nn.RNNBase, suffix: str, steps: list[Tensor]) -> list[Tensor]:
    h = c = steps[0].new_zeros(cell.hidden_size)
    states = []
    for x in steps:
        h, c = step(cell, suffix, x, h, c)
        states.append(h)
    return states


def ngram_numbers(ids: list[int], sizes: range) -> list[list[int]]:
    """For each step the numbers of the n-grams that end there, in whole numbers without a bound."""
    numbers = []
    before = [-1] * (sizes[-1] - 1) + ids
    for end in range(sizes[-1], len(before) + 1):
        numbers.append([])
        for size in sizes:
            number = size
            for token in before[end - size : end]:
                number = (number * 1_103_515_245 + token + 1) % (2**31 - 1)
            numbers[-1].append(number)
    return numbers


def ngram_rows(model: RNNForSequenceClassification, ids: Tensor) -> list[list[int]]:
    """For each step the rows of the n-grams of 2, 3, ... tokens that end there."""
    numbers = ngram_numbers(ids.tolist(), range(2, model.config.ngram_order + 1))
    return [[number % model.config.ngram_buckets for number in step] for step in numbers]


def bag_of(model: RNNForSequenceClassification, ids: Tensor) -> Tensor:
    """The sum of the vectors of the known n-grams that a sequence has, up to its end, by the root of their number."""
    bag, total, met = model.rnn.bag, 0.0 * model.rnn.bag.weight.sum(dim=0), set()
    known = {number: row for row, number in enumerate(bag.numbers.tolist()) if number >= 0}
    for step in ngram_numbers([*ids.tolist(), -1], range(1, model.config.bag_order + 1)):
        for number in step:
            if number in known and number not in met:
                met.add(number)
                total = total + bag.weight[known[number]]
    return total / max(1, len(met)) ** 0.5


def normalized(norm: torch.nn.LayerNorm, state: Tensor) -> Tensor:
    deviation = (state.var(correction=0) + norm.eps).sqrt()
    return (state - state.mean()) / deviation * norm.weight + norm.bias


def states_of(model: RNNForSequenceClassification, sequence: Tensor) -> tuple[Tensor, Tensor]:
    """Of one sequence (T_i,) or (T_i, F): all states (T_i, S) and the last output of each direction (S,)."""
    base = model.rnn
    steps = list(base.embeddings.embed_tokens(sequence)) if sequence.ndim == 1 else list(sequence)
    if model.config.ngram_order > 1:
        ngrams = base.embeddings.ngrams.weight
        steps = [
            torch.cat([step, *ngrams[rows]]) for step, rows in zip(steps, ngram_rows(model, sequence), strict=True)
        ]
    for layer in base.layers:
        forward = run(layer.cell, "", steps)
        last = forward[-1]
        if layer.cell.bidirectional:
            backward = run(layer.cell, "_reverse", steps[::-1])
            last = torch.cat([last, backward[-1]])
            forward = [torch.cat(pair) for pair in zip(forward, backward[::-1], strict=True)]
        if model.config.layer_norm:
            forward = [normalized(layer.layer_norm, state) for state in forward]
            size = model.config.hidden_size
            last = torch.cat([forward[-1][:size], forward[0][size:]])
        steps = forward
    return torch.stack(steps), last


def pool(model: RNNForSequenceClassification, states: Tensor, last: Tensor) -> Tensor:
    kind = model.config.pooling
    if kind == "attention":
        score = model.rnn.pooling.attention
        u = torch.stack([torch.tanh(score.projection.weight @ h + score.projection.bias) for h in states])
        weights = torch.softmax(u @ score.context.weight[0], dim=0)
        return sum(w * h for w, h in zip(weights, states, strict=True))
    parts = {"last": last, "mean": states.mean(dim=0), "max": states.max(dim=0).values}
    return torch.cat(list(parts.values())) if kind == "concat" else parts[kind]


def logits_of(model: RNNForSequenceClassification, sequence: Tensor) -> Tensor:
    """The logits (L,) of one sequence."""
    pooled = pool(model, *states_of(model, sequence))
    if model.config.bag_order:
        pooled = torch.cat([pooled, bag_of(model, sequence)])
    return model.classifier.weight @ pooled + model.classifier.bias
