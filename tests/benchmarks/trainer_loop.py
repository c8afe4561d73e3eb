"""The host's `Trainer` end to end against the best loop by hand, at equal work."""

import tempfile
from typing import Any

from datasets import Dataset
from loads import Load
from measure import Contender, interleave
from real_data import Loads
from report import Aim, Section, Table, figure, seconds
from textbook import CELLS, adamw, loss_of, ours, same_weights
from torch import nn
from transformers import Trainer, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from transformers_rnn.denormals import flush_denormals, restore_denormals
from transformers_rnn.freed_memory import return_freed_memory

NAMES = ("(c) by hand", "`Trainer`, list of examples", "`Trainer`, table of `datasets`")
LONG_STEPS = 3
VECTOR_EPOCHS = 40
INTRO = (
    "From examples in memory to the last optimizer step: `Trainer.train()` with everything it sets up, against a plain "
    "loop over (c) that pads the same batches, makes the same steps (fused AdamW, gradients clipped at 1) and nothing "
    "else. Logging, saving and progress bars are off."
)


def section(loads: Loads) -> Section:
    """All three loads, all three cells."""
    result = Section("`Trainer` against the best loop by hand", INTRO)
    rows, ratios = [], {}
    for load in loads.all:
        for cell in CELLS:
            print(f"  {load.name}, {cell}", flush=True)
            steps, times = _times(load, cell, loads)
            hand, examples, table = (times[name] for name in NAMES)
            absolute = f"{seconds(examples)} against {seconds(hand)} for {steps} steps"
            ratios[f"{load.name}, {cell}"] = (examples / hand, absolute)
            cells = [seconds(hand), seconds(examples), seconds(table), figure(examples / hand), figure(table / hand)]
            rows.append([load.name, cell, steps, *cells])
    worst = max(ratios, key=lambda name: ratios[name][0])
    what = f"`Trainer` end to end: the worst of {len(ratios)} ({worst})"
    result.aims.append(Aim(what, NAMES[0], *ratios[worst], at_most=1.1))
    columns = ["load", "cell", "steps", *NAMES, "list / (c)", "table / (c)"]
    result.tables.append(Table("Seconds for equal steps", columns, rows))
    return result


def host_trainer(
    load: Load, model: nn.Module, examples: Any, kind: type[Trainer] = Trainer, **choices: Any
) -> Trainer:
    """A `Trainer` that does nothing but train, in the order of the examples unless told otherwise."""
    arguments = {
        "output_dir": tempfile.gettempdir(),
        "per_device_train_batch_size": load.batch_size,
        "num_train_epochs": 1,
        "learning_rate": 1e-3,
        "train_sampling_strategy": "sequential",
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "use_cpu": True,
    }
    trainer = kind(
        model=model,
        args=TrainingArguments(**(arguments | choices)),
        train_dataset=examples,
        processing_class=load.reader,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _times(load: Load, cell: str, loads: Loads) -> tuple[int, dict[str, float]]:
    """How many steps, and the seconds that each contender takes for them."""
    batches = load.spread(load.grouped_batches, LONG_STEPS, 0, 1) if load is loads.long else load.epoch
    epochs = VECTOR_EPOCHS if load is loads.vectors and not loads.quick else 1
    examples = load.rows(batches)
    datasets = {NAMES[1]: examples, NAMES[2]: Dataset.from_list(examples)}
    if load.is_vectors:
        datasets[NAMES[2]].set_format("numpy")
    padded, _, by_hand, _ = same_weights(load, cell)
    contenders = {NAMES[0]: _by_hand(load, by_hand, batches, epochs)}
    for name, dataset in datasets.items():
        contenders[name] = _by_trainer(load, padded, dataset, epochs)
    return len(batches) * epochs, interleave(contenders, loads.rounds)


def _by_hand(load: Load, model: nn.Module, batches: list[list[int]], epochs: int) -> Contender:
    def before(_: int) -> None:
        restore_denormals()
        return_freed_memory()
        flush_denormals()
        loss_of(model, load.batch(batches[-1])).backward()
        model.zero_grad()

    def run(_: int) -> None:
        optimizer = adamw(model)
        for _ in range(epochs):
            for indices in batches:
                loss_of(model, load.batch(indices)).backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                optimizer.zero_grad()

    return Contender(run, before)


def _by_trainer(load: Load, padded: nn.Module, dataset: Any, epochs: int) -> Contender:
    trainers: list[Trainer] = []

    def before(_: int) -> None:
        restore_denormals()
        return_freed_memory()
        trainers[:] = [host_trainer(load, ours(padded), dataset, num_train_epochs=epochs)]

    def run(_: int) -> None:
        trainers[0].train()

    return Contender(run, before)
