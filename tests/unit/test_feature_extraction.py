"""Raw vectors -> checked, scaled, padded tensors."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader
from transformers import BatchFeature, DataCollatorWithPadding, Trainer, TrainingArguments

from transformers_rnn.feature_extraction_rnn import SequenceVectorFeatureExtractor

MEAN, STD = [1.0, -2.0], [2.0, 0.5]
LENGTHS = (3, 5, 1)
SEQUENCES = [np.random.default_rng(length).normal(size=(length, 2)).astype(np.float32) for length in LENGTHS]


def extractor(**kwargs: Any) -> SequenceVectorFeatureExtractor:
    return SequenceVectorFeatureExtractor(**{"feature_size": 2, "mean": MEAN, "std": STD, **kwargs})


def scaled(sequence: Any) -> np.ndarray:
    return ((np.asarray(sequence, dtype=np.float64) - MEAN) / STD).astype(np.float32)


# What comes in


def object_array(items: list[Any]) -> np.ndarray:
    array = np.empty(len(items), dtype=object)
    array[:] = items
    return array


class ArrayLike:
    """What pandas, polars and others have in common."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return self.array

    def __iter__(self) -> Any:
        raise NotImplementedError  # a table may give its column names


ONE = SEQUENCES[0]
AS_ONE = {
    "array": ONE,
    "float64": ONE.astype(np.float64),
    "nested lists": ONE.tolist(),
    "tuples": tuple(map(tuple, ONE.tolist())),
    "list of rows": list(ONE),
    "tensor": torch.tensor(ONE),
    "tensor with gradient": torch.tensor(ONE, requires_grad=True),
    "list of tensors": list(torch.tensor(ONE)),
    "object array of rows": object_array(list(ONE)),
    "object array of numbers": ONE.astype(object),
    "array-like": ArrayLike(ONE),
    "batch of one": ONE[None],
    "list of one": [ONE],
}


@pytest.mark.parametrize("form", AS_ONE)
def test_one_sequence_is_a_batch_of_one(form: str) -> None:
    batch = extractor()(AS_ONE[form], return_tensors="np")
    np.testing.assert_array_equal(batch["input_features"], scaled(ONE)[None])
    np.testing.assert_array_equal(batch["attention_mask"], np.ones((1, 3)))
    assert batch["input_features"].dtype == np.float32
    assert batch["attention_mask"].dtype == np.int32
    assert isinstance(batch, BatchFeature)


AS_MANY = {
    "arrays": SEQUENCES,
    "nested lists": [sequence.tolist() for sequence in SEQUENCES],
    "tensors": [torch.tensor(sequence) for sequence in SEQUENCES],
    "tuple": tuple(SEQUENCES),
    "object array": object_array(SEQUENCES),
    "column": Dataset.from_dict({"x": [sequence.tolist() for sequence in SEQUENCES]})["x"],
    "generator": (sequence for sequence in SEQUENCES),
    "mixed": [SEQUENCES[0].tolist(), torch.tensor(SEQUENCES[1]), SEQUENCES[2]],
}


@pytest.mark.parametrize("form", AS_MANY)
def test_many_sequences_in_any_form(form: str) -> None:
    batch = extractor()(AS_MANY[form])
    assert [len(row) for row in batch["input_features"]] == list(LENGTHS)
    for sequence, row in zip(SEQUENCES, batch["input_features"], strict=True):
        np.testing.assert_array_equal(row, scaled(sequence))


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor, np.ndarray.tolist])
def test_a_rectangular_batch(kind: Any) -> None:
    array = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    batch = extractor()(kind(array), return_tensors="pt")
    np.testing.assert_array_equal(batch["input_features"].numpy(), scaled(array))


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.bool_, np.float16])
def test_every_real_dtype_becomes_float32(dtype: Any) -> None:
    array = np.array([[0, 1], [1, 1]], dtype=dtype)
    for one in (extractor(), extractor(mean=None, std=None)):
        batch = one(array, return_tensors="pt")
        assert batch["input_features"].dtype == torch.float32
        wanted = scaled(array) if one.mean else array
        np.testing.assert_array_equal(batch["input_features"][0].numpy(), wanted)


def test_bfloat16_tensors() -> None:
    batch = extractor()(torch.tensor(ONE).bfloat16(), return_tensors="np")
    np.testing.assert_array_equal(batch["input_features"][0], scaled(torch.tensor(ONE).bfloat16().float()))


