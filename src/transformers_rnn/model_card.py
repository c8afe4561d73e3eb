"""What the run saw -> the directory's `README.md`, with metadata that the hub can read."""

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

TEMPLATE = Path(__file__).with_name("model_card_template.md")
TRAINING_KEYS = ("arguments", "seconds", "command")
HUB_TASKS = ("text-classification",)  # of ours; it has none for vectors but the forecasting of time series
HUB_METRICS = {"subset_accuracy": "accuracy", "pearson": "pearsonr", "spearman": "spearmanr"}  # where names differ
UNKNOWN_LIMITS = "The figures hold for the data named above; how the model does on other data was not measured."


def write_model_card(
    directory: str | Path,
    *,
    title: str,
    dataset_name: str,
    metrics: Mapping[str, float],
    config: Any,
    model_name: str | None = None,
    description: str = "",
    dataset_id: str | None = None,
    dataset_license: str | None = None,
    dataset_sizes: Mapping[str, int] | None = None,
    num_parameters: int | None = None,
    training: Mapping[str, Any] | None = None,
    example_input: str | None = None,
    limits: str = "",
    tags: Sequence[str] = (),
    language: str | None = None,
    license: str | None = None,
) -> Path:
    """Write the model card of a saved directory, over any `README.md` that is there.

    Args:
        directory: where the model was saved.
        title: the heading.
        dataset_name: what people call the data.
        metrics: name -> value; what is not finite is shown as undefined and kept out of the metadata.
        config: the model's config; with a `vocab_size` the model reads text, without one vectors.
        model_name: what `from_pretrained` takes, such as a hub id; `None`: the example loads `"."`.
        description: a paragraph below the heading.
        dataset_id: the data's id on the hub, if it is there.
        dataset_license: the licence of the data.
        dataset_sizes: split -> number of sequences.
        num_parameters: of the whole model.
        training: any of `arguments` (name -> value), `seconds` and `command`.
        example_input: a text, or for vectors a Python expression for an array (T, F); `None`: a stand-in.
        limits: what the model should not be trusted with.
        tags: hub tags besides the package's own.
        language: code of the texts' language, such as `"en"`.
        license: of the model, as the hub spells it, such as `"apache-2.0"`.

    Returns:
        The path of the card.

    Raises:
        NotADirectoryError: the directory does not exist.
        TypeError: a metric is not a number.
        ValueError: `training` has a key that has no place in the card.
    """
    path = Path(directory) / "README.md"
    _check(path.parent, metrics, training or {})
    figures = {name: float(value) for name, value in metrics.items()}
    task = "sequence-classification" if config.vocab_size is None else "text-classification"
    data = ModelCardData(
        language=language,
        license=license,
        library_name="transformers",
        pipeline_tag=task if task in HUB_TASKS else None,
        tags=["transformers-rnn", config.cell_type, *([] if task in HUB_TASKS else [task, "time-series"]), *tags],
        datasets=[dataset_id] if dataset_id else None,
        **_measured(figures, task, model_name or title, dataset_name, dataset_id or dataset_name),
    )
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        title=title,
        what="\n\n".join(filter(None, (description, _architecture(config, num_parameters), _answer(config)))),
        data=_data(dataset_name, dataset_license, dataset_sizes),
        training=_training(**(training or {})),
        results=_results(figures),
        usage=_usage(task, model_name or ".", example_input, config),
        limits=limits or UNKNOWN_LIMITS,
    )
    card.text += "\n"
    card.save(path)
    return path


def _check(directory: Path, metrics: Mapping[str, Any], training: Mapping[str, Any]) -> None:
    if not directory.is_dir():
        raise NotADirectoryError(f"the card goes into a saved model's directory, but there is none at {directory}")
    for name, value in metrics.items():
        if not hasattr(value, "__float__"):
            raise TypeError(f"metrics must be numbers, got {name}={value!r}")
    unknown = sorted(set(training) - set(TRAINING_KEYS))
    if unknown:
        raise ValueError(f"training may hold {', '.join(TRAINING_KEYS)}, got also {', '.join(unknown)}")


