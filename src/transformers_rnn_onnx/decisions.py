"""Logits -> labels and scores, as the pipelines of transformers-rnn give them."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

FUNCTIONS = ("softmax", "sigmoid", "none")
_PROBLEMS = {"threshold": ("multi_label_classification",), "abstain_below": ("single_label_classification", None)}


class Decisions:
    """What a config says of the answers.

    Args:
        config: The content of `config.json`.
        num_labels: L.
    """

    def __init__(self, config: Mapping[str, Any], num_labels: int) -> None:
        names = config.get("id2label") or {}
        self.labels = [names.get(str(index), f"LABEL_{index}") for index in range(num_labels)]
        self.problem_type: str | None = config.get("problem_type")
        self.temperature = config.get("temperature", 1.0)
        self.thresholds: list[float] | None = config.get("thresholds")
        self.abstain_below: float | None = config.get("abstain_below")

    def options(self, **given: Any) -> dict[str, Any]:
        """The choices of a call, checked; `""` stands for what was not given.

        Raises:
            ValueError: A choice out of its range, or one that does not fit the problem type.
        """
        choices = {name: value for name, value in given.items() if not (isinstance(value, str) and not value)}
        if choices.get("threshold") is True:
            choices["threshold"] = self.thresholds or 0.5
        for name in _PROBLEMS.keys() & choices.keys():
            self._check_score(name, choices[name])
        top_k = choices.get("top_k")
        if top_k is not None and (type(top_k) is not int or top_k < 1):
            raise ValueError(f"top_k must be a whole number of at least 1, or None for all labels, got {top_k!r}.")
        function = choices.get("function_to_apply")
        if function is not None and function not in FUNCTIONS:
            raise ValueError(f"function_to_apply must be one of {', '.join(FUNCTIONS)}, got {function!r}.")
        return choices

    def answers(self, logits: NDArray[Any], options: Mapping[str, Any]) -> list[Any]:
        """The answers to some sequences, best label first by the logits themselves.

        Args:
            logits: (B, L), float32.
            options: Of `options`.

        Raises:
            FloatingPointError: Logits that are not finite.
        """
        function, threshold = options.get("function_to_apply") or self._usual_function(), options.get("threshold")
        best = "top_k" not in options and threshold is None
        ranked = np.argsort(-logits, axis=-1, kind="stable")[:, : 1 if best else None]
        temperature = 1.0 if function == "none" else self.temperature
        scores = _scores(function, logits / np.float32(temperature))
        limit = options.get("abstain_below", self.abstain_below)
        limit = -math.inf if limit is None or function == "none" else limit
        given = np.ones_like(scores, bool) if threshold is None else scores > np.asarray(threshold, np.float32)
        rows = zip(ranked.tolist(), scores.tolist(), given.tolist(), strict=True)
        answers: list[Any] = []
        for indices, values, above in rows:
            answer = [{"label": self.labels[index], "score": values[index]} for index in indices if above[index]]
            if values[indices[0]] < limit:
                answer = [{"label": None, "score": values[indices[0]]}]
            answers.append(answer[0] if best else answer[: options.get("top_k")])
        return answers

    def _usual_function(self) -> str:
        several = self.problem_type == "multi_label_classification" or len(self.labels) == 1
        return "none" if self.problem_type == "regression" else "sigmoid" if several else "softmax"

    def _check_score(self, name: str, value: Any) -> None:
        several = name == "threshold"
        if value is not None and self.problem_type not in _PROBLEMS[name]:
            raise ValueError(
                f"{name} has no meaning for problem_type={self.problem_type!r}: threshold is for several labels "
                "at once, abstain_below for a single one."
            )
        numbers = np.asarray(0 if value is None else value, dtype=float)
        shapes = {(), (len(self.labels),) if several else ()}
        if numbers.shape not in shapes or not ((numbers >= 0) & (numbers <= 1)).all():
            wanted = "True, a score from 0 to 1 or one for each label" if several else "a score from 0 to 1"
            raise ValueError(f"{name} must be {wanted}, got {value!r}.")


def _scores(function: str, logits: NDArray[Any]) -> NDArray[Any]:
    if not np.isfinite(logits).all():
        raise FloatingPointError(
            f"The logits must be finite, got {logits[~np.isfinite(logits)][0]}: the states overflow. Shorten or scale "
            "the sequence, or train again."
        )
    if function == "softmax":
        grown = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return grown / grown.sum(axis=-1, keepdims=True)  # type: ignore[no-any-return]
    with np.errstate(over="ignore"):  # the score is 0 then, as it should be
        return 1 / (1 + np.exp(-logits)) if function == "sigmoid" else logits
