"""How connections end: looked at when they are taken and given back, and closed."""

from __future__ import annotations

from typing import TypeVar

from asyncio_connection_pool._limits import Limits
from asyncio_connection_pool._policies import Policies
from asyncio_connection_pool._slot import CLOSING, GONE, READY, Slot
from asyncio_connection_pool._stats import CloseReason, Totals

Conn = TypeVar("Conn")


class Retirement(Limits[Conn]):
    """The part of the ledger in which a connection grows old, and goes."""

    def __init__(
        self,
        max_size: int,
        burst_limit: int | None,
        max_connecting: int | None,
        policies: Policies,
        *,
        plain: bool,
    ) -> None:
        """Begin with nothing taken and nothing counted."""
        super().__init__(max_size, burst_limit, max_connecting, policies, plain=plain)
        self.at_once = 0
        self.totals = Totals()

    def take(self, now: float) -> Slot[Conn] | None:
        """Take the idle connection that was used last, unless it has to be validated first.

        It is what the fast path does, for a pool with policies. One whose lifetime is over
        comes back doomed: it is for `place`.
        """
        after = self.policies.validate_after
        if not self.idle or (after is not None and now - self.idle[-1].idle_since > after):
            return None
        slot = self.idle.pop()
        self.at_once += 1
        self.look_at_age(slot, now)
        return slot

    def untake(self) -> None:
        """Take back that a caller was served: the connection was closed."""
        self.at_once -= 1

    def doom(self, slot: Slot[Conn], reason: CloseReason) -> None:
        """Have a connection closed as soon as it is not in use any more."""
        slot.doom = slot.doom or reason

    def discard(self, conn: Conn) -> bool:
        """Doom a connection in use; false if there is none such."""
        found = False
        idle = set(self.idle)
        for slot in self.slots:
            if slot.state is READY and slot.conn is conn and slot not in idle:
                if slot.doom is None:
                    slot.doom = "discarded"
                    return True
                found = True
        return found

    def pop_surplus(self, now: float) -> Slot[Conn] | None:
        """Begin to close a surplus connection that has idled for `shrink_delay`, or one above `limit`."""
        due = self.surplus_due
        if due is None or (due > now and self.held <= self.limit):
            return None
        return self._pop_oldest("surplus")

    def pop_idle(self, now: float) -> Slot[Conn] | None:
        """Begin to close a connection that has idled for `max_idle`, down to `min_size`."""
        due = self.idle_due
        return self._pop_oldest("idle") if due is not None and due <= now else None

    def pop_unpermitted(self) -> Slot[Conn] | None:
        """Begin to close an idle connection for which there is no leave any more."""
        return self._pop_oldest("revoked") if self.held > self.limit and self.idle else None

    def _pop_oldest(self, reason: CloseReason) -> Slot[Conn]:
        slot = self.idle.pop(0)
        self.begin_close(slot, reason)
        return slot

    def wear(self, slot: Slot[Conn], now: float) -> None:
        """Count a use that has ended, and doom a connection that has had its time."""
        slot.uses += 1
        most = self.policies.max_uses
        if most is not None and slot.uses >= most:
            self.doom(slot, "worn_out")
        self.look_at_age(slot, now)

    def look_at_age(self, slot: Slot[Conn], now: float) -> None:
        """Doom a connection whose time has come."""
        if slot.expires <= now:
            self.doom(slot, slot.fate)

    def date(self, slot: Slot[Conn], now: float) -> None:
        """Have an idle connection be idle from now on."""
        slot.idle_since = now

    def limit_life(self, slot: Slot[Conn], expires: float, fate: CloseReason) -> bool:
        """Give a connection a time at which it is to be retired; false if it has an earlier one."""
        if expires >= slot.expires:
            return False
        slot.expires = expires
        slot.fate = fate
        return True

    def retire(self, slot: Slot[Conn]) -> bool:
        """End a connection whose time has come; true if it was idle, and is to be closed now."""
        if slot.state in (GONE, CLOSING):
            return False
        self.doom(slot, slot.fate)
        if slot not in self.idle:
            return False
        self.idle.remove(slot)
        self.begin_close(slot, slot.fate)
        return True

    def begin_close(self, slot: Slot[Conn], reason: CloseReason) -> CloseReason:
        """Reserve a connection for closing; its slot is taken until `free` (C1)."""
        self.move(slot, CLOSING)
        self.totals.closed[reason] += 1
        return reason

    def free(self, slot: Slot[Conn], reason: CloseReason | None = None) -> None:
        """Free a slot at once, whatever its state; again does nothing."""
        if slot.state is GONE:
            return
        self.unhand(slot)
        self.move(slot, GONE)
        slot.doom = slot.doom or reason or "forgotten"
        if hasattr(slot, "conn"):
            del slot.conn  # what is gone may be remembered for a while, and shall not keep it alive
        if reason is not None:
            self.totals.closed[reason] += 1
