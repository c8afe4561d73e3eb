"""The sections of a model card as Markdown, each from what the run knows."""

import json
import os
import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any
from urllib.parse import quote

import torch

from .regularization import NOISE

PACKAGES = ("torch", "transformers", "datasets", "transformers-rnn")
PER_LABEL = ("precision", "recall", "f1")
LABELS, COVERAGES = 50, 10  # rows of a table that people still read
INTERVALS = (
    "The intervals say how far the choice of the examples moves a figure; another training run may move it further."
)
UNCALIBRATED = "They are as the model gives them: no temperature, no thresholds and no abstention were fitted."


def describe_hardware() -> str:
    """The processor that this process computes on, for the card's `hardware`: its name and how much of it is used."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    name, cores = platform.processor() or platform.machine(), os.cpu_count()
    processors = Path("/proc/cpuinfo")
    if processors.is_file():
        facts = dict(line.split(":", 1) for line in processors.read_text().splitlines() if ":" in line)
        name = {key.strip(): value.strip() for key, value in facts.items()}.get("model name", name)
    return f"{name}, {torch.get_num_threads()} of {cores} cores"


def what_section(config: Any, description: str, num_parameters: int | None, step: str) -> str:
    """What the model is; `step` says what a step of vectors is."""
    return "\n\n".join(filter(None, (description, _architecture(config, num_parameters, step), _answer(config))))


def step_text(width: int, stride: int, deltas: bool) -> str:
    """What a model of vectors reads at once."""
    changes = ", with their changes from the step before" if deltas else ""
    return f"vectors of {width} numbers a step{changes}{f', {stride} steps at once' if stride > 1 else ''}"


def _architecture(config: Any, num_parameters: int | None, step: str) -> str:
    direction = "bidirectional" if config.bidirectional else "unidirectional"
    layers = f"{config.num_hidden_layers} layer{'s' if config.num_hidden_layers > 1 else ''}"
    reads = step
    if config.vocab_size is not None:
        reads = f"token ids from a vocabulary of {config.vocab_size}, embedded in {config.input_size} numbers"
    if getattr(config, "ngram_order", 1) > 1:
        reads += (
            f", and n-grams of up to {config.ngram_order} tokens, each in {config.ngram_width} numbers from a table "
            f"of {config.ngram_buckets} rows"
        )
    if getattr(config, "bag_order", 0):
        reads += (
            f". Beside the recurrent layers, {config.bag_size} n-grams of up to {config.bag_order} tokens speak for "
            f"themselves, each by {config.bag_width} numbers, of which the classifier reads the sum by the root of "
            "how many of them a text has"
        )
    norm = ", outputs normalised" if getattr(config, "layer_norm", False) else ""
    noise = [f"`{name}` {getattr(config, name)}" for name in NOISE if getattr(config, name, 0)]
    trained = f" In training only: {', '.join(noise)}." if noise else ""
    size = "" if num_parameters is None else f" {num_parameters:,} parameters."
    return (
        f"A {direction} {config.cell_type.upper()} with {layers} of hidden size {config.hidden_size}{norm}, "
        f"`{config.pooling}` pooling over the steps and a linear classifier. It reads {reads}.{size}{trained}"
    )


def problem_of(config: Any) -> str:
    """The config's problem type, or what the host would take it for."""
    return config.problem_type or ("regression" if config.num_labels == 1 else "single_label_classification")


def _answer(config: Any) -> str:
    if problem_of(config) == "regression":
        return f"It answers with {config.num_labels} number{'s' if config.num_labels > 1 else ''}."
    choice = "any" if problem_of(config) == "multi_label_classification" else "one"
    names = label_names(config)
    more = f" and {len(names) - LABELS:,} more" if len(names) > LABELS else ""
    return f"It answers with {choice} of {len(names)} labels: {', '.join(f'`{n}`' for n in names[:LABELS])}{more}."


def label_names(config: Any) -> list[str]:
    return [str(config.id2label[index]) for index in sorted(config.id2label)]


def usage_section(task: str, model: str, example_input: str | None, config: Any, width: int) -> str:
    """The code that loads the model in a new process; `width` is F of vectors."""
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
        example = example_input or f'np.zeros((20, {width}), dtype="float32")'
    return "\n".join([*lines, f"print(classifier({example}))"])


def hints(directory: Path, config: Any) -> list[str]:
    """What else can be done with this very directory."""
    found = []
    if (directory / "modeling_rnn.py").is_file():
        found.append(
            "The code is in the repository too: without `transformers-rnn`, leave out its import and add "
            "`trust_remote_code=True` to the call of `pipeline`."
        )
    if not config.bidirectional:
        found.append(
            "It reads in one direction, so that a stream can be read in pieces: pass the model the `state` that its "
            "last output holds, and the logits are those of all that was read."
        )
    return found


def data_section(
    name: str,
    license: str | None,
    sizes: Mapping[str, int] | None,
    counts: Mapping[str, Mapping[str, int]] | None,
    notes: str,
) -> str:
    blocks = [f"{name} (licence: {license})." if license else f"{name}."]
    if sizes:
        blocks.append(_table(("split", "sequences"), sizes.items()))
    if counts:
        totals = sum(map(Counter, counts.values()), Counter[str]())
        labels = [label for label, _ in totals.most_common(LABELS)]
        blocks.append(_table(("label", *counts), ([n, *(part.get(n, 0) for part in counts.values())] for n in labels)))
        if len(totals) > LABELS:
            blocks.append(f"These are the {LABELS} most frequent of {len(totals):,} labels.")
    return "\n\n".join((*blocks, *filter(None, [notes])))


