"""The general script, run as its help says: a page that teaches, files in, predictions out in their order."""

import csv
import json
import os

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


def test_the_help_is_a_page_that_teaches(tmp_path):
    page = run(SCRIPT, "--help", cwd=tmp_path)
    assert page.startswith("usage: run_classification.py --data DATA --output_dir DIRECTORY")
    assert page.index("Examples:") < page.index("the data:") < page.index("the model, its loss and its card")
    assert page.count("python run_classification.py") >= 7
    for option in ("--label_separator", "--class_weights", "--num_train_epochs", "--report_to", "--do_predict"):
        assert option in page


def test_texts_in_a_file_are_trained_evaluated_and_predicted_in_order(tmp_path):
    found = texts()
    write(tmp_path / "table.csv", {"text": found, "label": ["ab"["w1" in text.split()] for text in found]})
    doing = ["--do_train", "--do_eval", "--do_predict", "--test_size", "0.2", "--title", "As or bs"]
    printed = run(SCRIPT, "--data", "table.csv", "--output_dir", "model", *doing, *QUICK, cwd=tmp_path)
    assert "single_label_classification" in printed
    assert "'accuracy'" in printed
    assert (tmp_path / "model" / "README.md").read_text(encoding="utf-8").count("As or bs")
    of_test = answers(tmp_path / "model")
    assert len(of_test) == 12
    write(tmp_path / "new.csv", {"text": found})
    run(
        SCRIPT, "--predict_file", "new.csv", "--text_column", "text", "--output_dir", "model", "--do_predict",
        cwd=tmp_path,
    )  # fmt: skip
    of_new = answers(tmp_path / "model")
    assert len(of_new) == 60
    write(tmp_path / "back.csv", {"text": found[::-1]})
    run(
        SCRIPT,
        "--predict_file",
        "back.csv",
        "--text_column",
        "text",
        "--output_dir",
        "model",
        "--do_predict",
        cwd=tmp_path,
    )
    for one, other in zip(of_new, answers(tmp_path / "model")[::-1], strict=True):
        assert one["label"] == other["label"]
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)
    evaluated = run(
        SCRIPT, "--data", "table.csv", "--test_size", "0.2", "--output_dir", "model", "--do_eval", cwd=tmp_path
    )
    assert evaluated.splitlines()[-1] in printed


@pytest.mark.parametrize("kind", ["json", "yaml"])
def test_vectors_and_a_file_of_arguments(kind, tmp_path):
    generator = np.random.default_rng(0)
    series = [generator.normal(index % 3, 1, (2 + index % 5, 2)).tolist() for index in range(60)]
    table = pa.table({"series": series, "gesture": ["abc"[index % 3] for index in range(60)]})
    parquet.write_table(table, tmp_path / "table.parquet")
    arguments = {
        "data": "table.parquet", "vector_column": ["series"], "label_column": ["gesture"], "output_dir": "model",
        "do_train": True, "do_eval": True, "test_size": 0.2, "do_predict": True, "cell_type": "gru", "hidden_size": 4,
        "max_steps": 3, "learning_rate": 0.01, "disable_tqdm": True,
    }  # fmt: skip
    lines = [f"{name}: {json.dumps(value)}" for name, value in arguments.items()]
    (tmp_path / f"all.{kind}").write_text(json.dumps(arguments) if kind == "json" else "\n".join(lines))
    printed = run(SCRIPT, f"all.{kind}", cwd=tmp_path)
    assert "'macro_f1'" in printed
    assert json.loads((tmp_path / "model" / "config.json").read_text())["cell_type"] == "gru"
    assert {answer["label"] for answer in answers(tmp_path / "model")} <= set("abc")
    assert len(answers(tmp_path / "model")) == 12


def test_several_labels_and_split_files(tmp_path):
    found = texts()
    labels = [",".join(name for name in ("w1", "w2", "w3") if name in text.split()) or "w3" for text in found]
    for name, rows in (("train", slice(0, 40)), ("dev", slice(40, 50)), ("test", slice(50, 60))):
        write(tmp_path / f"{name}.csv", {"text": found[rows], "label": labels[rows]})
    files = [
        "--data",
        "train.csv",
        "--validation_file",
        "dev.csv",
        "--test_file",
        "test.csv",
        "--label_separator",
        ",",
    ]
    doing = ["--pos_weight", "balanced", "--output_dir", "model", "--do_train", "--do_eval", "--do_predict"]
    assert "'micro_f1'" in run(SCRIPT, *files, *doing, *QUICK, cwd=tmp_path)
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    assert len(config["pos_weight"]) == len(config["thresholds"]) == 3
    for answer in answers(tmp_path / "model"):
        assert isinstance(answer, list)
        assert {given["label"] for given in answer} <= {"w1", "w2", "w3"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Nothing to do: pass --do_train, --do_eval or --do_predict (--help shows examples)."),
        (["--do_train"], "--do_train and --do_eval need --data: a file, a folder, or a name on the hub."),
        (["--do_train", "--hiden_size", "3"], "--hiden_size"),
    ],
)
def test_commands_that_cannot_be(arguments, message, tmp_path):
    with pytest.raises(AssertionError) as told:
        run(SCRIPT, *arguments, cwd=tmp_path)
    assert message in str(told.value)
    assert not os.listdir(tmp_path)
