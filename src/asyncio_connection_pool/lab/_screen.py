"""What commands show: plain, or prettier on a terminal, where the extra `lab` is installed."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from asyncio_connection_pool.lab import _extra, _figures
from asyncio_connection_pool.lab._progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TextIO


def table(head: Sequence[str], rows: Sequence[Sequence[str]], chosen: Sequence[str] | None = None) -> None:
    """Print a table; `chosen` is the row that the answer is in."""
    if rich := _rich(sys.stdout):
        rich.table(sys.stdout, head, rows, chosen)
    else:
        print(_figures.table(head, rows))


def cells(line: str) -> None:
    """Print a line in which each connection is a cell."""
    if rich := _rich(sys.stdout):
        rich.cells(sys.stdout, line)
    else:
        print(line, flush=True)


def progress() -> Progress:
    """Show how far something has come, on the terminal that stderr may be."""
    rich = _rich(sys.stderr)
    bar: Progress = rich.Bar(sys.stderr) if rich else Progress(sys.stderr)
    return bar


def _rich(stream: TextIO) -> Any:
    """Give what writes to a terminal in colours; None if nobody wants that, or if it is not installed."""
    plain = not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return None if plain else _extra.find("_rich")
