"""A burst budget in a Valkey cluster."""

from __future__ import annotations

import uuid
from contextlib import AsyncExitStack
from itertools import count

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.crc import key_slot

from asyncio_connection_pool import PoolError
from asyncio_connection_pool.contrib._redis_line import close
from asyncio_connection_pool.contrib.redis import RedisBurstBudget
from budget_contract import LEASE, BudgetContract, hold, pool, use
from servers import valkey_cluster
from strategy_contract import until

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def cluster():
    with valkey_cluster.start() as own:
        yield own


def name_on(master: int) -> str:
    """Make up the name of a budget whose keys one of the masters has."""
    names = (f"clustered {uuid.uuid4().hex} {number}" for number in count())
    slots = range(*(valkey_cluster.SLOTS * end // valkey_cluster.MASTERS for end in (master, master + 1)))
    return next(name for name in names if key_slot(f"burst-budget:{name}".encode()) in slots)


def client_of(cluster, stack: AsyncExitStack) -> RedisCluster:
    client = RedisCluster("127.0.0.1", cluster.masters[2].port)
    stack.push_async_callback(close, client)
    return client


class TestClusteredBurstBudget:
    """With a client of a cluster it is as it is with any other, of which these are samples."""

    test_a_fleet_has_what_it_may = BudgetContract.test_a_fleet_has_what_is_reserved_and_lent_and_no_more
    test_a_pool_that_does_not_fit_is_told = BudgetContract.test_a_pool_that_does_not_fit_is_told_who_has_what
    test_a_line_tells_the_frozen_from_the_dead = BudgetContract.test_a_line_tells_the_frozen_from_the_dead

    name = name_on(1)

    @pytest.fixture(autouse=True)
    async def _coordinate(self, cluster):
        self.cluster = cluster
        async with AsyncExitStack() as self.stack:
            yield

    def make(self, limit=6, *, name=None, **options):
        client = client_of(self.cluster, self.stack)
        name = self.name if name is None else name
        return RedisBurstBudget(client, key=name, limit=limit, **{"lease_time": LEASE, **options})

    def cut_line(self, budget):
        for node in self.cluster.nodes:
            node.ask("CLIENT", "KILL", "TYPE", "pubsub")


async def test_a_client_of_the_node_that_has_the_keys_serves(cluster):
    async with pool(RedisBurstBudget(cluster.masters[1].url, key=name_on(1), limit=6, lease_time=LEASE)):
        pass


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("by_url", [True, False], ids=["url", "client"])
async def test_a_client_of_another_node_is_told_what_to_do(cluster, by_url, strict):
    url = cluster.masters[2].url
    client = url if by_url else Redis.from_url(url)
    budget = RedisBurstBudget(client, key=name_on(1), limit=6, strict=strict)
    message = f"keys are on another one: give it a redis.asyncio.RedisCluster .*{cluster.masters[1].port}"
    with pytest.raises(PoolError, match=message):
        await use(budget)
    with pytest.raises(PoolError, match=message):
        await budget.inspect()
    if not by_url:
        await close(client)
        await client.connection_pool.disconnect()


async def test_when_a_replica_takes_over_nothing_is_lent_for_a_lease_and_the_line_goes_with_the_keys(cluster):
    name = name_on(0)
    async with AsyncExitStack() as stack:
        clients = [client_of(cluster, stack) for _ in range(2)]
        one, other = (RedisBurstBudget(client, key=name, limit=6, lease_time=LEASE) for client in clients)
        first, second = [await stack.enter_async_context(pool(budget)) for budget in (one, other)]
        await hold(stack, first, 3)
        cluster.nodes[0].kill()
        cluster.replica.ask("CLUSTER", "FAILOVER", "TAKEOVER")
        await until(lambda: cluster.replica.ask("PUBSUB", "CHANNELS", f"*{name}*").count(name) == 2)
        stats = await other.inspect()
        assert (stats.reserved, stats.lent, first.stats().in_use) == (4, 1, 3)
        await hold(stack, second, 3)
        assert (await one.inspect()).free == 0
        with pytest.raises(PoolError):
            await second.get_connection(timeout=0.3).__aenter__()
