"""A program with a pool that tells Datadog, as a user runs it; for `test_datadog_agent.py`."""

from __future__ import annotations

import asyncio

from ddtrace.trace import tracer

from asyncio_connection_pool.contrib.datadog import ConnectionPool
from asyncio_connection_pool.testing import FakeStrategy


async def main() -> None:
    async with ConnectionPool("shop", strategy=FakeStrategy(), max_size=1, extra_tags=["env:test"]) as pool:

        async def work() -> None:
            async with pool.get_connection():
                await asyncio.sleep(0.01)

        with tracer.trace("request", service="web"):
            await asyncio.gather(work(), work())


if __name__ == "__main__":
    asyncio.run(main())
