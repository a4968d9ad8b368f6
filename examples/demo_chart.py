"""Draws the connections of a pool over time: a chart where there is a terminal, else one line now and then.

In the chart each half of a cell is one connection: in use (green, or yellow above `max_size`) or idle (grey).
Below it, the callers that wait.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from statistics import fmean

WIDTH, HEIGHT = 72, 18  # a terminal that is smaller gets lines
LEFT, RIGHT = 4, 12  # columns for the numbers of the axis, and for the names of what it shows
FRAMES_PER_SECOND = 12
LINES_PER_SECOND = 2

BOLD, GREEN, YELLOW, RED, GREY = 1, 32, 33, 31, 90
EIGHTHS = " ▁▂▃▄▅▆▇█"


def choose_display(stats, seconds, server, *, plain):
    """Return a chart if this terminal can show one, else lines."""
    size = shutil.get_terminal_size()
    too_small = size.columns < WIDTH or size.lines < HEIGHT
    colourless = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
    if plain or colourless or too_small or not sys.stdout.isatty():
        return Lines()
    return Chart(stats, seconds, server, min(size.columns, 110) - LEFT - RIGHT)


class Lines:
    """Prints a line at each interval."""

    def __init__(self):
        self._next = 0.0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def show(self, sample):
        """Print the sample, if it is time."""
        if sample.elapsed < self._next:
            return
        self._next = sample.elapsed + 1 / LINES_PER_SECOND
        print(
            f"{sample.elapsed:5.1f} s  callers {sample.callers:3}  in use {sample.in_use:3}  idle {sample.idle:3}  "
            f"waiting {sample.waiting:3}  seen by the server {sample.seen_by_server:3}  served {sample.served:7,}",
            flush=True,
        )


class Chart:
    """Draws all that was seen so far, in place."""

    def __init__(self, stats, seconds, server, width):
        self.stats = stats
        self.seconds = seconds
        self.server = server
        self.width = width
        self.samples = [[] for _ in range(width)]  # of each column
        self._last = None
        self._next = 0.0
        self._height = 0

    def __enter__(self):
        print("\x1b[?25l", end="")  # hide the cursor
        return self

    def __exit__(self, *_):
        if self._last is not None:
            self._draw()
        print("\x1b[?25h", end="", flush=True)

    def show(self, sample):
        """Take a sample in, and draw if it is time."""
        column = min(int(sample.elapsed / self.seconds * self.width), self.width - 1)
        self.samples[column].append(sample)
        self._last = sample
        if sample.elapsed >= self._next:
            self._next = sample.elapsed + 1 / FRAMES_PER_SECOND
            self._draw()

    def _draw(self):
        lines = self.frame()
        up = f"\x1b[{self._height}A" if self._height else ""
        self._height = len(lines)
        print(up + "".join(f"\r{line}\x1b[K\n" for line in lines), end="", flush=True)

    def frame(self):
        """Return the lines of the whole picture."""
        columns = [Column.of(samples) for samples in self.samples]
        limits = f"max_size {self.stats.max_size}, burst_limit {self.stats.limit}"
        return [
            paint(f"asyncio-connection-pool: {limits}", BOLD),
            row(self.stats.limit, paint("▁" * self.width, GREY), "burst_limit"),
            *(self._connections(columns, bottom) for bottom in range(self.stats.limit - 2, -1, -2)),
            row(0, paint("▔" * self.width, GREY)),
            *self._waiting(columns),
            row(0, self._time()),
            *self._now(self._last),
        ]

    def _connections(self, columns, bottom):
        """Draw the row of the connections `bottom` + 1 (below) and `bottom` + 2 (above)."""
        is_line = bottom == self.stats.max_size
        blank = "▁" if is_line else " "
        colours = [[column.colour(bottom + n, self.stats.max_size) for n in (1, 2)] for column in columns]
        cells = "".join(cell(below, above, blank) for below, above in colours)
        return row(bottom, cells, "max_size") if is_line else row("", cells)

    def _waiting(self, columns, rows=3):
        """Draw the callers that wait, on a scale that fits the most so far."""
        top = max(8 * rows, *(column.waiting for column in columns))
        heights = [round(column.waiting / top * 8 * rows) for column in columns]
        for below in reversed(range(0, 8 * rows, 8)):
            bar = paint("".join(EIGHTHS[max(0, min(8, height - below))] for height in heights), RED)
            yield row("" if below < 8 * (rows - 1) else round(top), bar, "" if below else "waiting")

    def _time(self):
        text = "▔" * self.width
        for second in range(5, int(self.seconds), 5):
            label = f" {second} s "
            at = round(second / self.seconds * self.width) - len(label) // 2
            text = (text[:at] + label + text[at + len(label) :])[: self.width]
        return paint(text, GREY)

    def _now(self, sample):
        """Write the figures of this moment, which are the legend too."""
        legend = [
            (GREEN, f"in use {sample.in_use:2}"),
            (YELLOW, f"of these above max_size {max(0, sample.in_use - self.stats.max_size)}"),
            (GREY, f"idle {sample.idle:2}"),
            (RED, f"waiting {sample.waiting:2}"),
        ]
        yield row("", "   ".join(f"{paint('■', colour)} {text}" for colour, text in legend))
        seen = f"{self.server} sees {sample.seen_by_server:2}"
        yield row("", f"callers {sample.callers:2}   {seen}   {sample.served:,} served")


@dataclass(frozen=True, slots=True)
class Column:
    """The mean of what was seen while the time of one column passed."""

    in_use: float = 0.0
    idle: float = 0.0
    waiting: float = 0.0

    @classmethod
    def of(cls, samples):
        if not samples:
            return cls()
        return cls(*(fmean(getattr(s, name) for s in samples) for name in ("in_use", "idle", "waiting")))

    def colour(self, number, max_size):
        """Return the colour of the so-many-th connection, or None where there was none."""
        if number <= round(self.in_use):
            return GREEN if number <= max_size else YELLOW
        return GREY if number <= round(self.in_use + self.idle) else None


def cell(below, above, blank):
    """Draw two connections, one above the other, in one cell."""
    if below is None:
        return paint(blank, GREY)
    if above is None:
        return paint("▄", below)
    if above == below:
        return paint("█", below)
    return paint("▀", above, below + 10)  # the colour of the background is ten more


def row(number, cells, name=""):
    """Put a number before a row of the chart, and a name behind it."""
    return f"{number:>{LEFT - 1}} {cells} {paint(name, GREY)}".rstrip()


def paint(text, *codes):
    """Put a text in colours, unless there is nothing to see."""
    return f"\x1b[{';'.join(map(str, codes))}m{text}\x1b[0m" if text.strip() else text
