"""What the run saw -> a card that the hub can read."""

import math
import platform
import re
import socket
from importlib.metadata import version
from types import SimpleNamespace

import numpy as np
import pytest
from huggingface_hub import EvalResult, ModelCard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import ROOT

from transformers_rnn.model_card import describe_hardware, write_model_card

GOLDEN = ROOT / "tests" / "model_cards"


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the card asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def config(**changes):
    values = {
        "vocab_size": 5000,
        "input_size": 16,
        "hidden_size": 32,
        "cell_type": "lstm",
        "num_hidden_layers": 2,
        "bidirectional": True,
        "pooling": "mean",
        "problem_type": "single_label_classification",
        "num_labels": 2,
        "id2label": {0: "ham", 1: "spam"},
    }
    return SimpleNamespace(**{**values, **changes})


def write(directory, **changes):
    options = {"title": "Spam", "dataset_name": "SMS Spam", "metrics": {"accuracy": 0.5}, "config": config()}
    return write_model_card(directory, **{**options, **changes})


def test_what_was_chosen_beside_the_architecture_is_told(tmp_path):
    more = {"layer_norm": True, "ngram_order": 2, "ngram_width": 8, "ngram_buckets": 1000}
    noise = {"embedding_dropout": 0.5, "hidden_dropout": 0.0, "token_dropout": 0.1, "variational_dropout": True}
    text = write(tmp_path, config=config(**more, **noise)).read_text(encoding="utf-8")
    assert (
        "A bidirectional LSTM with 2 layers of hidden size 32, outputs normalised, `mean` pooling over the steps "
        "and a linear classifier. It reads token ids from a vocabulary of 5000, embedded in 16 numbers, and n-grams "
        "of up to 2 tokens, each in 8 numbers from a table of 1000 rows. In training only: `embedding_dropout` 0.5, "
        "`token_dropout` 0.1, `variational_dropout` True."
    ) in text


