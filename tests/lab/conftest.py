"""A server to nowhere, and a clock that jumps, for the commands of the lab."""

from __future__ import annotations

import asyncio
import sys
from functools import partial

import pytest

from asyncio_connection_pool import testing
from asyncio_connection_pool.lab import _targets
from asyncio_connection_pool.lab._targets import Target
from asyncio_connection_pool.testing import FakeStrategy


class Server:
    """What is at ``fake://server``: answers after 10 ms, unless told otherwise."""

    def __init__(self):
        self.strategy = FakeStrategy()
        self.asked = 0
        self.answer = self.answer_later

    async def operate(self, conn):
        assert not conn.closed
        self.asked += 1
        await self.answer(self.asked)

    async def answer_later(self, number):
        await asyncio.sleep(0.01)


@pytest.fixture
def server(monkeypatch):
    """A server that the lab can reach, and a clock that jumps."""
    fake = Server()
    monkeypatch.setitem(
        _targets.KINDS, "fake", lambda url, query: Target(_targets.url_name(url), fake.strategy, query, fake.operate)
    )
    monkeypatch.setattr(asyncio, "run", partial(testing.run, debug=False))  # it is much work, and not the core's
    return fake


@pytest.fixture
def drawn_by_hand(monkeypatch):
    """Plots are those of the standard library, as if matplotlib were not installed."""
    monkeypatch.delitem(sys.modules, "asyncio_connection_pool.lab._matplotlib", raising=False)
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
