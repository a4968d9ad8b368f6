"""A worker that drains on SIGTERM: it finishes the jobs it has, takes no more, and leaves nothing half done.

It gives up on jobs that take too long to end, and on a server that is gone for too long: then it exits with an error.

    pip install asyncio-connection-pool[redis]
    python worker.py redis://localhost:6379

Jobs come from the list `jobs`, wait in `doing` while they are worked on, and go to `done`. A worker that is broken off
leaves its jobs in `doing`, where they can be found.
"""

import asyncio
import signal
import sys

from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.contrib.redis import RedisConnectionStrategy

HANDS = 8
SECONDS_TO_DRAIN = 20


async def work(pool, stop):
    """Take one job after the other, until told to stop.

    That is looked at between two jobs, and cancels nothing: a BLMOVE that is broken off may move a job all the same.
    """
    while not stop.is_set():
        async with pool.get_connection() as redis:
            job = await redis.blmove("jobs", "doing", timeout=1)
        if job is not None:
            await do(job)
            async with pool.get_connection() as redis, redis.pipeline() as commands:
                await commands.lrem("doing", 1, job).rpush("done", job).execute()


async def do(job):
    """Stand for what takes its time."""
    await asyncio.sleep(0.1)


async def main(url):
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    pool = ConnectionPool(
        strategy=RedisConnectionStrategy.from_url(url),
        name="worker",
        max_size=HANDS,
        acquire_timeout=10,
        connect_timeout=3,
        close_timeout=3,
        reconnect=True,
    )
    async with pool, asyncio.timeout(None) as patience, asyncio.TaskGroup() as hands:
        for _ in range(HANDS):
            hands.create_task(work(pool, stop))
        print("working", flush=True)
        await stop.wait()
        print("draining", flush=True)
        patience.reschedule(loop.time() + SECONDS_TO_DRAIN)
    print("drained", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
