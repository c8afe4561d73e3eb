"""Checkpoints of an interrupted run: which one is whole, and whether it is of this run."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

import pyarrow as pa
from safetensors.torch import load_model
from transformers import Trainer, TrainerCallback, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

STATE = "trainer_state.json"  # the host writes it last
PARTS = ("config.json", "model.safetensors", "optimizer.pt", "scheduler.pt", STATE)
RUN = "run.json"

# Arguments that change how a run is watched or kept, not what it learns.
_INCIDENTAL = (
    "data_seed", "dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers",
    "dataloader_prefetch_factor", "disable_tqdm", "do_", "eval_accumulation_steps", "hub_", "include_", "log_",
    "logging_", "output_dir", "overwrite_", "per_device_eval_batch_size", "project", "push_to_hub", "report_to",
    "restore_callback", "resume_from_checkpoint", "run_name", "save_total_limit", "skip_memory_metrics", "trackio_",
)  # fmt: skip


def last_checkpoint(directory: str | Path) -> Path | None:
    """Return the newest checkpoint of a directory that is whole, and remove what was left half written.

    The host writes a checkpoint file by file into its final place. Whoever kills the process between the files leaves
    a directory that looks like the newest checkpoint and cannot be resumed from.
    """
    whole = []
    for path in Path(directory).glob("checkpoint-*"):
        number = re.fullmatch(r"checkpoint-(\d+)", path.name)
        if number is None or not path.is_dir():
            continue
        if _is_whole(path):
            whole.append((int(number.group(1)), path))
        else:
            shutil.rmtree(path)
    return max(whole)[1] if whole else None


def _is_whole(checkpoint: Path) -> bool:
    if not all((checkpoint / part).is_file() for part in PARTS) or not list(checkpoint.glob("rng_state*.pth")):
        return False
    try:
        json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def has_ended(checkpoint: Path, patience: int | None) -> bool:
    """Whether nothing was left to train after this checkpoint: the last step, or patience at its end."""
    state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    stopping = state["stateful_callbacks"].get("EarlyStoppingCallback", {})
    waited = stopping.get("attributes", {}).get("early_stopping_patience_counter", 0)
    return bool(state["global_step"] >= state["max_steps"] or (patience is not None and waited >= patience))


def describe_run(config: Any, arguments: TrainingArguments, data: str, **others: Any) -> dict[str, Any]:
    """What decides the weights a run ends with, as JSON has it."""
    fields = {name: value for name, value in config.to_dict().items() if name != "transformers_version"}
    chosen = {name: value for name, value in arguments.to_dict().items() if not name.startswith(_INCIDENTAL)}
    return json.loads(json.dumps({"data": data, **others, **chosen, **fields}, default=str))  # type: ignore[no-any-return]


def train_or_resume(trainer: Trainer, run: Mapping[str, Any], patience: int | None, resume: bool) -> None:
    """Train, from the last whole checkpoint of the same run if there is one; the best model is in the trainer then.

    Args:
        trainer: Of the host; `args.output_dir` is where checkpoints are.
        run: What decides the weights at the end, see [`describe_run`].
        patience: Evaluations without improvement until training stops; `None`: it does not.
        resume: Whether to go on from checkpoints; `False` removes them.

    Raises:
        ValueError: Checkpoints of another run, with what is different.
    """
    directory = Path(str(trainer.args.output_dir))
    told = trainer.args.resume_from_checkpoint
    if not resume:
        remove_checkpoints(directory)
    checkpoint = None if trainer.args.save_only_model else last_checkpoint(directory)
    claim_directory(directory, run, checkpoint is not None and told is None)
    if told is not None:
        checkpoint = Path(told)
    if checkpoint is None or not has_ended(checkpoint, patience):
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        return
    trainer.state = TrainerState.load_from_json(str(checkpoint / STATE))
    best = trainer.state.best_model_checkpoint if trainer.args.load_best_model_at_end else None
    load_model(trainer.model, Path(best or checkpoint) / "model.safetensors")  # type: ignore[arg-type]


def claim_directory(directory: Path, run: Mapping[str, Any], has_checkpoint: bool) -> None:
    """Write down which run a directory holds; refuse one that holds checkpoints of another.

    Raises:
        ValueError: Checkpoints of another run, with what is different.
    """
    path = directory / RUN
    if has_checkpoint:
        before = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        others = [name for name in sorted({*run, *before}) if run.get(name) != before.get(name)]
        if others:
            told = "; ".join(f"{name}: {before.get(name)!r} there, {run.get(name)!r} now" for name in others[:5])
            raise ValueError(
                f"{directory} holds checkpoints of another run, so training cannot go on from them ({told}). Run it "
                "as before to go on, pass resume=False to begin anew, or choose another output_dir."
            )
    directory.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".json.part")
    unfinished.write_text(json.dumps(run, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    os.replace(unfinished, path)


def remove_checkpoints(directory: Path) -> None:
    """Remove every checkpoint, whole or not, so that a run begins anew."""
    for path in directory.glob("checkpoint-*"):
        if re.fullmatch(r"checkpoint-\d+", path.name) and path.is_dir():
            shutil.rmtree(path)


def fingerprint(dataset: Any) -> str:
    """A number of the content of a table, the same in every process; of a stream only its kind."""
    if not hasattr(dataset, "with_format") or not hasattr(dataset, "__len__"):
        return type(dataset).__name__
    digest = sha256()
    for table in dataset.with_format("arrow").iter(batch_size=1000):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema.remove_metadata()) as writer:
            writer.write_table(table.replace_schema_metadata().combine_chunks())
        digest.update(sink.getvalue())
    return digest.hexdigest()


class Stopwatch(TrainerCallback, ExportableState):
    """Seconds of training, those before an interruption too.

    Args:
        seconds: Until now.
    """

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.since: float | None = None

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """Start."""
        self.since = perf_counter()

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        """Stop."""
        self.seconds, self.since = self.elapsed(), None

    def elapsed(self) -> float:
        """Seconds until now."""
        return self.seconds + (0.0 if self.since is None else perf_counter() - self.since)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"args": {"seconds": self.elapsed()}, "attributes": {}}


def seconds_of(trainer: Trainer) -> float:
    """Seconds of training of a trainer with a [`Stopwatch`]; resumed, the host puts another in its place."""
    watches = [callback for callback in trainer.callback_handler.callbacks if isinstance(callback, Stopwatch)]
    return watches[0].elapsed() if watches else 0.0
