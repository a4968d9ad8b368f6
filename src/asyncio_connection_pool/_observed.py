"""The way of a caller through a pool whose observers want to know of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from asyncio_connection_pool._checkout import Checkout
from asyncio_connection_pool._observe import NO_SPAN
from asyncio_connection_pool.events import Acquired, Released

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from asyncio_connection_pool._observe import Span
    from asyncio_connection_pool._options import Unset
    from asyncio_connection_pool._queue import Waiter
    from asyncio_connection_pool._slot import Slot

Conn = TypeVar("Conn")

How = Literal["at_once", "after_waiting", "after_opening"]
FRESH: Final = "after_opening"
GIVEN_BACK: Final = "after_waiting"


class ObservedCheckout(Checkout[Conn]):
    """Puts spans around acquisitions and waits, and tells of what is taken and given back."""

    def __init__(self, *arguments: Any) -> None:
        """Begin with nobody; the arguments are those of any checkout."""
        super().__init__(*arguments)
        self._entering: Span = NO_SPAN
        """Around the acquisition that `take` has left to `park`, which comes next in the same step."""
        self._spans: dict[Waiter, tuple[Span, Span]] = {}
        self._held_since: dict[Slot[Conn], float] = {}

    def take(self) -> Slot[Conn] | None:
        """Take an idle connection."""
        span = self._observers.span("acquiring_span")
        try:
            slot = super().take()
        except BaseException as exc:
            span.close(exc)
            raise
        if slot is None:
            self._entering = span
            return None
        span.close()
        self._tell_acquired(slot, self._loop.time(), 0.0, "at_once")
        return slot

    def park(self, timeout: float | Unset | None) -> Waiter:
        """Queue the running caller."""
        acquiring, self._entering = self._entering, NO_SPAN
        waiting = self._observers.span("waiting_span")
        try:
            waiter = super().park(timeout)
        except BaseException as exc:
            waiting.close(exc)
            acquiring.close(exc)
            raise
        self._spans[waiter] = waiting, acquiring
        return waiter

    def accept(self, waiter: Waiter, slot: Slot[Conn]) -> None:
        """Settle a hand-over."""
        how: How = FRESH if slot.fresh else GIVEN_BACK
        try:
            super().accept(waiter, slot)
        except BaseException as exc:
            self._leave_spans(waiter, exc)
            raise
        self._leave_spans(waiter)
        now = self._loop.time()
        self._tell_acquired(slot, now, now - waiter.since, how)

    def abandon(self, waiter: Waiter, exc: BaseException) -> None:
        """Settle a wait that ended with `exc`."""
        super().abandon(waiter, exc)
        self._leave_spans(waiter, exc)

    def _leave_spans(self, waiter: Waiter, exc: BaseException | None = None) -> None:
        for span in self._spans.pop(waiter, ()):
            span.close(exc)

    def _tell_acquired(self, slot: Slot[Conn], now: float, waited: float, how: How) -> None:
        if self._observers.hears_of("on_release"):
            self._held_since[slot] = now
        if self._observers.hears_of("on_acquire"):
            try:
                self._observers.tell("on_acquire", Acquired(self._ledger.name, waited, how))
            except BaseException as exc:
                self._supply.give_back(slot, exc)
                raise

    def give_back(self, slot: Slot[Conn], exc: BaseException | None) -> Awaitable[None] | None:
        """Take a connection back."""
        since = self._held_since.pop(slot, None)
        try:
            return super().give_back(slot, exc)
        finally:
            if since is not None:
                held = self._loop.time() - since
                self._observers.tell("on_release", Released(self._ledger.name, held))
