"""A bad table gets an error with split, row and column, what came and what to do."""

import re

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, IterableDataset, Value

from transformers_rnn.labelled_data import load_labelled_data

TEXTS = [f"text {number}" for number in range(10)]
LABELS = ["spam", "ham"] * 5
TABLE = {"text": TEXTS, "label": LABELS}
SERIES = [np.ones((2, 3))] * 10


def replaced(values, row, value):
    return [*values[:row], value, *values[row + 1 :]]


def refused(sentence, source, error=ValueError, **choices):
    with pytest.raises(error, match=re.escape(sentence)):
        load_labelled_data(source, **choices)


class TestColumns:
    def test_missing(self):
        refused(
            "There is no column 'body'. The columns are 'text' (string), 'label' (string). Name one of them.",
            TABLE,
            text_column="body",
        )

    def test_missing_in_a_further_split(self):
        refused(
            "Split 'test' has no column 'label', which the training set has; its columns are 'text'. Give every split "
            "the same columns.",
            {"train": TABLE, "test": {"text": TEXTS}},
        )

    def test_no_clear_label(self):
        refused(
            "Which column holds the labels? The columns are 'a' (string), 'b' (string). Pass label_column.",
            {"a": TEXTS, "b": LABELS},
        )

    @pytest.mark.parametrize(
        "inputs", [{"a": TEXTS, "b": TEXTS}, {"text": TEXTS, "x": SERIES}, {}, {"a": [1] * 10}], ids=str
    )
    def test_no_clear_input(self, inputs):
        refused("Pass text_column, or vector_column.", {**inputs, "label": LABELS})

    def test_of_the_wrong_kind(self):
        refused("Text column 'label' holds int64, not strings.", {**TABLE, "label": [1] * 10}, text_column="label")
        refused("Vector column 'text' holds string, not vectors (T_i, F) or series", TABLE, vector_column="text")
        two = {"vector_column": ["x", "y"]}
        refused("not series of numbers (T_i,).", {"x": SERIES, "y": SERIES, "label": LABELS}, **two)
        refused("Label column 'label' holds large_list<item: large_list<item: double>>", {**TABLE, "label": SERIES})
        refused("Label column 'label' holds string. Labels are", {**TABLE, "y": [1] * 10}, label_column=["label", "y"])

    def test_in_two_roles(self):
        refused("Column 'text' cannot be two things at once.", TABLE, text_column="text", label_column="text")
        refused("needs text_column, the first text of the pair.", TABLE, text_pair_column="text")
        refused("not both. Name one of them.", {**TABLE, "x": SERIES}, text_column="text", vector_column="x")


