"""Who holds the connections of a pool, and since when: for those who ask for it."""

from __future__ import annotations

import logging
import math
import sys
import traceback
from asyncio import Task, current_task
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from asyncio_connection_pool._errors import age

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from asyncio_connection_pool._ledger import Ledger
    from asyncio_connection_pool._queue import Waiter
    from asyncio_connection_pool._slot import Slot

Conn = TypeVar("Conn")
log = logging.getLogger("asyncio_connection_pool")

OURS: Final = f"{__name__.partition('.')[0]}."
NEAREST: Final = 5
"""Calls from the user's line to where it is looked up, at the least; a frame that is not looked at costs nothing."""
NAMED: Final = 3
"""Holders that a message names."""


class Holder:
    """One task that holds a connection."""

    __slots__ = ("_at", "_code", "since", "task")

    def __init__(self, task: Task[Any] | None, frame: FrameType, since: float) -> None:
        """Remember who took it where; what that is called is looked up when somebody asks."""
        self.task = task
        self.since = since
        self._code = frame.f_code
        self._at = frame.f_lasti

    def describe(self, now: float) -> str:
        """Say who it is, for how long it holds, and where it took the connection."""
        name = "no task" if self.task is None else self.task.get_name()
        return f"{name} for {age(now - self.since)}, taken at {self._line}"

    @property
    def _line(self) -> str:
        code = self._code
        lines = islice(code.co_positions(), self._at // 2, None)
        number = next(lines, (None,))[0] or code.co_firstlineno
        return f"{code.co_filename}:{number} in {code.co_name}"


class Holders(Generic[Conn]):
    """The tasks that hold connections, in the order in which they took them."""

    def __init__(self, ledger: Ledger[Conn], leak_threshold: float | None) -> None:
        """Begin with nobody; `leak_threshold` is in seconds."""
        self._ledger = ledger
        self._leak_threshold = leak_threshold
        self._holders: dict[Slot[Conn], Holder] = {}
        self._untold: dict[Slot[Conn], Holder] = {}
        """Those of whom the log was not told."""
        self._held_by: dict[Task[Any] | None, int] = {}
        self._waiting: dict[Task[Any] | None, Waiter] = {}

    def enter(self, slot: Slot[Conn], now: float) -> float:
        """Remember that the running task has taken a connection.

        Returns:
            When it will have held that for too long.
        """
        task = current_task()
        self._holders[slot] = holder = Holder(task, _frame_of_caller(), now)
        self._held_by[task] = self._held_by.get(task, 0) + 1
        if self._leak_threshold is None:
            return math.inf
        self._untold[slot] = holder
        return now + self._leak_threshold

    def leave(self, slot: Slot[Conn], now: float) -> None:
        """Forget a holder, and tell of it if it was said to leak."""
        holder = self._holders.pop(slot, None)
        if holder is None:
            return
        self._held_by[holder.task] -= 1
        if not self._held_by[holder.task]:
            del self._held_by[holder.task]
        if self._untold.pop(slot, None) is None and self._leak_threshold is not None:
            log.warning("pool %r: back after all: %s", self._ledger.name, holder.describe(now))

    def park(self, waiter: Waiter) -> bool:
        """Remember that the running task waits, and say whether it waits in vain.

        It does if it holds a connection itself, every other is held by tasks that wait for this pool too, and
        none is on its way or could be opened.
        """
        task = waiter.task = current_task()
        self._waiting[task] = waiter
        ledger = self._ledger
        coming = ledger.supply + ledger.resetting + ledger.closing + ledger.handed
        if not self._held_by.get(task) or coming or ledger.most > len(ledger.slots):
            return False
        return all(task in self._waiting and self._waiting[task].live for task in self._held_by)

    def unpark(self, waiter: Waiter) -> None:
        """Forget that a task waits."""
        self._waiting.pop(waiter.task, None)

    def describe(self, now: float) -> str:
        """Say who they are, those that hold longest first, and how many more there are."""
        first = [holder.describe(now) for holder in islice(self._holders.values(), NAMED)]
        more = len(self._holders) - len(first)
        return "; ".join([*first, *([f"and {more} more"] if more else [])])

    def clear(self) -> None:
        """Forget everybody: their event loop is gone."""
        self._holders.clear()
        self._untold.clear()
        self._held_by.clear()
        self._waiting.clear()

    # Leaks.

    @property
    def leak_due(self) -> float | None:
        """When the next connection will have been held for too long."""
        first = next(iter(self._untold.values()), None)
        return None if first is None or self._leak_threshold is None else first.since + self._leak_threshold

    def tell_leaks(self, now: float) -> None:
        """Tell the log, once, of each connection that is held for too long."""
        while (due := self.leak_due) is not None and due <= now:
            holder = self._untold.pop(next(iter(self._untold)))
            what = f"a connection may have leaked: {holder.describe(now)}"
            log.warning("pool %r: %s\n%s", self._ledger.name, what, "".join(_stack(holder.task)))


def _stack(task: Task[Any] | None) -> Iterator[str]:
    """Format the lines at which a task stands, from the outermost coroutine to the innermost."""
    if task is None or task.done():
        yield "its task has ended\n"
        return
    yield "its task stands at\n"
    stands: Any = task.get_coro()
    while (frame := _first(stands, "cr_frame", "gi_frame", "ag_frame")) is not None:
        yield from traceback.format_list(traceback.extract_stack(frame, limit=1))
        stands = _first(stands, "cr_await", "gi_yieldfrom", "ag_await")


def _first(thing: Any, *names: str) -> Any:
    return next((getattr(thing, name) for name in names if getattr(thing, name, None) is not None), None)


def _frame_of_caller() -> FrameType:
    """Find the code of the user that called the pool."""
    try:
        frame = sys._getframe(NEAREST)
    except ValueError:  # a coroutine that is driven by no Python code
        frame = sys._getframe()
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return frame


def _is_ours(module: str) -> bool:
    """Say whether a module stands between a user's line and the pool."""
    return module.startswith(OURS) or module == "contextlib"
