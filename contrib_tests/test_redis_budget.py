"""A burst budget in a Valkey."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import redis.asyncio

from asyncio_connection_pool.contrib.redis import RedisBurstBudget
from budget_contract import LEASE, BudgetContract, pool
from servers.process import free_port

pytestmark = pytest.mark.once


@asynccontextmanager
async def client_of(url, **options):
    """A client of the user's own."""
    client = redis.asyncio.Redis.from_url(url, **options)
    yield client
    await (getattr(client, "aclose", None) or client.close)()
    await client.connection_pool.disconnect()  # which redis-py 4 does not do by itself


class TestRedisBurstBudget(BudgetContract):
    @pytest.fixture(autouse=True)
    def _coordinate(self, shared_valkey):
        self.url = shared_valkey.url
        with redis.Redis.from_url(self.url, decode_responses=True) as self.ask:
            yield

    @pytest.fixture
    def nowhere(self):
        url = f"redis://127.0.0.1:{free_port()}"
        return lambda **options: RedisBurstBudget(url, key="nowhere", limit=6, **options)

    @pytest.fixture
    def intruder(self):
        return RedisBurstBudget(self.url.replace("://", "://me:sesame@"), key="intruder", limit=6)

    def make(self, limit=6, *, name=None, client=None, **options):
        key = self.name if name is None else name
        return RedisBurstBudget(client or self.url, key=key, limit=limit, **{"lease_time": LEASE, **options})

    async def test_a_client_of_the_users_serves_and_stays_open(self):
        async with client_of(self.url, decode_responses=True) as client:
            budget = self.make(client=client)
            async with pool(budget) as mine, mine.get_connection(), mine.get_connection(), mine.get_connection():
                stats = await budget.inspect()
                assert (stats.reserved, stats.lent) == (2, 1)
            await client.ping()

    async def test_the_keys_of_a_budget_share_a_hash_tag_and_end_some_time(self):
        async with pool(self.make()):
            keys = self.ask.keys("*contract*")
            assert keys
            assert {key.partition("}")[0] for key in keys} == {f"{{burst-budget:{self.name}"}
            assert all(0 < self.ask.pttl(key) <= 7 * 86_400_000 for key in keys)

    def cut_line(self, budget):
        self.ask.client_kill_filter(_type="pubsub", skipme=True)

    async def test_a_server_without_subscriptions_will_do(self, caplog):
        self.ask.acl_setuser(
            "quiet", enabled=True, nopass=True, keys=["*"], commands=["+@all", "-subscribe"], channels=["*"]
        )
        async with client_of(self.url, username="quiet", password="any") as client:
            async with pool(self.make(client=client)) as mine:
                async with mine.get_connection(), mine.get_connection(), mine.get_connection():
                    pass
        assert "whoever is frozen is taken for dead" in caplog.text
        self.ask.acl_deluser("quiet")

    async def test_scripts_that_the_server_has_forgotten_are_sent_again(self):
        async with pool(self.make()) as mine:
            self.ask.script_flush()
            async with mine.get_connection(), mine.get_connection(), mine.get_connection():
                pass

    @pytest.mark.parametrize("wrong", [3, None, redis.Redis()], ids=["int", "nothing", "a client that blocks"])
    def test_what_is_neither_client_nor_url_is_refused(self, wrong):
        with pytest.raises(TypeError, match=r"must be a URL, a redis.asyncio.Redis or a .*Cluster, not "):
            RedisBurstBudget(wrong, key="k", limit=1)

    def test_a_url_that_cannot_be_read_is_refused(self):
        with pytest.raises(ValueError, match="Redis URL"):
            RedisBurstBudget("gopher://here", key="k", limit=1)
