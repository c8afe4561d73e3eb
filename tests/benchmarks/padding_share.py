"""How much of what is computed are real steps: training, evaluation and pipelines."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from loads import Load
from pipelines import by_pipeline, tiny_model
from real_data import Loads
from report import Aim, Section, Table
from trainer_loop import host_trainer

from transformers_rnn.evaluation import LengthOrderedTrainer

TEXTS = 2_000
INTRO = (
    "Real steps / computed steps, counted on the batches that reach the model, as `train_classifier` makes them. "
    'Training: those of `Trainer` with `train_sampling_strategy="group_by_length"`, over the whole training set; '
    "evaluation: those of `LengthOrderedTrainer`, which reads the longest first, over the whole test set. Pipelines: "
    f"{TEXTS:,} test items in random order, `batch_size=32`."
)


@dataclass(frozen=True)
class Share:
    """Steps of sequences, and steps that are computed for them."""

    real: int
    computed: int

    @property
    def ratio(self) -> float:
        """At best 1."""
        return self.real / self.computed


def section(loads: Loads) -> Section:
    """All three loads."""
    result = Section("Padding", INTRO)
    rows = []
    for load in loads.all:
        shares = _shares(load, loads)
        rows.append([load.name, *("-" if share is None else f"{share.ratio:.3f}" for share in shares.values())])
        if load is not loads.vectors:
            for name, share in shares.items():
                if share is not None:
                    what = f"{load.name}, {name}: real steps"
                    absolute = f"{share.real:,} of {share.computed:,}"
                    result.aims.append(Aim(what, "computed steps", share.ratio, absolute, at_least=0.95, unit=""))
    result.tables.append(Table("Real steps / computed steps", ["load", *shares], rows))
    return result


def _shares(load: Load, loads: Loads) -> dict[str, Share | None]:
    print(f"  {load.name}", flush=True)
    model = tiny_model(load)
    trainer = host_trainer(load, model, load.rows(load.epoch), train_sampling_strategy="group_by_length")
    evaluator = host_trainer(load, model, None, LengthOrderedTrainer, per_device_eval_batch_size=load.batch_size)
    name = "input_features" if load.is_vectors else "input_ids"
    test = Dataset.from_dict({name: load.read(load.raw_test)})
    shares: dict[str, Share | None] = {
        "training": real_share(batch["attention_mask"] for batch in trainer.get_train_dataloader()),
        "evaluation": real_share(batch["attention_mask"] for batch in evaluator.get_eval_dataloader(test)),
    }
    for task in ("text-classification", "sequence-classification"):
        classify = by_pipeline(task, load, model)
        label = f'`pipeline("{task}")`'
        shares[label] = None if classify is None else _watched(model, classify, load.raw_test[:TEXTS])
    return shares


def _watched(model: torch.nn.Module, classify: Any, raw: list[Any]) -> Share:
    """Run a pipeline and watch the masks that reach the model."""
    masks: list[torch.Tensor] = []
    hook = model.register_forward_pre_hook(
        lambda _, __, inputs: masks.append(inputs["attention_mask"]), with_kwargs=True
    )
    classify(raw)
    hook.remove()
    return real_share(masks)


def real_share(masks: Iterable[torch.Tensor]) -> Share:
    """Count masks (B, T): our model computes every row up to the longest of its batch."""
    real = computed = 0
    for mask in masks:
        lengths = mask.sum(dim=1)
        real += int(lengths.sum())
        computed += len(lengths) * int(lengths.max())
    return Share(real, computed)
