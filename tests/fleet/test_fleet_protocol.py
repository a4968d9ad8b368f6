"""A fleet shares its burst: never more than `limit`, whatever happens to processes, network and coordinator."""

from __future__ import annotations

import os

import pytest

from asyncio_connection_pool.contrib._budget_heartbeat import Heartbeat
from asyncio_connection_pool.contrib._budget_holdings import Holdings
from coordinator import Coordinator
from fleet_world import LEASE, World
from sampling import sample

DEEP = int(os.environ.get("ACP_FLEET_RUNS", "0"))
"""Random runs of each kind, in place of a few."""


def fleet(seed: int, **options) -> World:
    """Start a fleet whose sizes are drawn by chance, and have it run quietly for a while."""
    world = World(seed, 0, **options)
    draw = world.random
    sizes = [draw.choice([0, 1, 1, 2, 3]) for _ in range(draw.choice([2, 3, 4]))]
    world.limit = sum(sizes) + draw.choice([1, 2, 3, 6])
    workers = draw.choice([[8], [1, 3, 8]])
    for size in sizes:
        world.start(
            max_size=size,
            burst_limit=size + draw.choice([1, 4, 10]),
            workers=draw.choice(workers),
            rate=draw.uniform(0.95, 1.05),
        )
    return world


def faults(world: World, kinds: list, steps: int) -> None:
    """Have one fault after the other happen."""
    draw = world.random
    for _ in range(steps):
        world.run(draw.choice([0.1, 1, 3, LEASE]) * draw.random())
        process = draw.choice(world.processes)
        draw.choice(kinds)(world, process, draw)


def kill(world, process, draw):
    if process.alive and draw.random() < 0.5:
        world.kill(process)
        size = process.max_size
        world.later(draw.random() * LEASE, lambda: world.start(max_size=size, burst_limit=size + 4, workers=3, rate=1))


def freeze(world, process, draw):
    if process.alive and not process.frozen:
        world.freeze(process)
        world.later(draw.choice([0.1, 1, 4]) * LEASE * draw.random(), lambda: world.thaw(process))


def cut(world, process, draw, longest=3):
    if process.cut_since > world.now:
        world.cut(process, noticed=draw.random() < 0.7)
        world.later(draw.choice([0.1, 1, longest]) * LEASE * draw.random(), lambda: world.mend(process))


def cut_for_long(world, process, draw):
    cut(world, process, draw, longest=10)


def restart(world, process, draw):
    if world.coordinator_up:
        world.stop_coordinator()
        empty = draw.random() < 0.5
        world.later(draw.choice([0.01, 1]) * LEASE * draw.random(), lambda: world.start_coordinator(empty=empty))


def nothing(world, process, draw):
    pass


def recover(world: World) -> None:
    """Heal everything, and look that all who live are served, and nothing is left over in the end."""
    world.loss = world.doubt = 0
    world.run(10 * LEASE)  # every fault has an end
    wait_for_all(world)
    for process in world.processes:
        process.stopping = True
    world.run(8 * LEASE)
    for process in world.processes:
        assert process.done or not process.alive
        assert not process.alive or not process.server.seen
    world.run(8 * LEASE)
    world.coordinator.bury(world.now + 100 * LEASE)
    assert not world.coordinator.members


def wait_for_all(world: World) -> None:
    """Wait until each process that lives was served again."""
    before = [process.served for process in world.processes]
    for _ in range(50):
        world.run(2 * LEASE)
        pairs = zip(world.processes, before, strict=True)
        if all(not p.alive or p.refused or p.served > served for p, served in pairs):
            return
    raise AssertionError("a process is not served any more")


def play(seed: int, *kinds, steps: int = 25, **options) -> World:
    world = fleet(seed, **options)
    try:
        faults(world, kinds, steps)
        recover(world)
    except BaseException as error:
        error.add_note(f"seed {seed}, {[kind.__name__ for kind in kinds]}, at {world.now:.2f} s")
        raise
    finally:
        world.close()
    return world


def seeds(what: str, some: int) -> list[int]:
    return list(range(DEEP)) or sample(range(some), what)


@pytest.mark.parametrize("seed", seeds("quiet", 2))
def test_a_fleet_without_faults(seed):
    world = play(seed, nothing, loss=0, doubt=0)
    assert world.most <= world.limit


@pytest.mark.parametrize("seed", seeds("lost", 4))
def test_messages_are_lost_late_or_come_twice(seed):
    assert not play(seed, nothing, loss=0.1, doubt=0.2).excuses


@pytest.mark.parametrize("seed", seeds("killed", 6))
def test_processes_are_killed_frozen_and_cut_off(seed):
    play(seed, kill, freeze, cut)


@pytest.mark.parametrize("seed", seeds("restarted", 6))
def test_the_coordinator_restarts_and_may_forget_everything(seed):
    play(seed, kill, cut, restart)


@pytest.mark.parametrize("seed", seeds("frozen", 4))
def test_processes_are_frozen_far_beyond_their_lease(seed):
    assert not play(seed, freeze, loss=0.1, doubt=0.1).excuses


@pytest.mark.parametrize("seed", seeds("everything", 10))
def test_everything_at_once(seed):
    play(seed, kill, freeze, cut, cut_for_long, restart, steps=40)


# The oracle bites.


lose_memory = Coordinator.lose_memory


def no_grace(self):
    lose_memory(self)
    self.restarted = False


QUIET = {"loss": 0, "doubt": 0}
NOISY = {"loss": 0.1, "doubt": 0.2}
LATE = {"loss": 0, "doubt": 0.1}

BROKEN = {
    "a lease is never given up": ((Heartbeat, "look", lambda self: None), (cut,), QUIET),
    "who is late is buried, though its line stands": (
        (Coordinator, "line_stands", lambda self, member: False),
        (freeze,),
        NOISY,
    ),
    "who has lost its memory lends at once": ((Coordinator, "lose_memory", no_grace), (kill, cut, restart), NOISY),
    "old messages count": ((Coordinator, "is_old", lambda self, account, request: False), (nothing,), NOISY),
    "what is open without a permit is not told": ((Holdings, "kept", Holdings.held), (kill, freeze, cut), NOISY),
    "what was aborted is gone": ((Heartbeat, "_kept", property(lambda self: self.holdings.kept)), (cut, freeze), LATE),
}


@pytest.mark.tests_of_tests
@pytest.mark.parametrize("mutant", BROKEN)
def test_the_oracle_sees_a_protocol_that_is_broken(mutant, monkeypatch):
    (owner, name, broken), kinds, weather = BROKEN[mutant]
    monkeypatch.setattr(owner, name, broken)
    with pytest.raises(AssertionError, match=r"of \d+, \d+ excused"):
        for seed in range(300):
            play(seed, *kinds, steps=40, **weather)
