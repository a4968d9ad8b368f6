"""The function that PostgreSQL runs answers as the model of the protocol does."""

from __future__ import annotations

import pytest

import fleet_scripts
from asyncio_connection_pool.contrib import _asyncpg_budget
from asyncio_connection_pool.contrib._asyncpg_budget import PostgresBurstBudget
from servers import postgres

MADE_UP = {
    "now := extract(epoch FROM clock_timestamp());": "now := current_setting('made_up.now')::float8;",
    "run_now text := extract(epoch FROM pg_postmaster_start_time())::text;": (
        "run_now text := current_setting('made_up.run');"
    ),
}


@pytest.fixture(scope="module")
def server():
    with postgres.start(max_connections=20) as own:
        yield own


@pytest.mark.parametrize("seed", range(6))
async def test_the_function_answers_as_the_model_does(seed, server, monkeypatch):
    function = _asyncpg_budget.FUNCTION
    for real, made_up in MADE_UP.items():
        assert function.count(real) == 1
        function = function.replace(real, made_up)
    monkeypatch.setattr(_asyncpg_budget, "FUNCTION", function)
    budget = PostgresBurstBudget(server.dsn, name=f"compared {seed}", limit=1)
    budget._conn = await budget._dial("somebody")

    async def send(request, now, run):
        await budget._conn.fetch("SELECT set_config('made_up.now', $1, false)", repr(now))
        await budget._conn.fetch("SELECT set_config('made_up.run', $1, false)", run)
        return await budget._send(request)

    try:
        await fleet_scripts.compare(send, seed)
    finally:
        await budget._hang_up()
