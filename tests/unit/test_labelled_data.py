"""A labelled table -> inputs and labels: sources, columns, label types, splits, report."""

import gzip
import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, Dataset, DatasetDict, Features, IterableDataset, List, Value
from processes import ROOT

from transformers_rnn import RNNConfig, SequenceVectorFeatureExtractor
from transformers_rnn.labelled_data import load_labelled_data

DATA = ROOT / "examples" / "data"
TEXTS = [f"text {number}" for number in range(20)]
LABELS = ["spam", "ham"] * 10
TABLE = {"text": TEXTS, "label": LABELS}
SERIES = [np.full((1 + row % 3, 2), row, np.float32) for row in range(20)]


def texts(data) -> set[str]:
    return {text for part in data.splits.values() for text in part["text"]}


def write(folder, kind):
    """The same table in a file of each kind."""
    path = folder / f"table.{kind}"
    plain = kind.removesuffix(".gz")
    rows = [{"text": text, "label": label} for text, label in zip(TEXTS, LABELS, strict=True)]
    if plain == "parquet":
        pd.DataFrame(TABLE).to_parquet(path)
        return path
    content = {
        "csv": "text,label\n" + "".join(f"{text},{label}\n" for text, label in zip(TEXTS, LABELS, strict=True)),
        "tsv": "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in zip(TEXTS, LABELS, strict=True)),
        "json": json.dumps(rows),
        "jsonl": "".join(json.dumps(row) + "\n" for row in rows),
    }[plain].encode()
    path.write_bytes(gzip.compress(content) if kind.endswith(".gz") else content)
    return path


class TestSources:
    @pytest.mark.parametrize("kind", ["csv", "csv.gz", "tsv", "json", "jsonl", "jsonl.gz", "parquet"])
    def test_a_file(self, tmp_path, kind):
        data = load_labelled_data(write(tmp_path, kind))
        assert texts(data) == set(TEXTS)
        assert data.label_names == ("ham", "spam")
        assert {split: len(part) for split, part in data.splits.items()} == {"train": 18, "validation": 2}
        assert list(data.splits["train"][0]) == ["text", "labels"]

    @pytest.mark.parametrize(
        "source",
        [
            TABLE,
            pd.DataFrame(TABLE),
            pd.DataFrame(TABLE).astype({"label": "category"}),
            Dataset.from_dict(TABLE),
            {"train": TABLE},
            {"train": Dataset.from_dict(TABLE)},
            DatasetDict(train=Dataset.from_dict(TABLE)),
            Dataset.from_dict(TABLE).shuffle(seed=0),
        ],
        ids=["columns", "frame", "categories", "dataset", "columns by split", "by split", "dict", "shuffled"],
    )
    def test_a_table_in_memory(self, source):
        data = load_labelled_data(source)
        assert texts(data) == set(TEXTS)
        assert data.label_names == ("ham", "spam")
        for row in data.splits["train"]:
            assert data.label_names[row["labels"]] == LABELS[TEXTS.index(row["text"])]

    def test_a_folder_of_files_is_split_by_their_names(self, tmp_path):
        for name in ("train", "dev", "test"):
            write(tmp_path, "csv").rename(tmp_path / f"reviews-{name}.csv")
        data = load_labelled_data(tmp_path)
        assert {split: len(part) for split, part in data.splits.items()} == dict.fromkeys(
            ("train", "validation", "test"), 20
        )
        assert data.report.shared == {"train & validation": 20, "train & test": 20, "validation & test": 20}

    def test_a_saved_folder_stays_as_it_is_and_no_cache_is_written(self, tmp_path, monkeypatch):
        monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
        DatasetDict(train=Dataset.from_dict(TABLE)).save_to_disk(tmp_path / "saved")
        before = sorted(tmp_path.rglob("*"))
        data = load_labelled_data(tmp_path / "saved")
        data.splits["train"].map(lambda row: {"length": len(row["text"])})
        load_labelled_data({"train": write(tmp_path, "csv")})
        assert texts(data) == set(TEXTS)
        assert [path for path in sorted(tmp_path.rglob("*")) if path.name != "table.csv"] == before

    def test_names_of_splits_are_the_fields_own(self):
        data = load_labelled_data({"training": TABLE, "dev": TABLE, "unsupervised": TABLE})
        assert list(data.splits) == ["train", "validation"]
        assert "Split `unsupervised` is not used." in data.report.decisions

    def test_text_is_never_taken_for_a_missing_value(self, tmp_path):
        (tmp_path / "names.csv").write_text("name,language\n" + "NA,a\nnull,b\nNaN,a\nNone,b\n" * 3)
        data = load_labelled_data(tmp_path / "names.csv", validation_size=0.4)
        assert texts(data) == {"NA", "null", "NaN", "None"}

    def test_the_examples(self):
        data = load_labelled_data(DATA / "sms_spam.csv.gz")
        assert data.report.class_counts == {
            "train": {"ham": 4066, "spam": 588},
            "validation": {"ham": 452, "spam": 65},
        }
        files = {part: DATA / f"japanese_vowels_{part}.parquet" for part in ("train", "test")}
        data = load_labelled_data(files)
        assert (data.feature_size, data.reads_text, len(data.label_names)) == (12, False, 9)
        assert data.report.lengths["test"]["steps"]["max"] == 29


