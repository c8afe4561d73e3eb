"""Raw texts and arrays -> labels: the pipelines against reader + bare forward."""

from collections.abc import Callable
from typing import Any

import torch
from loads import Load
from measure import Contender, interleave
from real_data import Loads
from report import Aim, Section, Table, figure, seconds
from textbook import Padded, ours
from transformers import PreTrainedModel, pipeline

from transformers_rnn import RNNConfig, RNNForSequenceClassification
from transformers_rnn.denormals import restore_denormals

TEXTS = 2_000
BATCH = 32
BARE = "reader + bare forward, sorted by length"
IN_ORDER = "reader + bare forward, in the order given"
INTRO = (
    f"Raw items to labels, {BATCH} in a batch, one LSTM. The bare loop reads all items at once, pads batches of {BATCH} "
    "and takes the softmax of the logits: no pipeline can do with less. Both tasks give our models our "
    "own pipelines."
)


def section(loads: Loads) -> Section:
    """Sentences and vectors."""
    result = Section("Pipelines", INTRO)
    for load in (loads.short, loads.vectors):
        raw = (load.raw_test + load.raw)[:TEXTS]
        torch.manual_seed(0)
        model = ours(Padded(load, "LSTM")).eval()
        restore_denormals()
        contenders = {BARE: bare(load, model, by_length=True), IN_ORDER: bare(load, model, by_length=False)}
        for task in ("text-classification", "sequence-classification"):
            classify = by_pipeline(task, load, model)
            if classify is not None:
                contenders[f'`pipeline("{task}")`'] = classify
        times = _times(contenders, raw, loads.rounds)
        for name, each in times.items():
            if name.startswith("`pipeline"):
                what = f"{load.name}, {name}: {len(raw):,} items"
                absolute = f"{seconds(each)} against {seconds(times[BARE])} an item"
                result.aims.append(Aim(what, BARE, each / times[BARE], absolute))
        rows = [[name, seconds(each), f"{1 / each:,.0f}", figure(each / times[BARE])] for name, each in times.items()]
        columns = ["way", "an item", "items a second", "of the first"]
        result.tables.append(Table(f"{load.name}: {load.model}, {len(raw):,} items", columns, rows))
    return result


def tiny_model(load: Load) -> RNNForSequenceClassification:
    """The smallest model that reads this load, where only the batches matter."""
    sizes = {"vocab_size": load.vocab_size, "pad_token_id": load.pad_token_id} if not load.is_vectors else {}
    width = load.input_size if load.is_vectors else 4
    return RNNForSequenceClassification(
        RNNConfig(input_size=width, hidden_size=4, num_labels=load.num_labels, **sizes)
    )


def by_pipeline(task: str, load: Load, model: PreTrainedModel) -> Callable[[list[Any]], Any] | None:
    """The pipeline of a task as a function of raw items; `None` where it does not take this load."""
    if load.is_vectors and task == "text-classification":
        return None
    reader = {"feature_extractor" if load.is_vectors else "tokenizer": load.reader}
    options = {} if load.is_vectors else {"truncation": True}
    try:
        classify = pipeline(task, model=model, device="cpu", **reader)
    except (TypeError, ValueError) as refused:
        print(f"  {task} does not take {load.name} yet: {refused}", flush=True)
        return None
    return lambda raw: classify(raw, batch_size=BATCH, **options)


def bare(load: Load, model: PreTrainedModel, by_length: bool) -> Callable[[list[Any]], list[int]]:
    """Tokenizer or feature extractor, padding, forward, softmax; nothing else."""
    name = "input_features" if load.is_vectors else "input_ids"

    @torch.inference_mode()
    def classify(raw: list[Any]) -> list[int]:
        sequences = load.read(raw)
        order = sorted(range(len(raw)), key=lambda i: -len(sequences[i])) if by_length else list(range(len(raw)))
        labels = [0] * len(raw)
        for at in range(0, len(order), BATCH):
            indices = order[at : at + BATCH]
            batch = load.reader.pad({name: [sequences[index] for index in indices]}, return_tensors="pt")
            best = model(**batch).logits.softmax(-1).argmax(-1).tolist()
            for index, label in zip(indices, best, strict=True):
                labels[index] = label
        return labels

    return classify


def _times(contenders: dict[str, Callable[[list[Any]], Any]], raw: list[Any], rounds: int) -> dict[str, float]:
    def contender(classify: Callable[[list[Any]], Any]) -> Contender:
        def run(_: int) -> float:
            classify(raw)
            return len(raw)

        return Contender(run, before=lambda _: classify(raw[: 2 * BATCH]))

    return interleave({name: contender(classify) for name, classify in contenders.items()}, rounds)
