"""What a run saw -> PNG files."""

import sys

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from processes import run
from scipy.stats import binomtest

from transformers_rnn import pictures

RANDOM = np.random.default_rng(0)
EMOTIONS = [f"an emotion that is number {index}" for index in range(28)]
IDS, GUESSES = RANDOM.integers(0, 5, (2, 200))
CLASSES = ["ham", "spam", "a name\nof two lines", "$x$", "ünï"]
SURE = RANDOM.dirichlet(np.ones(5), 200)
SEVERAL, GUESSED = RANDOM.integers(0, 2, (2, 300, 28))
TRUE = RANDOM.normal(size=5000)
HISTORY = [
    {"loss": 2.0, "grad_norm": 1.0, "learning_rate": 1e-3, "epoch": 0.5, "step": 10},
    {"loss": float("nan"), "grad_norm": 1.0, "learning_rate": 1e-3, "epoch": 1.0, "step": 20},
    {"eval_loss": 1.5, "eval_accuracy": 0.5, "eval_mse": 30.0, "eval_runtime": 0.1, "epoch": 1.0, "step": 20},
    {"loss": 1.0, "grad_norm": 1.0, "learning_rate": 0.0, "epoch": 2.0, "step": 40},
    {"eval_loss": 1.25, "eval_accuracy": 0.75, "eval_mse": 3.0, "eval_runtime": 0.1, "epoch": 2.0, "step": 40},
    {"train_runtime": 3.0, "train_loss": 1.5, "total_flos": 0.0, "epoch": 2.0, "step": 40},
]
COVERAGE = np.linspace(0, 1, 50)
DRAWINGS = {
    "curves": lambda path: pictures.draw_learning_curves(HISTORY, path, kept_step=40),
    "matrix": lambda path: pictures.draw_confusion_matrix(IDS, GUESSES, CLASSES, path),
    "large_matrix": lambda path: pictures.draw_confusion_matrix(
        RANDOM_LARGE[0], RANDOM_LARGE[1], [f"class {index}" for index in range(20)], path
    ),
    "confusions": lambda path: pictures.draw_confusion_matrix(
        IDS, GUESSES, [f"class {index}" for index in range(200)], path
    ),
    "labels": lambda path: pictures.draw_label_scores(SEVERAL, GUESSED, EMOTIONS, path, thresholds=[0.3] * 28),
    "reliability": lambda path: pictures.draw_reliability(SURE, IDS, path),
    "reliability_several": lambda path: pictures.draw_reliability(RANDOM_SURE, SEVERAL, path),
    "lengths": lambda path: pictures.draw_length_accuracy(1 + IDS * 9, IDS == GUESSES, path),
    "length_errors": lambda path: pictures.draw_length_accuracy(np.arange(5000), abs(TRUE), path),
    "regression": lambda path: pictures.draw_regression(TRUE, TRUE[::-1], path),
    "coverage": lambda path: pictures.draw_coverage(COVERAGE, 1 - COVERAGE / 9, path, chosen=(0.5, 0.9)),
}
RANDOM_LARGE = RANDOM.integers(0, 20, (2, 20_000))
RANDOM_SURE = RANDOM.uniform(size=SEVERAL.shape)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures, save = [], Figure.savefig

    def keep(figure, *args, **kwargs):
        figures.append(figure)
        save(figure, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def texts(axes):
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_picture_is_small_and_has_the_same_bytes_whatever_style_is_set(name, tmp_path):
    path = DRAWINGS[name](tmp_path / "one.png")
    assert path == tmp_path / "one.png"
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.dpi": 10, "lines.linewidth": 9}):
        before = dict(matplotlib.rcParams)
        other = DRAWINGS[name](str(tmp_path / "other.png"))
        assert dict(matplotlib.rcParams) == before
    assert path.read_bytes() == other.read_bytes()
    assert path.stat().st_size < 60_000
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert min(image.size) > 300
        assert max(image.size) < 1300
        assert not image.info.keys() & {"Software", "Creation Time"}
        assert image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        assert len(image.convert("RGB").getcolors()) > 10


def test_drawing_neither_chooses_a_back_end_nor_is_matplotlib_there_before(tmp_path):
    run(
        "-W",
        "error",
        "-c",
        "import sys\n"
        "from transformers_rnn.pictures import draw_coverage\n"
        "assert 'matplotlib' not in sys.modules\n"
        "draw_coverage([0.5, 1], [1, 0.5], 'a.png')\n"
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules\n",
        cwd=tmp_path,
    )
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_without_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.style", raising=False)
    with pytest.raises(ModuleNotFoundError) as caught:
        DRAWINGS["coverage"](tmp_path / "a.png")
    assert str(caught.value) == 'pictures need matplotlib: pip install "transformers-rnn[pictures]"'


def test_learning_curves_show_what_is_finite(tmp_path, drawn):
    pictures.draw_learning_curves(HISTORY, tmp_path / "a.png", kept_step=20)
    losses, scores = drawn[0].axes
    lines = {line.get_label(): line.get_xydata().tolist() for axes in (losses, scores) for line in axes.lines}
    assert lines["training"] == [[10, 2.0], [40, 1.0]]
    assert lines["validation"] == [[20, 1.5], [40, 1.25]]
    assert lines["accuracy"] == [[20, 0.5], [40, 0.75]]
    assert set(lines) == {"training", "validation", "accuracy", "weights kept"}
    pictures.draw_learning_curves(HISTORY, tmp_path / "a.png", metrics=["mse"])
    assert [line.get_label() for line in drawn[1].axes[1].lines] == ["mse"]
    pictures.draw_learning_curves(HISTORY[:1], tmp_path / "a.png")
    assert len(drawn[2].axes) == 1


def test_a_matrix_counts_each_row_once(tmp_path, drawn):
    true = np.append(IDS, -100)
    pictures.draw_confusion_matrix(true, np.append(GUESSES, 0), CLASSES, tmp_path / "a.png")
    (axes,) = drawn[0].axes
    assert sum(int(text.split("\n")[0]) for text in texts(axes)) == 200
    assert drawn[0].get_suptitle() == f"Confusion matrix: {(IDS == GUESSES).mean():.1%} of 200 right"
    assert [label.get_text() for label in axes.get_yticklabels()][2:] == ["a name of two lines", "$x$", "ünï"]


def test_of_many_labels_the_confusions(tmp_path, drawn):
    names = [f"class {index}" for index in range(21)]
    pictures.draw_confusion_matrix([0, 0, 1, 2], [1, 1, 1, 0], names, tmp_path / "a.png")
    (axes,) = drawn[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["class 0 → class 1", "class 2 → class 0"]
    assert texts(axes) == ["2 of 2", "1 of 1"]
    pictures.draw_confusion_matrix([0, 1], [0, 1], names, tmp_path / "a.png")
    assert drawn[1].get_suptitle().startswith("Confusion matrix: 100.0% of 2 right\n")


def test_a_matrix_of_several_labels_is_their_scores(tmp_path, drawn):
    pictures.draw_confusion_matrix([[1, 0], [1, 1]], [[1, 0], [0, 0]], ["joy", "fear"], tmp_path / "a.png")
    (axes,) = drawn[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["joy (2)", "fear (1)"]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([2 / 3, 0])


def test_many_labels_are_the_best_and_the_worst(tmp_path, drawn):
    true = np.ones((1, 40), dtype=int)
    pictures.draw_label_scores(true, true, [str(index) for index in range(40)], tmp_path / "a.png")
    (axes,) = drawn[0].axes
    assert len(axes.patches) == 30
    assert axes.get_title("left") == "F1 of each label (and its examples), best and worst 15 of 40: mean 1.00"


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_the_calibration_error_is_that_of_the_plain_loop(tmp_path, drawn, bins):
    error = 0.0
    for low in range(bins):
        inside = [row for row in range(200) if low / bins < SURE[row].max() <= (low + 1) / bins]
        if inside:
            right = np.mean([SURE[row].argmax() == IDS[row] for row in inside])
            error += len(inside) / 200 * abs(right - np.mean([SURE[row].max() for row in inside]))
    pictures.draw_reliability(SURE, IDS, tmp_path / "a.png", bins=bins)
    assert drawn[0].axes[0].get_title("left") == f"Reliability: expected calibration error {error:.3f}"
    shares = [bar.get_height() for bar in drawn[0].axes[1].patches]
    assert sum(shares) == pytest.approx(1)


@pytest.mark.parametrize("distinct", [1, 2, 7, 1000])
def test_lengths_are_parted_without_a_loss(tmp_path, drawn, distinct):
    lengths, right = RANDOM.integers(1, distinct + 1, 500), RANDOM.integers(0, 2, 500)
    pictures.draw_length_accuracy(lengths, right, tmp_path / "a.png")
    (axes,) = drawn[0].axes
    labels = [label.get_text().split("\nn=") for label in axes.get_xticklabels()]
    assert len(labels) == min(distinct, 8)
    spans = [tuple(map(int, span.split("-"))) for span, _ in labels]
    groups = [right[(lengths >= span[0]) & (lengths <= span[-1])] for span in spans]
    assert [len(group) for group in groups] == [int(number) for _, number in labels]
    assert sum(map(len, groups)) == 500
    (container,) = axes.containers
    ends = np.array(container[2][0].get_segments())[:, :, 1]
    for (low, high), group in zip(ends, groups, strict=True):
        interval = binomtest(int(group.sum()), len(group)).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((interval.low, interval.high))


def test_errors_by_length(tmp_path, drawn):
    pictures.draw_length_accuracy([1, 1, 2], [0.5, 1.5, 3.0], tmp_path / "a.png")
    (axes,) = drawn[0].axes
    assert axes.get_title("left") == "Mean absolute error by length"
    assert axes.lines[1].get_ydata().tolist() == [1.0, 3.0]


def test_no_two_ticks_of_a_coverage_say_the_same(tmp_path, drawn):
    pictures.draw_coverage([0.6, 0.8, 1.0], [1.0, 0.997, 0.993], tmp_path / "a.png")
    (axes,) = drawn[0].axes
    for axis in (axes.xaxis, axes.yaxis):
        said = [label.get_text() for label in axis.get_ticklabels()]
        assert len(set(said)) == len(said) > 2


def test_the_title_of_a_regression(tmp_path, drawn):
    pictures.draw_regression([[1.0, 2.0], [3.0, 4.0]], [[1.5, 2.5], [3.5, 4.5]], tmp_path / "a.png")
    pictures.draw_regression([1.0, 2.0], [3.0, 3.0], tmp_path / "a.png")
    titles = [figure.axes[0].get_title("left") for figure in drawn]
    assert titles == ["Mean absolute error 0.5, correlation 1.000", "Mean absolute error 1.5"]


PAIRS = "there must be a row to draw, and as many on both sides, got "
IDS_WANTED = "references and predictions must be class ids (B,) from 0 to 1, one for each of label_names, got shapes "
FLAGS_WANTED = (
    "references and predictions must be zeros and ones of shape (B, 2), one column for each of label_names, "
)
SURE_WANTED = "probabilities must be (B, L) from 0 to 1, with references (B,) or (B, L), got "


@pytest.mark.parametrize(
    ("draw", "arguments", "message"),
    [
        (
            "learning_curves",
            ([{"loss": float("nan"), "step": 1}, {"train_loss": 1.0, "step": 1}],),
            "log_history must hold a finite loss or eval_loss, as trainer.state.log_history does after training with "
            "logging_strategy or eval_strategy set; got step, train_loss",
        ),
        ("confusion_matrix", ([], [], ["a", "b"]), f"{PAIRS}(0,) and (0,)"),
        ("confusion_matrix", ([-100], [1], ["a", "b"]), f"{PAIRS}(0,) and (0,)"),
        ("confusion_matrix", ([0, 1], [1], ["a", "b"]), f"{PAIRS}(2,) and (1,)"),
        ("confusion_matrix", ([0, 2], [1, 1], ["a", "b"]), f"{IDS_WANTED}(2,) and (2,), with values from 0 to 2"),
        ("confusion_matrix", ([0], [0.5], ["a", "b"]), f"{IDS_WANTED}(1,) and (1,), with values from 0 to 0.5"),
        ("confusion_matrix", ([0], [[0, 1]], ["a", "b"]), f"{IDS_WANTED}(1,) and (1, 2), with values from 0 to 1"),
        ("label_scores", ([[0, 2]], [[0, 1]], ["a", "b"]), f"{FLAGS_WANTED}got shapes (1, 2) and (1, 2)"),
        ("label_scores", ([[0]], [[0]], ["a", "b"]), f"{FLAGS_WANTED}got shapes (1, 1) and (1, 1)"),
        ("reliability", ([[0.5, 1.5]], [0]), f"{SURE_WANTED}(1, 2) and (1,), from 0.5 to 1.5"),
        ("reliability", ([[0.5, 0.5]], [0, 1]), f"{SURE_WANTED}(1, 2) and (2,), from 0.5 to 0.5"),
        ("reliability", (np.zeros((0, 2)), []), f"{PAIRS}(0,) and (0, 2)"),
        ("length_accuracy", ([[1]], [True]), "lengths and correct must both be (B,), got (1, 1) and (1,)"),
        ("length_accuracy", ([1, 2], [True]), f"{PAIRS}(2,) and (1,)"),
        (
            "regression",
            ([1.0], [float("nan")]),
            "references and predictions must be finite and of the same shape, got (1,) and (1,)",
        ),
        ("coverage", ([0.5], [1.5]), "coverage and accuracy must be (N,), from 0 to 1, got (1,) and (1,)"),
    ],
)
def test_errors(tmp_path, draw, arguments, message):
    with pytest.raises(ValueError, match=r".") as caught:
        getattr(pictures, f"draw_{draw}")(*arguments, tmp_path / "a.png")
    assert str(caught.value) == message
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("metrics", [["f1"], ["accuracy"] * 6])
def test_metrics_that_cannot_be_drawn(tmp_path, metrics):
    with pytest.raises(ValueError, match=r".") as caught:
        pictures.draw_learning_curves(HISTORY, tmp_path / "a.png", metrics=metrics)
    assert str(caught.value) == f"metrics must name up to 5 of accuracy, mse, got {', '.join(metrics)}"


@pytest.mark.parametrize("name", ["none/a.png", "a.jpg"])
def test_a_path_that_cannot_be_written(tmp_path, name):
    with pytest.raises(ValueError, match=r".") as caught:
        DRAWINGS["coverage"](tmp_path / name)
    assert str(caught.value) == f"path must name a .png file in a directory that exists, got {tmp_path / name}"
