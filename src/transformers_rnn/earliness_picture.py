"""How early the answers come and how right they are -> a PNG file. Needs the extra `pictures` (matplotlib)."""

from pathlib import Path

from .canvas import BLUE, ORANGE, PURPLE, SKY, canvas, checked_path, percent
from .earliness import EarlinessCurve


def draw_earliness(curve: EarlinessCurve, path: str | Path) -> Path:
    """Draw accuracy and the harmonic mean against the share of each sequence that was read.

    Args:
        curve: What `earliness_curve` found.
        path: of the PNG.

    Returns:
        The path.

    Raises:
        ValueError: No .png file, or no such directory.
    """
    target = checked_path(path)
    read = [result.earliness for result in curve.stopping]
    with canvas(target, 5.5, 3.8) as figure:
        axes = figure.subplots()
        fixed = [result.earliness for result in curve.fixed], [result.accuracy for result in curve.fixed]
        axes.plot(*fixed, "--", color=SKY, linewidth=2, label="accuracy, same share of each")
        axes.plot(read, [result.accuracy for result in curve.stopping], color=BLUE, linewidth=2, label="accuracy")
        means = [result.harmonic_mean for result in curve.stopping]
        axes.plot(read, means, ":", color=PURPLE, linewidth=2, label="harmonic mean with 1 - share read")
        if curve.chosen is not None:
            label = f"chosen: {curve.chosen.accuracy:.1%} right after {curve.chosen.earliness:.1%}"
            axes.plot(curve.chosen.earliness, curve.chosen.accuracy, "o", color=ORANGE, markersize=9, label=label)
        axes.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel="read", title="Answers before the end")
        axes.legend(loc="best")
        percent(axes, "x")
        percent(axes, "y")
    return target