class TestLabels:
    @pytest.mark.parametrize(
        ("labels", "names", "problem_type", "first"),
        [
            (["b", "a"], ("a", "b"), "single_label_classification", 1),
            (["10", "9"], ("9", "10"), "single_label_classification", 1),
            ([1, 0], ("0", "1"), "single_label_classification", 1),
            ([5, 3], ("3", "5"), "single_label_classification", 1),
            ([True, False], ("False", "True"), "single_label_classification", 1),
            ([0.5, -1.25], ("label",), "regression", 0.5),
            ([2.0, 1.0], ("label",), "regression", 2.0),
            ([["b"], ["a", "b"]], ("a", "b"), "multi_label_classification", [0, 1]),
            ([[], [0, 1]], ("0", "1"), "multi_label_classification", [0, 0]),
            ([[0, 0, 1], [1, 0, 1]], ("0", "1", "2"), "multi_label_classification", [0, 0, 1]),
            ([[True, False], [True, True]], ("0", "1"), "multi_label_classification", [1, 0]),
            ([[0.5, 2.0], [1.0, 3.0]], ("label_0", "label_1"), "regression", [0.5, 2.0]),
        ],
    )
    def test_the_problem_type_is_told_by_the_labels(self, labels, names, problem_type, first):
        table = {"text": TEXTS, "label": labels * 10}
        data = load_labelled_data({"train": table, "validation": table})
        assert (data.label_names, data.problem_type) == (names, problem_type)
        label = data.splits["train"][0]["labels"]
        assert label == first
        assert np.array(label).dtype.kind == ("i" if problem_type.startswith("single") else "f")
        assert sum(problem_type in sentence for sentence in data.report.decisions) == 1
        config = RNNConfig(vocab_size=9, pad_token_id=0, **data.config_fields())
        assert (config.problem_type, config.num_labels) == (problem_type, len(names))
        assert config.id2label == dict(enumerate(names))

    @pytest.mark.parametrize(
        ("labels", "problem_type", "first"),
        [
            ([2.0, 1.0], "single_label_classification", 1),
            ([2, 1], "regression", 2.0),
            ([[0.25, 1.0], [0.5, 0.0]], "multi_label_classification", [0.25, 1.0]),
            ([[0, 1], [1, 0]], "regression", [0.0, 1.0]),
        ],
    )
    def test_the_problem_type_can_be_told(self, labels, problem_type, first):
        data = load_labelled_data({"train": {"text": TEXTS, "label": labels * 10}}, problem_type=problem_type)
        (row,) = [row for row in range(18) if data.splits["train"][row]["text"] == "text 0"]
        assert data.splits["train"][row]["labels"] == first
        assert not [sentence for sentence in data.report.decisions if "problem type" in sentence]

    def test_the_order_of_a_class_label_is_kept(self):
        features = Features({"text": Value("string"), "label": ClassLabel(names=["spam", "never", "ham"])})
        data = load_labelled_data(Dataset.from_dict(TABLE, features=features))
        assert data.label_names == ("spam", "never", "ham")
        assert data.report.class_counts["train"]["never"] == 0
        several = Features({"text": Value("string"), "label": List(ClassLabel(names=["spam", "ham"]))})
        table = Dataset.from_dict({"text": TEXTS, "label": [[0, 1], [1, 0]] * 10}, features=several)
        data = load_labelled_data(table)
        assert (data.label_names, data.splits["train"][0]["labels"]) == (("spam", "ham"), [1, 1])

    def test_names_can_be_told(self):
        data = load_labelled_data(TABLE, label_names=["spam", "eggs", "ham"])
        assert data.label_names == ("spam", "eggs", "ham")
        data = load_labelled_data({"text": TEXTS, "label": [1, 0] * 10}, label_names=["no", "yes"])
        assert data.report.class_counts["validation"] == {"no": 1, "yes": 1}

    def test_several_labels_in_one_string(self):
        data = load_labelled_data(
            {"text": TEXTS, "label": ["1, 0", ""] * 10}, label_separator=",", drop_incomplete=True
        )
        assert data.label_names == ("0", "1")
        assert data.report.left_out == {"train": 10}
        table = {"text": TEXTS, "label": ["1,0", "1"] * 10}
        assert load_labelled_data(table, label_separator=",", label_names=["no", "yes"]).label_names == ("no", "yes")

    def test_several_label_columns(self):
        table = {"text": TEXTS, "toxic": [0, 1] * 10, "rude": [1, 1] * 10}
        data = load_labelled_data(table, label_column=["toxic", "rude"])
        assert (data.problem_type, data.label_names) == ("multi_label_classification", ("toxic", "rude"))
        table = {"text": TEXTS, "valence": [0.5, 1] * 10, "arousal": [1, -1] * 10}
        data = load_labelled_data(table, label_column=["valence", "arousal"])
        assert (data.problem_type, data.label_names) == ("regression", ("valence", "arousal"))
        assert data.report.targets["train"]["arousal"]["min"] == -1


