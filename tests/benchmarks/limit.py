"""Against the limit: what share of the processor's matrix product the recurrent layers reach, and where the rest goes."""

import torch
from loads import Load
from measure import Contender, gemm, interleave, recurrent_flops
from real_data import Loads
from report import Aim, Section, Table, figure, seconds
from textbook import CELLS, Padded, adamw, loss_of, ours, step
from torch.profiler import ProfilerActivity, profile

from transformers_rnn.denormals import restore_denormals

PARTS = 5
TOP = 10
INTRO = (
    "Floating-point operations of the recurrent layers' products, over real steps only, divided by the time of the "
    "whole training step or forward pass (embedding, head, loss and optimizer included), over the rate of a 2048^3 "
    "float32 matrix product measured in the same rounds. Batches of like length of the long load."
)


def section(loads: Loads) -> Section:
    """The long load, all three cells; profiles of the LSTM."""
    result = Section("Against the limit of the machine", INTRO)
    load, rows = loads.long, []
    for cell in CELLS:
        print(f"  {cell}", flush=True)
        times = interleave(_contenders(load, cell, loads.rounds), loads.rounds)
        peak, training, inference = (1 / times[name] / 1e9 for name in ("gemm", "training", "inference"))
        rows.append([cell, *(figure(rate) for rate in (peak, training, training / peak, inference, inference / peak))])
        if cell == "LSTM":
            for what, rate, aim in (("training step", training, 0.6), ("inference", inference, 0.75)):
                absolute = f"{figure(rate)} of {figure(peak)} GFLOP/s"
                what = f"{load.name}, {load.model}, {cell}: {what}"
                result.aims.append(Aim(what, "a 2048^3 float32 GEMM", rate / peak, absolute, at_least=aim, unit=""))
    columns = ["cell", "GEMM, GFLOP/s", "training, GFLOP/s", "of GEMM", "inference, GFLOP/s", "of GEMM"]
    result.tables.append(Table(f"{load.name}: {load.model}, B {load.batch_size}", columns, rows))
    result.tables.extend(_profiles(load))
    return result


def _contenders(load: Load, cell: str, rounds: int) -> dict[str, Contender]:
    torch.manual_seed(0)
    model = Padded(load, cell)
    adopted = ours(model)
    optimizer = adamw(adopted)
    batches = [
        [load.batch(indices) for indices in load.spread(load.grouped_batches, PARTS, index, rounds)]
        for index in range(rounds)
    ]

    def flops(index: int) -> float:
        return recurrent_flops(model.rnn, sum(int(batch.lengths.sum()) for batch in batches[index]))

    def train(index: int) -> float:
        for batch in batches[index]:
            step(adopted, optimizer, batch)
        return 3 * flops(index)

    def infer(index: int) -> float:
        with torch.inference_mode():
            for batch in batches[index]:
                adopted(**batch.inputs())
        return flops(index)

    def wake(index: int) -> None:
        restore_denormals()
        adopted.train()
        loss_of(adopted, batches[index][-1]).backward()
        optimizer.zero_grad()

    def evaluate(index: int) -> None:
        adopted.eval()
        with torch.inference_mode():
            adopted(**batches[index][-1].inputs())

    return {"gemm": gemm(), "training": Contender(train, wake), "inference": Contender(infer, evaluate)}


def _profiles(load: Load) -> list[Table]:
    """The operators that take most time in a training step and in a forward pass."""
    torch.manual_seed(0)
    model = ours(Padded(load, "LSTM"))
    optimizer = adamw(model)
    batches = [load.batch(indices) for indices in load.spread(load.grouped_batches, PARTS, 0, 1)]
    step(model, optimizer, batches[0])
    with profile(activities=[ProfilerActivity.CPU]) as training:
        for batch in batches:
            step(model, optimizer, batch)
    model.eval()
    with profile(activities=[ProfilerActivity.CPU]) as inference, torch.inference_mode():
        for batch in batches:
            model(**batch.inputs())
    return [_top("LSTM, training step", training), _top("LSTM, inference", inference)]


def _top(title: str, profiled: profile) -> Table:
    operators = sorted(profiled.key_averages(), key=lambda operator: -operator.self_cpu_time_total)
    total = sum(operator.self_cpu_time_total for operator in operators)
    rows = [
        [
            f"`{operator.key}`",
            operator.count,
            seconds(operator.self_cpu_time_total / 1e6),
            f"{operator.self_cpu_time_total / total:.1%}",
        ]
        for operator in operators[:TOP]
    ]
    columns = ["operator", "calls", "its own time", "share"]
    return Table(f"Where the time goes: {title}", columns, rows, f"{PARTS} batches; torch.profiler.")
