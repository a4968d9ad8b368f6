"""An event loop that runs no faster than it is told to: one tick at a time, and time that stands still."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
from asyncio import events
from collections.abc import Callable
from heapq import heappop

import loops


class SteppedLoop(asyncio.BaseEventLoop):
    """asyncio's own loop with its handles, timers and tasks, but without a selector.

    `tick` runs what is ready, as one turn of a real loop does. `fire` jumps to the next timer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.complaints: list[str] = []
        self.set_exception_handler(self._complain)
        self.reset()

    def reset(self) -> None:
        """Begin anew, at second 0."""
        self._ready.clear()
        self._scheduled.clear()
        self._timer_cancelled_count = 0
        self.now = 0.0
        self.steps = 0
        self._started: list[asyncio.Task] = []

    def _complain(self, loop, context) -> None:
        self.complaints.append(f"{context['message']}: {context.get('exception')!r}")

    def time(self) -> float:
        return self.now

    def create_task(self, coro, **kwargs):
        """Start a task for the pool, which is known by the order of its creation."""
        task = super().create_task(coro, **kwargs)
        self._started.append(task)
        return task

    @property
    def running(self) -> list[asyncio.Task]:
        """The pool's tasks that have not ended."""
        self._started = [task for task in self._started if not task.done()]
        return self._started

    def spawn(self, coro):
        """Start a task for somebody else."""
        return super().create_task(coro)

    def tick(self) -> None:
        self._collect()
        ready = self._ready
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                self.steps += 1
                handle._run()

    @property
    def quiet(self) -> bool:
        """Whether nothing is left to do before the next timer."""
        if not self._ready:
            self._collect()
        return not self._ready

    @property
    def timers(self) -> int:
        """How many are armed."""
        return sum(not timer._cancelled for timer in self._scheduled)

    def fire(self) -> None:
        """Let the next timer be due, and all that are due then."""
        self.now = min(timer._when for timer in self._scheduled if not timer._cancelled)
        self._collect()

    def pass_second(self) -> None:
        """Let a second pass, or less where a timer is due before."""
        self.now = min([self.now + 1, *(timer._when for timer in self._scheduled if not timer._cancelled)])
        self._collect()

    def _collect(self) -> None:
        """Make ready what is due by now, and forget what was cancelled before that."""
        scheduled = self._scheduled
        while scheduled and (scheduled[0]._cancelled or scheduled[0]._when <= self.now):
            timer = heappop(scheduled)
            timer._scheduled = False
            if not timer._cancelled:
                self._ready.append(timer)

    def _write_to_self(self) -> None:
        pass


class Laboratory:
    """Makes a `SteppedLoop` the running one, and keeps the log and the collector of garbage to itself.

    Args:
        plain: Leave the loop as it is, whatever kind of loop this run of the tests is for.
    """

    def __init__(self, *, plain: bool = False) -> None:
        self.loop = SteppedLoop()
        if not plain:
            loops.prepare(self.loop)
        self.on_log: Callable[[BaseException], None] | None = None
        self._log = logging.getLogger("asyncio_connection_pool")

    def filter(self, record: logging.LogRecord) -> bool:
        """Read what is logged, and keep it from the handlers, which are slow."""
        if record.exc_info and self.on_log is not None:
            self.on_log(record.exc_info[1])
        return False

    def __enter__(self):
        self.loop._thread_id = threading.get_ident()
        events._set_running_loop(self.loop)
        self._log.addFilter(self)
        gc.collect()
        gc.freeze()  # what is here already needs no collecting every now and then
        gc.disable()
        return self

    def __exit__(self, *exc_info) -> None:
        gc.unfreeze()
        gc.enable()
        self._log.removeFilter(self)
        events._set_running_loop(None)
        self.loop._thread_id = None
        self.loop.close()
