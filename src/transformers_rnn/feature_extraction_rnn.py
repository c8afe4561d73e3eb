"""Raw vectors -> checked, scaled, joined, padded tensors."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import BatchFeature, SequenceFeatureExtractor
from transformers.utils.generic import PaddingStrategy

from .feature_moments import FeatureMoments
from .number_arrays import add_deltas, check_finite, depth, to_float32, to_numpy


class SequenceVectorFeatureExtractor(SequenceFeatureExtractor):
    """Turns sequences of vectors, a (T_i, F) table each, into what a model of vectors reads.

    The order is: check, truncate, add deltas, scale with `(x - mean) / std`, join `stride` steps to one, pad. Padding
    is masked.

    Args:
        feature_size: F, width of one step.
        padding_value: Fills the steps after (or before) a shorter sequence, in scaled units.
        mean: F numbers, with `deltas` 2 F, subtracted from every step. `None`: nothing is subtracted. Learned by
            [`fit`].
        std: As many positive numbers, that every step is divided by. `None`: no division. Learned by [`fit`].
        max_length: Longer sequences are truncated to their first `max_length` steps. `None`: never, by default.
        sampling_rate: Steps per unit of time; kept for the reader, not used.
        padding_side: `"right"` or `"left"`.
        stride: k, steps that the model reads as one, side by side (Sak et al., 2015): (ceil(T_i / k), k F). A last
            group that is not full repeats its last step. A long series becomes short enough to learn.
        deltas: Whether each step x_t brings along x_t - x_(t-1), its change from the step before, F more numbers with
            scales of their own; 0 at the first step (Furui, 1986). Small changes of smooth series become visible.
        **kwargs: The host's, such as `return_attention_mask`.

    Raises:
        ValueError: A number out of its range, statistics that are not F numbers, or a misspelt name.
    """

    model_input_names = ["input_features", "attention_mask"]  # noqa: RUF012 - the host's own form

    def __init__(
        self,
        feature_size: int = 10,
        padding_value: float = 0.0,
        mean: list[float] | None = None,
        std: list[float] | None = None,
        max_length: int | None = None,
        sampling_rate: int = 1,
        padding_side: str = "right",
        stride: int = 1,
        deltas: bool = False,
        **kwargs: Any,
    ) -> None:
        _refuse_misspelt(kwargs)
        _check_positive("feature_size", feature_size)
        _check_positive("stride", stride)
        if max_length is not None:
            _check_positive("max_length", max_length)
        if padding_side not in ("right", "left"):
            raise ValueError(f"padding_side must be 'right' or 'left', got {padding_side!r}.")
        if not np.isfinite(padding_value):
            raise ValueError(
                f"padding_value must be a finite number, got {padding_value!r}. Padding is masked; use 0.0."
            )
        if not isinstance(deltas, bool):
            raise ValueError(f"deltas must be True or False, got {deltas!r}.")
        super().__init__(feature_size, sampling_rate, float(padding_value), padding_side=padding_side, **kwargs)
        self.max_length, self.stride, self.deltas = max_length, stride, deltas
        self.mean = _statistic("mean", mean, feature_size, deltas)
        self.std = _statistic("std", std, feature_size, deltas)

    @property
    def step_size(self) -> int:
        """F, or 2 F with `deltas`: the width of a scaled step."""
        return self.feature_size * (2 if self.deltas else 1)

    @property
    def input_size(self) -> int:
        """k F, or 2 k F with `deltas`: the width of what a model reads at once, its config's `input_size`."""
        return self.step_size * self.stride

    def fit(self, sequences: Iterable[Any]) -> Self:
        """Learn `mean` and `std` (of the population) of each feature, over all steps of all sequences.

        Call it on the training set only. A constant feature gets the deviation 1: it becomes 0.

        Args:
            sequences: (T_i, F) tables; a list, any other iterable (read once, one at a time), a `datasets` column.

        Returns:
            The extractor itself; `save_pretrained` keeps what it has learned.

        Raises:
            ValueError: No sequences, or one that [`__call__`] would refuse.
        """
        moments = FeatureMoments(self.step_size)
        for index, sequence in enumerate(sequences):
            moments.add(self._with_deltas(self._as_sequence(sequence, f"Sequence {index}")))
        if moments.steps == 0:
            raise ValueError("fit needs at least one sequence, got none. An iterator that was read before is empty.")
        deviation = moments.deviation
        if not np.isfinite(deviation).all():
            feature = int(np.argmin(np.isfinite(deviation)))
            raise ValueError(f"Feature {feature} spreads too far for float64 arithmetic. Rescale it before fit.")
        self.mean = moments.mean.tolist()
        self.std = np.where(deviation > 0, deviation, 1.0).tolist()
        return self

    def __call__(
        self,
        sequences: Any,
        padding: bool | str | PaddingStrategy = False,
        truncation: bool | None = None,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | None = None,
    ) -> BatchFeature:
        """Prepare one sequence (as a batch of one) or many.

        Args:
            sequences: A (T, F) table, or many: a (B, T, F) array or a list of (T_i, F) tables. Tables are numpy
                arrays, torch tensors or nested lists. With `feature_size=1` a plain series (T,) is one sequence.
            padding: `True` or `"longest"`, `"max_length"`, or `False`.
            truncation: Whether to cut sequences to their first `max_length` steps. `None`: if there is a `max_length`.
            max_length: In steps as they come; `None`: the extractor's.
            pad_to_multiple_of: Rounds the padded length up.
            return_attention_mask: Whether to return the mask (B, T). `None`: the extractor's choice, which is yes.
            return_tensors: `"pt"`, `"np"`, or `None` for lists of numpy arrays, one a sequence.

        Returns:
            `input_features`, float32 (B, T, input_size), and `attention_mask`, int32 (B, T), 1 on real steps.

        Raises:
            ValueError: No steps, a wrong rank, width or dtype, or a value that is not finite; with its place.
        """
        limit = self.max_length if max_length is None else max_length
        if limit is not None:
            _check_positive("max_length", limit)
        elif truncation:
            raise ValueError("truncation=True needs a max_length: pass it here, or to the extractor.")
        cut = None if truncation is False else limit
        features = [
            self.stack(self._scale(self._with_deltas(self._as_sequence(sequence, name)[:cut]), name))
            for name, sequence in self._named(sequences)
        ]
        batch = BatchFeature({self.model_input_names[0]: features})
        if not padding and return_tensors is None:
            if self.return_attention_mask if return_attention_mask is None else return_attention_mask:
                batch["attention_mask"] = [np.ones(len(each), dtype=np.int32) for each in features]
            return batch
        batch = self.pad(
            batch,
            padding=padding,
            max_length=None if limit is None else -(-limit // self.stride),
            pad_to_multiple_of=pad_to_multiple_of,
            return_attention_mask=return_attention_mask,
            return_tensors=return_tensors,
        )
        if return_tensors is None:
            batch = BatchFeature({name: list(rows) for name, rows in batch.items()})
        return batch

    def pad(self, processed_features: Any, *args: Any, **kwargs: Any) -> BatchFeature:
        """Pad prepared sequences as the host does; what collators ask for takes one pass, not one a sequence.

        Args:
            processed_features: Mappings with `input_features` (T_i, input_size) and other columns, or one.
            *args: The host's.
            **kwargs: The host's.
        """
        plain = not args and kwargs.get("padding", True) is True and kwargs.get("return_tensors") == "pt"
        if plain and not any(kwargs.get(name) for name in ("truncation", "pad_to_multiple_of")):
            columns = self._pad_at_once(processed_features, kwargs.get("return_attention_mask"))
            if columns is not None:
                return BatchFeature(columns, tensor_type="pt")
        return super().pad(processed_features, *args, **kwargs)

    def _pad_at_once(self, rows: Any, return_attention_mask: bool | None) -> dict[str, Any] | None:
        """The padded columns of float32 arrays without a surprise among them; else `None`."""
        if not isinstance(rows, (list, tuple)) or not rows or not isinstance(rows[0], Mapping):
            return None
        name = self.model_input_names[0]
        columns = {key: [row[key] for row in rows] for key in rows[0]}
        sequences, masks = columns.pop(name, [None]), columns.pop("attention_mask", None)
        if not all(isinstance(each, np.ndarray) and each.dtype == np.float32 for each in sequences):
            return None
        if not all(each.ndim == 2 and len(each) and each.shape[1] == self.input_size for each in sequences):
            return None
        longest = max(map(len, sequences))
        padded = np.full((len(rows), longest, self.input_size), self.padding_value, dtype=np.float32)
        mask = np.zeros((len(rows), longest), dtype=np.int32)
        for index, each in enumerate(sequences):
            real = slice(0, len(each)) if self.padding_side == "right" else slice(longest - len(each), longest)
            padded[index, real] = each
            mask[index, real] = 1 if masks is None else masks[index]
        numbers = (int, float, list, np.ndarray, np.generic)
        if not np.isfinite(padded).all() or not all(isinstance(x, numbers) for each in columns.values() for x in each):
            return None
        others = {key: np.asarray(values) for key, values in columns.items()}
        others = {key: x.astype(np.float32) if x.dtype == np.float64 else x for key, x in others.items()}
        wants_mask = self.return_attention_mask if return_attention_mask is None else return_attention_mask
        return {name: padded, **others, **({"attention_mask": mask} if wants_mask or masks is not None else {})}

    def prepare(
        self, sequence: Any, name: str = "The sequence", before: NDArray[Any] | None = None
    ) -> NDArray[np.float32]:
        """Check one sequence (T, F), add deltas and scale: what `__call__` does before it joins steps and pads.

        Args:
            sequence: As in `__call__`.
            name: What an error calls it.
            before: (T, F), the step before each, for deltas; `None`: the steps follow each other.

        Raises:
            ValueError: As in `__call__`.
        """
        return self._scale(self._with_deltas(self._as_sequence(sequence, name), before), name)

    def stack(self, steps: NDArray[Any]) -> NDArray[Any]:
        """Join each `stride` steps of (T, step_size) to one: (ceil(T / k), input_size)."""
        missing = -len(steps) % self.stride
        if missing:
            steps = np.concatenate([steps, np.repeat(steps[-1:], missing, axis=0)])
        return steps.reshape(-1, self.input_size)

    @staticmethod
    def is_batch(sequences: Any) -> bool:
        """Whether nested lists, arrays or tensors are many sequences (3 axes) and not one (2 axes, or 1)."""
        return depth(sequences) > 2

    def _named(self, sequences: Any) -> list[tuple[str, Any]]:
        """The single sequences, each with what an error calls it."""
        if isinstance(sequences, (str, bytes, Mapping)) or not isinstance(sequences, Iterable):
            raise ValueError(
                f"Sequences must be arrays, tensors or nested lists of numbers, got {type(sequences).__name__}. "
                "Pass the vectors themselves, for example batch['input_features']."
            )
        if not isinstance(sequences, (list, tuple, np.ndarray, torch.Tensor)):
            sequences = np.asarray(sequences) if hasattr(sequences, "__array__") else list(sequences)
        if not self.is_batch(sequences):
            return [("The sequence", sequences)]
        if len(sequences) == 0:
            raise ValueError("At least one sequence is needed, got an empty batch.")
        return [(f"Sequence {index}", sequence) for index, sequence in enumerate(sequences)]

    def _as_sequence(self, sequence: Any, name: str, prepared: bool = False) -> NDArray[Any]:
        """Return one sequence as an array (T_i, F) of finite numbers, or say why it is none."""
        width = self.input_size if prepared else self.feature_size
        wanted = f"{name} must have the shape (T, F) with F = feature_size = {self.feature_size}"
        wanted += " times 2 for deltas" if prepared and self.deltas else ""
        wanted += f" times stride = {self.stride}" if prepared and self.stride > 1 else ""
        several = " Several univariate series are a list of (T_i, 1) arrays." if width == 1 else ""
        try:
            array = to_numpy(sequence)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{wanted}, but its steps cannot be joined: {error}.{several}") from error
        if array.dtype.kind not in "biuf":
            raise ValueError(
                f"{name} must hold numbers, got dtype {array.dtype}. Encode or fill in other values first."
            )
        if array.shape[:1] == (0,):
            raise ValueError(f"{name} has no steps, but at least one is needed. Remove it.")
        if array.ndim == 1 and width == 1:
            array = array[:, None]
        if array.ndim == 1:
            raise ValueError(f"{wanted}, got {array.shape}. A single axis is a sequence only with feature_size=1.")
        if array.ndim != 2 or array.shape[1] != width:
            raise ValueError(
                f"{wanted}, got {array.shape}. Check the order of the axes (time before features) or build the "
                f"extractor with another feature_size.{several}"
            )
        check_finite(array, array, name, "Repair or remove missing values first.")
        return array

    def _with_deltas(self, values: NDArray[Any], before: NDArray[Any] | None = None) -> NDArray[Any]:
        return add_deltas(values, before) if self.deltas else values

    def _scale(self, values: NDArray[Any], name: str) -> NDArray[np.float32]:
        scaled = values  # in float64 as soon as a statistic joins in
        with np.errstate(over="ignore"):
            if self.mean is not None:
                scaled = scaled - np.asarray(self.mean, dtype=np.float64)
            if self.std is not None:
                scaled = scaled / np.asarray(self.std, dtype=np.float64)
        return to_float32(scaled, values, name)

    def _pad(
        self,
        processed_features: dict[str, Any] | BatchFeature,
        max_length: int | None = None,
        padding_strategy: PaddingStrategy = PaddingStrategy.DO_NOT_PAD,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
    ) -> Any:
        """Pad one sequence, also for collators. The host's own would pad both axes of (T, 1)."""
        name = self.model_input_names[0]
        values = self._as_sequence(processed_features[name], "A sequence of the batch", prepared=True)
        values = to_float32(values, values, "A sequence of the batch")
        steps = len(values)
        if return_attention_mask and "attention_mask" not in processed_features:
            processed_features["attention_mask"] = np.ones(steps, dtype=np.int32)
        length = steps
        if padding_strategy == PaddingStrategy.MAX_LENGTH and max_length is not None:
            length = max(steps, -(-max_length // (pad_to_multiple_of or 1)) * (pad_to_multiple_of or 1))
        real = slice(0, steps) if self.padding_side == "right" else slice(length - steps, length)
        padded = np.full((length, self.input_size), self.padding_value, dtype=np.float32)
        padded[real] = values
        processed_features[name] = padded
        if "attention_mask" in processed_features:
            mask = np.zeros(length, dtype=np.int32)
            mask[real] = processed_features["attention_mask"]
            processed_features["attention_mask"] = mask
        return processed_features


def _statistic(name: str, values: Iterable[float] | None, feature_size: int, deltas: bool) -> list[float] | None:
    """One number a feature, as the plain floats that JSON keeps."""
    if values is None:
        return None
    numbers = [float(value) for value in values]
    if len(numbers) != feature_size * (2 if deltas else 1):
        wanted = f"{feature_size} times 2 (deltas)" if deltas else str(feature_size)
        raise ValueError(f"{name} must hold feature_size = {wanted} numbers, got {len(numbers)}.")
    for feature, number in enumerate(numbers):
        if not np.isfinite(number) or (name == "std" and number <= 0):
            kind = "finite and positive" if name == "std" else "finite"
            raise ValueError(f"{name} must be {kind}, got {number} for feature {feature}. fit learns good values.")
    return numbers


def _check_positive(name: str, value: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}.")


def _refuse_misspelt(kwargs: dict[str, Any]) -> None:
    """The host keeps any other name as an attribute, so that a misspelt one would have no effect."""
    known = ["feature_size", "padding_value", "max_length", "sampling_rate", "padding_side", "stride"]
    known += ["deltas", "return_attention_mask"]
    for name in kwargs:
        meant = get_close_matches(name, known, n=1, cutoff=0.8)
        if meant and name not in known:
            raise ValueError(f"SequenceVectorFeatureExtractor has no argument {name!r}. Did you mean {meant[0]!r}?")
