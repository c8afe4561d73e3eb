"""A saved classifier and labelled data -> a policy for answers before the end, in its config, pictures and card."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer
from transformers.utils import logging

from .earliness import (
    EarlinessCurve,
    EarlyResult,
    earliness_curve,
    evaluate_stopping,
    fit_stopping_policy,
    prefix_probabilities,
)
from .earliness_picture import draw_earliness
from .encoding import encode
from .feature_extraction_rnn import SequenceVectorFeatureExtractor
from .labelled_data import LabelledData, load_labelled_data
from .model_card_sections import picture
from .modeling_rnn import RNNForSequenceClassification
from .stopping import StoppingPolicy

logger = logging.get_logger(__name__)

PICTURE = "earliness.png"
HEADING = "## Answers before the end"


@dataclass(frozen=True)
class EarlyAnswers:
    """What [`fit_early_answers`] returns.

    Args:
        policy: That was chosen on the validation set.
        split: Which the results are of: the test set, or the validation set where there is none.
        early: How right and how early the policy's answers are.
        whole: The same of reading everything.
        curve: Accuracy against the share that was read.
    """

    policy: StoppingPolicy
    split: str
    early: EarlyResult
    whole: EarlyResult
    curve: EarlinessCurve


def fit_early_answers(
    directory: str | Path, data: Any, *, waiting_cost: float | None = 0.1, batch_size: int = 32, **options: Any
) -> EarlyAnswers:
    """Let a saved classifier answer before the end: fit a stopping policy, save and show it.

    The policy goes to `config.json` as `stopping_policy`, where a [`StreamingClassifier`] finds it; `earliness.png`
    and a section of the model card, where there is one, show what it costs and saves. A model that was trained with
    `bidirectional=False, prefix_loss_weight=0.5` has learned to be right early; any of one direction can be asked.

    Args:
        directory: Where the classifier was saved, as by [`train_classifier`].
        data: The [`LabelledData`] of the training (`train_classifier(..., refit=False).data`), or what
            [`load_labelled_data`] makes the same splits of; the validation set chooses, the test set shows.
        waiting_cost: See [`fit_stopping_policy`].
        batch_size: B, while the model reads.
        **options: Those of [`load_labelled_data`].

    Raises:
        ValueError: A model of both directions, of several labels or of regression, data without a validation set or
            with other labels than the model's.
    """
    directory = Path(directory)
    model = RNNForSequenceClassification.from_pretrained(directory)
    names = [model.config.id2label[index] for index in range(model.config.num_labels)]
    if model.config.bidirectional:
        raise ValueError(
            "A bidirectional model cannot answer before the end: its backward direction begins there. Train with "
            "bidirectional=False."
        )
    if not isinstance(data, LabelledData):
        data = load_labelled_data(data, **{"problem_type": model.config.problem_type, "label_names": names, **options})
    if list(data.label_names) != names or "validation" not in data.splits:
        raise ValueError(
            f"There must be a split 'validation' with the labels of the model, {names}, got the splits "
            f"{', '.join(data.splits)} with {list(data.label_names)}. Pass train_classifier(..., refit=False).data."
        )
    kind = AutoTokenizer if data.reads_text else SequenceVectorFeatureExtractor
    processor = kind.from_pretrained(directory)

    def beliefs(split: str) -> tuple[list[torch.Tensor], torch.Tensor]:
        rows = encode(data.splits[split], processor)
        tables = prefix_probabilities(model, rows, processor, batch_size)
        return tables, torch.tensor([int(row["labels"]) for row in rows])

    known = beliefs("validation")
    policy = fit_stopping_policy(*known, waiting_cost=waiting_cost)
    split = "test" if "test" in data.splits else "validation"
    shown = beliefs("test") if split == "test" else known
    found = EarlyAnswers(
        policy,
        split,
        evaluate_stopping(policy, *shown),
        evaluate_stopping(None, *shown),
        earliness_curve(*shown, policy),
    )
    model.config.stopping_policy = policy.to_dict()
    model.config.save_pretrained(directory)
    _show(directory, found)
    return found


def _show(directory: Path, found: EarlyAnswers) -> None:
    """Draw the curve, and put the section into the card in place of an earlier one."""
    shown = ""
    try:
        draw_earliness(found.curve, directory / PICTURE)
        shown = "\n\n" + picture(PICTURE, f"How right the answers are against how early they come, {found.split} set")
    except ModuleNotFoundError as error:
        logger.warning(f"No picture in {directory}: {error}")
    card = directory / "README.md"
    if card.exists():
        text = re.sub(rf"^{HEADING}\n.*?(?=^## |\Z)", "", card.read_text(encoding="utf-8"), flags=re.M | re.S)
        before, *after = text.partition("\n## Limits\n")
        section = f"{before.rstrip()}\n\n{HEADING}\n\n{_told(found)}{shown}\n"
        card.write_text(section + "".join(after), encoding="utf-8")


def _told(found: EarlyAnswers) -> str:
    """The policy in words, and a table of what it costs and saves."""
    policy, rows = found.policy, {"with this policy": found.early, "reading everything": found.whole}
    rule = f"The answer is given once a label has had a probability of at least {policy.threshold:.3g}"
    rule += f" for {policy.patience} steps in a row" if policy.patience > 1 else ""
    rule += f", but not before step {policy.min_steps}" if policy.min_steps > 1 else ""
    if policy.threshold > 1:
        rule = "On the validation set no answer before the end was worth its mistakes: everything is read"
    table = "\n".join(
        f"| {name} | {result.accuracy:.3f} | {result.earliness:.1%} | {result.mean_steps:.1f} | "
        f"{result.harmonic_mean:.3f} |"
        for name, result in rows.items()
    )
    return (
        f"{rule}. This was fitted on the `validation` split; `StreamingClassifier` follows it and tells "
        f"the `decision`. On the `{found.split}` split, with the harmonic mean of accuracy and the share that is not "
        "read:\n\n"
        f"| | accuracy | read | mean steps read | harmonic mean |\n|---|---|---|---|---|\n{table}"
    )
