"""A Recorder keeps who came, who waited and who held, in a file that does not grow for ever."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from asyncio_connection_pool import ConnectionPool, PoolError
from asyncio_connection_pool.lab import Caller, Recorder, Recording, RecordingError
from asyncio_connection_pool.testing import FakeStrategy, FullFakeStrategy
from scenarios import use, virtual


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pool.jsonl"


def recorded_pool(path, *, create=(), **options):
    if "observers" not in options:
        options["observers"] = [Recorder(path)]
    return ConnectionPool(strategy=FakeStrategy(create=create), **{"max_size": 1, "name": "shop", **options})


async def come(pool, at, held, **options):
    """Be one caller."""
    await asyncio.sleep(at)
    async with pool.get_connection(**options):
        await asyncio.sleep(held)


@virtual
async def test_it_keeps_when_each_caller_came_how_long_it_waited_and_how_long_it_held(path):
    async with recorded_pool(path, create=[0.25]) as pool:
        await asyncio.gather(come(pool, 0, 2), come(pool, 1, 4), come(pool, 3, 0.5))
    recording = Recording.read(path)
    assert recording.callers == (Caller(0, 2, 0.25), Caller(1, 4, 1.25), Caller(3, 0.5, 3.25))
    assert recording.opens == (0.25,)
    assert (recording.pool, recording.max_size, recording.burst_limit) == ("shop", 1, None)
    assert recording.seconds == 6.75
    assert recording.in_use == 6.5 / 6.75


@virtual
async def test_it_knows_apart_callers_that_hold_at_once(path):
    async with recorded_pool(path, max_size=3) as pool:
        await asyncio.gather(come(pool, 0, 9), come(pool, 1, 1), come(pool, 2, 5), come(pool, 2.5, 6), come(pool, 8, 3))
    assert Recording.read(path).callers == (
        Caller(0, 9),
        Caller(1, 1),
        Caller(2, 5),
        Caller(2.5, 6),
        Caller(8, 3, 0),
    )


@virtual
async def test_it_keeps_those_who_gave_up_or_were_refused(path):
    async with recorded_pool(path, max_waiting=1) as pool:
        first = asyncio.create_task(come(pool, 0, 5))
        await asyncio.sleep(1)
        second = asyncio.create_task(come(pool, 0, 5, timeout=2))
        await asyncio.sleep(1)
        third = asyncio.create_task(come(pool, 0, 5))
        results = await asyncio.gather(first, second, third, return_exceptions=True)
    assert [isinstance(result, PoolError) for result in results] == [False, True, True]
    assert Recording.read(path).callers == (Caller(0, 5), Caller(1, None, 2), Caller(2, None))


@virtual
async def test_it_keeps_how_long_resets_took(path):
    strategy = FullFakeStrategy(create=[1], reset=[0.25, OSError(), 0.5])
    async with ConnectionPool(strategy=strategy, max_size=1, observers=[Recorder(path)]) as pool:
        for _ in range(3):
            await come(pool, 1, 2)
        await asyncio.sleep(1)
    recording = Recording.read(path)
    assert (recording.opens, recording.resets) == ((1, 0), (0.25, 0.5))
    assert len(recording.callers) == 3


@virtual
async def test_lines_are_written_a_second_after_the_last_at_the_latest(path):
    pool = recorded_pool(path)
    await come(pool, 0, 0.5)
    assert len(path.read_text().splitlines()) == 1, "the header"
    await come(pool, 0, 0.5)
    assert len(path.read_text().splitlines()) == 4
    await pool.close()


@virtual
async def test_many_lines_are_written_at_once(path):
    pool = recorded_pool(path)
    for _ in range(300):
        await use(pool)
    written = len(path.read_text().splitlines())
    assert 1 < written < 300
    await pool.close()
    assert len(path.read_text().splitlines()) == 302, "the header, an open, and all callers"


@virtual
async def test_the_file_and_the_one_before_it_stay_below_the_bound(path):
    pool = recorded_pool(path, observers=[Recorder(path, max_bytes=100_000)])
    most = 0
    for number in range(3_000):
        await come(pool, 0.001, 0.001)
        if number % 50 == 0:
            most = max(most, sum(file.stat().st_size for file in path.parent.iterdir()))
    await pool.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["pool.jsonl", "pool.jsonl.1"]
    assert 50_000 < most <= 100_000
    recording = Recording.read(path)
    assert 500 < len(recording.callers) < 2_000
    assert recording.callers[-1].at == pytest.approx(recording.seconds - 0.001), "it is the last that are kept"


@virtual
async def test_an_earlier_recording_is_put_aside_and_not_taken_for_the_half_before(path):
    for held in (1, 2):
        async with recorded_pool(path) as pool:
            await come(pool, 0, held)
    assert Recording.read(path).holds == [2]
    assert Recording.read(f"{path}.1").holds == [1]


@virtual
async def test_it_is_for_one_pool(path, caplog):
    recorder = Recorder(path)
    first = recorded_pool(path, observers=[recorder])
    second = recorded_pool(path, name="other", observers=[recorder])
    await use(second)
    await use(first)
    await first.close()
    await second.close()
    assert "give 'other' one of its own" in caplog.text
    assert len(Recording.read(path).callers) == 1


def test_a_bound_that_holds_nothing_is_refused(path):
    with pytest.raises(ValueError, match="max_bytes must be at least 65536, not 10"):
        Recorder(path, max_bytes=10)


def test_a_file_that_cannot_be_written_is_refused_at_once(path):
    with pytest.raises(FileNotFoundError):
        Recorder(path / "nowhere" / "file")


@virtual
async def test_a_file_that_can_no_longer_be_written_ends_the_recording_and_not_the_pool(path, caplog):
    pool = recorded_pool(path)
    path.unlink()
    path.mkdir()
    await come(pool, 0, 2)
    await come(pool, 0, 2)
    await pool.close()
    assert caplog.text.count("is told nothing any more") == 1


FORK = """
import asyncio, os, sys
from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.lab import Recorder
from asyncio_connection_pool.testing import FakeStrategy

