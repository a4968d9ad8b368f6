"""The two questions that a pool asks of a strategy: closed? reusable?"""

from __future__ import annotations

import inspect
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from asyncio_connection_pool._strategy import ConnectionStrategy, overrides

if TYPE_CHECKING:
    from collections.abc import Callable

Conn = TypeVar("Conn")
log = logging.getLogger("asyncio_connection_pool")


class Questions(Generic[Conn]):
    """Asks, and makes a plain yes or no of whatever the answer is."""

    def __init__(self, strategy: ConnectionStrategy[Conn]) -> None:
        """Look once which questions the strategy answers itself."""
        self.is_closed: Callable[[Conn], Any] = strategy.connection_is_closed
        """The bare question, for the fast path: an answer that is false is a no."""
        self.at_every_return = overrides(strategy, "connection_is_reusable")
        self._asks_if_fatal = overrides(strategy, "failure_is_fatal")
        self._strategy = strategy
        self._name = type(strategy).__qualname__
        self.raised = ""
        """The last `Exception` that passed for a yes, in words: itself, it would keep its connection alive."""
        self._is_reusable: Callable[[Conn, BaseException | None], Any]
        if self.at_every_return:
            self._is_reusable = strategy.connection_is_reusable
        else:
            default = ConnectionStrategy[Conn].connection_is_reusable
            self._is_reusable = partial(default, strategy)

    def closed(self, conn: Conn) -> bool:
        """Ask whether a connection is closed; an `Exception` is a yes (C7).

        Raises:
            BaseException: That the strategy raised, if it is no `Exception`.
            TypeError: The answer has to be awaited.
        """
        answer: object
        try:
            answer = self.is_closed(conn)
            if not answer:
                return False
        except BaseException as error:
            answer = error
        self.judge(answer)
        return True

    def judge(self, answer: object) -> None:
        """Let an answer that is not a no pass for a yes, or raise what it is.

        Args:
            answer: To `is_closed`, or what that raised.
        """
        if isinstance(answer, BaseException) and not isinstance(answer, Exception):
            raise answer
        refuse_awaitable(answer, "connection_is_closed")
        self.raised = repr(answer) if isinstance(answer, Exception) else ""

    def fatal(self, error: BaseException) -> bool:
        """Ask whether a failure means that what is open is of no use; raising is a no, since nobody is to be told."""
        if not self._asks_if_fatal:
            return False
        try:
            answer: Any = self._strategy.failure_is_fatal(error)
            refuse_awaitable(answer, "failure_is_fatal")
            return bool(answer)
        except BaseException:
            log.warning("%s.failure_is_fatal failed", self._name, exc_info=True)
            return False

    def reusable(self, conn: Conn, exc: BaseException | None) -> bool:
        """Ask whether a connection may be used again; an `Exception` is a no (C9).

        Raises:
            BaseException: That the strategy raised, if it is no `Exception`.
            TypeError: The answer has to be awaited, and nothing else is being raised.
        """
        if exc is None and not self.at_every_return:
            return True
        try:
            answer = self._is_reusable(conn, exc)
            if answer is True:
                return True
            if not answer:
                return False
        except Exception:
            log.warning("%s.connection_is_reusable failed", self._name, exc_info=True)
            return False
        try:
            refuse_awaitable(answer, "connection_is_reusable")
        except TypeError:
            if exc is None:
                raise
            log.exception("%s.connection_is_reusable failed", self._name)
            return False
        return True


def refuse_awaitable(answer: object, method: str) -> None:
    """Refuse an answer that has to be awaited, which is always true.

    Raises:
        TypeError: It is one.
    """
    if not inspect.isawaitable(answer):
        return
    if inspect.iscoroutine(answer):
        answer.close()
    raise TypeError(
        f"{method} must be a plain function that returns a bool; "
        f"it returned an awaitable of type {type(answer).__qualname__}"
    )
