"""Train, evaluate and use a recurrent classifier of texts or vectors, from any labelled table.

Examples:

  a file of texts with labels, everything else chosen from the data:
    python run_classification.py --data sms.csv --output_dir sms-spam --do_train --do_eval

  the same, then what the model says of the test set, in its order, as sms-spam/predictions.jsonl:
    python run_classification.py --data sms.csv --test_size 0.1 --output_dir sms-spam --do_train --do_eval --do_predict

  split files; several labels a text, in one column as "joy,surprise"; loss that makes up for rare labels:
    python run_classification.py --data train.tsv --validation_file dev.tsv --test_file test.tsv \\
        --label_separator , --pos_weight balanced --output_dir emotions --do_train --do_eval

  tab-separated files without a header, labels given as numbers:
    python run_classification.py --data train.tsv --column_names text labels id --labels names.txt ...

  sequences of vectors in a column of a Parquet file, your own sizes and schedule:
    python run_classification.py --data gestures.parquet --vector_column series --label_column gesture \\
        --cell_type gru --hidden_size 200 --num_train_epochs 40 --output_dir gestures --do_train --do_eval

  words that start from, and further words that are known by, a file of vectors (or a model, by directory or name):
    python run_classification.py --data reviews.csv --pretrained_vectors glove.6B.100d.txt \\
        --known_words glove.6B.100d.txt --embedding_training 0.3 --output_dir reviews --do_train --do_eval

  a larger classifier as teacher, also of texts without labels:
    python run_classification.py --data reviews.csv --teacher directory-of-a-classifier \\
        --unlabelled_file more.jsonl --altered_copies 2 --output_dir small --do_train --do_eval

  a data set of the hub:
    python run_classification.py --data stanfordnlp/imdb --output_dir imdb --do_train --do_eval

  a trained model and a file without labels:
    python run_classification.py --predict_file new.csv --text_column text --output_dir sms-spam --do_predict

  all of it from a file of arguments, JSON or YAML:
    python run_classification.py arguments.yaml

The problem is told from the labels: one of several names (single label), lists or tables of them (multi-label), or
numbers (regression). Killed and started again with the same command, training goes on where it was.
"""

# ruff: noqa: RUF009 - `told` makes the fields
import argparse
import json
import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoConfig, HfArgumentParser, TrainingArguments, pipeline

import transformers_rnn  # noqa: F401 - registers
from transformers_rnn.data_files import FileFormat
from transformers_rnn.data_source import read_source
from transformers_rnn.distillation import distil
from transformers_rnn.labelled_data import LabelledData, load_labelled_data
from transformers_rnn.pretrained_embeddings import known_words
from transformers_rnn.training import evaluate_classifier, train_classifier


def told(text: str, default: Any = None) -> Any:
    """A field with its help."""
    return field(default=default, metadata={"help": text})


@dataclass
class DataArguments:
    """Where the data is, and which columns are what."""

    _argument_group_name = "the data"

    data: str | None = told("File (CSV, TSV, JSON lines, Parquet, also .gz), folder, or name on the hub.")
    column_names: list[str] | None = told(
        "Names of the columns of CSV and TSV files without a header; files of another suffix are tab-separated then."
    )
    encoding: str | None = told("Of text files: utf-8, latin-1, ...")
    quotes: bool | None = told(
        "Whether quotation marks enclose values in CSV and TSV files; if not given, not in TSV without a header."
    )
    validation_file: str | None = told("File of the validation set, if data is a file of the training set.")
    test_file: str | None = told("File of the test set.")
    unlabelled_file: str | None = told("File of sequences without labels, for the teacher to answer.")
    predict_file: str | None = told("File to predict, labels not needed; by default the test set.")
    text_column: str | None = told("Column of texts. Not given: found.")
    text_pair_column: str | None = told("Column of second texts.")
    vector_column: list[str] | None = told(
        "Column of vectors, or several columns of numbers over time. Not given: found."
    )
    label_column: list[str] | None = told("Column of labels, or several of zeros and ones. Not given: found.")
    label_separator: str | None = told("What stands between several labels in one string, such as a comma.")
    labels: list[str] | None = told(
        "All labels in the order of their numbers, or a text file with one a line. Not given: learned."
    )
    problem_type: str | None = told(
        "single_label_classification, multi_label_classification or regression. Not given: told from the labels."
    )
    validation_size: float | None = told("Share of the training set that becomes the validation set if there is none.")
    test_size: float | None = told("Share of the training set that becomes the test set if there is none.")
    max_train_samples: int | None = told("Rows of the training set to use, for a quick try.")
    drop_incomplete: bool | None = told("Whether to leave out rows without text or label, which are refused else.")
    drop_duplicates: bool | None = told("Whether to leave out training rows whose text stands elsewhere, too.")


