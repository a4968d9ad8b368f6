"""A strategy made of functions, and the checks of functions that strategies are made of."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Final, TypeVar

from asyncio_connection_pool._strategy import ConnectionStrategy

Conn = TypeVar("Conn")

OPTIONAL: Final = {
    "is_reusable": ("connection_is_reusable", 2, True),
    "is_fatal": ("failure_is_fatal", 1, True),
    "reset": ("reset_connection", 1, False),
    "validate": ("validate_connection", 1, False),
    "abort": ("abort_connection", 1, True),
}
"""Of each optional function: the method that it stands for, how many arguments it takes, and whether it is plain."""


class FunctionStrategy(ConnectionStrategy[Conn]):
    """Calls a function for each of the methods that are a must.

    The optional ones stand in the instance, and only where there is a function: a pool finds as overridden what was
    given, and nothing else.
    """

    def __init__(
        self,
        create: Callable[[], Any],
        is_closed: Callable[[Conn], Any],
        close: Callable[[Conn], Any],
        **optional: Callable[..., Any] | None,
    ) -> None:
        """Check the functions; see `ConnectionStrategy.from_functions`."""
        self._create = function("create", create, 0)
        self._is_closed = function("is_closed", is_closed, 1, plain=True)
        self._close = function("close", close, 1)
        vars(self).update(methods(**optional))

    def create_connection(self) -> Any:
        """Call `create`; the pool says what is wrong with what can't be awaited."""
        return self._create()

    def connection_is_closed(self, conn: Conn) -> Any:
        """Call `is_closed`."""
        return self._is_closed(conn)

    def close_connection(self, conn: Conn) -> Any:
        """Call `close`; what it returns is awaited where it can be."""
        return self._close(conn)


def methods(**optional: Callable[..., Any] | None) -> dict[str, Callable[..., Any]]:
    """Check the optional functions that were given, and say for which methods they stand.

    Raises:
        TypeError: One can't be called as it will be.
    """
    found = {
        name: function(name, given, arguments, plain=plain)
        for name, (_, arguments, plain) in OPTIONAL.items()
        if (given := optional.get(name)) is not None
    }
    return {OPTIONAL[name][0]: given if OPTIONAL[name][2] else coming(name, given) for name, given in found.items()}


def coming(name: str, given: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Have it said by its name if a function returns nothing that can be awaited."""

    async def work(conn: Any) -> None:
        answer = given(conn)
        if not inspect.isawaitable(answer):
            raise TypeError(f"{name} must be a coroutine function; it returned {answer!r}")
        await answer

    return work


def function(name: str, value: Any, arguments: int, *, plain: bool = False) -> Any:
    """Check a function.

    Args:
        name: What the user calls it.
        value: The function.
        arguments: How many it will be given.
        plain: Whether it has to answer at once.

    Raises:
        TypeError: It is none, does not take that many arguments, or is a coroutine function where it has to be plain.
    """
    if not callable(value):
        raise TypeError(f"{name} must be a function, not {value!r} of type {type(value).__qualname__}")
    if plain and inspect.iscoroutinefunction(value):
        raise TypeError(f"{name} must be a plain function, which answers at once, not the coroutine function {value!r}")
    try:
        inspect.signature(value).bind(*range(arguments))
    except ValueError:  # some functions written in C don't tell
        return value
    except TypeError as error:
        takes = ("no argument", "one argument", "two arguments")[arguments]
        raise TypeError(f"{name} is called with {takes}, which {value!r} does not accept: {error}") from None
    return value
