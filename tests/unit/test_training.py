"""From a labelled table to a saved directory: choices, resuming, losses, order of predictions, what is left behind."""

import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from datasets import Dataset
from huggingface_hub import ModelCard
from processes import ROOT
from safetensors.torch import load_file
from transformers import TrainingArguments, pipeline

from transformers_rnn import RNNForSequenceClassification, run_report, train_tokenizer
from transformers_rnn.checkpoints import last_checkpoint
from transformers_rnn.evaluation import answer
from transformers_rnn.labelled_data import load_labelled_data
from transformers_rnn.recipe import choose_recipe, settle_strategies
from transformers_rnn.training import evaluate_classifier, train_classifier

SINGLE, SEVERAL, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
TINY = {
    "hidden_size": 4, "num_train_epochs": 2, "learning_rate": 0.01, "disable_tqdm": True, "log_level": "error",
    "refit": False,
}  # fmt: skip
EVERY = {"eval_strategy": "steps", "save_strategy": "steps"}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads that wait for each other take most of the time of so small a model on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def texts(rows=60):
    words = [f"w{index}" for index in range(20)]
    generator = np.random.default_rng(0)
    return [" ".join(generator.choice(words, generator.integers(1, 9))) for _ in range(rows)]


def table(kind):
    """Texts or vectors with labels of a problem type."""
    found = texts()
    labels = {
        SINGLE: ["yes" if "w1" in text.split() else "no" for text in found],
        SEVERAL: [[name for name in ("w1", "w2", "w3") if name in text.split()] for text in found],
        REGRESSION: [float(len(text.split())) / 3 for text in found],
    }
    if kind in labels:
        return {"text": found, "label": labels[kind]}
    generator = np.random.default_rng(0)
    series = [generator.normal(index % 3, 1, (2 + index % 5, 2)).tolist() for index in range(60)]
    return {"series": series, "label": ["abc"[index % 3] for index in range(60)]}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One small run with everything, shared by the tests that look at what it left."""
    directory = tmp_path_factory.mktemp("runs") / "yes-or-no"
    choices = {"test_size": 0.2, "token_dropout": 0.1, "card": {"license": "apache-2.0"}}
    return train_classifier(table(SINGLE), directory, **choices, **TINY)


def test_the_directory_holds_all_that_was_promised(trained):
    files = {path.name for path in trained.directory.iterdir()}
    assert files >= {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md", "run.json",
        "all_results.json", "eval_results.json", "test_results.json", "train_results.json", "trainer_state.json",
        "learning_curves.png", "confusion_matrix.png", "reliability.png", "length_accuracy.png", "coverage.png",
    }  # fmt: skip
    assert not [name for name in files if name.startswith("checkpoint-")]
    assert trained.model.config.unk_token_id == trained.processing_class.unk_token_id == 1
    results = json.loads((trained.directory / "all_results.json").read_text())
    assert results["test_accuracy"] == trained.metrics["accuracy"]
    card = ModelCard.load(trained.directory / "README.md")
    assert card.data.license == "apache-2.0"
    assert {result.metric_type for result in card.data.eval_results} >= {"accuracy", "f1"}
    told = {
        result.metric_name: (result.metric_args or {}).get("confidence_interval") for result in card.data.eval_results
    }
    assert told["accuracy"] == list(trained.intervals["accuracy"])
    assert "confusion_matrix.png" in card.text
    assert "| lr_scheduler_type | linear |" in card.text
    assert all(low <= trained.metrics[name] <= high for name, (low, high) in trained.intervals.items())


def test_the_learning_curves_are_of_all_labels_together(trained, tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(run_report, "draw_learning_curves", lambda history, *_, **__: drawn.update(history=history))
    config, state = trained.model.config, trained.trainer.state
    assert any("eval_f1_yes" in row for row in state.log_history)
    assert set(run_report.draw_pictures(tmp_path, config, None, state)) == {"learning_curves.png"}
    names = {name for row in drawn["history"] for name in row}
    assert {"eval_macro_f1", "eval_loss", "loss"} <= names
    assert not {name for name in names if name.endswith(("_yes", "_no"))}


def test_the_pipeline_says_what_the_run_measured(trained):
    rows = trained.data.splits["test"]
    answers = pipeline("sequence-classification", model=str(trained.directory))(list(rows["text"]))
    right = [
        given["label"] == trained.data.label_names[label] for given, label in zip(answers, rows["labels"], strict=True)
    ]
    assert np.mean(right) == pytest.approx(trained.metrics["accuracy"])
    metrics, intervals = evaluate_classifier(trained.directory, trained.data)
    assert metrics == pytest.approx(trained.metrics, nan_ok=True)
    assert intervals.keys() == trained.intervals.keys()
    for name, pair in intervals.items():
        assert pair == pytest.approx(trained.intervals[name])


def test_evaluation_reads_the_longest_first_whatever_the_sampling_of_training(trained):
    assert trained.trainer.args.train_sampling_strategy == "group_by_length"
    rows = trained.trainer.train_dataset
    lengths = [len(ids) for ids in rows["input_ids"]]
    masks = [batch["attention_mask"] for batch in trained.trainer.get_eval_dataloader(rows)]
    assert [int(length) for mask in masks for length in mask.sum(1)] == sorted(lengths, reverse=True)
    stream = rows.to_iterable_dataset()
    masks = [batch["attention_mask"] for batch in trained.trainer.get_eval_dataloader(stream)]
    assert [int(length) for mask in masks for length in mask.sum(1)] == lengths


@pytest.mark.parametrize("streamed", [False, True])
def test_answers_stand_in_the_order_of_the_rows(streamed, trained):
    """`predict` itself gives them in the order of the sampler."""
    encoded = trained.trainer.train_dataset
    answers = answer(trained.trainer, "train", encoded.to_iterable_dataset() if streamed else encoded)
    for row, logits in zip(encoded, answers.logits, strict=True):
        alone = trained.model(torch.tensor([row["input_ids"]])).logits[0]
        torch.testing.assert_close(torch.tensor(logits), alone, rtol=1e-4, atol=1e-5)
    assert answers.labels.tolist() == list(encoded["labels"])
    assert answers.lengths.tolist() == [len(row) for row in encoded["input_ids"]]


@pytest.mark.parametrize("kind", [SINGLE, "vectors"])
def test_a_stream_is_trained_for_so_many_steps(kind, tmp_path):
    stream = Dataset.from_dict(table(kind)).to_iterable_dataset()
    result = train_classifier(
        {"train": stream, "test": stream.take(20)}, tmp_path, max_steps=4, validation_size=0.2, **TINY
    )
    assert result.trainer.state.global_step == 4
    assert result.metrics["accuracy"] >= 0
    assert (tmp_path / "README.md").is_file()
    with pytest.raises(
        ValueError, match=r"^A stream has no known length, so max_steps must say how long to train\. Pass it\.$"
    ):
        train_classifier({"train": stream}, tmp_path / "endless", **TINY)


@pytest.mark.parametrize("kind", [SEVERAL, REGRESSION, "vectors"])
def test_every_problem_and_vectors(kind, tmp_path):
    result = train_classifier(table(kind), tmp_path / "model", **TINY)
    config = RNNForSequenceClassification.from_pretrained(tmp_path / "model").config
    assert config.problem_type == (SINGLE if kind == "vectors" else kind)
    assert (config.thresholds is not None) == (kind == SEVERAL)
    assert result.metrics
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert ("How well each label is found" in card) == (kind == SEVERAL)


def test_long_series_are_read_some_steps_at_once(tmp_path):
    generator = np.random.default_rng(0)
    series = [generator.normal(index % 2, 1, (140 + index % 9, 1)) for index in range(40)]
    data = {"series": series, "label": ["ab"[index % 2] for index in range(40)]}
    result = train_classifier(data, tmp_path / "model", test_size=0.2, **{**TINY, "hidden_size": 8})
    assert (result.processing_class.stride, result.model.config.input_size) == (2, 4)
    assert (
        "vectors of 1 numbers a step, with their changes from the step before, 2 steps at once."
        in (tmp_path / "model" / "README.md").read_text()
    )
    test = result.data.splits["test"]
    assert evaluate_classifier(tmp_path / "model", data)[0].keys() == result.metrics.keys()
    answers = pipeline("sequence-classification", model=str(tmp_path / "model"))(list(test["input_features"]))
    names = np.asarray(result.data.label_names)
    right = np.mean([answer["label"] for answer in answers] == names[np.asarray(test["labels"])])
    assert right == pytest.approx(result.metrics["accuracy"])


def test_few_validation_rows_choose_nothing_unless_they_are_asked_to(tmp_path):
    data = load_labelled_data(table(SINGLE))
    run = train_classifier(data, tmp_path / "few", **TINY).trainer
    assert (run.args.load_best_model_at_end, len(run.eval_dataset) < 50) == (False, True)
    assert "eval_loss" in run.state.log_history[1]
    asked = train_classifier(data, tmp_path / "asked", early_stopping_patience=1, **TINY).trainer
    assert asked.args.load_best_model_at_end


def test_a_tokenizer_without_an_unknown_token_reads_few_texts(tmp_path):
    tokenizer = train_tokenizer(texts())
    tokenizer.unk_token = None
    result = train_classifier(table(SINGLE), tmp_path, processing_class=tokenizer, **TINY)
    assert (result.model.config.token_dropout, result.model.config.unk_token_id) == (0.0, None)
    known = train_classifier(table(SINGLE), tmp_path / "known", **TINY).model.config
    assert (known.token_dropout, known.input_size) == (0.2, 256)


def test_balanced_weights_focal_loss_and_smoothing_are_saved(tmp_path):
    data = load_labelled_data(table(SINGLE), validation_size=None)
    result = train_classifier(
        data,
        tmp_path,
        class_weights="balanced",
        focal_gamma=2.0,
        label_smoothing_factor=0.1,
        **TINY,
    )
    config = RNNForSequenceClassification.from_pretrained(tmp_path).config
    labels = np.array(data.splits["train"]["labels"])
    assert np.array(config.class_weights)[labels].mean() == pytest.approx(1)
    assert config.class_weights == pytest.approx((len(labels) / 2 / np.bincount(labels)).tolist())
    assert (config.focal_gamma, config.label_smoothing) == (2.0, 0.1)
    assert result.trainer.label_smoother is None  # the host's would take the labels away from our loss
    several = load_labelled_data(table(SEVERAL), validation_size=None)
    result = train_classifier(several, tmp_path / "several", pos_weight="balanced", **TINY)
    present = np.array(several.splits["train"]["labels"]).mean(0)
    assert result.model.config.pos_weight == pytest.approx(((1 - present) / present).tolist())


LONGER = {**TINY, "num_train_epochs": 4, "save_total_limit": 2}

# Kills itself where it is told to: in the middle of writing a checkpoint, or after a step.
SCRIPT = """
import os, signal, sys, torch
from transformers import Trainer, TrainerCallback
from transformers_rnn.training import train_classifier
sys.path.insert(0, sys.argv[3])
from test_training import LONGER, SINGLE, table