async def main():
    for _ in range(3):
        async with pool.get_connection():
            pass
    await pool.close()

pool = ConnectionPool(strategy=FakeStrategy(), max_size=1, observers=[Recorder(sys.argv[1])])
child = os.fork()
asyncio.run(main())
if child:
    os.waitpid(child, 0)
"""


def test_after_a_fork_the_child_records_nothing(path):
    subprocess.run([sys.executable, "-c", FORK, str(path)], check=True)
    assert len(Recording.read(path).callers) == 3


# What is read.

HEADER = {"recording": 1, "pool": "shop", "max_size": 1, "burst_limit": None}


def write(path, *lines, end="\n"):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + end)


def test_a_line_that_was_being_written_when_the_process_died_is_left_out(path):
    write(path, HEADER, {"at": 0, "held": 1, "waited": 0}, '{"at": 1, "he', end="")
    assert Recording.read(path).callers == (Caller(0, 1),)


@pytest.mark.parametrize(
    "lines, message",
    [
        ([], "first line does not say so"),
        (["hello"], "line 1 is no JSON object"),
        (["[1]"], "line 1 is no JSON object"),
        ([{"level": "info"}], "first line does not say so"),
        ([{**HEADER, "recording": 2}], "no recording that this version can read"),
        ([HEADER], "nobody has given a connection back yet"),
        ([HEADER, {"at": 0, "refused": "max_waiting"}], "nobody has given a connection back yet"),
        ([HEADER, {"at": "soon", "held": 1, "waited": 0}], "no recording that this version can read"),
        ([HEADER, {"held": 1, "waited": 0}], "KeyError"),
        ([{"recording": 1}, {"at": 0, "held": 1, "waited": 0}], "KeyError"),
        ([HEADER, {"at": 0, "reset": "soon"}], "no recording that this version can read"),
        ([HEADER, "{"], "line 2 is no JSON object"),
    ],
    ids=str,
)
def test_what_is_no_recording_is_refused_by_name(path, lines, message):
    write(path, *lines, end="\n" if lines else "")
    with pytest.raises(RecordingError, match=message) as error:
        Recording.read(path)
    assert str(path) in str(error.value)


def test_the_busiest_stretch_is_the_one_in_which_connections_were_held_longest():
    quiet = [Caller(at, 1) for at in range(10)]
    busy = [Caller(20, 2), Caller(21, 3), Caller(22, 2), Caller(22.5, None)]
    recording = Recording((*quiet, *busy, Caller(40, 6)), (0.1,), pool="shop", max_size=4)
    stretch = recording.busiest(2.5)
    assert stretch.callers == (Caller(0, 2), Caller(1, 3), Caller(2, 2))
    assert (stretch.opens, stretch.pool, stretch.max_size) == ((0.1,), "shop", 4)


def test_a_recording_without_any_time_has_nothing_in_use():
    assert Recording((Caller(0, 0),)).in_use == 0
