"""C14: what the fast path reads is read at full speed, which CPython does only where an object is made for it."""

from __future__ import annotations

import pytest

from asyncio_connection_pool import CoDel, ConnectionPool
from asyncio_connection_pool.testing import FakeStrategy
from scenarios import use

OPTIONS = {"queue_policy": CoDel(), "reconnect": True, "leak_threshold": 60, "max_lifetime": 60, "max_idle": 5}


@pytest.mark.parametrize("options", [{}, OPTIONS], ids=["plain", "with options"])
async def test_c14_what_the_fast_path_reads_has_30_attributes_at_most(options):
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1, **options)
    await use(pool)
    for part in (pool, pool._ledger, pool._checkout, pool._supply, pool._supply.maintenance):
        assert len(vars(part)) <= 30, type(part)
    await pool.close()


async def test_c14_none_of_it_hides_a_default_of_the_class():
    """From 3.13 on such an attribute is looked up in full each time."""
    pool = ConnectionPool(strategy=FakeStrategy(), max_size=1)
    await use(pool)
    for part in (pool, pool._ledger):
        hidden = [name for name in vars(part) if hasattr(type(part), name)]
        assert not hidden, type(part)
