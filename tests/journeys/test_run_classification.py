"""The general script, run as its help says: a page that teaches, files in, predictions out in their order."""

import csv
import json
import os
import runpy
import sys

import numpy as np
import pyarrow as pa
import pytest
from processes import ROOT, run
from pyarrow import parquet

SCRIPT = ROOT / "examples" / "run_classification.py"
QUICK = ["--hidden_size", "4", "--max_steps", "3", "--disable_tqdm", "True", "--log_level", "error"]


def texts(rows=60):
    words = [f"w{index}" for index in range(20)]
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(words, generator.integers(1, 9))) for _ in range(rows)]


def write(path, columns):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def answers(directory):
    return [json.loads(line) for line in (directory / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run the script as a program, in this process; return what it printed."""

    def run_here(*arguments):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments])
        capsys.readouterr()
        runpy.run_path(str(SCRIPT), run_name="__main__")
        return capsys.readouterr().out

    return run_here


def test_the_help_is_a_page_that_teaches(call, capsys):
    with pytest.raises(SystemExit):
        call("--help")
    page = capsys.readouterr().out
    assert page.startswith("usage: run_classification.py --data DATA --output_dir DIRECTORY")
    assert page.index("Examples:") < page.index("the data:") < page.index("the model, its loss and its card")
    assert page.count("python run_classification.py") >= 9
    for option in ("--label_separator", "--class_weights", "--num_train_epochs", "--report_to", "--do_predict"):
        assert option in page


def test_texts_in_a_file_are_trained_evaluated_and_predicted_in_order(call, tmp_path):
    found = texts()
    write(tmp_path / "table.csv", {"text": found, "label": ["ab"["w1" in text.split()] for text in found]})
    doing = ["--do_train", "--do_eval", "--do_predict", "--test_size", "0.2", "--title", "As or bs", "--watts", "65"]
    printed = run(SCRIPT, "--data", "table.csv", "--output_dir", "model", *doing, *QUICK, cwd=tmp_path)
    assert "single_label_classification" in printed
    assert "'accuracy'" in printed
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert "# As or bs" in card
    assert "estimated as the time at a stated power of 65 W" in card
    assert "python run_classification.py --data table.csv --output_dir model --do_train" in card
    assert len(answers(tmp_path / "model")) == 12
    using = ["--text_column", "text", "--output_dir", "model", "--do_predict"]
    write(tmp_path / "new.csv", {"text": found})
    call("--predict_file", "new.csv", *using)
    of_new = answers(tmp_path / "model")
    assert len(of_new) == 60
    write(tmp_path / "back.csv", {"text": found[::-1]})
    call("--predict_file", "back.csv", *using)
    for one, other in zip(of_new, answers(tmp_path / "model")[::-1], strict=True):
        assert one["label"] == other["label"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)
    evaluated = call("--data", "table.csv", "--test_size", "0.2", "--output_dir", "model", "--do_eval")
    assert evaluated.splitlines()[-1] in printed


@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_vectors_and_a_file_of_arguments(kind, call, tmp_path):
    generator = np.random.default_rng(0)
    series = [generator.normal(index % 3, 1, (2 + index % 5, 2)).tolist() for index in range(60)]
    table = pa.table({"series": series, "gesture": ["abc"[index % 3] for index in range(60)]})
    parquet.write_table(table, tmp_path / "table.parquet")
    arguments = {
        "data": "table.parquet", "vector_column": ["series"], "label_column": ["gesture"], "output_dir": "model",
        "do_train": True, "do_eval": True, "test_size": 0.2, "do_predict": True, "cell_type": "gru", "hidden_size": 4,
        "max_steps": 3, "learning_rate": 0.01, "disable_tqdm": True, "abstain_below": 0.1,
    }  # fmt: skip
    lines = [f"{name}: {json.dumps(value)}" for name, value in arguments.items()]
    (tmp_path / f"all.{kind}").write_text(json.dumps(arguments) if kind == "json" else "\n".join(lines))
    printed = call(f"all.{kind}")
    assert "'macro_f1'" in printed
    assert json.loads((tmp_path / "model" / "config.json").read_text())["cell_type"] == "gru"
    assert json.loads((tmp_path / "model" / "config.json").read_text())["abstain_below"] == 0.1
    assert {answer["label"] for answer in answers(tmp_path / "model")} <= set("abc")
    assert len(answers(tmp_path / "model")) == 12


def test_several_labels_as_numbers_in_split_files_without_a_header(call, tmp_path):
    found, names = texts(), ["w1", "w2", "w3"]
    (tmp_path / "names.txt").write_text("\n".join(names))
    labels = [",".join(str(index) for index in range(3) if names[index] in text.split()) or "2" for text in found]
    for name, rows in (("train", slice(0, 40)), ("dev", slice(40, 50)), ("test", slice(50, 60))):
        lines = [f'"{text}\t{label}\n' for text, label in zip(found[rows], labels[rows], strict=True)]
        (tmp_path / f"{name}.tsv").write_text("".join(lines))
    files = ["--data", "train.tsv", "--validation_file", "dev.tsv", "--test_file", "test.tsv"]
    shape = ["--column_names", "text", "label", "--label_separator", ",", "--labels", "names.txt"]
    doing = ["--pos_weight", "balanced", "--output_dir", "model", "--do_train", "--do_eval", "--do_predict"]
    assert "'micro_f1'" in call(*files, *shape, *doing, *QUICK)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    assert list(config["id2label"].values()) == names
    assert len(config["pos_weight"]) == len(config["thresholds"]) == 3
    for answer in answers(tmp_path / "model"):
        assert isinstance(answer, list)
        assert {given["label"] for given in answer} <= set(names)


def test_vectors_of_words_and_a_teacher(call, tmp_path):
    found = texts()
    write(tmp_path / "table.csv", {"text": found, "label": ["ab"["w1" in text.split()] for text in found]})
    write(tmp_path / "more.csv", {"text": found[:7]})
    (tmp_path / "words.txt").write_text("w1 1 2\nw2 3 4\nstranger 5 6\n")
    from_words = ["--pretrained_vectors", "words.txt", "--known_words", "words.txt", "--embedding_training", "0.5"]
    doing = ["--data", "table.csv", "--do_train", "--do_eval", *QUICK]
    call(*doing, *from_words, "--output_dir", "large")
    assert "words.txt: vectors of width 2" in (tmp_path / "large" / "README.md").read_text(encoding="utf-8")
    assert "stranger" in json.loads((tmp_path / "large" / "tokenizer.json").read_text())["model"]["vocab"]
    teaching = ["--teacher", "large", "--unlabelled_file", "more.csv", "--altered_copies", "1", "--label_share", "0.3"]
    from_chance = ["--pretrained_vectors", "none", "--refit", "True", "--test_size", "0.1"]
    call(*doing, *teaching, *from_chance, "--output_dir", "small")
    card = (tmp_path / "small" / "README.md").read_text(encoding="utf-8")
    said = "70% are the answers of large, which also answered 7 sequences without a label and 48 altered texts."
    assert said in card
    assert "trained anew on the 109 training and validation rows together" in card


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Nothing to do: pass --do_train, --do_eval or --do_predict (--help shows examples)."),
        (["--do_train"], "--do_train and --do_eval need --data: a file, a folder, or a name on the hub."),
        (["--do_train", "--hiden_size", "3"], "--hiden_size"),
        (
            ["--do_train", "--data", str(ROOT / "examples" / "data" / "sms_spam.csv.gz"), "--altered_copies", "1"],
            "--unlabelled_file, --altered_copies and --label_share need --teacher, who answers.",
        ),
    ],
)
def test_commands_that_cannot_be(arguments, message, call, tmp_path, capsys):
    with pytest.raises(SystemExit) as told:
        call(*arguments)
    assert message in f"{told.value} {capsys.readouterr().err}"
    assert not os.listdir(tmp_path)
