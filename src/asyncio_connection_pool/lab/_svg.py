"""Line charts as SVG, written by hand: no library is needed, and every browser shows them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from asyncio_connection_pool.lab._plot import Line

WIDTH: Final = 720
HEIGHT: Final = 400
LEFT: Final = 72
RIGHT: Final = 24
TOP: Final = 48
BOTTOM: Final = 56
COLOURS: Final = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e")
TICKS: Final = 5


@dataclass(frozen=True, slots=True)
class _Scale:
    """Where values lie in the picture."""

    left: float
    right: float
    top: float

    @classmethod
    def of(cls, lines: Sequence[Line]) -> _Scale:
        xs = [x for line in lines for x, _ in line.points] or [0.0]
        ys = [y for line in lines for _, y in line.points]
        left, right = min(xs), max(xs)
        return cls(left, right if right > left else left + 1, _round_up(max(ys, default=0.0)))

    def x(self, value: float) -> float:
        return LEFT + (value - self.left) / (self.right - self.left) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self.top * (HEIGHT - TOP - BOTTOM)


def draw(path: Path, title: str, x_label: str, y_label: str, lines: Sequence[Line]) -> None:
    """Write a chart of these lines to a file."""
    scale = _Scale.of(lines)
    parts = [*_frame(title, x_label, y_label), *_ticks(scale)]
    for number, line in enumerate(lines):
        parts += _line(line, scale, number)
    body = "\n".join(parts)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">'
    path.write_text(f"{head}\n{body}\n</svg>\n", encoding="utf-8")


def _frame(title: str, x_label: str, y_label: str) -> Iterator[str]:
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    yield _text(LEFT, 20, title, size=15, anchor="start")
    yield _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, x_label)
    yield _text(16, (TOP + HEIGHT - BOTTOM) / 2, y_label, anchor="start")


def _ticks(scale: _Scale) -> Iterator[str]:
    for step in range(TICKS + 1):
        share = step / TICKS
        y = scale.y(share * scale.top)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        yield _text(LEFT - 6, y + 4, f"{share * scale.top:g}", anchor="end")
        value = scale.left + share * (scale.right - scale.left)
        yield _text(scale.x(value), HEIGHT - BOTTOM + 18, f"{value:.3g}")


def _line(line: Line, scale: _Scale, number: int) -> Iterator[str]:
    colour = COLOURS[number % len(COLOURS)]
    points = [(scale.x(x), scale.y(y)) for x, y in line.points]
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    yield f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>'
    if line.dotted:
        for x, y in points:
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
    yield _text(LEFT + 110 * number, 38, f"— {line.name}", anchor="start", colour=colour)


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "middle", colour: str = "#333") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
    )


def _round_up(value: float) -> float:
    """Return the next number that is easily divided by five."""
    if value <= 0:
        return 1.0
    unit: float = 10 ** math.floor(math.log10(value))
    return next(step * unit for step in (1, 2, 5, 10) if step * unit >= value)
