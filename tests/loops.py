"""The event loop that a run of the tests uses, chosen by ``ACP_TEST_LOOP``.

``asyncio``, the default, is the plain loop; ``uvloop`` is uvloop's; ``eager-debug`` starts tasks eagerly (Python
3.12 and later) and switches asyncio's debug mode on. Tests that drive a loop of their own pass it to `prepare`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

KIND = os.environ.get("ACP_TEST_LOOP", "asyncio")


def new_loop() -> asyncio.AbstractEventLoop:
    """Make a new loop of the kind that this run is for."""
    if KIND == "uvloop":
        import uvloop

        return uvloop.new_event_loop()
    return prepare(asyncio.new_event_loop())


def prepare(loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
    """Give a loop, of whatever class, the settings that this run is for."""
    if KIND == "eager-debug":
        loop.set_task_factory(asyncio.eager_task_factory)
        loop.set_debug(True)
    return loop


def factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Name the one loop factory of this run, as pytest-asyncio asks for it."""
    if KIND not in {"asyncio", "uvloop", "eager-debug"}:
        raise ValueError(f"ACP_TEST_LOOP is {KIND!r}; known are asyncio, uvloop and eager-debug")
    return {KIND: new_loop}
