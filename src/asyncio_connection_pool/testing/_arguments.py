"""What a strategy's author tells `check_strategy`, looked at before anything is opened."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from asyncio_connection_pool import ConnectionPool

Told = Callable[..., Awaitable[Any]]


def check_strategy_itself(strategy: Any) -> None:
    """Refuse what a pool would refuse.

    Raises:
        TypeError: It is a class, or lacks a method, or answers a question with an awaitable.
    """
    ConnectionPool(strategy=strategy, max_size=1)


def patience(value: Any) -> float:
    """Check the seconds that anything may take.

    Raises:
        TypeError: It is no number.
        ValueError: It is not above 0, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"patience must be a number of seconds, not {value!r}")
    if not 0 < value <= sys.float_info.max:
        raise ValueError(f"patience must be finite and more than 0 seconds, not {value!r}")
    return value


def dirt(value: Any, session: Any) -> dict[str, Told]:
    """Check the ways to leave something behind, which go with a way to see that.

    Raises:
        TypeError: It is no mapping of functions.
        ValueError: One is there without the other.
    """
    if value is not None and not hasattr(value, "items"):
        raise TypeError(f"dirt must be a mapping of names to functions, not {value!r}")
    ways: dict[str, Any] = dict(value or {})
    if ways and session is None:
        raise ValueError("dirt needs session, which describes the state that the next user finds")
    if session is not None and not ways:
        raise ValueError("session needs dirt: ways to leave something that the next user must not find")
    return {name: of_connection(f"dirt[{name!r}]", spoil) for name, spoil in ways.items()}


def of_connection(name: str, value: Any) -> Told:
    """Check a coroutine function of a connection."""
    return asking(name, value, "a connection")


def asking(name: str, value: Any, *arguments: str) -> Told:
    """Check a coroutine function, and have what it returns checked when it is called.

    Args:
        name: What the author calls it.
        value: The function.
        arguments: What it is called with, in words.

    Raises:
        TypeError: It is none, or does not take that many arguments.
    """
    function = callable_with(name, value, *arguments)

    async def ask(*given: Any) -> Any:
        answer = function(*given)
        if not inspect.isawaitable(answer):
            raise TypeError(f"{name} must be a coroutine function; it returned {answer!r}")
        return await answer

    return ask


def counting(value: Any) -> Callable[[], Awaitable[int]]:
    """Check what counts the connections at the server, a plain or a coroutine function."""
    function = callable_with("count", value)

    async def count() -> int:
        answer = function()
        if inspect.isawaitable(answer):
            answer = await answer
        if not isinstance(answer, int):
            raise TypeError(f"count must return a number of connections, not {answer!r}")
        return answer

    return count


def callable_with(name: str, value: Any, *arguments: str) -> Callable[..., Any]:
    """Check that something can be called.

    Raises:
        TypeError: It is no function, or does not take that many arguments.
    """
    if not callable(value):
        raise TypeError(f"{name} must be a function, not {value!r} of type {type(value).__qualname__}")
    function: Callable[..., Any] = value
    try:
        inspect.signature(function).bind(*arguments)
    except ValueError:  # some functions written in C don't tell
        return function
    except TypeError as error:
        takes = " and ".join(arguments) or "nothing"
        raise TypeError(f"{name} is called with {takes}, which {value!r} does not accept: {error}") from None
    return function