def training_section(
    *,
    arguments: Mapping[str, Any] | None = None,
    seconds: float | None = None,
    command: str | None = None,
    seed: int | None = None,
    hardware: str | None = None,
    energy: str = "",
) -> str:
    packages = ", ".join((f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in PACKAGES)))
    blocks = [f"With {packages}{'' if seed is None else f', from seed {seed}'}."]
    took = "" if seconds is None else f"It took {_duration(seconds)}{f' on {hardware}' if hardware else ''}."
    where = f"On {hardware}." if hardware and not took else ""
    blocks += filter(None, [" ".join(filter(None, [took, where, energy]))])
    if arguments:
        blocks.append(_table(("argument", "value"), arguments.items()))
    if command:
        blocks.append(f"```bash\n{command}\n```")
    return "\n\n".join(blocks)


def energy_text(seconds: float | None, watts: float | None, energy: float | None, method: str | None) -> str:
    """What is known of the energy, and how; nothing is made up."""
    if energy is not None:
        return f"Energy: {energy:.3g} Wh ({method})."
    if watts is not None and seconds is not None:
        return (
            f"Energy: about {seconds * watts / 3600:.3g} Wh, estimated as the time at a stated power of {watts:g} W, "
            "not measured."
        )
    return "" if seconds is None else "The energy was not measured."


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} seconds"
    minutes = seconds / 60
    return f"{minutes:.1f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


def results_section(
    figures: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]],
    names: Sequence[str],
    split: str | None,
    pictures: Iterable[str],
) -> str:
    """Figures of all, then figures of each label, then pictures."""
    of_label = {f"{kind}_{name}": (name, kind) for name in names for kind in PER_LABEL}
    whole = {name: value for name, value in figures.items() if name not in of_label}
    blocks = [f"On the `{split}` split."] if split and figures else []
    if whole and intervals:
        rows = ((name, _number(value), _interval(intervals.get(name))) for name, value in whole.items())
        blocks.append(_table(("metric", "value", "95 % interval"), rows))
    elif whole:
        blocks.append(_table(("metric", "value"), ((name, _number(value)) for name, value in whole.items())))
    each = {name: pair for name, pair in of_label.items() if name in figures}
    if each:
        kinds = [kind for kind in PER_LABEL if any(kind == found for _, found in each.values())]
        shown = {pair: _with_interval(figures[name], intervals.get(name)) for name, pair in each.items()}
        rows_of = ((name, *(shown.get((name, kind), "") for kind in kinds)) for name in names)
        blocks.append(_table(("label", *kinds), (row for row in rows_of if any(row[1:]))))
    blocks += [INTERVALS] if intervals else []
    return "\n\n".join((*(blocks or ["Not measured."]), *pictures))


def picture(name: str, caption: str) -> str:
    """A picture beside the card, its caption below it and as what is read aloud."""
    words = " ".join(caption.split())
    alternative = words.replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]")
    return f"![{alternative}]({quote(name)})\n\n*{words}*"


def calibration_section(
    names: Sequence[str],
    *,
    temperature: float | None = None,
    thresholds: Sequence[float] | None = None,
    abstain_below: float | None = None,
    coverage: Sequence[tuple[float, float, float]] | None = None,
    slopes: Sequence[float] | None = None,
    fitted_on: str | None = None,
) -> str:
    blocks = []
    where = f", fitted on the `{fitted_on}` split" if fitted_on else ""
    if temperature is not None:
        blocks.append(f"The logits are divided by a temperature of {temperature:.4g}{where}.")
    if slopes is not None:
        by = ", ".join(f"{slope:.4g}" for slope in slopes)
        blocks.append(f"The distance of an answer from the mean of the labels is multiplied by {by}{where}.")
    if thresholds is not None:
        blocks.append(f"A label is given from its own threshold on{where}:")
        pairs = list(zip(names, thresholds, strict=True))
        blocks.append(_table(("label", "threshold"), ((name, f"{value:.3f}") for name, value in pairs)))
    if abstain_below:
        blocks.append(f"Below a probability of {abstain_below:.4g} there is no answer instead of a doubtful one.")
    if coverage:
        step = max(1, -(-len(coverage) // COVERAGES))
        rows = ((f"{below:.3f}", f"{share:.1%}", f"{right:.1%}") for below, share, right in coverage[::step])
        blocks.append("What abstention would cost and bring:")
        blocks.append(_table(("no answer below", "answered", "right among the answered"), rows))
    return "\n\n".join(blocks) or UNCALIBRATED


def _number(value: float) -> str:
    return f"{value:.5g}" if isfinite(value) else "undefined"


def _interval(ends: tuple[float, float] | None) -> str:
    if ends is None:
        return ""
    return " to ".join(map(_number, ends)) if all(map(isfinite, ends)) else "undefined"


def _with_interval(value: float, ends: tuple[float, float] | None) -> str:
    short = f"{value:.3f}" if isfinite(value) else "undefined"
    return short if ends is None or not all(map(isfinite, ends)) else f"{short} ({ends[0]:.3f} to {ends[1]:.3f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    # A bar would end the cell, a line break the row.
    cells = ((" ".join(str(cell).split()).replace("|", "\\|") for cell in row) for row in (head, *rows))
    first, *others = (f"| {' | '.join(row)} |" for row in cells)
    return "\n".join((first, "|" + "---|" * len(head), *others))


def _literal(text: str) -> str:
    """The text in double quotes, as Python reads it."""
    return json.dumps(text, ensure_ascii=False)
