"""Line charts of matplotlib, in whichever format the ending of the file's name asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from asyncio_connection_pool.lab._plot import Line

INCHES: Final = 7.2, 4.0
DOTS: Final = 150
"""An inch, where a picture is made of them."""


def draw(path: Path, title: str, x_label: str, y_label: str, lines: Sequence[Line]) -> None:
    """Write a chart of these lines to a file."""
    # No pyplot, which would look for a screen; and Any, since matplotlib's own types are full of holes.
    figure: Any = Figure(figsize=INCHES, dpi=DOTS, layout="constrained")
    axes = figure.subplots()
    for line in lines:
        xs, ys = [x for x, _ in line.points], [y for _, y in line.points]
        axes.plot(xs, ys, label=line.name, marker="o" if line.dotted else "", markersize=4)
    axes.set_title(title, loc="left", parse_math=False)  # a query may have a $ in it
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path)