def section(path, heading):
    parts = re.split(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[heading].strip()


def run_example(path, monkeypatch):
    """Run the card's Python block with a pipeline that only notes how it is called."""
    calls = []

    def pipeline(task, **options):
        return lambda example: calls.append((task, options, example))

    monkeypatch.setattr("transformers.pipeline", pipeline)  # by name: the host swaps its own module
    (code,) = re.findall(r"```python\n(.*?)\n```\n?", section(path, "How to load it"), flags=re.DOTALL)
    exec(code, {})
    (call,) = calls
    return code, call


def compare(path, golden):
    """The card and the golden card are the same but for the versions."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "datasets"))
    ours = f"Python {platform.python_version()}, {packages}, transformers-rnn {version('transformers-rnn')}"
    found = path.read_text(encoding="utf-8")
    assert found.count(ours) == 1
    assert found.replace(ours, "VERSIONS") == (GOLDEN / golden).read_text(encoding="utf-8")


def test_the_whole_card_of_a_text_model(tmp_path):
    for name in ("learning curves.png", "confusion.png"):
        (tmp_path / name).touch()
    path = write(
        tmp_path,
        config=config(id2label={0: "ham", 1: "spam|scam"}),
        title="Spam: yes | no?",
        model_name="someone/spam-lstm",
        description="Tells spam from ham.",
        dataset_license="CC BY 4.0",
        dataset_sizes={"train": 4457, "test": 1117},
        label_counts={"train": {"ham": 4000, "spam|scam": 457}, "test": {"ham": 1117}},
        dataset_notes="Split by seed 0; 12 duplicates were left out.",
        metrics={"accuracy": 0.98765432, "macro_f1": 1e-05, "f1_ham": 0.5, "f1_spam|scam": 0.25, "recall_ham": 1},
        intervals={"accuracy": (0.97, 0.99123456), "f1_ham": (0.4, 0.6), "macro_f1": (math.nan, math.nan)},
        split="test",
        num_parameters=123456,
        training={"arguments": {"learning_rate": 1e-3}, "seconds": 421.2, "command": "python spam.py"},
        seed=3,
        hardware="two cores of a laptop",
        watts=15,
        calibration={
            "temperature": 1.31,
            "abstain_below": 0.8,
            "fitted_on": "validation",
            "coverage": [(0.5, 1.0, 0.987), (0.8, 0.951, 0.994)],
        },
        pictures={"learning curves.png": "Learning\ncurves", "confusion.png": "Confusion [of the test split]"},
        example_input="FREE prize",
        limits="English only.",
        tags=["spam"],
        language="en",
        license="apache-2.0",
    )
    assert path == tmp_path / "README.md"
    compare(path, "text.md")


def test_the_whole_card_of_a_vector_model(tmp_path):
    (tmp_path / "modeling_rnn.py").touch()
    path = write(
        tmp_path,
        title="Emotions of a voice",
        dataset_name="Voices",
        dataset_id="someone/voices",
        config=config(
            vocab_size=None,
            cell_type="gru",
            num_hidden_layers=1,
            bidirectional=False,
            problem_type="multi_label_classification",
            num_labels=3,
            id2label={0: "anger", 1: "joy", 2: "fear"},
        ),
        metrics={"subset_accuracy": 0.5, "mean_average_precision": math.nan},
        calibration={"thresholds": [0.5, 0.25, 0.125]},
        training={"seconds": 9000},
        energy=12.345,
        energy_method="measured with RAPL",
    )
    compare(path, "vectors.md")


def test_the_hub_reads_the_results_back(tmp_path):
    metrics = {"accuracy": 0.1 + 0.2, "macro_f1": 1e-7, "f1_spam": 0, "subset_accuracy": np.float32(0.5)}
    metrics |= {"mse": 1e12, "pearson": -0.25, "spearman": 1.0}
    types = ["accuracy", "f1", "f1", "accuracy", "mse", "pearsonr", "spearmanr"]
    card = ModelCard.load(write(tmp_path, metrics=metrics, dataset_id="ucirvine/sms_spam"))
    assert card.data.eval_results == [
        EvalResult(
            task_type="text-classification",
            task_name="Text Classification",
            dataset_type="ucirvine/sms_spam",
            dataset_name="SMS Spam",
            metric_type=kind,
            metric_name=name,
            metric_value=float(value),
        )
        for kind, (name, value) in zip(types, metrics.items(), strict=True)
    ]
    assert card.data.model_name == "Spam"
    assert card.data.datasets == ["ucirvine/sms_spam"]
    assert card.data.metrics == ["accuracy", "f1", "mse", "pearsonr", "spearmanr"]


def test_a_vector_model(tmp_path, monkeypatch):
    path = write(tmp_path, config=config(vocab_size=None, cell_type="gru", num_hidden_layers=1, bidirectional=False))
    data = ModelCard.load(path).data
    assert data.library_name == "transformers"
    assert data.pipeline_tag is None
    assert data.tags == ["transformers-rnn", "gru", "sequence-classification", "time-series"]
    assert data.eval_results[0].task_type == "sequence-classification"
    assert (
        "A unidirectional GRU with 1 layer of hidden size 32, `mean` pooling over the steps and a linear classifier. "
        "It reads vectors of 16 numbers a step.\n"
    ) in path.read_text(encoding="utf-8")
    code, (task, options, example) = run_example(path, monkeypatch)
    assert code.startswith("import numpy as np\n\nimport transformers_rnn ")
    assert (task, options) == ("sequence-classification", {"model": "."})
    assert (example.shape, example.dtype) == ((20, 16), np.float32)


def test_joined_steps_are_told(tmp_path, monkeypatch):
    path = write(tmp_path, config=config(vocab_size=None), stride=4)
    assert "It reads vectors of 4 numbers a step, 4 steps at once.\n" in path.read_text(encoding="utf-8")
    assert run_example(path, monkeypatch)[1][2].shape == (20, 4)
    path = write(tmp_path, config=config(vocab_size=None), stride=4, deltas=True)
    told = "It reads vectors of 2 numbers a step, with their changes from the step before, 4 steps at once.\n"
    assert told in path.read_text(encoding="utf-8")
    assert run_example(path, monkeypatch)[1][2].shape == (20, 2)


def test_a_vector_example_is_an_expression(tmp_path, monkeypatch):
    path = write(tmp_path, config=config(vocab_size=None), example_input="np.ones((3, 16))")
    assert run_example(path, monkeypatch)[1][2].tolist() == np.ones((3, 16)).tolist()


@pytest.mark.parametrize("text", ['it\'s "free"\n\\ now', "```", "日本語 😀 שלום", "{{ title }}", None])
def test_a_text_example_survives(tmp_path, monkeypatch, text):
    code, call = run_example(write(tmp_path, example_input=text), monkeypatch)
    assert code.startswith("import transformers_rnn ")
    assert call == ("text-classification", {"model": "."}, text or "A text to classify.")


def test_the_least_card(tmp_path):
    path = write(tmp_path, metrics={})
    data = ModelCard.load(path).data
    assert data.to_dict() == {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["transformers-rnn", "lstm"],
    }
    assert section(path, "Data") == "SMS Spam."
    assert section(path, "Metrics") == "Not measured."
    assert re.fullmatch(r"With Python [^ ]+, torch .+\.", section(path, "Training"))
    assert section(path, "Limits") == (
        "The figures hold for the data named above; how the model does on other data was not measured."
    )


def test_an_undefined_figure_is_shown_but_not_in_the_metadata(tmp_path):
    path = write(tmp_path, metrics={"accuracy": 0.5, "f1_spam": float("nan"), "mse": float("inf")})
    assert "| mse | undefined |" in section(path, "Metrics")
    assert "| spam | undefined |" in section(path, "Metrics")
    assert [result.metric_name for result in ModelCard.load(path).data.eval_results] == ["accuracy"]


def test_cells_keep_the_table_whole(tmp_path):
    path = write(tmp_path, dataset_sizes={"a|b": 1}, metrics={"f1_x|y": 0.5}, training={"arguments": {"a": "b\n| c"}})
    assert section(path, "Data").endswith("| a\\|b | 1 |")
    assert section(path, "Metrics").endswith("| f1_x\\|y | 0.5 |")
    assert section(path, "Training").endswith("| a | b \\| c |")


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({}, "It answers with one of 2 labels: `ham`, `spam`."),
        ({"problem_type": None}, "It answers with one of 2 labels: `ham`, `spam`."),
        ({"problem_type": "multi_label_classification"}, "It answers with any of 2 labels: `ham`, `spam`."),
        ({"problem_type": "regression"}, "It answers with 2 numbers."),
        ({"problem_type": None, "num_labels": 1, "id2label": {0: "LABEL_0"}}, "It answers with 1 number."),
    ],
)
def test_what_it_answers(tmp_path, changes, answer):
    assert section(write(tmp_path, config=config(**changes)), "Spam").endswith(answer)


WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1).filter(str.strip)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(title=WORDS, data=WORDS, labels=st.lists(WORDS, min_size=2, max_size=4, unique=True), value=st.floats(0, 1))
def test_whatever_it_is_called_the_hub_reads_it(tmp_path, title, data, labels, value):
    metrics = {"accuracy": value} | {f"f1_{label}": value / 2 for label in labels}
    path = write(
        tmp_path,
        title=title,
        dataset_name=data,
        description=data,
        config=config(num_labels=len(labels), id2label=dict(enumerate(labels))),
        metrics=metrics,
        intervals={"accuracy": (0.0, 1.0)},
        label_counts={"train": dict.fromkeys(labels, 3)},
        dataset_notes=title,
        limits=data,
    )
    card = ModelCard.load(path)
    assert {result.metric_name: result.metric_value for result in card.data.eval_results} == metrics
    assert {result.dataset_name for result in card.data.eval_results} == {data}
    assert card.data.eval_results[0].metric_args == {"confidence_interval": [0.0, 1.0], "confidence_level": 0.95}
    assert card.data.model_name == title
    assert card.text.count(" | 3 |\n") == len(labels)


def test_long_lists_are_cut(tmp_path):
    names = [f"name {index}" for index in range(60)]
    path = write(
        tmp_path,
        config=config(num_labels=60, id2label=dict(enumerate(names))),
        label_counts={"train": {name: index + 1 for index, name in enumerate(names)}},
        calibration={"coverage": [(index / 100, 1 - index / 100, 0.9) for index in range(100)]},
    )
    assert section(path, "Spam").endswith("`name 49` and 10 more.")
    counts = section(path, "Data")
    assert counts.count("\n| name ") == 50
    assert "| name 59 | 60 |\n| name 58 | 59 |" in counts
    assert counts.endswith("These are the 50 most frequent of 60 labels.")
    assert section(path, "Probabilities").count("%") == 20


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, ""),
        ({"training": {"seconds": 12.34}}, "It took 12.3 seconds. The energy was not measured."),
        ({"hardware": "a phone"}, "On a phone."),
        (
            {"training": {"seconds": 600}, "hardware": "a phone"},
            "It took 10.0 minutes on a phone. The energy was not ",
        ),
        ({"energy": 3, "energy_method": "a meter"}, "Energy: 3 Wh (a meter)."),
        (
            {"training": {"seconds": 3600}, "watts": 10},
            "It took 60.0 minutes. Energy: about 10 Wh, estimated as the time at a stated power of 10 W, not ",
        ),
    ],
)
def test_time_and_energy(tmp_path, changes, text):
    _, _, found = section(write(tmp_path, **changes), "Training").partition("\n\n")
    assert found.startswith(text)
    assert bool(found) == bool(text)


def test_probabilities_are_spoken_of_where_there_are_some(tmp_path):
    assert section(write(tmp_path), "Probabilities") == (
        "They are as the model gives them: no temperature, no thresholds and no abstention were fitted."
    )
    path = write(tmp_path, config=config(problem_type="regression"), calibration={"slopes": [0.5], "fitted_on": "dev"})
    assert section(path, "Calibration") == (
        "The distance of an answer from the mean of the labels is multiplied by 0.5, fitted on the `dev` split."
    )
    assert "Probabilities" not in write(tmp_path, config=config(problem_type="regression")).read_text("utf-8")


def test_the_hardware_of_this_process():
    assert re.fullmatch(r".+, \d+ of \d+ cores", describe_hardware())


def test_an_older_card_is_written_over(tmp_path):
    (tmp_path / "README.md").write_text("# An older card", encoding="utf-8")
    assert "older card" not in write(tmp_path).read_text(encoding="utf-8")


def test_templates_in_what_is_told_are_plain_text(tmp_path):
    path = write(tmp_path, description="{{ title }} {% if %} --- é")
    assert "\n{{ title }} {% if %} --- é\n" in path.read_text(encoding="utf-8")


def test_no_directory(tmp_path):
    with pytest.raises(NotADirectoryError) as caught:
        write(tmp_path / "none")
    assert str(caught.value) == (
        f"the card goes into a saved model's directory, but there is none at {tmp_path / 'none'}"
    )
    assert not (tmp_path / "none").exists()


def test_no_picture(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        write(tmp_path, pictures={"none.png": "Nothing"})
    assert str(caught.value) == f"pictures must be files in {tmp_path}, but there is no none.png"
    assert not (tmp_path / "README.md").exists()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"metrics": {"accuracy": "0.5"}}, TypeError, "metrics must be numbers, got accuracy='0.5'"),
        ({"metrics": {"f1": None}}, TypeError, "metrics must be numbers, got f1=None"),
        (
            {"training": {"second": 3, "args": {}}},
            ValueError,
            "training may hold arguments, seconds, command, got also args, second",
        ),
        (
            {"calibration": {"threshold": 0.5}},
            ValueError,
            "calibration may hold temperature, thresholds, abstain_below, coverage, slopes, fitted_on, got also "
            "threshold",
        ),
        (
            {"calibration": {"thresholds": [0.5]}},
            ValueError,
            "thresholds must be one for each of 2 labels, got [0.5]",
        ),
        ({"intervals": {"f1": (0, 1)}}, ValueError, "intervals must be of the metrics accuracy, got also f1"),
        ({"energy": 3}, ValueError, "energy in Wh and energy_method go together, got 3 and None"),
        (
            {"energy_method": "a meter"},
            ValueError,
            "energy in Wh and energy_method go together, got None and 'a meter'",
        ),
        ({"watts": 3}, ValueError, "watts need training['seconds'] for an estimate, and no energy beside it"),
    ],
)
def test_errors(tmp_path, changes, error, message):
    with pytest.raises(error) as caught:
        write(tmp_path, **changes)
    assert str(caught.value) == message
    assert not (tmp_path / "README.md").exists()
