"""Figures, and how they are written for people."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

UNITS: Final = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}

THOUSAND: Final = 1000
"""Of one unit are one of the next."""


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return what that share of the values is not above; 0 where there are none."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else 0.0


def seconds(value: float) -> str:
    """Write a time in a unit that fits it."""
    if math.isinf(value):
        return "refused"
    for unit, name, digits in ((1e-6, "µs", 0), (1e-3, "ms", 1)):
        if (number := round(value / unit, digits)) < THOUSAND:
            return f"{number:.{digits}f} {name}"
    return f"{value:.2f} s"


def parse_seconds(text: str) -> float:
    """Read a time: `10ms`, `1.5 s`, `0.01`.

    Raises:
        ValueError: It is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(s|ms|us|µs|)", text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no time: write 10ms, 1.5s or 0.01 (seconds)")
    return float(found[1]) * UNITS[found[2]]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write a table, its columns flush right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, ["-" * width for width in widths], *rows]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
