"""Cancel: what it costs to cancel one of 1,000 callers that wait, and one of 10,000.

As many callers wait in both cases: before ten pools, 1,000 each, and before one. So the machine's caches are equally
cold, and what differs is the length of the queue alone.

SHARE of those who wait are cancelled, picked at random, and as many new ones queue up, untimed. That is more than half
of them, so that a pool which leaves the dead in its queue and clears them away now and then pays for that within every
round. CHUNK are cancelled per step of the loop, so that the steps themselves weigh little.
"""

import asyncio
import random
from collections.abc import Sequence

from .contenders import WITH_FIFO, Build, Pool
from .figures import Budget, Figure, timed
from .measure import Spread, interleave, now, settle

ROUNDS = 5
SHARE = 0.6
CHUNK = 50
SHORT, LONG = 1_000, 10_000

LONG_TO_SHORT = Budget("at most", 1.5)

Task = asyncio.Task[None]


def run() -> Sequence[Figure]:
    """Measure every contender in one event loop."""
    return asyncio.run(_run())


async def _run() -> Sequence[Figure]:
    crowds = {
        _label(name, length): await Crowd.of(build, length)
        for name, build in WITH_FIFO.items()
        for length in (SHORT, LONG)
    }
    taken = await interleave({label: crowd.cancel_share for label, crowd in crowds.items()}, ROUNDS)
    return [
        *(
            figure
            for length in (SHORT, LONG)
            for figure in timed(f"cancel one of {length:,}", {name: taken[_label(name, length)] for name in WITH_FIFO})
        ),
        *(
            Figure(
                f"{name}, {LONG:,} / {SHORT:,}",
                "×",
                Spread.of_ratio(taken[_label(name, LONG)], taken[_label(name, SHORT)]),
                LONG_TO_SHORT if name == "ours" else None,
            )
            for name in WITH_FIFO
        ),
    ]


def _label(name: str, length: int) -> str:
    return f"{name}, one of {length:,}"


class Crowd:
    """LONG callers before as many pools as it takes for queues of one length."""

    def __init__(self, queues: Sequence["Queue"]) -> None:
        """Begin with queues that are there already."""
        self._queues = queues
        self._chance = random.Random(0)  # the same order for every contender

    @classmethod
    async def of(cls, build: Build, length: int) -> "Crowd":
        """Let one caller of each pool take its connection and the others queue up."""
        queues = [Queue(await build(1), length) for _ in range(LONG // length)]
        for queue in queues:
            await queue.begin()
        await settle()
        return cls(queues)

    async def cancel_share(self) -> float:
        """Return the nanoseconds per cancelled caller."""
        victims = [victim for queue in self._queues for victim in queue.pick(self._chance)]
        self._chance.shuffle(victims)
        spent = await _cancel(victims)
        for queue in self._queues:
            queue.top_up()
        await settle()
        return spent / len(victims)


class Queue:
    """Callers of one pool: one holds the connection for good, the others wait."""

    def __init__(self, pool: Pool, length: int) -> None:
        """Prepare; nobody calls before `begin`."""
        self._pool = pool
        self._length = length
        self._loop = asyncio.get_running_loop()
        self._waiting: list[Task] = []

    async def begin(self) -> None:
        """Call once for the connection, and `length` times to wait for it."""
        self._holder = self._loop.create_task(self._caller())
        await settle()
        self.top_up()

    def pick(self, chance: random.Random) -> Sequence[Task]:
        """Take some of those who wait, from anywhere in the queue, to be cancelled."""
        chance.shuffle(self._waiting)
        cut = round(self._length * SHARE)
        picked, self._waiting = self._waiting[:cut], self._waiting[cut:]
        return picked

    def top_up(self) -> None:
        """Call until `length` wait."""
        missing = self._length - len(self._waiting)
        self._waiting += [self._loop.create_task(self._caller()) for _ in range(missing)]

    async def _caller(self) -> None:
        async with self._pool.get_connection():
            await self._loop.create_future()


async def _cancel(callers: Sequence[Task]) -> int:
    """Return the nanoseconds until all are gone."""
    began = now()
    for start in range(0, len(callers), CHUNK):
        chunk = callers[start : start + CHUNK]
        for caller in chunk:
            caller.cancel()
        while not chunk[-1].done():
            await asyncio.sleep(0)
    return now() - began
