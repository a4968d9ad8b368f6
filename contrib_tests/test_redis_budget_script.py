"""The script that Valkey runs answers as the model of the protocol does."""

from __future__ import annotations

import dataclasses
from contextlib import asynccontextmanager
from unittest.mock import AsyncMock

import pytest
import redis.asyncio

import fleet_scripts
from asyncio_connection_pool.contrib._budget_protocol import Reply
from asyncio_connection_pool.contrib._redis_budget import RedisBurstBudget
from asyncio_connection_pool.contrib._redis_budget_script import SYNC

CLOCK = "local now = time[1] * 1000 + math.floor(time[2] / 1000)"
RUN = "string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''"
LINE = "local ok, answer = pcall(redis.call, 'PUBSUB', 'NUMSUB', line .. name)\n  return ok and tonumber(answer[2]) > 0"
WAIT = "redis.call('ZADD', late_key, now + lease / 4, name)"
MADE_UP = {
    CLOCK: "local now = tonumber(ARGV[12])",
    RUN: "ARGV[13]",
    LINE: "return name == member",
    WAIT: "do end  -- the model looks again at once",
}


@pytest.fixture
async def client(redis_server):
    client = redis.asyncio.Redis.from_url(redis_server.url)
    yield client
    await client.connection_pool.disconnect()  # which closing a client leaves out, up to redis-py 4.6


@asynccontextmanager
async def budget_with_a_clock(client, monkeypatch):
    """A budget whose script is told the time."""
    script = SYNC
    for real, made_up in MADE_UP.items():
        assert script.count(real) == 1
        script = script.replace(real, made_up)
    budget = RedisBurstBudget(client, key="compared", limit=1)
    monkeypatch.setattr(budget, "_look_at_line", AsyncMock())
    told: list[object] = []
    run = budget._run
    monkeypatch.setattr(budget, "_run", lambda _, arguments: run(script, [*arguments, *told]))

    async def send(request, now, name) -> Reply:
        told[:] = [int(now * 1000), name]
        return await budget._send(request)

    yield send


@pytest.mark.parametrize("seed", range(6))
async def test_the_script_answers_as_the_model_does(seed, client, monkeypatch):
    async with budget_with_a_clock(client, monkeypatch) as send:
        await fleet_scripts.compare(send, seed)


def test_replies_are_compared_whole():
    """Else the test above proves little."""
    assert dataclasses.fields(Reply)
    assert Reply(1, "ok", free=1) != Reply(1, "ok")