class TestColumns:
    @pytest.mark.parametrize(
        ("table", "text", "label"),
        [
            ({"Sentence": TEXTS, "Rating": LABELS}, "Sentence", "Rating"),
            ({"id": TEXTS, "foo": TEXTS, "bar": [0, 1] * 10}, "foo", "bar"),
            ({"review": TEXTS, "bar": LABELS}, "review", "bar"),
            ({"foo": TEXTS, "label": LABELS}, "foo", "label"),
        ],
    )
    def test_found_by_name_then_by_type(self, table, text, label):
        report = load_labelled_data(table).report
        assert report.columns == {"text": text, "labels": label}
        assert report.decisions[:2] == (f"Label column: `{label}`.", f"Input: `{text}`.")

    def test_pairs(self):
        table = {"premise": TEXTS, "hypothesis": TEXTS[::-1], "label": LABELS}
        data = load_labelled_data(table)
        assert data.splits["train"].column_names == ["text", "text_pair", "labels"]
        told = load_labelled_data(table, text_column="hypothesis", text_pair_column="premise", label_column="label")
        assert told.report.columns == {"text": "hypothesis", "text_pair": "premise", "labels": "label"}
        assert not any("column" in sentence for sentence in told.report.decisions)

    @pytest.mark.parametrize(
        "vectors", [SERIES, [array.tolist() for array in SERIES], [torch.tensor(array) for array in SERIES]]
    )
    def test_vectors(self, vectors):
        data = load_labelled_data({"anything": vectors, "label": LABELS})
        assert (data.reads_text, data.feature_size, data.config_fields()["input_size"]) == (False, 2, 2)
        row = data.splits["train"][0]
        assert (row["input_features"].dtype, row["input_features"].shape) == (np.float32, (1, 2))
        extractor = SequenceVectorFeatureExtractor(feature_size=2)
        batch = extractor(data.splits["train"][:]["input_features"], padding=True, return_tensors="pt")
        assert batch["input_features"].shape == (18, 3, 2)

    def test_one_array_of_equal_lengths(self):
        data = load_labelled_data({"x": np.zeros((20, 4, 3)), "y": np.array([0, 1] * 10)})
        assert data.splits["validation"][0]["input_features"].shape == (4, 3)

    def test_series_side_by_side(self):
        table = {"left": [[1.0, 2.0]] * 20, "right": [[3.0, 4.0]] * 20, "label": LABELS}
        data = load_labelled_data(table, vector_column=["left", "right"])
        assert data.splits["train"][0]["input_features"].tolist() == [[1, 3], [2, 4]]
        data = load_labelled_data(table, vector_column="left")
        assert data.splits["train"][0]["input_features"].tolist() == [[1], [2]]


