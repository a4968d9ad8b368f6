"""What a recorder has written, read again."""

from __future__ import annotations

import json
import math
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Sequence

FORMAT: Final = 1
DEEDS: Final = ("opened", "reset")
"""What a line is about that is no caller."""


def earlier_half(path: Path) -> Path:
    """Name the file that holds what was recorded before."""
    return path.with_name(path.name + ".1")


class RecordingError(ValueError):
    """A file is no recording, or has nothing to replay."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who wanted a connection."""

    at: float
    """When, in seconds since the first came."""
    held: float | None
    """Seconds for which it held the connection, or None if it got none."""
    waited: float = 0.0
    """Seconds that it waited, in vain or not."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What a pool has gone through."""

    callers: tuple[Caller, ...]
    """In the order in which they came."""
    opens: tuple[float, ...] = ()
    """How long each open took, in seconds."""
    resets: tuple[float, ...] = ()
    """How long each reset took, in seconds."""
    pool: str = "pool"
    """Its name."""
    max_size: int | None = None
    """What it was when the recording began."""
    burst_limit: int | None = None
    """What it was when the recording began."""

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read what a `Recorder` has written, the earlier half included.

        Raises:
            OSError: The file can't be read.
            RecordingError: It is no recording, or nobody is in it.
        """
        path = Path(path)
        header, *lines = _lines(path)
        before = earlier_half(path)
        if before.exists() and _first_line(before) == _first_line(path):  # else it is from another run
            lines = [*_lines(before)[1:], *lines]
        return cls._of(path, header, lines)

    @classmethod
    def _of(cls, path: Path, header: dict[str, Any], lines: Sequence[dict[str, Any]]) -> Self:
        try:
            opens, resets = (tuple(_times(lines, what)) for what in DEEDS)
            callers = [_caller(line) for line in lines if not line.keys() & DEEDS]
            about = {name: header[name] for name in ("pool", "max_size", "burst_limit")}
        except (KeyError, TypeError, ValueError) as error:
            raise RecordingError(f"{path} is no recording that this version can read: {error!r}") from error
        if not any(caller.held is not None for caller in callers):
            raise RecordingError(f"{path} is a recording in which nobody has given a connection back yet")
        return cls(_from_zero(callers), opens, resets, **about)

    @property
    def seconds(self) -> float:
        """How long it took, from the first arrival to the last return."""
        return max(caller.at + caller.waited + (caller.held or 0.0) for caller in self.callers)

    @property
    def holds(self) -> list[float]:
        """How long each caller that was served held its connection, in seconds."""
        return [caller.held for caller in self.callers if caller.held is not None]

    @property
    def in_use(self) -> float:
        """Connections that were in use on average."""
        return math.fsum(self.holds) / self.seconds if self.seconds else 0.0

    def busiest(self, seconds: float) -> Self:
        """Return the stretch of so many seconds in which connections were held for the longest in all."""
        stretch: deque[Caller] = deque()
        load = most = 0.0
        found: tuple[Caller, ...] = ()
        for caller in self.callers:
            stretch.append(caller)
            load += caller.held or 0.0
            while caller.at - stretch[0].at > seconds:
                load -= stretch.popleft().held or 0.0
            if load > most:
                most, found = load, tuple(stretch)
        return replace(self, callers=_from_zero(found))


def _from_zero(callers: Iterable[Caller]) -> tuple[Caller, ...]:
    callers = sorted(callers, key=lambda caller: caller.at)
    return tuple(replace(caller, at=caller.at - callers[0].at) for caller in callers)


def _first_line(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.readline()


def _lines(path: Path) -> list[dict[str, Any]]:
    """Read the objects of a file: a header, and what follows."""
    found = list(_objects(path))
    if not found or found[0].get("recording") != FORMAT:
        raise RecordingError(f"{path} is no recording that this version can read: its first line does not say so")
    return found


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    """Read each line; a last one without its end was being written when the process died."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith("\n"):
                return
            try:
                found = json.loads(line)
            except ValueError:
                found = None
            if not isinstance(found, dict):
                raise RecordingError(f"{path} is no recording: its line {number} is no JSON object")
            yield found


def _times(lines: Iterable[dict[str, Any]], what: str) -> Iterator[float]:
    return (float(line[what]) for line in lines if what in line)


def _caller(line: dict[str, Any]) -> Caller:
    at = float(line["at"])
    if "held" in line:
        return Caller(at, float(line["held"]), float(line["waited"]))
    return Caller(at, None, float(line.get("gave_up", 0.0)))