def die():
    os.kill(os.getpid(), signal.SIGKILL)

class Killer(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if sys.argv[2] == "step" and state.global_step == 13:
            die()

save = Trainer._save_optimizer_and_scheduler
def half(self, directory):
    if sys.argv[2] == "save" and "checkpoint-14" in directory:
        die()
    save(self, directory)
Trainer._save_optimizer_and_scheduler = half

torch.set_num_threads(1)
train_classifier(table(SINGLE), sys.argv[1], callbacks=[Killer()], **LONGER)
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run that nobody kills."""
    return train_classifier(table(SINGLE), tmp_path_factory.mktemp("runs") / "undisturbed", **LONGER)


@pytest.mark.parametrize("moment", ["save", "step"])
def test_killed_and_started_again_it_ends_with_the_same_weights(moment, tmp_path, undisturbed):
    """A real process, a real SIGKILL; also while a checkpoint is half written."""
    killed = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), moment, str(ROOT / "tests" / "unit")],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    left = {path.name for path in tmp_path.glob("checkpoint-*")}
    assert "checkpoint-7" in left
    assert ("checkpoint-14" in left) == (moment == "save")
    again = train_classifier(table(SINGLE), tmp_path, **LONGER)
    histories = [
        [(row["step"], row["eval_loss"]) for row in result.trainer.state.log_history if "eval_loss" in row]
        for result in (again, undisturbed)
    ]
    assert histories[0] == histories[1]
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / name).read_bytes() == (undisturbed.directory / name).read_bytes(), name


def test_what_stopped_early_does_not_go_on(tmp_path):
    """The host would train a step more before it asks again whether to stop."""
    choices = {
        **TINY,
        "num_train_epochs": 9,
        "learning_rate": 0.0,
        "early_stopping_patience": 2,
        "save_total_limit": 5,
    }
    first = train_classifier(table(SINGLE), tmp_path, **choices)
    assert first.trainer.state.global_step == first.trainer.state.max_steps / 3
    weights = (tmp_path / "model.safetensors").read_bytes()
    second = train_classifier(table(SINGLE), tmp_path, **choices)
    assert second.trainer.state.global_step == first.trainer.state.global_step
    assert (tmp_path / "model.safetensors").read_bytes() == weights
    with pytest.raises(ValueError, match=r"holds checkpoints of another run.*learning_rate: 0.0 there, 0.5 now"):
        train_classifier(table(SINGLE), tmp_path, **{**choices, "learning_rate": 0.5})
    anew = train_classifier(table(SINGLE), tmp_path, resume=False, **{**choices, "max_steps": 2})
    assert anew.trainer.state.global_step == 2


@pytest.mark.parametrize(
    ("choices", "steps"),
    [
        ({"num_train_epochs": 8}, (1 + 4) * 2),
        ({"max_steps": 16}, (1 + 4) * 2),
        ({**EVERY, "eval_steps": 1, "save_steps": 1, "max_steps": 16}, 1 + 8),
        ({**EVERY, "eval_steps": 0.1, "save_steps": 0.1, "num_train_epochs": 10}, (1 + 5) * 2),
    ],
)
def test_patience_is_half_of_the_evaluations(tmp_path, choices, steps):
    still = {"learning_rate": 0.0, "load_best_model_at_end": True, "per_device_train_batch_size": 32}
    state = train_classifier(table(SINGLE), tmp_path, **{**TINY, **still, **choices}).trainer.state
    assert state.global_step == steps < state.max_steps


def test_half_written_checkpoints_are_removed(tmp_path):
    assert last_checkpoint(tmp_path / "nowhere") is None
    for number, missing in ((5, None), (10, "optimizer.pt"), (15, "trainer_state.json")):
        path = tmp_path / f"checkpoint-{number}"
        path.mkdir()
        for name in ("config.json", "model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth"):
            (path / name).touch()
        (path / "trainer_state.json").write_text("{}" if number == 5 else '{"global')
        if missing:
            (path / missing).unlink()
    (tmp_path / "checkpoint-best").mkdir()
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-5"
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-5", "checkpoint-best"}


def test_tensorboard_files_are_read_back(tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    train_classifier(table(SINGLE), tmp_path / "model", report_to="tensorboard", **TINY)
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    assert {"train/loss", "eval/loss", "eval/accuracy"} <= set(events.Tags()["scalars"])
    assert len(events.Scalars("eval/accuracy")) == 2


def test_trackio_keeps_what_the_run_told_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    import trackio
    from trackio.sqlite_storage import SQLiteStorage

    names = {"project": "a-project", "run_name": "a-run"}
    train_classifier(table(SINGLE), tmp_path / "model", report_to="trackio", **names, **TINY)
    trackio.finish()
    assert list((tmp_path / "trackio").glob("a-project*"))
    logged = SQLiteStorage.get_logs("a-project", "a-run")
    assert {"train/loss", "eval/loss", "eval/accuracy"} <= {name for row in logged for name in row}
    assert sum("eval/accuracy" in row for row in logged) == 2


def test_a_whole_training_arguments_decides_everything(tmp_path):
    arguments = TrainingArguments(str(tmp_path), max_steps=1, report_to=[], save_strategy="no", disable_tqdm=True)
    arguments.dataloader_pin_memory = False
    result = train_classifier(table(SINGLE), tmp_path, args=arguments, hidden_size=3)
    assert result.trainer.state.global_step == 1
    assert result.trainer.args.learning_rate == arguments.learning_rate
    with pytest.raises(
        ValueError, match=r"^args is a whole TrainingArguments and decides everything, but seed came too"
    ):
        train_classifier(table(SINGLE), tmp_path, args=arguments, seed=1)


def test_without_matplotlib_training_works_and_names_the_extra(tmp_path, monkeypatch):
    warnings = []
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(run_report.logger, "warning", warnings.append)
    train_classifier(table(SINGLE), tmp_path, **TINY)
    assert (tmp_path / "README.md").is_file()
    assert not list(tmp_path.glob("*.png"))
    assert warnings[0].startswith(f"No pictures in {tmp_path}: ")
    assert "transformers-rnn[pictures]" in warnings[0]


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (
            {"hiden_size": 3},
            "train_classifier has no choice 'hiden_size': it is no field of RNNConfig, no argument of "
            "TrainingArguments and no option of load_labelled_data. Did you mean 'hidden_size'?",
        ),
        (
            {"label_names": ["yes", "no"], "label_column": "label", "validation_size": 1.5},
            "validation_size=1.5 of 60 rows leaves a part empty. Pass a share between 0 and 1 (a float), a number of "
            "rows (an int), or None to leave the set out.",
        ),
        ({"class_weights": "even"}, "class_weights must be 'balanced', a list of factors or None, got 'even'."),
        (
            {"pos_weight": "balanced"},
            f"pos_weight='balanced' is for {SEVERAL}, but this is {SINGLE}. Leave it out.",
        ),
        (
            {"label_smoothing": 0.1, "label_smoothing_factor": 0.2},
            "label_smoothing=0.1 contradicts label_smoothing_factor=0.2. Pass one of them.",
        ),
    ],
)
def test_choices_that_cannot_be(choices, message, tmp_path):
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(message)}$"):
        train_classifier(table(SINGLE), tmp_path, **TINY, **choices)
    assert not list(tmp_path.iterdir())


def test_the_names_of_labels_are_the_datas_not_the_trainers(tmp_path):
    """`TrainingArguments.label_names` are columns: with the names of labels there the loss is not measured."""
    result = train_classifier(table(SINGLE), tmp_path, label_names=["yes", "no"], **TINY)
    assert result.model.config.id2label == {0: "yes", 1: "no"}
    assert any("eval_loss" in row for row in result.trainer.state.log_history)


def test_evaluating_on_foreign_labels(trained):
    with pytest.raises(ValueError, match=r"^The labels of the data, .*, are not those of the model"):
        evaluate_classifier(
            trained.directory, load_labelled_data(table("vectors") | {"text": texts()}, text_column="text")
        )
    with pytest.raises(ValueError, match=r"^There is no split 'dev' among 'train', 'validation', 'test'"):
        evaluate_classifier(trained.directory, trained.data, "dev")


def test_weights_differ_only_by_seed(tmp_path):
    data = load_labelled_data(table(SINGLE), validation_size=None)
    runs = [train_classifier(data, tmp_path / str(i), seed=seed, **TINY).directory for i, seed in enumerate((1, 1, 2))]
    one, same, other = (load_file(path / "model.safetensors")["classifier.weight"] for path in runs)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("level", "text"),
    [
        ("char", "電子情報通信学会論文誌を読む人のための文"),
        ("char", "质量真的很不错 非常喜欢这款iPad 真的很值得买"),
        ("char", "สินค้าดีมาก ส่งเร็ว แนะนำเลยค่ะ ขอบคุณค่ะ"),
        ("word", "质量 不错 喜欢 这款 iPad 值得 买"),
        ("word", "이 영화 정말 재미있게 봤습니다"),
        ("word", "the 电影 was better than I thought"),
    ],
)
def test_texts_without_spaces_between_words_are_read_by_characters(level, text):
    recipe = choose_recipe(5_000, 500, SINGLE, texts=[text])
    assert recipe.tokenizer["level"] == level
    assert (recipe.config["hidden_size"], recipe.arguments["num_train_epochs"]) == (128, 8), "as of words"
    assert recipe.arguments["learning_rate"] == (0.006 if level == "char" else 0.002)
    names = choose_recipe(5_000, 500, SINGLE, texts=["山田太郎", "司马相如"])
    assert (names.tokenizer["level"], names.arguments["num_train_epochs"]) == ("char", 15)
    assert names.arguments["learning_rate"] == 0.002


def test_recipes_follow_the_data():
    words = choose_recipe(5_000, 500, SINGLE, texts=["some words that make a text"] * 50)
    assert words.tokenizer["level"] == "word"
    assert words.tokenizer["min_frequency"] == 2
    assert words.arguments["metric_for_best_model"] == "macro_f1"
    several = choose_recipe(50_000, 500, SEVERAL, texts=["some words that make a text"] * 50).arguments
    assert (several["metric_for_best_model"], several["greater_is_better"]) == ("mean_average_precision", True)
    assert several["num_train_epochs"] == 10
    names = choose_recipe(50_000, 500, SINGLE, texts=["Smith", "van Dyk"])
    assert (names.tokenizer["level"], names.arguments["num_train_epochs"]) == ("char", 15)
    assert (names.config["hidden_size"], names.config["label_smoothing"]) == (256, 0.1)
    assert "label_smoothing" not in choose_recipe(50_000, 500, "regression", texts=["Smith", "van Dyk"]).config
    long = choose_recipe(20_000, 500, SINGLE, texts=["some words that make a text"] * 50)
    assert (long.pretrained_vectors, words.pretrained_vectors, names.pretrained_vectors) == ("texts", None, None)
    assert long.max_length == 1000
    assert not {"vocabulary_dropout", "variational_dropout", "token_dropout"} & (
        words.config.keys() | long.config.keys()
    )
    fine = choose_recipe(5_000, 500, SINGLE, texts=["some words that make a text"] * 50, num_labels=50)
    assert (words.arguments["num_train_epochs"], fine.arguments["num_train_epochs"]) == (8, 20)
    few = choose_recipe(36, 4, SINGLE, texts=["some words that make a text"])
    assert few.tokenizer["min_frequency"] == 1
    assert (few.config["token_dropout"], few.config["input_size"], few.config["pooling"]) == (0.2, 256, "mean")
    assert choose_recipe(1_999, 199, SINGLE, texts=["some words that make a text"]).tokenizer["min_frequency"] == 1
    assert words.config["pooling"] == "concat"
    paged = choose_recipe(1_700, 200, SINGLE, texts=["some words that make a text"] * 10 + ["word " * 2_000])
    pages = paged.config
    assert (paged.pretrained_vectors, paged.window) == ("texts", 5)
    assert (pages["cell_type"], pages["variational_dropout"], pages["vocabulary_dropout"]) == ("gru", True, 0.3)
    assert (pages["pooling"], pages["input_size"]) == ("concat", 64)
    many = [choose_recipe(rows, 2_000, SINGLE, texts=["word " * 200]).config for rows in (7_999, 8_000)]
    assert [(each["input_size"], each["hidden_size"]) for each in many] == [(128, 128), (128, 256)]
    assert choose_recipe(50, 5, SINGLE, texts=["Smith", "van Dyk"]).config["pooling"] == "concat"
    letters = [choose_recipe(rows, 10, SINGLE, texts=["word " * 200]) for rows in (40, 60, 600)]
    assert [each.pretrained_vectors for each in letters] == [None, "texts", "texts"]
    assert [each.window for each in letters] == [5, 50, 5]
    assert {each.config["pooling"] for each in letters} == {"mean"}
    assert few.arguments["metric_for_best_model"] == "loss"
    assert few.arguments["num_train_epochs"] == 100
    assert (few.arguments["load_best_model_at_end"], words.arguments["load_best_model_at_end"]) == (False, True)
    series = choose_recipe(5_000, 500, SINGLE, lengths=[30, 70, 5_000])
    assert (series.tokenizer, series.max_length, series.stride, series.config["cell_type"]) == ({}, 1000, 1, "gru")
    long = choose_recipe(100, 10, SINGLE, lengths=[400, 450, 460], feature_size=3)
    assert (long.max_length, long.stride) == (None, 6)
    assert choose_recipe(100, 10, SINGLE, lengths=[400, 450, 20_000], feature_size=3).max_length == 6_000
    wide = choose_recipe(100, 10, SINGLE, lengths=[450], feature_size=200)
    assert (wide.stride, wide.deltas) == (2, True)
    assert not choose_recipe(100, 10, SINGLE, lengths=[450], feature_size=257).deltas
    assert choose_recipe(100, 10, SINGLE, lengths=[450], feature_size=2_000).stride == 1


def test_strategies_do_not_contradict_each_other():
    recipe = choose_recipe(500, 50, SINGLE, texts=["a text of words"]).arguments
    steps = settle_strategies(recipe, {"eval_strategy": "steps", "eval_steps": 7}, validates=True)
    assert (steps["save_strategy"], steps["save_steps"], steps["train_sampling_strategy"]) == ("steps", 7, "random")
    alone = settle_strategies(recipe, {}, validates=False)
    assert (alone["eval_strategy"], alone["save_strategy"], alone["load_best_model_at_end"]) == ("no", "epoch", False)
    own = settle_strategies(recipe, {"metric_for_best_model": "accuracy"}, validates=True)
    assert "greater_is_better" not in own
