"""A burst budget in a PostgreSQL."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from asyncio_connection_pool.contrib.asyncpg import PostgresBurstBudget
from budget_contract import LEASE, BudgetContract, pool, use
from servers import postgres
from servers.process import free_port

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def server():
    with postgres.start(max_connections=40) as own:
        yield own


class TestPostgresBurstBudget(BudgetContract):
    @pytest.fixture(autouse=True)
    def _coordinate(self, server):
        self.dsn = server.dsn

    @pytest.fixture
    def nowhere(self):
        dsn = f"postgresql://postgres@127.0.0.1:{free_port()}/postgres"
        return lambda **options: PostgresBurstBudget(dsn, name="nowhere", limit=6, **options)

    @pytest.fixture
    def intruder(self):
        return PostgresBurstBudget(self.dsn.replace("postgres@", "me:sesame@"), name="intruder", limit=6)

    def make(self, limit=6, *, name=None, **options):
        name = self.name if name is None else name
        return PostgresBurstBudget(self.dsn, name=name, limit=limit, **{"lease_time": LEASE, **options})

    def cut_line(self, budget):
        budget._cut()

    async def test_many_come_at_once_and_the_tables_are_made_once(self):
        conn = await asyncpg.connect(self.dsn)
        await conn.execute("DROP TABLE IF EXISTS burst_budget, burst_budget_member")
        budgets = [self.make(limit=40) for _ in range(8)]
        await asyncio.gather(*(use(budget, max_size=1) for budget in budgets))
        assert await conn.fetchval("SELECT count(*) FROM burst_budget_member") == 8
        await conn.close()

    async def test_a_session_that_the_server_has_ended_is_replaced(self):
        budget = self.make()
        async with pool(budget) as mine:
            conn = await asyncpg.connect(self.dsn)
            mine_too = "application_name LIKE 'burst budget%' AND pid <> pg_backend_pid()"
            await conn.fetch(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {mine_too}")
            await conn.close()
            async with mine.get_connection(), mine.get_connection(), mine.get_connection(timeout=5):
                assert (await budget.inspect()).lent == 1

    @pytest.mark.parametrize(
        "dsn, options, error, message",
        [
            (5, {}, TypeError, "dsn must be a str or None, not 5"),
            ("redis://me:sesame@here", {}, ValueError, "scheme is postgresql or postgres, not redis$"),
            ("host=here password=sesame", {}, ValueError, "scheme is postgresql or postgres, not none$"),
            (None, {"lease": 5}, TypeError, "unexpected keyword argument 'lease'"),
        ],
        ids=["no string", "another scheme", "no url", "unknown"],
    )
    def test_what_asyncpg_would_not_take_is_refused_at_once(self, dsn, options, error, message):
        with pytest.raises(error, match=message):
            PostgresBurstBudget(dsn, name="wrong", limit=1, **options)

    def test_server_settings_of_the_users_are_kept(self):
        budget = self.make(server_settings={"application_name": "mine", "work_mem": "1MB"})
        settings = budget._connect_kwargs["server_settings"]
        assert settings["application_name"] == "mine"
        assert settings["work_mem"] == "1MB"
        assert settings["tcp_keepalives_idle"] == "1"