class TestRows:
    @pytest.mark.parametrize("empty", ["", " \n", None])
    def test_empty_text(self, empty):
        refused(
            "Split 'train', row 3, column 'text' is empty (1 of the 10 rows read). Fill it in, remove such rows, or "
            "pass drop_incomplete=True.",
            {**TABLE, "text": replaced(TEXTS, 3, empty)},
        )

    @pytest.mark.parametrize(
        ("labels", "missing"),
        [(LABELS, None), (LABELS, ""), ([0.5] * 10, None), ([0.5] * 10, float("nan")), ([[1]] * 10, None)],
    )
    def test_no_label(self, labels, missing):
        refused(
            "Split 'test', row 4, column 'label' has no label",
            {
                "train": {"text": TEXTS, "label": labels if labels != [[1]] * 10 else [[0], [1]] * 5},
                "test": {"text": TEXTS, "label": replaced(labels, 4, missing)},
            },
        )

    def test_hidden_labels(self):
        features = Features({"text": Value("string"), "label": ClassLabel(names=["ham", "spam"])})
        shown = Dataset.from_dict(TABLE, features=features)
        hidden = Dataset.from_dict({"text": TEXTS, "label": [-1] * 10}, features=features)
        splits = DatasetDict(train=shown, test=hidden)
        refused("Split 'test', row 0, column 'label' has no label (10 of the 10 rows read).", splits)
        assert list(load_labelled_data(splits, drop_incomplete=True, validation_size=0.3).splits) == [
            "train",
            "validation",
        ]

    def test_unknown_label(self):
        refused(
            "Split 'test', row 2, column 'label': the label 'eggs' is unknown; the known labels are 'ham', 'spam'. "
            "Correct it, leave the row out, or name all labels with label_names.",
            {"train": TABLE, "test": {**TABLE, "label": replaced(LABELS, 2, "eggs")}},
        )
        train = {"text": TEXTS, "label": [["a"], ["b"]] * 5}
        refused(
            "row 1, column 'label': the label 'c'", {"train": train, "test": {**train, "label": [["a"], ["c"]] * 5}}
        )

    def test_a_label_with_one_example(self):
        refused(
            "Split 'train', row 6: label 'eggs' has only 1 of the 2 rows that a split into 2 parts needs. Add rows "
            "with it, join it with another label, leave it out, or bring a validation set of your own.",
            {**TABLE, "label": replaced(LABELS, 6, "eggs")},
        )
        table = {**TABLE, "label": [[label] for label in replaced(LABELS, 6, "eggs")]}
        refused("Split 'train', row 6: label 'eggs' has only 1 of the 3 rows", table, test_size=0.2)

    @pytest.mark.parametrize("stranger", ["unknown", "x"])
    def test_a_word_among_numbers(self, tmp_path, stranger):
        rows = replaced([f"text,{number}.5" for number in range(10)], 5, f"text,{stranger}")
        (tmp_path / "table.csv").write_text("\n".join(["text,label", *rows]))
        refused(
            f"Split 'train', row 5, column 'label' is {stranger!r}, but most of the column are numbers. Correct it, "
            "or pass problem_type='single_label_classification' if it is a label.",
            tmp_path / "table.csv",
        )

    def test_mixed_types(self):
        refused(
            "Column 'label' mixes types: str (first in row 0), int (first in row 7). Give every row one kind of "
            "value.",
            {**TABLE, "label": replaced(LABELS, 7, 3)},
        )

    @pytest.mark.parametrize(
        ("vectors", "sentence"),
        [
            (
                replaced(SERIES, 4, np.ones((2, 5))),
                "Split 'train', row 4, column 'x', step 0 has 5 numbers, the steps before have 3. Give every step the "
                "same features (F of them); only the number of steps may differ.",
            ),
            (
                [*[[[1, 2], [3, 4]]] * 9, [[1, 2], [3]]],
                "row 9, column 'x', step 1 has 1 numbers, the steps before have 2",
            ),
            (
                replaced(SERIES, 4, np.array([[1, 2, 3], [1, np.nan, 2]])),
                "Split 'train', row 4, column 'x', step 1, feature 1 is nan, which is not a finite float32. Fill it "
                "in, scale it, or leave the row out.",
            ),
            (replaced(SERIES, 4, np.full((1, 3), 1e300)), "row 4, column 'x', step 0, feature 0 is 1e+300"),
            ([*[[[1, 2]]] * 9, [[1, 2], [3, None]]], "row 9, column 'x', step 1, feature 1 is nan"),
            (
                [*[[[1, 2]]] * 9, [[1, 2], None]],
                "row 9, column 'x', step 1 is missing. Fill it in, or leave the row out.",
            ),
            (replaced(SERIES, 4, np.ones((0, 3))), "Split 'train', row 4, column 'x' is empty"),
            ([*[[[1, 2]]] * 9, None], "Split 'train', row 9, column 'x' is empty"),
        ],
    )
    def test_vectors(self, vectors, sentence):
        refused(sentence, {"x": vectors, "label": LABELS})

    def test_vectors_of_another_width_in_a_further_split(self):
        test = {"x": [np.ones((1, 2))] * 10, "label": LABELS}
        refused(
            "Split 'test', row 0, column 'x': the steps have 2 numbers, those of the training set 3. Give every "
            "sequence the same features.",
            {"train": {"x": SERIES, "label": LABELS}, "test": test},
        )

    def test_series_of_unequal_lengths(self):
        refused(
            "Split 'train', row 1: column 'a' has 2 steps, 'b' has 1. Series that are features of one sequence must "
            "be equally long.",
            {"a": [[1.0, 2.0]] * 10, "b": replaced([[1.0, 2.0]] * 10, 1, [1.0]), "label": LABELS},
            vector_column=["a", "b"],
        )

    @pytest.mark.parametrize(
        ("column", "train", "test", "sentence"),
        [
            (
                "label",
                ["a", "b"],
                [["a"], ["b"]],
                "holds list of string values, but the training set has one label a row.",
            ),
            ("label", [["a"], ["b"]], ["a", "b"], "holds string values, but the training set has lists of labels."),
            ("label", [0.5, 1.5], ["x", "y"], "is x. A number is needed, as in the training set."),
            (
                "text",
                ["a", "b"],
                [1, 2],
                "holds int64, other than the training set. Give every row one kind of value.",
            ),
        ],
    )
    def test_a_split_of_another_kind(self, column, train, test, sentence):
        train, test = ({**TABLE, column: values * 5} for values in (train, test))
        refused(f"Split 'test', row 0, column {column!r} {sentence}", {"train": train, "test": test})

    def test_mixed_types_in_a_stream(self):
        rows = [{"text": "a", "label": "x"}, {"text": "b", "label": 3}]
        refused(
            "Split 'train', row 1, column 'label' holds int, the rows before hold str. Give every row one kind "
            "of value.",
            IterableDataset.from_generator(lambda: iter(rows)),
        )

    def test_in_a_stream_when_it_is_read(self):
        table = {"text": replaced(TEXTS, 8, ""), "label": LABELS}
        data = load_labelled_data({"train": Dataset.from_dict(table).to_iterable_dataset()})
        with pytest.raises(ValueError, match="Split 'train', row 8, column 'text' is empty"):
            list(data.splits["train"])


