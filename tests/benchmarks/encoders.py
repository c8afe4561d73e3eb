"""Against transformer encoders of the usual small sizes, in the same `pipeline` and the same `Trainer`."""

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import torch
from loads import Load
from measure import Contender, interleave
from pipelines import by_pipeline
from real_data import Loads
from report import Aim, Section, Table, figure, seconds
from textbook import Padded, ours
from trainer_loop import host_trainer
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
    TrainerCallback,
)

from transformers_rnn.denormals import restore_denormals

DISTILBERT, MINILM, OURS = "DistilBERT size", "MiniLM size", "ours (LSTM)"
FORWARD, TRAINING = "bare forward", "`Trainer`, a step"
TASKS = ("text-classification", "sequence-classification")
REPEATS = 8  # of ours, which would be too short for the clock
TEXTS = {"IMDb": 64, "SST-2": 320}  # in a pipeline
STEPS = {"IMDb": 1, "SST-2": 6}  # of Trainer, timed in a round
AIMS = {"SST-2": (100, 100), "IMDb": (15, 25)}  # in inference and in training, against DistilBERT size
INTRO = (
    "Encoders with random weights, of DistilBERT's size (`DistilBertConfig()`: 6 layers of 768) and MiniLM's (6 layers "
    "of 384, intermediate 1,536), vocabulary 30,522. All read the same ids of the same real texts. Bare forward: padded "
    "batches of like length. Pipelines: raw texts to labels, 32 in a batch; `sequence-classification` takes our models "
    "only and is compared with `text-classification` of the encoders. `Trainer`: the host's defaults, batches of like "
    "length, the first step left out."
)


def section(loads: Loads) -> Section:
    """Both text loads."""
    result = Section("Against transformer encoders", INTRO)
    for load in (loads.long, loads.short):
        models = _models(load, loads.quick)
        times = {FORWARD: _forward(load, models, loads.rounds)}
        for task in TASKS:
            each = _pipelines(load, models, task, loads.rounds)
            if each is not None:
                times[f'`pipeline("{task}")`'] = each
        times[TRAINING] = _training(load, models, loads.rounds)
        result.tables.append(_table(load, models, times))
        if load.name in AIMS:
            result.aims.extend(_aims(load, times))
    return result


def _table(load: Load, models: dict[str, PreTrainedModel], times: dict[str, dict[str, float]]) -> Table:
    rows = []
    for name, each in times.items():
        ratios = [figure(each[other] / each[OURS]) for other in (DISTILBERT, MINILM)]
        rows.append([name, *(seconds(each[other]) for other in models), *ratios])
    millions = [f"{model.num_parameters() / 1e6:.1f} M" for model in models.values()]
    columns = ["per sequence", *models, f"{DISTILBERT} / ours", f"{MINILM} / ours"]
    rows.append(["parameters", *millions, "", ""])
    return Table(f"{load.name}: {load.model}, B {load.batch_size}", columns, rows)


def _aims(load: Load, times: dict[str, dict[str, float]]) -> list[Aim]:
    inference, training = AIMS[load.name]
    bounds = {name: training if name == TRAINING else inference for name in times}
    model = f"{load.name}, {load.model}, LSTM"
    aims = []
    for name, each in times.items():
        absolute = f"{seconds(each[OURS])} against {seconds(each[DISTILBERT])} a sequence"
        aims.append(Aim(f"{model}: {name}", DISTILBERT, each[DISTILBERT] / each[OURS], absolute, bounds[name]))
    return aims


def _models(load: Load, quick: bool) -> dict[str, PreTrainedModel]:
    torch.manual_seed(0)
    shared = {"num_labels": load.num_labels, "pad_token_id": load.pad_token_id}
    distil = {"n_layers": 1, "dim": 32, "n_heads": 2, "hidden_dim": 64} if quick else {}
    mini = {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536, "num_attention_heads": 12}
    if quick:
        mini = {"hidden_size": 24, "num_hidden_layers": 1, "intermediate_size": 48, "num_attention_heads": 2}
    return {
        DISTILBERT: DistilBertForSequenceClassification(DistilBertConfig(**distil, **shared)),
        MINILM: BertForSequenceClassification(BertConfig(**mini, **shared)),
        OURS: ours(Padded(load, "LSTM")),
    }


def _forward(load: Load, models: dict[str, PreTrainedModel], rounds: int) -> dict[str, float]:
    """Seconds a sequence of a forward pass over batches that are padded already."""
    print(f"  {load.name}, {FORWARD}", flush=True)
    batches = [_inputs(load, index, rounds) for index in range(rounds)]

    def contender(model: PreTrainedModel, repeats: int) -> Contender:
        model.eval()

        @torch.inference_mode()
        def run(index: int) -> float:
            for inputs in batches[index] * repeats:
                model(**inputs)
            return sum(len(inputs["input_ids"]) for inputs in batches[index]) * repeats

        small = {name: tensor[:4, :16] for name, tensor in batches[0][0].items()}
        return Contender(run, before=lambda _: model(**small))

    restore_denormals()
    contenders = {name: contender(model, REPEATS if name == OURS else 1) for name, model in models.items()}
    return interleave(contenders, rounds)


def _inputs(load: Load, index: int, rounds: int) -> list[dict[str, torch.Tensor]]:
    chosen = load.spread(load.grouped_batches, STEPS[load.name], index, rounds)
    return [load.batch(indices).inputs() for indices in chosen]


def _pipelines(load: Load, models: dict[str, PreTrainedModel], task: str, rounds: int) -> dict[str, float] | None:
    """Seconds a text from raw text to label: the host's pipeline for the encoders, the task's for ours."""
    print(f"  {load.name}, {task}", flush=True)
    raw = load.raw_test[: TEXTS[load.name]]
    tasks = {DISTILBERT: TASKS[0], MINILM: TASKS[0], OURS: task}
    contenders = {}
    for name, model in models.items():
        classify: Callable[[list[Any]], Any] | None = by_pipeline(tasks[name], load, model.eval())
        if classify is None:
            return None
        contenders[name] = _over(classify, raw)
    restore_denormals()
    return interleave(contenders, rounds)


def _over(classify: Callable[[list[Any]], Any], raw: list[Any]) -> Contender:
    def run(_: int) -> float:
        classify(raw)
        return len(raw)

    return Contender(run, before=lambda _: classify(raw[:4]))


class _Clock(TrainerCallback):
    """Notes when each step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.ends.append(perf_counter())


def _training(load: Load, models: dict[str, PreTrainedModel], rounds: int) -> dict[str, float]:
    """Seconds a sequence of a training step in `Trainer`: from the end of the first step to that of the last."""
    print(f"  {load.name}, training", flush=True)

    def per_sequence(model: PreTrainedModel, index: int, repeats: int) -> float:
        restore_denormals()
        batches = load.spread(load.grouped_batches, STEPS[load.name], index, rounds) * repeats
        shortest = load.grouped_batches[-1]
        clock = _Clock()
        trainer = host_trainer(load, model, load.rows([shortest, *batches]))
        trainer.add_callback(clock)
        trainer.train()
        return (clock.ends[-1] - clock.ends[0]) / (len(batches) * load.batch_size)

    times: dict[str, list[float]] = {name: [] for name in models}
    for index in range(rounds):
        for name, model in models.items():
            times[name].append(per_sequence(model, index, REPEATS if name == OURS else 1))
    return {name: median(values) for name, values in times.items()}
