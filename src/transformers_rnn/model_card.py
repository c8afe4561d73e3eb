"""What the run saw -> the directory's `README.md`, with metadata that the hub can read."""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from .model_card_sections import (
    calibration_section,
    data_section,
    describe_hardware,
    energy_text,
    hints,
    label_names,
    picture,
    problem_of,
    results_section,
    step_text,
    training_section,
    usage_section,
    what_section,
)

__all__ = ["describe_hardware", "write_model_card"]

TEMPLATE = Path(__file__).with_name("model_card_template.md")
TRAINING_KEYS = ("arguments", "seconds", "command")
CALIBRATION_KEYS = ("temperature", "thresholds", "abstain_below", "coverage", "slopes", "fitted_on")
HUB_TASKS = ("text-classification",)  # of ours; it has none for vectors but the forecasting of time series
HUB_METRICS = {  # where names differ
    "subset_accuracy": "accuracy",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "matthews": "matthews_correlation",
}
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
    stride: int = 1,
    deltas: bool = False,
    limits: str = "",
    tags: Sequence[str] = (),
    language: str | None = None,
    license: str | None = None,
    split: str | None = None,
    label_counts: Mapping[str, Mapping[str, int]] | None = None,
    dataset_notes: str = "",
    intervals: Mapping[str, tuple[float, float]] | None = None,
    calibration: Mapping[str, Any] | None = None,
    pictures: Mapping[str, str] | None = None,
    seed: int | None = None,
    hardware: str | None = None,
    watts: float | None = None,
    energy: float | None = None,
    energy_method: str | None = None,
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
        stride: steps of vectors that the feature extractor joins to one.
        deltas: whether it adds to each step its change from the step before.
        limits: what the model should not be trusted with.
        tags: hub tags besides the package's own.
        language: code of the texts' language, such as `"en"`.
        license: of the model, as the hub spells it, such as `"apache-2.0"`.
        split: of the data, which the metrics are of, such as `"test"`.
        label_counts: split -> label -> number of examples.
        dataset_notes: how the data was split, what was left out.
        intervals: name of a metric -> both ends of its 95 % interval.
        calibration: any of `temperature`, `thresholds` (L,), `abstain_below`, `fitted_on` (a split), and `coverage`:
            (probability below which there is no answer, share answered, share right among these), each from 0 to 1;
            of regression `slopes` (L,), see [`calibration_slopes`].
        pictures: name of a file in the directory -> what it shows.
        seed: of the run.
        hardware: that was trained on, see `describe_hardware`.
        watts: the power to estimate the energy from, if you know it.
        energy: in Wh, if it was measured or estimated otherwise; says how in `energy_method`.
        energy_method: such as `"measured with RAPL"`.

    Returns:
        The path of the card.

    Raises:
        NotADirectoryError: the directory does not exist.
        FileNotFoundError: a picture is not in the directory.
        TypeError: a metric is not a number.
        ValueError: `training` or `calibration` has a key that has no place in the card, an interval of no metric,
            thresholds that are not one for each label, `energy` without its method or beside `watts`.
    """
    path = Path(directory) / "README.md"
    training, calibration, intervals, pictures = training or {}, calibration or {}, intervals or {}, pictures or {}
    _check(path.parent, metrics, intervals, pictures)
    _check_keys("training", training, TRAINING_KEYS)
    _check_keys("calibration", calibration, CALIBRATION_KEYS)
    _check_energy(watts, energy, energy_method, training.get("seconds"))
    labels = [] if problem_of(config) == "regression" else label_names(config)
    if len(calibration.get("thresholds") or labels) != len(labels):
        raise ValueError(f"thresholds must be one for each of {len(labels)} labels, got {calibration['thresholds']}")
    width = config.input_size // (stride * (2 if deltas else 1))
    figures = {name: float(value) for name, value in metrics.items()}
    task = "sequence-classification" if config.vocab_size is None else "text-classification"
    data = ModelCardData(
        language=language,
        license=license,
        library_name="transformers",
        pipeline_tag=task if task in HUB_TASKS else None,
        tags=["transformers-rnn", config.cell_type, *([] if task in HUB_TASKS else [task, "time-series"]), *tags],
        datasets=[dataset_id] if dataset_id else None,
        **_measured(figures, intervals, task, model_name or title, dataset_name, dataset_id or dataset_name, split),
    )
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        title=title,
        what=what_section(config, description, num_parameters, step_text(width, stride, deltas)),
        usage=usage_section(task, model_name or ".", example_input, config, width),
        hints=hints(path.parent, config),
        data=data_section(dataset_name, dataset_license, dataset_sizes, label_counts, dataset_notes),
        training=training_section(
            **training,
            seed=seed,
            hardware=hardware,
            energy=energy_text(training.get("seconds"), watts, energy, energy_method),
        ),
        results=results_section(figures, intervals, labels, split, [picture(*pair) for pair in pictures.items()]),
        calibrated="Probabilities" if labels else "Calibration",
        calibration=calibration_section(labels, **calibration) if labels or calibration.get("slopes") else "",
        limits=limits or UNKNOWN_LIMITS,
    )
    card.text += "\n"
    card.save(path)
    return path


def _check(directory: Path, metrics: Mapping[str, Any], intervals: Mapping[str, Any], pictures: Iterable[str]) -> None:
    if not directory.is_dir():
        raise NotADirectoryError(f"the card goes into a saved model's directory, but there is none at {directory}")
    for name, value in metrics.items():
        if not hasattr(value, "__float__"):
            raise TypeError(f"metrics must be numbers, got {name}={value!r}")
    strange = sorted(set(intervals) - set(metrics))
    if strange:
        raise ValueError(f"intervals must be of the metrics {', '.join(metrics)}, got also {', '.join(strange)}")
    missing = [name for name in pictures if not (directory / name).is_file()]
    if missing:
        raise FileNotFoundError(f"pictures must be files in {directory}, but there is no {', '.join(missing)}")


def _check_keys(name: str, given: Mapping[str, Any], allowed: Sequence[str]) -> None:
    unknown = sorted(set(given) - set(allowed))
    if unknown:
        raise ValueError(f"{name} may hold {', '.join(allowed)}, got also {', '.join(unknown)}")


def _check_energy(watts: float | None, energy: float | None, method: str | None, seconds: float | None) -> None:
    if (energy is None) != (method is None):
        raise ValueError(f"energy in Wh and energy_method go together, got {energy} and {method!r}")
    if watts is not None and (energy is not None or seconds is None):
        raise ValueError("watts need training['seconds'] for an estimate, and no energy beside it")


def _measured(
    figures: dict[str, float],
    intervals: Mapping[str, tuple[float, float]],
    task: str,
    model_name: str,
    dataset_name: str,
    dataset_type: str,
    split: str | None,
) -> dict[str, Any]:
    """The metadata of the figures and their intervals; the hub's JSON cannot hold a number that is not finite."""
    results = [
        EvalResult(
            task_type=task,
            task_name=task.replace("-", " ").title(),
            dataset_type=dataset_type,
            dataset_name=dataset_name,
            dataset_split=split,
            metric_type=_hub_metric(name),
            metric_name=name,
            metric_value=value,
            metric_args=_interval_arguments(intervals.get(name)),
        )
        for name, value in figures.items()
        if isfinite(value)
    ]
    if not results:
        return {}
    types = list(dict.fromkeys(result.metric_type for result in results))
    return {"metrics": types, "model_name": model_name, "eval_results": results}


def _interval_arguments(ends: tuple[float, float] | None) -> dict[str, Any] | None:
    if ends is None or not all(map(isfinite, ends)):
        return None
    return {"confidence_interval": [float(end) for end in ends], "confidence_level": 0.95}


def _hub_metric(name: str) -> str:
    """The hub knows one F1, whatever it is of."""
    for kind in ("f1", "precision", "recall"):
        if name.startswith(f"{kind}_") or name in {f"{mean}_{kind}" for mean in ("macro", "micro", "weighted")}:
            return kind
    return HUB_METRICS.get(name, name)
