"""Policies over time, built on what the pool hands over."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from asyncio_connection_pool._ledger import Ledger
    from asyncio_connection_pool._slot import Slot

Conn = TypeVar("Conn")


class Shrinker(Generic[Conn]):
    """Closes what has been idle above `max_size` for `shrink_delay` seconds.

    There is one timer, and only while something is due. It knows the shrinker weakly,
    so it keeps no pool alive (C13).
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ledger: Ledger[Conn],
        delay: float,
        retire: Callable[[], Callable[[Slot[Conn]], None] | None],
    ) -> None:
        """Begin with nothing to watch.

        Args:
            loop: Its clock is used.
            ledger: Says what is surplus.
            delay: Seconds that a surplus connection may idle.
            retire: Weakly gives what closes the connection of a slot that is reserved for that.
        """
        self._loop = loop
        self._ledger = ledger
        self._delay = delay
        self._retire = retire
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Look after the connection that has just become idle, if it is surplus."""
        now = self._loop.time()
        if self._ledger.date_idle(now, last=True) and self._timer is None:
            self._arm(now)

    def redate(self) -> None:
        """Begin anew after a change of the limits."""
        self.stop()
        now = self._loop.time()
        if self._ledger.date_idle(now):
            self._arm(now)

    def stop(self) -> None:
        """Disarm the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self, since: float) -> None:
        due = since + self._delay
        self._timer = self._loop.call_at(due, _fire, weakref.WeakMethod(self.fire), since)

    def fire(self, since: float) -> None:
        """Close what has been idle since `since` or longer, then look who is next.

        It goes by the date that it was armed for and not by the clock, which may be
        a little behind that when a timer fires.
        """
        self._timer = None
        retire = self._retire()
        while retire and (slot := self._ledger.pop_surplus(since)):
            retire(slot)
        next_since = self._ledger.surplus_since
        if next_since is not None:
            self._arm(next_since)


def _fire(reference: Callable[[], Callable[[float], None] | None], since: float) -> None:
    fire = reference()
    if fire is not None:
        fire(since)
