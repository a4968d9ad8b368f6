"""A figure with the budget that it answers to, and the table that shows them."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from .measure import Rounds, Spread

AT_LEAST_313 = sys.version_info >= (3, 13)
"""Whether the stricter budgets for time hold; CPython 3.11 is given more room, and 3.12 as much as 3.11."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a figure should be. Nothing fails when it is not: machines differ, and so may a reader's."""

    sense: Literal["at most", "at least"]
    limit: float

    def met_by(self, value: float) -> bool:
        """Say whether the value keeps the budget."""
        return value <= self.limit if self.sense == "at most" else value >= self.limit


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Args:
        name: What was measured, ratios as "a / b".
        unit: "×" for a ratio, else "ns", "ms", "bytes" or "acquisitions".
        spread: The median over rounds, with the spread.
        budget: What it should be, if anything was promised.
        case: The row of a table that compares contenders, if the figure belongs into one.
        who: Its column there.
    """

    name: str
    unit: str
    spread: Spread
    budget: Budget | None = None
    case: str = ""
    who: str = ""

    @property
    def verdict(self) -> str:
        """Say "met", "not met", or nothing where nothing was promised."""
        if self.budget is None:
            return ""
        return "met" if self.budget.met_by(self.spread.median) else "NOT MET"


def counted(case: str, who: str, unit: str, value: float) -> Figure:
    """Make a figure of what was counted once, and comes out the same each time."""
    return Figure(f"{case}: {who}", unit, Spread.of([value]), case=case, who=who)


def timed(case: str, taken: Rounds) -> Sequence[Figure]:
    """Make figures of nanoseconds that contenders took for one thing, and of their ratios to ours."""
    ratios = [who for who in taken if who != "ours"]
    return [
        *(Figure(f"{case}: {who}", "ns", Spread.of(values), case=case, who=who) for who, values in taken.items()),
        *(
            Figure(
                f"{case}: {who} / ours", "×", Spread.of_ratio(taken[who], taken["ours"]), case=case, who=f"{who} / ours"
            )
            for who in ratios
        ),
    ]


HEADER = ("", "median", "quartiles", "lowest – highest", "", "budget", "")


def table(figures: Iterable[Figure]) -> Iterator[str]:
    """Yield the lines of a table, columns aligned."""
    rows = [HEADER, *map(_cells, figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *rest = (
            cell.ljust(width) if not i else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join((first, *rest)).rstrip()


def _cells(figure: Figure) -> tuple[str, ...]:
    spread, budget = figure.spread, figure.budget
    digits = 2 if figure.unit in {"×", "ms"} else 0
    median, lower, upper, lowest, highest = (
        f"{value:,.{digits}f}" for value in (spread.median, spread.lower, spread.upper, spread.lowest, spread.highest)
    )
    promise = f"{budget.sense} {budget.limit:g}" if budget else ""
    return (figure.name, median, f"{lower} – {upper}", f"{lowest} – {highest}", figure.unit, promise, figure.verdict)
