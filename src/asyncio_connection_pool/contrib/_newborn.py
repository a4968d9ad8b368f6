"""What drivers leave half-open, and how to close that: shared by the adapters of drivers without types."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator


class Abortable(Protocol):
    """A connection."""

    def abort(self) -> None:
        """Close it at once."""
        ...


_newborn: ContextVar[list[Abortable]] = ContextVar("newborn")


def announce(session: Abortable) -> None:
    """Tell the creation under way of a connection that it has made."""
    _newborn.get().append(session)


@contextmanager
def whole_or_nothing() -> Generator[None]:
    """Abort the connections that were announced in the block, should it not come to its end."""
    newborn: list[Abortable] = []
    token = _newborn.set(newborn)
    try:
        yield
    except BaseException:
        for session in newborn:
            session.abort()
        raise
    finally:
        _newborn.reset(token)
        newborn.clear()  # transports keep the context that they were made in
