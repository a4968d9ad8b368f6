"""The arguments of a pool, checked before anything is built from them."""

from __future__ import annotations

import inspect
import operator
import sys
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from asyncio_connection_pool._budget import BurstBudget
from asyncio_connection_pool._codel import CoDel
from asyncio_connection_pool._observe import PoolObserver
from asyncio_connection_pool._outage import Reconnect
from asyncio_connection_pool._policies import Policies
from asyncio_connection_pool._strategy import ConnectionStrategy

if TYPE_CHECKING:
    from collections.abc import Iterator


class Unset(Enum):
    """The type of `DEFAULT`."""

    DEFAULT = "the pool's own"


DEFAULT: Final = Unset.DEFAULT
"""An argument that was not given, where None has a meaning of its own."""


def count(name: str, value: Any, *, least: int = 0) -> int:
    """Check a number of things.

    Raises:
        TypeError: It is not an integer.
        ValueError: It is below `least`.
    """
    try:
        number = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = None
    if number is None:
        raise TypeError(f"{name} must be an int, not {_shown(value)}")
    if number < least:
        raise ValueError(f"{name} must be at least {least}, not {number}")
    return number


def optional_count(name: str, value: Any, *, least: int = 0) -> int | None:
    """Check a number of things that may be None, for no bound."""
    return None if value is None else count(name, value, least=least)