@pytest.mark.parametrize("series", [[1.0, 2.0, 4.0], np.array([1, 2, 4]), torch.tensor([1.0, 2.0, 4.0])])
def test_a_univariate_series_is_one_sequence(series: Any) -> None:
    one = SequenceVectorFeatureExtractor(1, mean=[1.0], std=[2.0])
    for form in (series, [[1.0], [2.0], [4.0]]):
        batch = one(form, return_tensors="np")
        np.testing.assert_array_equal(batch["input_features"], [[[0.0], [0.5], [1.5]]])


def test_is_batch_sees_through_empty_lists() -> None:
    assert SequenceVectorFeatureExtractor.is_batch([[], [[1.0, 2.0]]])
    assert not SequenceVectorFeatureExtractor.is_batch([[1.0, 2.0]])
    assert not SequenceVectorFeatureExtractor.is_batch([])


def test_the_input_is_left_as_it_was() -> None:
    array = ONE.copy()
    one = SequenceVectorFeatureExtractor(2)
    one([array, SEQUENCES[1]], padding=True)["input_features"][0][:] = 7
    one.fit([array])
    np.testing.assert_array_equal(array, ONE)


# What is refused

NAN, INFINITE = ONE.copy(), ONE.copy()
NAN[2, 1] = np.nan
INFINITE[1, 0] = -np.inf
REFUSED = {
    "a wrong width": (
        [ONE, np.zeros((4, 3))],
        r"Sequence 1 must have the shape \(T, F\) with F = feature_size = 2, got \(4, 3\)\. Check the order of the "
        r"axes \(time before features\) or build the extractor with another feature_size\.$",
    ),
    "a single axis": (
        [1.0, 2.0],
        r"The sequence must have .* got \(2,\)\. A single axis is a sequence only with feature_size=1\.$",
    ),
    "too many axes": ([np.zeros((1, 3, 2))], r"Sequence 0 must have .* got \(1, 3, 2\)\."),
    "a number": (np.array(1.0), r"^The sequence must have .* got \(\)\."),
    "ragged steps": ([ONE, [[1.0, 2.0], [3.0]]], r"Sequence 1 must have .*, but its steps cannot be joined: .*\.$"),
    "ragged tensors": (
        [torch.zeros(2), torch.zeros(1)],
        r"^The sequence must .* its steps cannot be joined: .*\.$",
    ),
    "text": (
        [[["a", "b"]]],
        r"Sequence 0 must hold numbers, got dtype <U1\. Encode or fill in other values first\.$",
    ),
    "None": ([[1.0, None]], r"The sequence must hold numbers, got dtype object\. Encode or fill in"),
    "complex numbers": ([ONE.astype(complex)], r"Sequence 0 must hold numbers, got dtype complex128\."),
    "no steps": ([ONE, ONE[:0]], r"Sequence 1 has no steps, but at least one is needed\. Remove it\.$"),
    "no steps, first": ([[], ONE.tolist()], r"Sequence 0 has no steps, but at least one is needed\. Remove it\.$"),
    "an empty list": ([], r"^The sequence has no steps"),
    "NaN": (
        [ONE, NAN],
        r"Sequence 1, step 2, feature 1 is nan\. Repair or remove missing values first\.$",
    ),
    "infinity": ([INFINITE], r"Sequence 0, step 1, feature 0 is -inf\. Repair or remove missing values first\.$"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_place_and_the_remedy(case: str) -> None:
    sequences, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        extractor()(sequences)


NOT_A_LIST = {"a single axis", "a number", "an empty list", "ragged tensors", "None"}


@pytest.mark.parametrize("case", sorted(set(REFUSED) - NOT_A_LIST))
def test_fit_refuses_the_same(case: str) -> None:
    sequences, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        extractor().fit(sequences)


@pytest.mark.parametrize(
    "sequences", ["text", {"input_features": ONE}, BatchFeature({"input_features": ONE}), None, 1.0]
)
def test_refuses_what_holds_no_vectors(sequences: Any) -> None:
    message = (
        rf"^Sequences must be arrays, tensors or nested lists of numbers, got {type(sequences).__name__}\. "
        r"Pass the vectors themselves, for example batch\['input_features'\]\.$"
    )
    with pytest.raises(ValueError, match=message):
        extractor()(sequences)


def test_refuses_an_empty_batch() -> None:
    with pytest.raises(ValueError, match=r"^At least one sequence is needed, got an empty batch\.$"):
        extractor()(np.zeros((0, 3, 2)))


@pytest.mark.parametrize("series", [np.zeros((3, 4)), [[1.0, 2.0], [3.0]]])
def test_several_univariate_series_are_never_guessed(series: Any) -> None:
    with pytest.raises(ValueError, match=r"Several univariate series are a list of \(T_i, 1\) arrays\.$"):
        SequenceVectorFeatureExtractor(1)(series)


def test_values_beyond_float32_after_scaling() -> None:
    message = r"^The sequence, step 0, feature 1 is 3\.0\. Scaled, it is too large for float32: check mean and std"
    with pytest.raises(ValueError, match=message):
        extractor(std=[1.0, 1e-300])([[1.0, 3.0]])
    with pytest.raises(ValueError, match=r"feature 0 is 1e\+300\. Scaled, it is too large for float32"):
        extractor(mean=None, std=None)([[1e300, 3.0]])
    # and the other way: too large before, but not after
    assert extractor(std=[1e300, 1.0])([[1e300, 3.0]], return_tensors="np")["input_features"][0, 0, 0] == 1.0


BAD_ARGUMENTS = [
    ({"feature_size": 0}, r"^feature_size must be a whole number of at least 1, got 0\.$"),
    ({"stride": 0}, r"^stride must be a whole number of at least 1, got 0\.$"),
    ({"deltas": 2}, r"^deltas must be True or False, got 2\.$"),
    (
        {"deltas": True, "std": [1.0, 1.0]},
        r"^mean must hold feature_size = 2 times 2 \(deltas\) numbers, got 2\.$",
    ),
    ({"max_length": 2.5}, r"^max_length must be a whole number of at least 1, got 2\.5\.$"),
    ({"max_length": True}, r"^max_length must be a whole number of at least 1, got True\.$"),
    ({"padding_side": "top"}, r"^padding_side must be 'right' or 'left', got 'top'\.$"),
    (
        {"padding_value": float("nan")},
        r"^padding_value must be a finite number, got nan\. Padding is masked; use 0\.0\.$",
    ),
    ({"mean": [1.0]}, r"^mean must hold feature_size = 2 numbers, got 1\.$"),
    (
        {"mean": [0.0, float("nan")]},
        r"^mean must be finite, got nan for feature 1\. fit learns good values\.$",
    ),
    ({"std": [0.0, 1.0]}, r"^std must be finite and positive, got 0\.0 for feature 0\. fit learns good values\.$"),
    (
        {"max_lenght": 5},
        r"^SequenceVectorFeatureExtractor has no argument 'max_lenght'\. Did you mean 'max_length'\?$",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_ARGUMENTS)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        extractor(**arguments)


# Steps that are read as one, and with their changes

SIZES = {
    "lengths": st.lists(st.integers(1, 11), min_size=1, max_size=4),
    "width": st.integers(1, 3),
    "stride": st.integers(1, 5),
    "longest": st.none() | st.integers(1, 8),
}


@settings(max_examples=50, deadline=None)
@given(
    **SIZES,
    side=st.sampled_from(["right", "left"]),
)
def test_steps_are_joined(lengths: list[int], width: int, stride: int, longest: int | None, side: str) -> None:
    rng = np.random.default_rng(0)
    series = [rng.normal(size=(length, width)) for length in lengths]
    one = SequenceVectorFeatureExtractor(
        width, std=[2.0] * width, stride=stride, max_length=longest, padding_side=side
    )
    groups = []
    for sequence in series:
        steps = [row / 2 for row in sequence[:longest]]
        while len(steps) % stride:
            steps.append(steps[-1])
        starts = range(0, len(steps), stride)
        groups.append(np.array([np.concatenate(steps[at : at + stride]) for at in starts], np.float32))
    assert one.input_size == width * stride
    for found, wanted in zip(one(series)["input_features"], groups, strict=True):
        np.testing.assert_array_equal(found, wanted)
    rows = [{"input_features": each} for each in groups]
    for batch in (
        one(series, padding=True, return_tensors="pt"),
        one.pad(rows, return_tensors="pt"),
        one.pad(rows, return_tensors="np"),
        *([one(series, padding="max_length", return_tensors="np")] if longest else []),
    ):
        for steps, mask, wanted in zip(batch["input_features"], batch["attention_mask"], groups, strict=True):
            real = slice(0, len(wanted)) if side == "right" else slice(len(steps) - len(wanted), None)
            np.testing.assert_array_equal(np.asarray(steps)[real], wanted)
            assert int(mask.sum()) == int(mask[real].sum()) == len(wanted)
    if longest:
        padded = one(series, padding="max_length", return_tensors="np")["input_features"]
        assert padded.shape == (len(series), -(-longest // stride), width * stride)


@settings(max_examples=50, deadline=None)
@given(
    **SIZES,
    kind=st.sampled_from([np.float64, np.float32, np.uint8, np.int64]),
)
def test_steps_bring_their_changes(
    lengths: list[int], width: int, stride: int, longest: int | None, kind: Any
) -> None:
    rng = np.random.default_rng(0)
    series = [(100 * rng.random(size=(length, width))).astype(kind) for length in lengths]
    plain = SequenceVectorFeatureExtractor(2 * width, stride=stride)
    one = SequenceVectorFeatureExtractor(width, stride=stride, max_length=longest, deltas=True).fit(series)
    beside = []
    for sequence in series:
        steps = sequence.astype(np.float64).tolist()
        before = [steps[0], *steps[:-1]]
        beside.append(
            [[*now, *(a - b for a, b in zip(now, then, strict=True))] for now, then in zip(steps, before, strict=True)]
        )
    plain.fit(beside)
    assert (one.step_size, one.input_size) == (2 * width, 2 * width * stride)
    np.testing.assert_allclose(one.mean, plain.mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(one.std, plain.std, rtol=1e-12)
    wanted = plain([steps[:longest] for steps in beside], padding=True, return_tensors="pt")
    found = one(series, padding=True, return_tensors="pt")
    torch.testing.assert_close(found["input_features"], wanted["input_features"])
    assert found["attention_mask"].tolist() == wanted["attention_mask"].tolist()


def test_a_change_beyond_float64() -> None:
    message = r"^The sequence, step 1, feature 2 is inf\. Scaled, it is too large for float32"
    with pytest.raises(ValueError, match=message):
        extractor(mean=None, std=[1e300] * 4, deltas=True)([[-1.7e308, 0.0], [1.7e308, 0.0]])


def test_prepared_steps_of_another_width() -> None:
    message = r"^A sequence of the batch must have the shape \(T, F\) with F = feature_size = 2 times stride = 3, got"
    with pytest.raises(ValueError, match=message):
        extractor(stride=3).pad([{"input_features": np.zeros((4, 2), np.float32)}], return_tensors="pt")
    message = r"with F = feature_size = 2 times 2 for deltas times stride = 3, got \(4, 4\)"
    with pytest.raises(ValueError, match=message):
        extractor(mean=None, std=None, deltas=True, stride=3).pad(
            [{"input_features": np.zeros((4, 4), np.float32)}], return_tensors="pt"
        )


# Learning the statistics


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=5),
    offset=st.sampled_from([0.0, 1e-3, -1e8]),
    spread=st.sampled_from([1e-3, 1.0, 1e6]),
    seed=st.integers(0, 10**6),
)
def test_fit_equals_the_definition(lengths: list[int], offset: float, spread: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    sequences = [rng.normal(offset, spread, size=(length, 3)) for length in lengths]
    steps = np.concatenate(sequences).astype(np.longdouble)
    one = SequenceVectorFeatureExtractor(3).fit(sequences)
    np.testing.assert_allclose(one.mean, steps.mean(axis=0).astype(float), rtol=1e-12, atol=1e-12 * spread)
    wanted = steps.std(axis=0).astype(float)
    np.testing.assert_allclose(one.std, np.where(len(steps) > 1, wanted, 1.0), rtol=1e-9)


@pytest.mark.parametrize("form", sorted(set(AS_MANY) - {"generator"}))
def test_fit_reads_every_form(form: str) -> None:
    one = SequenceVectorFeatureExtractor(2).fit(AS_MANY[form])
    np.testing.assert_allclose(one.mean, np.concatenate(SEQUENCES).astype(float).mean(axis=0), rtol=1e-12)


def test_fit_reads_an_iterator_once() -> None:
    one = SequenceVectorFeatureExtractor(2)
    assert one.fit(iter(SEQUENCES)) is one
    assert one.mean == SequenceVectorFeatureExtractor(2).fit(SEQUENCES).mean


def test_fitted_training_data_is_standard() -> None:
    batch = SequenceVectorFeatureExtractor(2).fit(SEQUENCES)(SEQUENCES)
    steps = np.concatenate(batch["input_features"])
    np.testing.assert_allclose(steps.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(steps.std(axis=0), 1, atol=1e-6)


@pytest.mark.parametrize("constant", [0.1, 1e16, 0.0])
def test_a_constant_feature_becomes_zero(constant: float) -> None:
    sequences = [np.column_stack([np.full(length, constant), np.arange(length)]) for length in LENGTHS]
    one = SequenceVectorFeatureExtractor(2).fit(sequences)
    assert one.mean[0] == constant
    assert one.std[0] == 1.0
    assert np.concatenate(one(sequences)["input_features"])[:, 0].tolist() == [0.0] * sum(LENGTHS)


def test_fit_needs_sequences() -> None:
    message = r"^fit needs at least one sequence, got none\. An iterator that was read before is empty\.$"
    with pytest.raises(ValueError, match=message):
        SequenceVectorFeatureExtractor(2).fit([])


def test_fit_refuses_what_float64_cannot_hold() -> None:
    one = SequenceVectorFeatureExtractor(2, mean=MEAN)
    with pytest.raises(
        ValueError, match=r"^Feature 1 spreads too far for float64 arithmetic\. Rescale it before fit\.$"
    ):
        one.fit([np.array([[0.0, -1e308], [1.0, 1e308]])])
    assert one.mean == MEAN
    assert one.std is None


def test_a_refused_fit_changes_nothing() -> None:
    one = extractor()
    with pytest.raises(ValueError, match="Sequence 1, step 2, feature 1 is nan"):
        one.fit([ONE, NAN])
    assert (one.mean, one.std) == (MEAN, STD)


# Truncation and padding


def lengths_of(batch: BatchFeature) -> list[int]:
    return [len(row) for row in batch["input_features"]]


def test_truncation_is_on_where_there_is_a_length() -> None:
    assert lengths_of(extractor()(SEQUENCES)) == [3, 5, 1]
    assert lengths_of(extractor(max_length=4)(SEQUENCES)) == [3, 4, 1]
    assert lengths_of(extractor(max_length=4)(SEQUENCES, truncation=False)) == [3, 5, 1]
    assert lengths_of(extractor(max_length=4)(SEQUENCES, max_length=2)) == [2, 2, 1]
    assert lengths_of(extractor()(SEQUENCES, truncation=True, max_length=2)) == [2, 2, 1]
    # a round padded length does not let more steps in
    batch = extractor()(SEQUENCES, padding=True, max_length=3, pad_to_multiple_of=4)
    assert [mask.sum() for mask in batch["attention_mask"]] == [3, 3, 1]


def test_truncation_keeps_the_first_steps() -> None:
    batch = extractor(max_length=2)(SEQUENCES[1], return_tensors="np")
    np.testing.assert_array_equal(batch["input_features"][0], scaled(SEQUENCES[1])[:2])


def test_truncation_needs_a_length() -> None:
    with pytest.raises(ValueError, match=r"^truncation=True needs a max_length: pass it here, or to the extractor\.$"):
        extractor()(SEQUENCES, truncation=True)
    with pytest.raises(ValueError, match=r"^max_length must be a whole number of at least 1, got 0\.$"):
        extractor()(SEQUENCES, max_length=0)


@pytest.mark.parametrize("feature_size", [1, 2])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    ("padding", "width"),
    [
        ({"padding": True}, 5),
        ({"padding": "longest"}, 5),
        ({"padding": "longest", "max_length": 9}, 5),
        ({"padding": "max_length", "max_length": 7}, 7),
        ({"padding": True, "pad_to_multiple_of": 4}, 8),
        ({"padding": True, "pad_to_multiple_of": 5}, 5),
        ({"padding": "max_length", "max_length": 7, "pad_to_multiple_of": 3}, 9),
    ],
)
@pytest.mark.parametrize("return_tensors", ["pt", "np", None])
def test_padding(feature_size: int, side: str, padding: dict[str, Any], width: int, return_tensors: Any) -> None:
    one = SequenceVectorFeatureExtractor(
        feature_size, padding_value=-9.0, mean=[3.0] * feature_size, padding_side=side
    )
    sequences = [sequence[:, :feature_size] for sequence in SEQUENCES]
    batch = one(sequences, return_tensors=return_tensors, **padding)
    features, mask = np.asarray(batch["input_features"]), np.asarray(batch["attention_mask"])
    assert features.shape == (3, width, feature_size)
    for sequence, row, row_mask in zip(sequences, features, mask, strict=True):
        real = slice(0, len(sequence)) if side == "right" else slice(width - len(sequence), width)
        wanted, wanted_mask = np.full((width, feature_size), -9.0), np.zeros(width)
        wanted[real], wanted_mask[real] = sequence.astype(np.float64) - 3.0, 1  # the filling itself is not scaled
        np.testing.assert_array_equal(row, wanted.astype(np.float32))
        np.testing.assert_array_equal(row_mask, wanted_mask)


def test_padding_to_the_extractors_own_length() -> None:
    batch = extractor(max_length=4)(SEQUENCES, padding="max_length", return_tensors="pt")
    assert batch["input_features"].shape == (3, 4, 2)
    assert batch["attention_mask"].sum(dim=1).tolist() == [3, 4, 1]


def test_the_mask_can_be_left_out() -> None:
    batch = extractor()(SEQUENCES, padding=True, return_attention_mask=False)
    assert list(batch) == ["input_features"]


# In the host


def test_save_and_load(tmp_path: Path) -> None:
    one = SequenceVectorFeatureExtractor(2, max_length=4, padding_side="left", sampling_rate=50).fit(SEQUENCES)
    one.save_pretrained(tmp_path)
    again = SequenceVectorFeatureExtractor.from_pretrained(tmp_path)
    assert again.to_dict() == one.to_dict()
    assert json.loads((tmp_path / "preprocessor_config.json").read_text()) == {
        "feature_extractor_type": "SequenceVectorFeatureExtractor",
        "feature_size": 2,
        "max_length": 4,
        "mean": one.mean,
        "padding_side": "left",
        "stride": 1,
        "deltas": False,
        "padding_value": 0.0,
        "return_attention_mask": True,
        "sampling_rate": 50,
        "std": one.std,
    }
    np.testing.assert_array_equal(
        again(SEQUENCES, padding=True, return_tensors="np")["input_features"],
        one(SEQUENCES, padding=True, return_tensors="np")["input_features"],
    )
    assert SequenceVectorFeatureExtractor.from_pretrained(tmp_path, max_length=2).max_length == 2


def test_the_defaults_need_no_fit() -> None:
    one = SequenceVectorFeatureExtractor()
    assert (one.feature_size, one.mean, one.std, one.max_length, one.padding_side) == (10, None, None, None, "right")
    assert one.model_input_names == ["input_features", "attention_mask"]


def test_statistics_of_any_number_type_are_saved_as_plain_floats(tmp_path: Path) -> None:
    extractor(mean=np.array([1, 2]), std=np.float32([1, 2]), padding_value=np.float32(1)).save_pretrained(tmp_path)
    assert SequenceVectorFeatureExtractor.from_pretrained(tmp_path).std == [1.0, 2.0]


def test_registers_with_the_auto_class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SequenceVectorFeatureExtractor, "_auto_class", None)
    SequenceVectorFeatureExtractor.register_for_auto_class()
    assert SequenceVectorFeatureExtractor._auto_class == "AutoFeatureExtractor"


@pytest.mark.parametrize("format_", [None, "numpy", "torch"])
@pytest.mark.parametrize("batch_size", [3, 2, 1])
def test_datasets_map(format_: str | None, batch_size: int) -> None:
    table = Dataset.from_dict({"x": SEQUENCES}).with_format(format_)
    one = extractor(max_length=4)
    mapped = table.map(lambda batch: one(batch["x"]), batched=True, batch_size=batch_size).with_format("numpy")
    for sequence, row in zip(SEQUENCES, mapped, strict=True):
        assert row["input_features"].dtype == np.float32
        np.testing.assert_array_equal(row["input_features"], scaled(sequence)[:4])
        np.testing.assert_array_equal(row["attention_mask"], np.ones(min(len(sequence), 4)))


EXAMPLES = {
    "arrays": lambda sequence: sequence,
    "nested lists": np.ndarray.tolist,
    "tensors": torch.tensor,
    "float64": lambda sequence: sequence.astype(np.float64),
}


@pytest.mark.parametrize("kind", EXAMPLES)
@pytest.mark.parametrize("side", ["right", "left"])
def test_the_hosts_collator(kind: str, side: str) -> None:
    examples = [{"input_features": EXAMPLES[kind](row), "labels": label} for label, row in enumerate(SEQUENCES)]
    collator = DataCollatorWithPadding(extractor(padding_side=side))
    (batch,) = DataLoader(examples, batch_size=3, collate_fn=collator)
    assert batch["input_features"].dtype == torch.float32
    assert batch["labels"].tolist() == [0, 1, 2]
    for sequence, row, mask in zip(SEQUENCES, batch["input_features"], batch["attention_mask"], strict=True):
        real = slice(0, len(sequence)) if side == "right" else slice(5 - len(sequence), 5)
        np.testing.assert_array_equal(row[real].numpy(), sequence)  # a collator pads, and does not scale again
        assert row.abs().sum() == row[real].abs().sum()
        assert mask.sum() == mask[real].sum() == len(sequence)


@pytest.mark.parametrize("axes", ["(T, 1)", "(T,)"])
def test_the_collator_with_one_feature(axes: str) -> None:
    rows = [sequence[:, :1] if axes == "(T, 1)" else sequence[:, 0] for sequence in SEQUENCES]
    batch = DataCollatorWithPadding(SequenceVectorFeatureExtractor(1))([{"input_features": row} for row in rows])
    assert batch["input_features"].shape == (3, 5, 1)
    np.testing.assert_array_equal(batch["input_features"][0, :3, 0].numpy(), SEQUENCES[0][:, 0])


def test_a_mask_that_is_there_is_padded_with_the_features() -> None:
    prepared = extractor()(SEQUENCES)
    examples = [
        {"input_features": row, "attention_mask": mask.tolist()}
        for row, mask in zip(prepared["input_features"], prepared["attention_mask"], strict=True)
    ]
    batch = DataCollatorWithPadding(extractor())(examples)
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1] * 5, [1, 0, 0, 0, 0]]


@given(data=st.data(), side=st.sampled_from(["left", "right"]))
def test_what_collators_ask_for_in_one_pass_is_what_the_host_makes_row_by_row(data: st.DataObject, side: str) -> None:
    lengths = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    label = data.draw(st.sampled_from([3, 0.5, [1, 0], [0.5, 2.0], np.int64(2), np.array([1.0, 0.0])]))
    masked = data.draw(st.booleans())
    rows = [
        {"input_features": np.full((n, 2), n, np.float32), "label": label}
        | ({"attention_mask": np.arange(n) > 0} if masked else {})
        for n in lengths
    ]
    ours = extractor(padding_side=side, return_attention_mask=data.draw(st.booleans()))
    found = ours.pad([dict(row) for row in rows], padding=True, return_tensors="pt")
    expected = super(type(ours), ours).pad([dict(row) for row in rows], padding=True, return_tensors="pt")
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=0)


def test_the_collator_checks_what_skipped_the_extractor() -> None:
    collator = DataCollatorWithPadding(extractor())
    with pytest.raises(ValueError, match=r"^A sequence of the batch, step 2, feature 1 is nan\."):
        collator([{"input_features": NAN}])
    with pytest.raises(ValueError, match=r"^A sequence of the batch must have the shape .* got \(4, 3\)\."):
        collator([{"input_features": np.zeros((4, 3))}])


class MeanClassifier(nn.Module):
    """The least that a `Trainer` trains."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def forward(self, input_features: Any, attention_mask: Any, labels: Any) -> dict[str, Any]:
        mask = attention_mask.unsqueeze(-1)
        logits = self.linear((input_features * mask).sum(1) / mask.sum(1))
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def test_the_hosts_trainer_needs_no_collator(tmp_path: Path) -> None:
    rows = extractor()(SEQUENCES)["input_features"]
    table = [{"input_features": row, "labels": label} for label, row in enumerate(rows)]
    arguments = TrainingArguments(
        str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=2,
        per_device_eval_batch_size=3,
        train_sampling_strategy="group_by_length",
        report_to="none",
        disable_tqdm=True,
        save_strategy="no",
        use_cpu=True,
        dataloader_pin_memory=False,
    )
    trainer = Trainer(
        MeanClassifier(), arguments, train_dataset=table, eval_dataset=table, processing_class=extractor()
    )
    trainer.train()
    assert trainer.predict(table).predictions.shape == (3, 3)
