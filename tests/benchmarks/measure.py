"""Time contenders side by side in one run: interleaved rounds, medians, and what the processor can do at all."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch
from torch import nn

ROUNDS = 5
GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "GRU": 3, "LSTM": 4}


@dataclass(frozen=True)
class Contender:
    """Something to be timed.

    Args:
        run: Takes the number of the round, does the work and says how many units it was (`None`: one).
        before: What has to be done before each run and is not timed; takes the number of the round too.
    """

    run: Callable[[int], float | None]
    before: Callable[[int], object] = lambda _: None


def interleave(contenders: Mapping[str, Contender], rounds: int = ROUNDS) -> dict[str, float]:
    """Run every contender once in every round, there and back, and return the median seconds a unit of each."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for index in range(rounds):
        order = list(contenders) if index % 2 == 0 else list(reversed(contenders))
        for name in order:
            contenders[name].before(index)
            begin = perf_counter()
            units = contenders[name].run(index)
            elapsed = perf_counter() - begin
            seconds[name].append(elapsed / (1 if units is None else units))
    return {name: median(values) for name, values in seconds.items()}


def repeated(run: Callable[[], object], at_least: float = 0.2) -> Contender:
    """A short run, repeated until it is long enough for the clock; a unit is one run.

    Each round begins with a run that is not timed, so that what another contender left (threads that still spin,
    cold caches) does not count.
    """
    run()
    begin = perf_counter()
    run()
    times = max(1, round(at_least / max(perf_counter() - begin, 1e-6)))

    def many(_: int) -> float:
        for _ in range(times):
            run()
        return times

    return Contender(many, before=lambda _: run())


def gemm(size: int = 2048) -> Contender:
    """The product of two square float32 matrices; a unit is one floating-point operation."""
    left, right = torch.randn(size, size), torch.randn(size, size)
    out = torch.empty(size, size)

    def run(_: int) -> float:
        torch.mm(left, right, out=out)
        return 2.0 * size**3

    return Contender(run, before=run)


def recurrent_flops(rnn: nn.RNNBase, steps: int) -> float:
    """Floating-point operations of the products in the forward direction of time; a training step has three times as many.

    Args:
        rnn: The layers.
        steps: How many real steps all sequences have together.
    """
    directions = 2 if rnn.bidirectional else 1
    widths = [rnn.input_size] + [rnn.hidden_size * directions] * (rnn.num_layers - 1)
    rows = GATES[rnn.mode] * rnn.hidden_size
    return 2.0 * steps * directions * sum(rows * (width + rnn.hidden_size) for width in widths)


def slope(sizes: list[float], costs: list[float]) -> float:
    """The exponent p of cost ~ size^p: least squares on logarithms. 1 is linear."""
    x, y = torch.tensor(sizes).double().log(), torch.tensor(costs).double().log()
    x = x - x.mean()
    return float((x * (y - y.mean())).sum() / (x * x).sum())
