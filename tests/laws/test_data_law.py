"""Data law: what goes in comes out, once, under its own label, whatever holds it."""

import numpy as np
import pyarrow as pa
import pytest
from datasets import Array2D, Dataset, Features, List, Value
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from transformers_rnn.data_splitting import draw_part
from transformers_rnn.labelled_data import load_labelled_data
from transformers_rnn.vector_columns import read_vectors

LAYOUTS = {
    "lists": lambda width: List(List(Value("float32"))),
    "wide lists": lambda width: List(List(Value("float64"))),
    "fixed": lambda width: List(List(Value("float32"), length=width)),
    "array": lambda width: Array2D((None, width), "float32"),
}


@st.composite
def ragged(draw):
    width = draw(st.integers(1, 4))
    lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=12))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    return [generator.normal(size=(length, width)).astype(np.float32) for length in lengths]


@given(ragged(), st.sampled_from(sorted(LAYOUTS)), st.data())
def test_vectors_come_out_as_they_went_in_from_any_layout_slice_and_chunks(arrays, layout, data):
    features = Features({"x": LAYOUTS[layout](arrays[0].shape[1])})
    column = Dataset.from_dict({"x": [array.tolist() for array in arrays]}, features=features).data.column("x")
    first = data.draw(st.integers(0, len(arrays) - 1))
    cut = data.draw(st.integers(first, len(arrays)))
    parts = [chunk for part in (column[first:cut], column[cut:]) for chunk in part.chunks]
    vectors = read_vectors({"x": pa.chunked_array(parts, column.type)}, str)
    for row, array in zip(vectors.rows, arrays[first:], strict=True):
        assert row.dtype == np.float32
        assert_array_equal(row, array)
    order = np.array(data.draw(st.permutations(range(len(arrays) - first))))
    for row, place in zip(vectors.take(order).rows, order, strict=True):
        assert_array_equal(row, arrays[first + place])


@given(st.lists(st.integers(2, 30), min_size=2, max_size=5), st.floats(0.01, 0.9), st.integers(0, 99))
def test_a_drawn_part_has_the_rounded_share_of_every_label(counts, share, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    drawn = draw_part(labels, share, np.random.default_rng(seed))
    again = draw_part(labels, share, np.random.default_rng(seed))
    assert_array_equal(drawn, again)
    for label, count in enumerate(counts):
        part = drawn[labels == label].sum()
        assert part == min(max(1, round(share * count)), count - 1)


@given(st.integers(0, 99), st.floats(0.1, 0.5))
def test_a_drawn_part_has_about_the_share_of_every_label_where_rows_have_several(seed, share):
    generator = np.random.default_rng(seed)
    labels = (generator.random((600, 4)) < [0.05, 0.1, 0.3, 0.5]).astype(np.float32)
    drawn = draw_part(labels, share, generator)
    assert_array_equal(abs(labels[drawn].sum(axis=0) / labels.sum(axis=0) - share) < 0.1, True)
    assert abs(drawn.mean() - share) < 0.05


@given(st.integers(0, 99))
def test_a_drawn_part_of_targets_has_their_distribution(seed):
    generator = np.random.default_rng(seed)
    targets = generator.normal(size=1000).astype(np.float32)
    drawn = draw_part(targets, 0.2, generator, regression=True)
    assert drawn.sum() == 200
    assert abs(targets[drawn].mean() - targets.mean()) < 0.1


@pytest.mark.parametrize("kind", ["text", "vectors"])
def test_every_row_comes_once_under_its_label_from_a_table_and_from_a_stream(kind):
    inputs = [f"text {row}" for row in range(90)]
    if kind == "vectors":
        inputs = [np.full((1 + row % 5, 2), row, np.float32) for row in range(90)]
    name = "text" if kind == "text" else "input_features"
    table = Dataset.from_dict({"x" if kind == "vectors" else "text": inputs, "label": [row % 3 for row in range(90)]})
    for source in (table, table.to_iterable_dataset(), table.to_iterable_dataset(num_shards=3)):
        data = load_labelled_data(source, validation_size=0.2, test_size=0.1)
        found = {}
        for part in data.splits.values():
            for row in part:
                number = int(row[name].split()[1]) if kind == "text" else int(row[name][0, 0])
                assert number not in found
                found[number] = int(row["labels"])
        assert found == {row: row % 3 for row in range(90)}
        assert list(data.splits) == ["train", "validation", "test"]
        assert data.label_names == ("0", "1", "2")