def seconds(name: str, value: Any) -> float:
    """Check a duration.

    Raises:
        TypeError: It is not a number.
        ValueError: It is negative, infinite or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, not {_shown(value)}")
    if not 0 <= value <= sys.float_info.max:
        raise ValueError(f"{name} must be finite and not negative, not {value!r}")
    return value


def optional_seconds(name: str, value: Any) -> float | None:
    """Check a duration that may be None, for no bound."""
    if value is None:
        return None
    try:
        return seconds(name, value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error} (None sets no bound)") from None


def limits(max_size: Any, burst_limit: Any) -> tuple[int, int | None]:
    """Check `max_size` and `burst_limit`, which have to fit each other.

    Raises:
        TypeError: One is not an integer.
        ValueError: They leave no room for a single connection, or are reversed.
    """
    size = count("max_size", max_size)
    burst = optional_count("burst_limit", burst_limit, least=1)
    if burst is not None and burst < size:
        raise ValueError(
            f"burst_limit must be greater than or equal to max_size: burst_limit is {burst}, max_size is {size}"
        )
    if size == 0 and burst is None:
        raise ValueError("max_size must be at least 1, or 0 with a burst_limit of at least 1, not 0")
    return size, burst


def policies(max_size: int, burst_limit: int | None, **given: Any) -> Policies:
    """Check what a pool is to do over time.

    Raises:
        TypeError: An option is of the wrong type.
        ValueError: An option is out of its range, or contradicts another.
    """
    checked = Policies(
        min_size=count("min_size", given["min_size"]),
        max_uses=optional_count("max_uses", given["max_uses"], least=1),
        max_lifetime=_positive_seconds("max_lifetime", given["max_lifetime"]),
        max_idle=optional_seconds("max_idle", given["max_idle"]),
        validate_after=optional_seconds("validate_after", given["validate_after"]),
        shrink_delay=seconds("shrink_delay", given["shrink_delay"]),
        burst_delay=seconds("burst_delay", given["burst_delay"]),
    )
    fitting_min_size(checked.min_size, max_size)
    fitting_burst_delay(checked.burst_delay, burst_limit)
    return checked


def _positive_seconds(name: str, value: Any) -> float | None:
    checked = optional_seconds(name, value)
    if checked == 0:
        raise ValueError(f"{name} must be more than 0 seconds, or None for no bound")
    return checked


def fitting_min_size(min_size: int, max_size: int) -> None:
    """Check that what is to be kept open is not more than what may be kept."""
    if min_size > max_size:
        raise ValueError(
            f"min_size must be less than or equal to max_size: min_size is {min_size}, max_size is {max_size}"
        )


def fitting_burst_delay(burst_delay: float, burst_limit: int | None) -> None:
    """Check that there is a burst to delay."""
    if burst_delay and burst_limit is None:
        raise ValueError(f"burst_delay is {burst_delay:g} s, but there is no burst_limit: set one, or leave it out")


def strategy(value: Any) -> Any:
    """Check that a strategy has the methods that a pool calls.

    It need not be a `ConnectionStrategy`; `make_connection` may stand in for
    `create_connection`.

    Raises:
        TypeError: It is a class, or lacks a method, or answers a question with an
            awaitable.
    """
    if isinstance(value, type):
        raise TypeError(f"strategy must be an instance, not the class {value.__qualname__}: call it")
    for method in ("create_connection", "connection_is_closed", "close_connection"):
        if not callable(getattr(value, method, None)) and not (
            method == "create_connection" and callable(_legacy_create(value))
        ):
            raise TypeError(
                f"strategy {_shown(value)} lacks the method {method}; "
                f"see {ConnectionStrategy.__name__} for what a strategy has to have"
            )
    for method in ("connection_is_closed", "connection_is_reusable", "failure_is_fatal"):
        if inspect.iscoroutinefunction(getattr(value, method, None)):
            raise TypeError(
                f"{type(value).__qualname__}.{method} must be a plain function that "
                "returns a bool, not a coroutine function"
            )
    return value


def queue_policy(value: Any) -> CoDel | None:
    """Check what is done about a queue that is too slow.

    Raises:
        TypeError: It is neither None nor a `CoDel`.
    """
    if value is not None and not isinstance(value, CoDel):
        raise TypeError(f"queue_policy must be None or a CoDel, not {_shown(value)}")
    return value


def reconnect(value: Any) -> Reconnect | None:
    """Check what is done while connections can't be opened.

    Raises:
        TypeError: It is neither a bool nor None nor a `Reconnect`.
    """
    if value is True:
        return Reconnect()
    if value is False or value is None:
        return None
    if not isinstance(value, Reconnect):
        raise TypeError(f"reconnect must be a bool or a Reconnect, not {_shown(value)}")
    return value


def burst_budget(value: Any, burst_limit: int | None) -> BurstBudget | None:
    """Check what connections above `max_size` are borrowed from.

    Raises:
        TypeError: It is neither None nor a `BurstBudget`.
        ValueError: There is no burst to borrow for.
    """
    if value is None:
        return None
    if not isinstance(value, BurstBudget):
        raise TypeError(f"burst_budget must be None or a BurstBudget, not {_shown(value)}")
    if burst_limit is None:
        raise ValueError("there is a burst_budget, but no burst_limit: set one, or leave it out")
    return value


def observers(value: Any) -> tuple[PoolObserver, ...]:
    """Check who is told what happens.

    Raises:
        TypeError: It is no iterable of `PoolObserver` objects.
    """
    try:
        checked = tuple(value)
    except TypeError:
        raise TypeError(f"observers must be an iterable of PoolObserver objects, not {_shown(value)}") from None
    for observer in checked:
        if not isinstance(observer, PoolObserver):
            raise TypeError(f"each of observers must be a PoolObserver object, not {_shown(observer)}")
    return checked


def flag(name: str, value: Any) -> bool:
    """Check a yes or no.

    Raises:
        TypeError: It is neither.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {_shown(value)}")
    return value


def pool_name(value: Any, numbers: Iterator[int]) -> str:
    """Check the name of a pool, or make one up."""
    if value is None:
        return f"pool-{next(numbers)}"
    if not isinstance(value, str):
        raise TypeError(f"name must be a str or None, not {_shown(value)}")
    return value


def _legacy_create(value: Any) -> Any:
    return getattr(value, "make_connection", None)


def _shown(value: Any) -> str:
    return f"{value!r} of type {type(value).__qualname__}"
