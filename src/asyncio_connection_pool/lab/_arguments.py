"""How arguments of the command line are read."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

from asyncio_connection_pool.lab import _extra
from asyncio_connection_pool.lab._figures import parse_seconds
from asyncio_connection_pool.lab._people import Complaint
from asyncio_connection_pool.lab._plot import BY_HAND, ENDINGS


def seconds(text: str) -> float:
    """Read a time."""
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def some_seconds(text: str) -> float:
    """Read a time that is not 0."""
    found = seconds(text)
    if not found:
        raise argparse.ArgumentTypeError("it has to be more than 0")
    return found


def count(text: str, least: int = 1) -> int:
    """Read a number that is at least 1."""
    if not (text.isdecimal() and int(text) >= least):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {least}")
    return int(text)


def count_or_none(text: str) -> int:
    """Read a number that may be 0."""
    return count(text, least=0)


def counts(text: str) -> list[int]:
    """Read numbers with commas in between."""
    return [count(number.strip()) for number in text.split(",")]


def rate(text: str) -> float:
    """Read how many a second."""
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of callers a second")
    return found


def plot(text: str) -> Path:
    """Read where a plot is to be drawn; nobody wants to hear at the end that it can't be."""
    path = Path(text)
    if path.suffix not in ENDINGS:
        raise argparse.ArgumentTypeError(f"{text!r}: the name of a plot ends in {', '.join(ENDINGS)}")
    if path.suffix != BY_HAND and not _extra.find("_matplotlib"):
        raise Complaint(f"{path} needs matplotlib, without which a plot is a {BY_HAND}: {_extra.INSTALL}")
    writable(path)
    return path


def writable(path: Path) -> None:
    """Complain of a file that can't be written."""
    try:
        path.open("ab").close()
    except OSError as error:
        raise Complaint(f"{path} can't be written: {error.strerror}") from error