class TestSplits:
    def test_by_seed(self):
        first, again, other = (load_labelled_data(TABLE, seed=seed, validation_size=0.3) for seed in (0, 0, 1))
        assert first.splits["validation"][:] == again.splits["validation"][:]
        assert first.splits["validation"][:] != other.splits["validation"][:]

    def test_sizes_as_numbers_of_rows(self):
        data = load_labelled_data(TABLE, validation_size=4, test_size=6)
        assert {name: len(part) for name, part in data.splits.items()} == {"train": 10, "validation": 4, "test": 6}

    def test_none(self):
        assert list(load_labelled_data(TABLE, validation_size=None).splits) == ["train"]
        assert list(load_labelled_data(TABLE, validation_size=None, test_size=0.2).splits) == ["train", "test"]

    def test_at_most(self):
        data = load_labelled_data(TABLE, max_train_samples=5, max_validation_samples=1, validation_size=0.2)
        assert {name: len(part) for name, part in data.splits.items()} == {"train": 5, "validation": 1}
        assert "Of the 16 rows of split `train`, 5 are kept." in data.report.decisions

    def test_repeated_rows_of_training_are_left_out_when_asked(self):
        table = {"text": [*TEXTS, *TEXTS[:4]], "label": [*LABELS, *LABELS[:3], "spam"]}
        test = {"text": [TEXTS[10], TEXTS[10]], "label": ["spam", "spam"]}
        data = load_labelled_data({"train": table, "validation": table, "test": test})
        assert data.report.duplicates == {"train": 4, "validation": 4, "test": 1}
        assert data.report.contradictions == {"train": 1, "validation": 1, "test": 0}
        assert data.report.shared["train & test"] == 2
        data = load_labelled_data({"train": table, "test": test}, drop_duplicates=True)
        assert set(data.report.duplicates.values()) == {0, 1}
        assert data.report.rows["train"] + data.report.rows["validation"] == 19
        assert not any(data.report.shared.values())

    def test_incomplete_rows_are_left_out_when_asked(self):
        table = {"text": [*TEXTS, " ", None, "no label"], "label": [*LABELS, "ham", "ham", None]}
        hidden = {"text": ["one"], "label": [None]}
        data = load_labelled_data({"train": table, "test": hidden}, drop_incomplete=True)
        assert data.report.left_out == {"train": 3, "test": 1}
        assert list(data.splits) == ["train", "validation"]
        assert "Split `test` has no row with an input and a label, so it is not used." in data.report.decisions


class TestStreams:
    def test_are_read_lazily_where_the_labels_are_known(self):
        read = []

        def rows():
            for number in range(10_000):
                read.append(number)
                yield {"text": f"text {number}", "label": number % 2}

        features = Features({"text": Value("string"), "label": ClassLabel(names=["no", "yes"])})
        stream = IterableDataset.from_generator(rows, features=features)
        data = load_labelled_data({"train": stream}, max_train_samples=3)
        assert len(read) < 10
        assert [row["labels"] for row in data.splits["train"]] == [
            int(row["text"].split()[1]) % 2 for row in data.splits["train"]
        ]
        assert max(read) < 2000
        assert len(data.report.unchecked) == 2

    def test_learn_their_labels_in_a_first_pass(self):
        data = load_labelled_data(Dataset.from_dict(TABLE).to_iterable_dataset(), validation_size=0.3)
        assert data.label_names == ("ham", "spam")
        assert "Split `validation` is drawn from the training stream with seed 42: 30% of it." in data.report.decisions

    def test_without_declared_features(self):
        stream = IterableDataset.from_generator(
            lambda: iter([{"x": [[1, 2]], "label": "a"}, {"x": [[3, 4]] * 2, "label": "b"}])
        )
        data = load_labelled_data(
            {"train": stream, "validation": Dataset.from_dict({"x": [[[1.0, 2]]], "label": ["a"]})}
        )
        assert [row["input_features"].shape for row in data.splits["train"]] == [(1, 2), (2, 2)]
        assert [int(row["labels"]) for row in data.splits["validation"]] == [0]