@dataclass
class ModelArguments:
    """The model, its loss and its card."""

    _argument_group_name = "the model, its loss and its card; what is not given is chosen from the data"

    cell_type: str | None = told("lstm, gru or rnn.")
    input_size: int | None = told("Width of the token embedding.")
    hidden_size: int | None = told("Width of the states of one layer and direction.")
    num_hidden_layers: int | None = told("Number of stacked recurrent layers.")
    bidirectional: bool | None = told("Whether sequences are read backwards, too. False if the model is to stream.")
    pooling: str | None = told("last, mean, max, attention or concat.")
    embedding_dropout: float | None = told("Probability, on what the first layer reads.")
    hidden_dropout: float | None = told("Probability, between stacked layers.")
    classifier_dropout: float | None = told("Probability, on the pooled states.")
    pretrained_model: str | None = told("Directory of a pretrained model to start from, see examples/pretrain.py.")
    pretrained_vectors: str | None = told(
        "What words start from: a file of word vectors, directory or name of a model, texts (those of training), none."
    )
    embedding_training: str | None = told("tuned, frozen, or the share of all steps after which words are trained.")
    known_words: str | None = told("File of word vectors or model whose words are in the vocabulary, too.")
    teacher: str | None = told("Directory or name of a classifier whose answers join the labels.")
    altered_copies: int | None = told("How many times each training text is altered and answered by the teacher.")
    label_share: float | None = told("Share of the labels beside the teacher's answers, 0 to 1.")
    level: str | None = told("Tokens are words (word), characters (char) or byte-level pieces (bpe).")
    vocab_size: int | None = told("Most tokens to keep.")
    min_frequency: int | None = told("How often a token must come to be kept.")
    max_length: int | None = told("Longest sequence; what is longer is truncated.")
    stride: int | None = told("Steps of vectors that are read as one.")
    deltas: bool | None = told("Whether the changes of vectors from step to step are read, too.")
    class_weights: str | None = told("balanced, or a JSON list of one factor a class.")
    pos_weight: str | None = told("For several labels: balanced, or a JSON list of one factor a label.")
    focal_gamma: float | None = told("Exponent of the focal loss.")
    early_stopping_patience: int | None = told(
        "Evaluations without improvement until training stops, by default half of all; 0: never."
    )
    weight_averaging: float | None = told("Decay of a moving average of the weights, such as 0.99, that is kept.")
    layerwise_lr_decay: float | None = told("Learning rate of each layer as a share of that of the next.")
    gradual_unfreezing: bool | None = told("Whether to train the head first and a layer more in each epoch.")
    count_ngrams: int | None = told("The longest n-gram that is counted beside the recurrent layers; 0: none.")
    logit_adjustment: float | None = told("How much less readily common labels are answered, 0 to 1.")
    refit: bool | None = told(
        "Whether to train anew on the validation rows, too; not given: if fewer than 250 are drawn, else n-grams only."
    )
    abstain_below: float | None = told("Probability below which predictions give no label.")
    title: str | None = told("Heading of the model card.")
    dataset_name: str | None = told("Name of the data in the card.")
    dataset_license: str | None = told("Licence of the data.")
    license: str | None = told("Licence of the model.")
    language: str | None = told("Language of the texts, such as en.")
    watts: float | None = told("Power of the machine, to estimate the energy of the training from.")


TEACHING = ("altered_copies", "label_share")
PROCESSING = ("known_words", "level", "vocab_size", "min_frequency", "max_length", "stride", "deltas")
CARD = ("title", "dataset_name", "dataset_license", "license", "language", "watts")


