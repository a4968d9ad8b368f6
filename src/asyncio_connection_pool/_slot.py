"""Slots, and how many there are in each state."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from asyncio_connection_pool._stats import CloseReason

Conn = TypeVar("Conn")

State = Literal["opening", "ready", "resetting", "validating", "closing", "gone"]
OPENING: Final = "opening"
READY: Final = "ready"
"""Open, and either idle or in use: `Slots.idle` says which."""
RESETTING: Final = "resetting"
VALIDATING: Final = "validating"
CLOSING: Final = "closing"
GONE: Final = "gone"


class Slot(Generic[Conn]):
    """The right to have one connection open, and that connection.

    Only the ledger writes to it.
    """

    __slots__ = (
        "conn",
        "doom",
        "expires",
        "fate",
        "fresh",
        "handed",
        "idle_since",
        "number",
        "state",
        "taken_at",
        "uses",
    )

    conn: Conn
    """Unset while it is being opened."""

    def __init__(self, number: int = 0) -> None:
        """Begin as a connection that is being opened."""
        self.state: State = OPENING
        self.number = number
        """The how manieth it is in its pool."""
        self.doom: CloseReason | None = None
        """Why it will be closed as soon as it is not in use any more."""
        self.fresh = True
        """Whether nobody has had the connection yet."""
        self.handed = False
        """Whether it was given to a caller that has not taken its next step yet."""
        self.idle_since = 0.0
        """When it came to rest, on the clock of the event loop, where a policy asks for it."""
        self.expires = math.inf
        """When it is to be retired, on that clock."""
        self.fate: CloseReason = "expired"
        """Why, then."""
        self.taken_at = -math.inf
        """When it was last handed to a caller that had waited."""
        self.uses = 0
        """How often it was given back, where a policy asks for it."""


class Slots(Generic[Conn]):
    """The slots that are taken, counted by state."""

    def __init__(self) -> None:
        """Begin with none."""
        self.slots: dict[Slot[Conn], None] = {}
        self.idle: list[Slot[Conn]] = []
        """A stack: the connection used last is on top (C4)."""
        self.added = 0
        """Slots that were ever taken."""
        self.handed: int = 0
        """Those whose caller has not taken its next step yet."""
        self.held = 0
        """All but those that are closing."""
        self.opening = self.resetting = self.validating = self.closing = 0
        self.calm = False
        """Nobody waits and nothing is surplus: what is returned may simply be laid by. Found out by `place`."""

    @property
    def in_use(self) -> int:
        """Connections handed out: what is held and in no other state."""
        return self.held - len(self.idle) - self.opening - self.resetting - self.validating

    def add(self) -> Slot[Conn]:
        """Take a slot, to open a connection in."""
        self.added += 1
        self.calm = False
        slot: Slot[Conn] = Slot(self.added)
        self.slots[slot] = None
        self._count(OPENING, 1)
        return slot

    def move(self, slot: Slot[Conn], state: State) -> None:
        """Move a slot from its state to another; the idle stack is for the caller."""
        self._count(slot.state, -1)
        slot.state = state
        if state is GONE:
            del self.slots[slot]
        else:
            self._count(state, 1)

    def _count(self, state: State, by: int) -> None:
        if state is CLOSING:
            self.closing += by
            return
        self.held += by
        if state is OPENING:
            self.opening += by
        elif state is RESETTING:
            self.resetting += by
        elif state is VALIDATING:
            self.validating += by

    def unhand(self, slot: Slot[Conn]) -> None:
        """Settle a hand-over, if the slot is in one."""
        self.handed -= slot.handed
        slot.handed = False
