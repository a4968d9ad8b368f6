"""Names that users of releases 1.x read on a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio_connection_pool._ledger import Ledger


class Available:
    """Idle connections, in place of the `asyncio.Queue` that 1.x had."""

    __slots__ = ("_idle",)

    def __init__(self, idle: int) -> None:
        """Keep the number of idle connections."""
        self._idle = idle

    def qsize(self) -> int:
        """Give the number of idle connections."""
        return self._idle

    def empty(self) -> bool:
        """Say whether there is none."""
        return self._idle == 0


class LegacyNames:
    """The names; `stats()` says the same and more."""

    _ledger: Ledger[Any]

    @property
    def in_use(self) -> int:
        """Connections handed out."""
        return self._ledger.in_use

    @property
    def currently_allocating(self) -> int:
        """Connections being opened."""
        return self._ledger.opening

    @property
    def currently_deallocating(self) -> int:
        """Connections being closed."""
        return self._ledger.closing

    @property
    def available(self) -> Available:
        """Idle connections, as `qsize()` and `empty()`."""
        return Available(len(self._ledger.idle))

    @property
    def _total(self) -> int:
        return len(self._ledger.slots)

    @property
    def _waiters(self) -> int:
        return self._ledger.queue.length