class TestLabels:
    @pytest.mark.parametrize(
        ("labels", "sentence"),
        [
            ([float("inf"), 1.0], "Split 'train', row 0, column 'label' is inf. Fill it in, or leave the row out."),
            ([-100.0, 1.5], "row 0, column 'label' is -100.0. The host takes exactly this number for a missing label"),
            (
                [[0.5], [1.0, 2.0]],
                "row 1, column 'label': 2 numbers, but the first row has 1. Give every row one number",
            ),
            ([["a"], ["b", None]], "mixes"),
        ],
    )
    def test_that_cannot_be_learned(self, labels, sentence):
        if sentence == "mixes":
            sentence = "the label None is unknown"
        refused(sentence, {"text": TEXTS, "label": labels * 5}, label_names=["a", "b"] if labels[0] == ["a"] else None)

    def test_beyond_zero_and_one(self):
        train, test = {"text": TEXTS, "label": [[0, 1], [1, 1]] * 5}, {"text": TEXTS, "label": [[0, 1], [0, 2]] * 5}
        refused(
            "Split 'test', row 1, column 'label' is 2. Several labels a row are given from 0 (absent) to 1 (present).",
            {"train": train, "test": test},
        )

    def test_of_one_class(self):
        refused(
            "Column 'label' holds one label only ('spam'), so there is nothing to tell apart. Give rows with another "
            "label, or name all labels with label_names.",
            {**TABLE, "label": ["spam"] * 10},
        )

    def test_that_do_not_fit_the_problem_type(self):
        refused(
            "problem_type='regression' does not fit the labels of column 'label' (string values), which fit "
            "single_label_classification. Pass a problem_type that fits, leave it out, or convert the labels.",
            TABLE,
            problem_type="regression",
        )
        fractions = {**TABLE, "label": [0.5] * 10}
        refused("which fit regression.", fractions, problem_type="single_label_classification")
        refused("problem_type must be one of regression, single_label", TABLE, problem_type="ranking")

    def test_names(self):
        refused(
            "Every label needs a name of its own, got ['ham', 'spam', 'ham'].",
            TABLE,
            label_names=["ham", "spam", "ham"],
        )
        refused("the label 'spam' is unknown; the known labels are 'ham', 'eggs'.", TABLE, label_names=["ham", "eggs"])

    def test_separator(self):
        refused(
            "label_separator=',' takes strings apart, but column 'label' holds float values. Leave it out.",
            {**TABLE, "label": [0.5, 1.5] * 5},
            label_separator=",",
        )


