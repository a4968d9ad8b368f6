"""Line charts: drawn by matplotlib where the extra `lab` is installed, else as SVG by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from asyncio_connection_pool.lab import _extra, _svg

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BY_HAND: Final = ".svg"
"""The ending of what needs no library."""
ENDINGS: Final = (BY_HAND, ".png", ".pdf")
MORE_ENDINGS: Final = "with the extra lab also a .png or .pdf"
FEW: Final = 50
"""So many points are marked one by one; more would be a caterpillar."""

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Line:
    """A named line; points that are not finite are left out."""

    name: str
    points: Sequence[Point]

    @property
    def dotted(self) -> bool:
        """Whether each point is marked."""
        return len(self.points) <= FEW


def draw(path: Path, title: str, x_label: str, y_label: str, lines: Sequence[Line]) -> None:
    """Write a chart of these lines to a file, whose ending says what kind of picture it is to be."""
    lines = [replace(line, points=[point for point in line.points if all(map(math.isfinite, point))]) for line in lines]
    (_extra.find("_matplotlib") or _svg).draw(path, title, x_label, y_label, lines)
