"""Training steps: ours against what everybody writes, what the careful write, and the best by hand."""

from measure import Contender, interleave
from real_data import Loads
from report import Aim, Section, Table, figure, seconds
from textbook import CELLS, adamw, loss_of, same_weights, step

from transformers_rnn.denormals import flush_denormals, restore_denormals
from transformers_rnn.freed_memory import return_freed_memory

NAMES = {
    "a": "(a) padded `nn.{}`, random batches",
    "b": "(b) `pack_padded_sequence`, random batches",
    "c": "(c) by hand: like lengths, fused kernels, flushed",
    "ours": "ours, batches of like length",
}
PARTS = 5  # batches of a window in a round; all rounds together read half of the window
AIMS = {"LSTM": (10, 3), "GRU": (5, 2), "RNN": (5, 2)}  # on long text: against (a), against (b)

INTRO = (
    "One step: forward, loss, backward, optimizer (fused AdamW, as `Trainer` has it), from the same weights (torch's "
    "default initialisation), classifying from the last outputs. Seconds are per 1,000 sequences, so that padding "
    "counts. All read the same window of sequences: (a) and (b) in random batches, (c) and ours in the batches that "
    "`group_by_length` makes of it. (a) and (b) run with denormals as torch leaves them, (c) flushes them from "
    "outside, ours by itself."
)


def section(loads: Loads) -> Section:
    """All three loads, all three cells."""
    result = Section("Training steps", INTRO)
    against_b = {}
    for load in loads.all:
        rows = []
        for cell in CELLS:
            times = _times(load, cell, loads)
            rows.append(
                [cell, *(seconds(times[key]) for key in NAMES), *(figure(times[key] / times["ours"]) for key in "abc")]
            )
            absolute = {key: f"{seconds(times['ours'])} against {seconds(times[key])}" for key in "ab"}
            if load is loads.long:
                for key, aim in zip("ab", AIMS[cell], strict=True):
                    what = f"{load.name}, {load.model}, {cell}: training"
                    ratio = times[key] / times["ours"]
                    name = NAMES[key].format(cell)
                    result.aims.append(Aim(what, name, ratio, f"{absolute[key]} per 1,000", at_least=aim))
            else:
                against_b[f"{load.name}, {cell}"] = (times["b"] / times["ours"], absolute["b"])
        columns = ["cell", "(a)", "(b)", "(c)", "ours", "(a) / ours", "(b) / ours", "(c) / ours"]
        result.tables.append(Table(f"{load.name}: {load.model}, B {load.batch_size}", columns, rows, _key(load)))
    worst = min(against_b, key=lambda name: against_b[name][0])
    ratio, absolute = against_b[worst]
    what = f"Short loads, training: the worst of {len(against_b)} ({worst})"
    result.aims.append(Aim(what, NAMES["b"], ratio, f"{absolute} per 1,000", at_least=1))
    return result


def _key(load) -> str:
    return f"Per 1,000 sequences. {'; '.join(NAMES.values()).format('LSTM')}. {len(load.grouped_batches)} batches."


def _times(load, cell: str, loads: Loads) -> dict[str, float]:
    """Seconds per 1,000 sequences of each contender."""
    print(f"  {load.name}, {cell}", flush=True)
    slow = 1 if load is loads.long else PARTS  # a step of (a) takes ten seconds there
    contenders = {}
    for key, model in zip(NAMES, same_weights(load, cell), strict=True):
        by_length = key in ("c", "ours")
        batches = load.grouped_batches if by_length else load.random_batches
        count = PARTS if by_length else slow
        rounds = [
            [load.batch(indices) for indices in load.spread(batches, count, index, loads.rounds)]
            for index in range(loads.rounds)
        ]
        contenders[key] = _contender(model, rounds, flushed=key == "c")
    return interleave(contenders, loads.rounds)


def _contender(model, rounds: list, flushed: bool) -> Contender:
    optimizer = adamw(model)
    prepare = flush_denormals if flushed else restore_denormals
    prepare()
    for _ in range(3):
        step(model, optimizer, rounds[0][-1].cut(16))

    def before(index: int) -> None:
        restore_denormals()
        return_freed_memory()
        prepare()
        loss_of(model, rounds[index][-1].cut(16)).backward()  # wakes the threads
        optimizer.zero_grad()

    def run(index: int) -> float:
        for batch in rounds[index]:
            step(model, optimizer, batch)
        return sum(len(batch.labels) for batch in rounds[index]) / 1000

    return Contender(run, before)