def test_the_report_reads_well_and_is_plain_data():
    data = load_labelled_data({**TABLE, "text": [*TEXTS[:-1], "text 0 | more"]})
    text = str(data.report)
    assert "| rows | 18 | 2 |" in text
    assert "| ham | 9 | 1 |" in text
    assert "| words, max | " in text
    assert json.loads(json.dumps(data.report.to_dict()))["rows"] == {"train": 18, "validation": 2}
    stream = load_labelled_data(Dataset.from_dict(TABLE).to_iterable_dataset())
    assert "A stream is read when it is used" in str(stream.report)


class TestFilesWithoutAHeader:
    ROWS = (("a", '"quoted'), ("b", 'he said "hi"'), ("a", "é"), ("b", "plain")) * 3

    def write(self, path, separator="\t", encoding="utf-8"):
        path.write_text("".join(f"{label}{separator}{text}\r\n" for label, text in self.ROWS), encoding)
        return path

    @pytest.mark.parametrize("name", ["rows.tsv", "rows.txt", "Rows"])
    def test_tab_separated_are_read_as_they_stand(self, name, tmp_path):
        path = self.write(tmp_path / name)
        data = load_labelled_data(path, column_names=["label", "text"], validation_size=None)
        assert list(data.splits["train"]["text"]) == [text for _, text in self.ROWS]
        assert data.label_names == ("a", "b")

    def test_quotes_enclose_values_of_csv_or_where_told(self, tmp_path):
        (tmp_path / "rows.csv").write_text('a,"one, two"\nb,three\n' * 3)
        data = load_labelled_data(tmp_path / "rows.csv", column_names=["label", "text"], validation_size=None)
        assert data.splits["train"]["text"][0] == "one, two"
        (tmp_path / "rows.tsv").write_text('a\t"one\ntwo"\nb\tthree\n' * 3)
        told = {"column_names": ["label", "text"], "quotes": True, "validation_size": None}
        assert load_labelled_data(tmp_path / "rows.tsv", **told).splits["train"]["text"][0] == "one\ntwo"
        (tmp_path / "rows.tsv").write_text('label\ttext\na\t"one\nb\tthree\n')
        plain = load_labelled_data(tmp_path / "rows.tsv", quotes=False, validation_size=None)
        assert list(plain.splits["train"]["text"]) == ['"one', "three"]

    def test_of_another_encoding(self, tmp_path):
        path = self.write(tmp_path / "rows.tsv", encoding="latin-1")
        data = load_labelled_data(path, column_names=["label", "text"], encoding="latin-1", validation_size=None)
        assert data.splits["train"]["text"][2] == "é"
        sentence = (
            f"{path}, line 3 is not utf-8: invalid continuation byte. Pass the file's encoding, such as 'latin-1'."
        )
        with pytest.raises(ValueError, match=re.escape(sentence)):
            load_labelled_data(path, column_names=["label", "text"])

    def test_names_for_what_has_names(self, tmp_path):
        (tmp_path / "rows.jsonl").write_text('{"text": "one", "label": "a"}')
        for source, told in (
            (tmp_path / "rows.jsonl", f"CSV and TSV files without a header, but {tmp_path / 'rows.jsonl'} names its"),
            (Dataset.from_dict(TABLE), "files without a header, but the source is Dataset"),
        ):
            with pytest.raises(ValueError, match=re.escape(f"column_names=['x', 'y'] are for {told}")):
                load_labelled_data(source, column_names=["x", "y"])

    def test_names_for_a_file_that_begins_with_them(self, tmp_path):
        path = tmp_path / "rows.csv"
        path.write_text("label,text\na,one\nb,two\n")
        sentence = (
            f"{path} begins with the names ['label', 'text'], so it has a header, but column_names are for files "
            "without one: it would become a row. Leave them out."
        )
        with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
            load_labelled_data(path, column_names=["label", "text"])
