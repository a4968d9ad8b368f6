"""Virtual time: hours of timeouts in no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Deadlock(AssertionError):
    """Every task waits, and no timer is armed: this would hang for ever."""


class _JumpingSelector(selectors.DefaultSelector):
    """Instead of sleeping until the next timer, says how far off it is."""

    jump: Callable[[float], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            raise Deadlock(
                "every task waits, and no timer is armed: this would hang for ever "
                "(or waits for a thread or another process, which virtual time does not)"
            )
        self.jump(timeout)
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when nothing else is to do.

    It does not wait for what is not on it, such as a thread or a server in another process.

    Raises:
        Deadlock: From whatever runs the loop, when nothing will ever happen again.
    """

    def __init__(self) -> None:
        """Begin at second 0."""
        self._now = 0.0
        selector = _JumpingSelector()
        selector.jump = self.advance
        super().__init__(selector)

    def time(self) -> float:
        """Give the virtual time, in seconds."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Let virtual time pass."""
        self._now += seconds


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """Run a coroutine under virtual time, as `asyncio.run` does under real time.

    Args:
        main: The coroutine.
        debug: Whether asyncio's debug mode is on; None: as `PYTHONASYNCIODEBUG` says.

    Returns:
        What the coroutine returns.

    Raises:
        Deadlock: Every task waits, and no timer is armed.
        BaseException: What the coroutine raises.
    """
    with asyncio.Runner(loop_factory=VirtualTimeLoop, debug=debug) as runner:
        return runner.run(main)
