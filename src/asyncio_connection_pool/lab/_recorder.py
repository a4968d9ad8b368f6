"""Keeps what a pool goes through, in a bounded file of JSON lines."""

from __future__ import annotations

import json
import os
import time
from asyncio import get_running_loop
from bisect import bisect
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from asyncio_connection_pool import PoolObserver
from asyncio_connection_pool.lab._recording import FORMAT, earlier_half

if TYPE_CHECKING:
    from asyncio_connection_pool import ConnectionPool, events

MANY: Final = 256
"""Lines that are written at once."""
OFTEN: Final = 1.0
"""Seconds after which fewer are."""
LEAST_BYTES: Final = 65_536


class Recorder(PoolObserver):
    """Records when callers came, how long they waited and held, and how long opens and resets took.

    ::

        pool = ConnectionPool(..., observers=[Recorder("pool.jsonl")])

    Each caller is a line of about 50 bytes, each reset one of 35. They are written when the connection is given back,
    256 at a time, or after a second, from within the caller's step, so keep the file on a local disk. When the file has
    grown to half of `max_bytes` it is renamed, with `.1` at its end, in place of the one before it: what is kept is
    what happened last. A file of that name from an earlier run is renamed too. The times are those of the event
    loop's clock, which under uvloop has a resolution of a millisecond.

    A recorder is for one pool in one process. After a fork the child records nothing.

    Args:
        path: The file.
        max_bytes: What it and the one before it may take together; 32 MiB, some 600,000 callers (350,000 where
            there are resets).

    Raises:
        OSError: The file can't be written.
        ValueError: `max_bytes` is less than 64 KiB.
    """

    def __init__(self, path: str | os.PathLike[str], *, max_bytes: int = 32 * 1024 * 1024) -> None:
        """Begin a new file."""
        if max_bytes < LEAST_BYTES:
            raise ValueError(f"max_bytes must be at least {LEAST_BYTES}, not {max_bytes!r}")
        self._path = Path(path).absolute()
        self._most = max_bytes // 2
        self._size = 0
        self._process = os.getpid()
        self._header = ""
        self._lines: list[str] = []
        self._in_use: list[tuple[float, float]] = []
        """When each connection in use was handed out, and how long its caller had waited; in order."""
        self._zero: float | None = None
        self._written = 0.0
        self._begin_file()

    # What it is told.

    def on_attach(self, pool: ConnectionPool[Any]) -> None:
        """Write down what the pool is.

        Raises:
            ValueError: There is a pool already.
        """
        if self._header:
            raise ValueError(f"a Recorder is for one pool: give {pool.name!r} one of its own, with a file of its own")
        limits = {"max_size": pool.max_size, "burst_limit": pool.burst_limit}
        self._header = json.dumps({"recording": FORMAT, "began": time.time(), "pool": pool.name, **limits}) + "\n"
        self._append(self._header)

    def on_detach(self, pool: ConnectionPool[Any]) -> None:
        """Write what is not written yet."""
        self._write()

    def on_acquire(self, event: events.Acquired) -> None:
        """Remember when, until the connection is given back."""
        self._in_use.append((self._now(), event.waited))

    def on_release(self, event: events.Released) -> None:
        """Write down a caller that was served."""
        now = self._now()
        acquired = now - event.held
        waited = self._pop_waited(acquired)
        self._note(f'{{"at":{acquired - waited:.6f},"waited":{waited:.6f},"held":{event.held:.6f}}}\n', now)

    def on_timeout(self, event: events.TimedOut) -> None:
        """Write down a caller that gave up."""
        now = self._now()
        self._note(f'{{"at":{now - event.seconds:.6f},"gave_up":{event.seconds:.6f}}}\n', now)

    def on_reject(self, event: events.Rejected) -> None:
        """Write down a caller that was refused."""
        now = self._now()
        self._note(f'{{"at":{now:.6f},"refused":"{event.by}"}}\n', now)

    def on_create(self, event: events.Created) -> None:
        """Write down how long an open took."""
        now = self._now()
        self._note(f'{{"at":{now - event.seconds:.6f},"opened":{event.seconds:.6f}}}\n', now)

    def on_reset(self, event: events.Reset) -> None:
        """Write down how long a reset took."""
        now = self._now()
        self._note(f'{{"at":{now - event.seconds:.6f},"reset":{event.seconds:.6f}}}\n', now)

    # How it is kept.

    def _now(self) -> float:
        """Read the clock that the pool reads, from zero."""
        now = get_running_loop().time()
        if self._zero is None:
            self._zero = now
        return now - self._zero

    def _pop_waited(self, acquired: float) -> float:
        """Say how long a caller had waited that was served at about that time.

        An event doesn't say whose it is. The pool and this read the clock some hundred nanoseconds apart, so two
        callers can be taken for each other only if they were served at the same time, and then it does not matter.
        """
        after = bisect(self._in_use, (acquired,))
        near = self._in_use[max(after - 1, 0) : after + 1]
        found = min(near, key=lambda entry: abs(entry[0] - acquired))
        self._in_use.remove(found)
        return found[1]

    def _note(self, line: str, now: float) -> None:
        self._lines.append(line)
        if len(self._lines) >= MANY or now - self._written >= OFTEN:
            self._written = now
            self._write()

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        if os.getpid() != self._process:
            return
        if self._size > self._most - MANY * 100:  # the next lines might be too many
            self._begin_file()
            self._append(self._header)
        self._append("".join(lines))

    def _begin_file(self) -> None:
        if self._path.exists():
            self._path.replace(earlier_half(self._path))
        self._path.write_bytes(b"")
        self._size = 0

    def _append(self, text: str) -> None:
        """Write; no file is open in between, so that none is left open."""
        with self._path.open("ab") as file:
            self._size += file.write(text.encode())
