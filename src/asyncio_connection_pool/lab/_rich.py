"""What a terminal shows where rich is installed: ruled tables, a bar, colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.highlighter import RegexHighlighter
from rich.measure import Measurement
from rich.progress import BarColumn, Progress as Bars, TextColumn
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from asyncio_connection_pool.lab._progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self, TextIO

WIDE: Final = 1_000
BAR: Final = 24
ALARMING: Final = {"refused", "errors"}
"""Columns in which anything but 0 is bad news."""


class Cells(RegexHighlighter):
    """Finds the connections of a pool: in use, in use above `max_size`, idle, not open."""

    highlights: ClassVar = [r"(?P<used>█+)", r"(?P<burst>▓+)", r"(?P<idle>░+)", r"(?P<free>·+)"]
    base_style = "cells."


THEME: Final = Theme({"cells.used": "green", "cells.burst": "yellow", "cells.idle": "cyan", "cells.free": "dim"})


def table(stream: TextIO, head: Sequence[str], rows: Sequence[Sequence[str]], chosen: Sequence[str] | None) -> None:
    """Print a table, its columns flush right, the chosen row in green, bad news in red."""
    shown = Table(box=SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for name in head:
        shown.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        cells = [Text(cell, _style(name, cell)) for name, cell in zip(head, row, strict=True)]
        shown.add_row(*cells, style="bold green" if row == chosen else None)
    console = _console(stream)
    wide = console.options.update(max_width=WIDE)
    console.width = max(console.width, Measurement.get(console, wide, shown).maximum)  # figures are not cut off
    console.print(shown)


def _style(name: str, cell: str) -> str:
    return "red" if cell == "refused" or (name in ALARMING and cell != "0") else ""


def cells(stream: TextIO, line: str) -> None:
    """Print a line in which each connection is a cell of its colour."""
    _console(stream).print(Cells()(line), soft_wrap=True)


class Bar(Progress):
    """A bar that fills, or pulses where nobody knows how far it has come."""

    def __init__(self, stream: TextIO) -> None:
        """Begin with nothing shown."""
        columns = BarColumn(BAR), TextColumn("{task.description}", markup=False)
        self._bars = Bars(
            *columns,
            console=_console(stream),
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,  # which may be a pipe
            redirect_stderr=False,
        )
        self._task = self._bars.add_task("", total=None)

    def show(self, text: str, share: float | None = None) -> None:
        """Replace what is shown; `share` is how much of it is done."""
        total = None if share is None else 1.0
        self._bars.update(self._task, description=text, total=total, completed=share, refresh=True)

    def __enter__(self) -> Self:
        """Begin."""
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wipe it away."""
        self._bars.stop()


def _console(stream: TextIO) -> Console:
    """Write to a stream of which it is known that it is a terminal on which colours are wanted."""
    return Console(file=stream, force_terminal=True, no_color=False, highlight=False, theme=THEME)
