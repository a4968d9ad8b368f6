"""A slot and its states: the right to have one connection open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from asyncio_connection_pool._stats import CloseReason

Conn = TypeVar("Conn")

State = Literal["opening", "idle", "in use", "resetting", "closing", "gone"]
OPENING: Final = "opening"
IDLE: Final = "idle"
IN_USE: Final = "in use"
RESETTING: Final = "resetting"
CLOSING: Final = "closing"
GONE: Final = "gone"


class Slot(Generic[Conn]):
    """The right to have one connection open, and that connection.

    Only the ledger writes to it.
    """

    __slots__ = ("conn", "doom", "fresh", "idle_since", "state")

    conn: Conn
    """Unset while it is being opened."""

    def __init__(self) -> None:
        """Begin as a connection that is being opened."""
        self.state: State = OPENING
        self.doom: CloseReason | None = None
        """Why it will be closed as soon as it is not in use any more."""
        self.fresh = True
        """Whether nobody has had the connection yet."""
        self.idle_since = 0.0
        """When it came to rest above `max_size`, on the clock of the event loop."""
