"""C14: CPython reads the attributes of an object at full speed only while it has 30 at most."""

from __future__ import annotations

import pytest

from asyncio_connection_pool import CoDel, ConnectionPool, PoolObserver
from asyncio_connection_pool.testing import FakeStrategy
from scenarios import use


class Listener(PoolObserver):
    def on_close(self, event):
        pass


@pytest.mark.parametrize(
    "options",
    [{}, {"queue_policy": CoDel(), "reconnect": True, "leak_threshold": 60, "max_lifetime": 60, "max_idle": 5}],
    ids=["plain", "with options"],
)
@pytest.mark.parametrize("observers", [(), (Listener(),)], ids=["unobserved", "observed"])
async def test_c14_what_the_fast_path_reads_has_30_attributes_at_most(options, observers):
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1, observers=observers, **options)
    await use(pool)
    for part in (pool, pool._ledger, pool._checkout, pool._supply, pool._supply.maintenance):
        assert len(vars(part)) <= 30, type(part)
    await pool.close()