def parse(arguments: list[str]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """What was given, and only that, of the data, of the model and of the training."""
    kinds = (DataArguments, ModelArguments, TrainingArguments)
    parser = HfArgumentParser(
        kinds,
        usage="run_classification.py --data DATA --output_dir DIRECTORY --do_train --do_eval [any option below]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if len(arguments) == 1 and arguments[0].endswith((".json", ".yaml", ".yml")):
        read = parser.parse_json_file if arguments[0].endswith(".json") else parser.parse_yaml_file
        read(arguments[0])  # refuses names that are not known
        given = json.loads(Path(arguments[0]).read_text()) if arguments[0].endswith(".json") else None
        if given is None:
            import yaml  # noqa: PLC0415 - comes with transformers

            given = yaml.safe_load(Path(arguments[0]).read_text())
    else:
        parser.parse_args(arguments)  # checks, and shows --help
        names = [item.name for kind in kinds for item in fields(kind) if item.init]
        left_open = object()
        parser.set_defaults(**dict.fromkeys(names, left_open))
        given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not left_open}
    return tuple({item.name: given[item.name] for item in fields(kind) if item.name in given} for kind in kinds)


def load(data: dict[str, Any]) -> LabelledData:
    """The labelled splits."""
    options = {name: value for name, value in data.items() if not name.endswith("_file") and name != "data"}
    files = {"validation": data.get("validation_file"), "test": data.get("test_file")}
    files = {name: path for name, path in files.items() if path}
    names = options.pop("labels", None)  # the host has another meaning for label_names
    if names and len(names) == 1 and Path(names[0]).is_file():
        names = Path(names[0]).read_text(encoding="utf-8").splitlines()
    options["label_names"] = names
    labelled = load_labelled_data({"train": data["data"], **files} if files else data["data"], **options)
    print(labelled.report, flush=True)
    return labelled


def settle(model: dict[str, Any]) -> dict[str, Any]:
    """What was given of the model, as `train_classifier` takes it."""
    settled = dict(model)
    for name in ("class_weights", "pos_weight"):
        if settled.get(name, "balanced") != "balanced":
            settled[name] = json.loads(settled[name])
    if settled.get("embedding_training", "tuned") not in ("tuned", "frozen"):
        settled["embedding_training"] = float(settled["embedding_training"])
    if settled.get("pretrained_vectors") == "none":
        settled["pretrained_vectors"] = None
    if "known_words" in settled:
        settled["known_words"] = known_words(settled["known_words"])
    return settled


def teach(labelled: LabelledData, data: dict[str, Any], model: dict[str, Any]) -> LabelledData:
    """The data with the answers of the teacher, if there is one."""
    choices = {name: model.pop(name) for name in TEACHING if name in model}
    if "teacher" in model:
        return distil(
            labelled,
            model.pop("teacher"),
            unlabelled=data.get("unlabelled_file"),
            **choices,
            **{name: data[name] for name in ("seed",) if name in data},
        )
    if choices or "unlabelled_file" in data:
        raise SystemExit("--unlabelled_file, --altered_copies and --label_share need --teacher, who answers.")
    return labelled


def predict(directory: str, data: dict[str, Any], labelled: LabelledData | None) -> Path:
    """Write what the saved model says, one JSON object a row, in the order of the data."""
    config = AutoConfig.from_pretrained(directory)
    if data.get("predict_file"):
        form = FileFormat(**{name: data[name] for name in ("column_names", "encoding", "quotes") if name in data})
        rows = read_source(data["predict_file"], form=form)["train"].with_format("numpy")
        columns = [data["text_column"]] if "text_column" in data else data.get("vector_column")
        if not columns:
            raise SystemExit("--predict_file needs --text_column or --vector_column.")
        # One column of texts or vectors, or several columns that are the features of one sequence.
        parts = [list(rows[column]) for column in columns]
        inputs = parts[0] if len(parts) == 1 else [np.stack(row, axis=-1) for row in zip(*parts, strict=True)]
    elif labelled is not None and "test" in labelled.splits:
        inputs = list(labelled.splits["test"]["text" if labelled.reads_text else "input_features"])
    else:
        raise SystemExit("--do_predict needs --predict_file, or --data with a test set (--test_file or --test_size).")
    several = config.problem_type == "multi_label_classification"
    classify = pipeline("sequence-classification", model=directory, **({"threshold": True} if several else {}))
    path = Path(directory) / "predictions.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for answer in classify(inputs, batch_size=64):
            file.write(json.dumps(answer, ensure_ascii=False) + "\n")
    return path


def main() -> None:
    """Do what was asked for."""
    data, model, training = parse(sys.argv[1:])
    doing = {name: training.pop(name, False) for name in ("do_train", "do_eval", "do_predict")}
    directory = training.pop("output_dir", None) or "trainer_output"
    if not any(doing.values()):
        raise SystemExit("Nothing to do: pass --do_train, --do_eval or --do_predict (--help shows examples).")
    if (doing["do_train"] or doing["do_eval"]) and "data" not in data:
        raise SystemExit("--do_train and --do_eval need --data: a file, a folder, or a name on the hub.")
    if "seed" in training:
        data["seed"] = training["seed"]
    labelled = load(data) if "data" in data else None
    if doing["do_train"]:
        model = settle(model)
        result = train_classifier(
            teach(labelled, data, model),
            directory,
            processing_options={name: model.pop(name) for name in PROCESSING if name in model},
            card={name: model.pop(name) for name in CARD if name in model},
            **model,
            **training,
        )
        metrics = result.metrics
    elif doing["do_eval"]:
        metrics, _ = evaluate_classifier(directory, labelled)
    if doing["do_eval"]:
        print({name: round(value, 4) for name, value in metrics.items()})
    if doing["do_predict"]:
        print(f"Predictions are in {predict(directory, data, labelled)}.")


if __name__ == "__main__":
    main()