def _measured(
    figures: dict[str, float], task: str, model_name: str, dataset_name: str, dataset_type: str
) -> dict[str, Any]:
    """The metadata of the figures; the hub's JSON cannot hold one that is not finite."""
    results = [
        EvalResult(
            task_type=task,
            task_name=task.replace("-", " ").title(),
            dataset_type=dataset_type,
            dataset_name=dataset_name,
            metric_type="f1" if "f1" in name.split("_") else HUB_METRICS.get(name, name),
            metric_name=name,
            metric_value=value,
        )
        for name, value in figures.items()
        if isfinite(value)
    ]
    if not results:
        return {}
    types = list(dict.fromkeys(result.metric_type for result in results))
    return {"metrics": types, "model_name": model_name, "eval_results": results}


def _architecture(config: Any, num_parameters: int | None) -> str:
    direction = "bidirectional" if config.bidirectional else "unidirectional"
    layers = f"{config.num_hidden_layers} layer{'s' if config.num_hidden_layers > 1 else ''}"
    reads = f"vectors of {config.input_size} numbers a step"
    if config.vocab_size is not None:
        reads = f"token ids from a vocabulary of {config.vocab_size}, embedded in {config.input_size} numbers"
    size = "" if num_parameters is None else f" {num_parameters:,} parameters."
    return (
        f"A {direction} {config.cell_type.upper()} with {layers} of hidden size {config.hidden_size}, "
        f"`{config.pooling}` pooling over the steps and a linear classifier. It reads {reads}.{size}"
    )


def _answer(config: Any) -> str:
    problem_type = config.problem_type or ("regression" if config.num_labels == 1 else None)
    if problem_type == "regression":
        return f"It answers with {config.num_labels} number{'s' if config.num_labels > 1 else ''}."
    choice = "any" if problem_type == "multi_label_classification" else "one"
    labels = ", ".join(f"`{config.id2label[index]}`" for index in sorted(config.id2label))
    return f"It answers with {choice} of {len(config.id2label)} labels: {labels}."


def _data(name: str, license: str | None, sizes: Mapping[str, int] | None) -> str:
    lines = [f"{name} (licence: {license})." if license else f"{name}."]
    if sizes:
        lines.append(_table("split", "sequences", sizes.items()))
    return "\n\n".join(lines)


def _training(
    arguments: Mapping[str, Any] | None = None, seconds: float | None = None, command: str | None = None
) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "transformers-rnn"))
    lines = [f"With {packages}." if seconds is None else f"With {packages}, in {seconds:.1f} seconds."]
    if arguments:
        lines.append(_table("argument", "value", arguments.items()))
    if command:
        lines.append(f"```bash\n{command}\n```")
    return "\n\n".join(lines)


def _results(figures: dict[str, float]) -> str:
    rows = ((name, f"{value:.5g}" if isfinite(value) else "undefined") for name, value in figures.items())
    return _table("metric", "value", rows) if figures else "Not measured."


def _table(left: str, right: str, rows: Iterable[tuple[str, Any]]) -> str:
    # A bar would end the cell, a line break the row.
    cells = ((" ".join(str(cell).split()).replace("|", "\\|") for cell in row) for row in rows)
    lines = (f"| {' | '.join(row)} |" for row in cells)
    return "\n".join((f"| {left} | {right} |", "|---|---|", *lines))


def _usage(task: str, model: str, example_input: str | None, config: Any) -> str:
    lines = [
        "import transformers_rnn  # registers the model with Transformers",
        "from transformers import pipeline",
        "",
        f"classifier = pipeline({_literal(task)}, model={_literal(model)})",
    ]
    if config.vocab_size is not None:
        example = _literal(example_input or "A text to classify.")
    else:
        lines[:0] = ["import numpy as np", ""]
        example = example_input or f'np.zeros((20, {config.input_size}), dtype="float32")'
    return "\n".join([*lines, f"print(classifier({example}))"])


def _literal(text: str) -> str:
    """The text in double quotes, as Python reads it."""
    return json.dumps(text, ensure_ascii=False)
