"""Leave to open connections above `max_size`, from a budget that pools, processes and machines share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Coroutine


class Borrower(Protocol):
    """A pool, as its budget sees it."""

    @property
    def name(self) -> str:
        """The pool's name."""
        ...

    @property
    def max_size(self) -> int:
        """Connections that are to be reserved for it."""
        ...

    @property
    def firm(self) -> int:
        """Connections that are reserved for it."""
        ...

    @property
    def used(self) -> int:
        """Connections that it has above those, with or without a permit, those being closed included."""
        ...

    @property
    def idle(self) -> int:
        """Of those, the idle ones."""
        ...

    @property
    def wants(self) -> int:
        """Connections that callers wait for since they were refused."""
        ...

    def resume(self) -> None:
        """Have it ask again now, since there may be permits."""
        ...

    def revoke(self, keep: int = 0) -> None:
        """Take its permits away, but for `keep`.

        What is open above that is closed: at once what is idle, the rest when it is given back.
        """
        ...

    def abort(self) -> None:
        """Abort what is open without a permit, in use or not, where the strategy can."""
        ...


class BurstBudget(ABC):
    """Gives pools leave to open connections above `max_size`.

    One object may serve several pools. `ConnectionPool(burst_budget=…)` calls it; nobody else has to.
    """

    timeout: float = 0.25
    """Seconds that `acquire` may take; then the answer is no."""

    @abstractmethod
    async def join(self, borrower: Borrower) -> None:
        """Reserve `borrower.max_size` connections, once more if that has changed since.

        Raises:
            Exception: They can't be reserved: that is told to whoever opens the pool, or waits for a connection.
        """

    @abstractmethod
    async def acquire(self, borrower: Borrower) -> bool:
        """Give leave for one more connection, or not now.

        A call that is cancelled takes nothing, or gives it back. One that raises is a no, and is logged.
        """

    @abstractmethod
    def release(self, borrower: Borrower, permits: int) -> None:
        """Take back so many `permits` of `borrower`: their connections are closed. 0: what was open without one is."""

    @abstractmethod
    def look(self) -> None:
        """Look at the clock, and revoke permits that are over: a connection is about to be handed out."""

    @abstractmethod
    def leave(self, borrower: Borrower) -> Coroutine[Any, Any, None]:
        """Forget a pool that is closed, and give back what is reserved for it.

        The call itself forgets, so that nothing is left if the coroutine that it returns never runs.
        """
