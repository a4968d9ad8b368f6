"""A ledger that tells what is booked in it; a pool without observers has a plain one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar

from asyncio_connection_pool._ledger import Ledger
from asyncio_connection_pool._slot import GONE
from asyncio_connection_pool.events import Bursting, Closed

if TYPE_CHECKING:
    from asyncio_connection_pool._slot import Slot, State
    from asyncio_connection_pool._stats import CloseReason

Conn = TypeVar("Conn")


class Readers(Protocol):
    """Who is told, after the step."""

    def note(self, hook: str, event: object) -> None:
        """Tell soon."""
        ...


class JournalledLedger(Ledger[Conn]):
    """A ledger that notes each connection that leaves, and each burst."""

    _phase: Literal["began", "limit_reached", "ended"] = "ended"

    def __init__(self, max_size: int, burst_limit: int | None, *, readers: Readers, **options: Any) -> None:
        """Begin as any ledger; `readers` are told."""
        self._readers = readers
        super().__init__(max_size, burst_limit, **options)

    # Bursts.

    def add(self) -> Slot[Conn]:
        """Take a slot."""
        slot = super().add()
        self._look_at_burst()
        return slot

    def move(self, slot: Slot[Conn], state: State) -> None:
        """Move a slot to another state."""
        super().move(slot, state)
        if state is GONE:
            self._look_at_burst()

    def set_limits(self, max_size: int, burst_limit: int | None) -> None:
        """Change the limits."""
        super().set_limits(max_size, burst_limit)
        self._look_at_burst()

    def _look_at_burst(self) -> None:
        size = len(self.slots)
        if self._phase == "ended" and self.burst_limit is not None and size > self.max_size:
            self._tell_burst("began")
        if self._phase == "began" and self.burst_limit is not None and size >= self.burst_limit:
            self._tell_burst("limit_reached")
        if self._phase != "ended" and size <= self.max_size:
            self._tell_burst("ended")

    def _tell_burst(self, phase: Literal["began", "limit_reached", "ended"]) -> None:
        self._phase = phase
        event = Bursting(self.name, phase, len(self.slots), self.max_size, self.most)
        self._readers.note("on_burst", event)

    # Closes: all that `PoolStats.closed` counts.

    def begin_close(self, slot: Slot[Conn], reason: CloseReason) -> CloseReason:
        """Reserve a connection for closing."""
        self._tell_close(reason)
        return super().begin_close(slot, reason)

    def unwound(self, slot: Slot[Conn], *, yielded: bool) -> None:
        """Settle an open that was given up."""
        super().unwound(slot, yielded=yielded)
        if yielded:
            self._tell_close("broken_off")

    def free(self, slot: Slot[Conn], reason: CloseReason | None = None) -> None:
        """Free a slot at once."""
        if reason is not None and slot.state is not GONE:
            self._tell_close(reason)
        super().free(slot, reason)

    def _tell_close(self, reason: CloseReason) -> None:
        self._readers.note("on_close", Closed(self.name, reason))