class TestSplits:
    @pytest.mark.parametrize("size", [0, 0.0, 1.0, 10, -0.1])
    def test_size(self, size):
        refused(f"validation_size={size} of 10 rows leaves a part empty. Pass a share", TABLE, validation_size=size)

    def test_no_training_set(self):
        refused("There is no training set among the splits 'test'. Name one 'train'.", {"test": TABLE})

    def test_twice(self):
        refused(
            "Two splits are the validation set: 'train', 'dev', 'val'.", {"train": TABLE, "dev": TABLE, "val": TABLE}
        )

    @pytest.mark.parametrize("sizes", [{"validation_size": 5}, {"validation_size": 0.5, "test_size": 0.5}])
    def test_of_a_stream(self, sizes):
        stream = Dataset.from_dict(TABLE).to_iterable_dataset()
        refused("A stream is split by shares between 0 and 1 that leave a training set", stream, **sizes)
        refused("Repeated rows of a stream cannot be seen.", stream, drop_duplicates=True)

    def test_no_rows(self):
        refused("The training set has no rows. Give it some.", Dataset.from_dict({"text": [], "label": []}))
        gone = {"text": [""] * 10, "label": LABELS}
        refused("No row of the training set has both an input and a label.", gone, drop_incomplete=True)
        refused("no rows with a label", {"text": TEXTS, "label": [""] * 10}, drop_incomplete=True)
        refused("no rows with an input", {"x": [np.ones((0, 2))] * 10, "label": LABELS}, drop_incomplete=True)


class TestSources:
    def test_nothing_there(self, tmp_path):
        refused(
            "There is no file or folder 'gone.csv'. Expected a file or folder of CSV", "gone.csv", FileNotFoundError
        )
        refused("holds no data files (.csv, .tsv, .json, .jsonl, .parquet).", tmp_path, FileNotFoundError)

    @pytest.mark.parametrize("source", [7, {}, [TEXTS, LABELS]])
    def test_of_another_kind(self, source):
        refused("Expected a file or folder of CSV", source, TypeError)

    def test_a_split_that_is_a_folder_of_splits(self):
        refused(
            "not one table. Pass a file, or load the folder.", {"train": {"train": TABLE, "test": TABLE}}, TypeError
        )

    def test_files(self, tmp_path):
        for name, content, sentence in (
            ("a.txt", "x", "has the suffix '.txt', which names no kind of data file that is read here."),
            ("a.csv", "text,label\na,b\nc\n", "a.csv cannot be read: CSV parse error"),
            ("a.jsonl", '{"text": "a"}\n{"text"\n', "a.jsonl, line 2 is no JSON"),
            ("a.json", "[1, 2]", "a.json, row 0 is int '1'. Each row must be an object of its columns."),
            (
                "b.jsonl",
                '{"text": "a", "label": 1}\n{"text": "b", "label": "x"}\n',
                "int (first in row 0), str (first in row 1)",
            ),
            ("b.parquet", "x", "b.parquet cannot be read: "),
        ):
            (tmp_path / name).write_text(content)
            refused(sentence, tmp_path / name)

    def test_files_of_one_split_that_differ(self, tmp_path):
        (tmp_path / "train-0.csv").write_text("text,label\na,b\n")
        (tmp_path / "train-1.csv").write_text("text,class\na,b\n")
        refused("The files of split 'train' differ: train-0.csv has", tmp_path)

    def test_columns(self):
        refused("The columns must be equally long, got {'text': 10, 'label': 9}.", {**TABLE, "label": LABELS[1:]})
        refused("Column 'label' must hold one value a row, got int '3'.", {**TABLE, "label": 3}, TypeError)

    def test_options_of_the_hub(self):
        refused("are arguments of datasets.load_dataset, for a name on the hub", TABLE, load_options={"name": "x"})
