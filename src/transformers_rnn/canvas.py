"""A white page that becomes a PNG file: the same look and the same bytes, whatever style the user has set."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]

# Okabe and Ito's colours, which the colour-blind can tell apart.
BLUE, ORANGE, GREEN, PURPLE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"
INK = "#222222"
COLOURS = 128  # of a file: a third of the bytes, and the eye sees no difference
IGNORED = -100  # the host's label of a row that does not count
STYLE = {
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#EBEBEB",
    "axes.edgecolor": "#808080",
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.framealpha": 0.85,
    "legend.edgecolor": "none",
    "legend.fontsize": 9,
    "text.parse_math": False,  # a label may hold dollar signs
    "axes.formatter.use_mathtext": False,
}


@contextmanager
def canvas(target: Path, width: float, height: float) -> "Iterator[Figure]":
    """A figure of some inches that is saved at the end; no back end is chosen and no setting stays changed."""
    try:
        import matplotlib.style  # noqa: PLC0415 - an extra, and slow
        from matplotlib.figure import Figure  # noqa: PLC0415
        from PIL import Image  # noqa: PLC0415 - comes with matplotlib
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('pictures need matplotlib: pip install "transformers-rnn[pictures]"') from error
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        page = BytesIO()
        figure.savefig(page, format="png", bbox_inches="tight", pad_inches=0.12, metadata={"Software": None})
        Image.open(page).convert("RGB").quantize(COLOURS).save(target, format="png", optimize=True)


def checked_path(path: str | Path) -> Path:
    target = Path(path)
    if target.suffix != ".png" or not target.parent.is_dir():
        raise ValueError(f"path must name a .png file in a directory that exists, got {target}")
    return target


def paired(left: Array, right: Array) -> tuple[Array, Array]:
    """Both, if there are as many rows and at least one."""
    if not left.ndim or not right.ndim or len(left) != len(right) or not len(left):
        raise ValueError(f"there must be a row to draw, and as many on both sides, got {left.shape} and {right.shape}")
    return left, right


def counted(true: Array, other: Array) -> tuple[Array, Array]:
    """The rows whose single label counts."""
    kept = true != IGNORED if true.ndim == 1 else np.full(len(true), True)
    return paired(true[kept], other[kept])


def short(name: str) -> str:
    """On one line of at most 24 characters; both ends stay, as labels often differ in the last ones."""
    text = " ".join(str(name).split())
    return text if len(text) <= 24 else f"{text[:13]}…{text[-10:]}"


def percent(axes: "Axes", which: str) -> None:
    """Ticks in percent, with as many decimals as tell them apart."""
    from matplotlib.ticker import PercentFormatter  # noqa: PLC0415 - an extra

    getattr(axes, f"{which}axis").set_major_formatter(PercentFormatter(1))
