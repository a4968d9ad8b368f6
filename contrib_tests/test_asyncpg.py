"""asyncpg keeps the contract of all strategies, and nothing of a session reaches its next user."""

from __future__ import annotations

import asyncio
import os
import signal

import asyncpg
import pytest

from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.contrib import _asyncpg_session
from asyncio_connection_pool.contrib.asyncpg import PostgresConnectionStrategy
from asyncpg_driver import NOTICES_A_LOST_CLIENT, connected
from servers import postgres
from strategy_contract import SOON, StrategyContract, until, until_seen


@pytest.fixture(scope="module")
def server():
    with postgres.start() as own:
        yield own


@pytest.fixture
async def driver(server):
    async with connected(server) as driver:
        yield driver


class TestContract(StrategyContract):
    """The shared checks."""


class TestContractWithAPassword(StrategyContract):
    """The shared checks, where opening a connection takes several round trips and a callback of the user's."""

    @pytest.fixture
    async def driver(self, server):
        hba = server.data / "pg_hba.conf"
        hba.write_text("host all locked 127.0.0.1/32 scram-sha-256\nhost all all all trust\nlocal all all trust\n")
        async with connected(server, user="locked", password="secret", init=initialise) as driver:
            await driver.ask.execute("SELECT pg_reload_conf()")
            await driver.ask.execute(LOCKED)
            await until(lambda: locked(server))
            driver.refused["wrong password"] = (lambda: driver.strategy(password="wrong"), asyncpg.InvalidPasswordError)
            driver.refused["failing init"] = (lambda: driver.strategy(init=fail), ZeroDivisionError)
            yield driver


LOCKED = """
    DROP ROLE IF EXISTS locked;
    CREATE ROLE locked LOGIN PASSWORD 'secret' SUPERUSER;
    ALTER ROLE locked SET role = pg_monitor
"""


async def locked(server):
    try:
        await (await asyncpg.connect(server.dsn, user="locked", password="wrong")).close()
    except asyncpg.InvalidPasswordError:
        return True


async def initialise(conn):
    await conn.fetchval("SELECT 1")


async def fail(conn):
    raise ZeroDivisionError


async def use(pool, *queries):
    async with pool.get_connection() as conn:
        return [await conn.fetch(query) for query in queries]


@pytest.fixture
def patient(monkeypatch):
    """Keep a slow machine from being taken for a cancellation that was lost."""
    monkeypatch.setattr(_asyncpg_session, "_INSISTS_EVERY", SOON)


async def test_a_connection_survives_the_cancellation_of_a_query(driver, patient):
    async with ConnectionPool(strategy=driver.strategy(), max_size=1) as pool:
        for _ in range(10):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await use(pool, "SELECT pg_sleep(60)")
        assert await use(pool, "SELECT 1")
        assert pool.stats().created == 1


async def test_a_begin_that_is_cancelled_is_rolled_back_all_the_same(driver):
    async with ConnectionPool(strategy=driver.strategy(), max_size=1) as pool:
        async with pool.get_connection() as conn:
            fresh = await driver.session(conn)
        for n in range(100):
            begin = asyncio.create_task(begin_and_wait(pool))
            await asyncio.sleep(0.0001 * (n % 15))
            begin.cancel()
            await asyncio.wait([begin])
            async with pool.get_connection() as conn:
                assert not conn.is_in_transaction()
                assert await driver.session(conn) == fresh


async def begin_and_wait(pool):
    async with pool.get_connection() as conn:
        await conn.execute("BEGIN; SELECT pg_advisory_lock(1); SET LOCAL ROLE pg_monitor")


async def test_a_transaction_block_that_is_cancelled_leaves_no_rows(driver, patient):
    await driver.ask.execute("DROP TABLE IF EXISTS t; CREATE TABLE t (n int)")
    async with ConnectionPool(strategy=driver.strategy(), max_size=2) as pool:
        for n in range(50):
            task = asyncio.create_task(insert_and_wait(pool, n))
            await asyncio.sleep(0.0005 * (n % 10))
            task.cancel()
            await asyncio.wait([task])
        assert await use(pool, "SELECT * FROM t") == [[]]
        assert pool.stats().closed["reset_failed"] == 0


async def insert_and_wait(pool, n):
    async with pool.get_connection() as conn, conn.transaction():
        await conn.execute("INSERT INTO t VALUES ($1)", n)
        await conn.fetchval("SELECT pg_sleep(60)")


async def test_a_cancellation_that_overtakes_its_query_is_repeated(driver):
    async with ConnectionPool(strategy=driver.strategy(), max_size=1) as pool:
        with pytest.raises(TimeoutError):
            async with pool.get_connection() as conn:
                backend = conn.get_server_pid()
                os.kill(backend, signal.SIGSTOP)
                async with asyncio.timeout(0.05):
                    await conn.execute("SELECT pg_sleep(60)")
        await asyncio.sleep(1)  # time enough for the postmaster to pass it on
        os.kill(backend, signal.SIGCONT)  # it hears of the cancellation first, and ignores it
        async with asyncio.timeout(SOON):
            assert await use(pool, "SELECT 1")
        assert pool.stats().closed["reset_failed"] == 1
        await until_seen(driver, 1)


async def test_temporary_tables_go_where_that_is_asked_for(driver):
    find = "SELECT to_regclass('pg_temp.t') IS NOT NULL AS found"
    for drop in (False, True):
        async with ConnectionPool(strategy=driver.strategy(drop_temp_tables=drop), max_size=1) as pool:
            await use(pool, "CREATE TEMP TABLE t ()")
            assert (await use(pool, find))[0][0]["found"] is not drop
            assert pool.stats().created == 1


async def test_without_a_reset_a_session_is_kept_but_for_what_is_broken_off(driver):
    async with ConnectionPool(strategy=driver.strategy(reset=False), max_size=1) as pool:
        await use(pool, "SET my.own = 'kept'")
        assert pool.stats().idle == 1, "nothing is under way"
        assert (await use(pool, "SHOW my.own"))[0][0][0] == "kept"
        assert pool.stats().created == 1
        await use(pool, "BEGIN")
        assert pool.stats().closed["dirty"] == 1
        with pytest.raises(TimeoutError):
            async with pool.get_connection() as conn, asyncio.timeout(0.02):
                await conn.execute("SELECT pg_sleep(60)")
        assert pool.stats().closed["dirty"] == 2
        await until_seen(driver, 0)


SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"


async def copy_out(conn):
    await conn.copy_from_query("SELECT pg_sleep(60)", output=asyncio.Event().set)


async def run_prepared(conn):
    await (await conn.prepare("SELECT pg_sleep(60)")).fetch()


@pytest.mark.parametrize(
    "operation",
    [
        lambda conn: conn.fetch("SELECT pg_sleep(60)"),
        lambda conn: conn.execute("SELECT pg_sleep(60)"),
        copy_out,
        run_prepared,
    ],
    ids=["fetch", "execute", "copy", "prepared"],
)
async def test_without_a_reset_a_connection_in_the_middle_of_something_is_closed(driver, operation):
    """C9: as an error of whoever comes next it would be there for as long as that takes."""
    async with ConnectionPool(strategy=driver.strategy(reset=False), max_size=1) as pool:
        async with pool.get_connection() as conn:
            forgotten = asyncio.create_task(operation(conn))
            await until(
                lambda: driver.ask.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
            )
        assert await use(pool, "SELECT 1")
        assert pool.stats().closed["dirty"] == 1
        await asyncio.wait([forgotten])
        assert forgotten.exception()
    await until_seen(driver, 0)


async def test_a_reset_that_fails_costs_the_connection_and_not_the_slot(driver):
    async with ConnectionPool(strategy=driver.strategy(), max_size=1) as pool:
        for n in range(3):
            async with pool.get_connection() as conn:
                await conn.execute(NOTICES_A_LOST_CLIENT)
                forgotten = asyncio.create_task(conn.fetchval("SELECT pg_sleep(60)"))
                await asyncio.sleep(0.01)
            assert await use(pool, "SELECT 1")
            assert pool.stats().closed["reset_failed"] == n + 1
            with pytest.raises(asyncpg.ConnectionDoesNotExistError):
                await forgotten


async def test_a_reset_and_a_close_are_bounded_though_the_server_is_frozen(driver):
    with postgres.start() as frozen:
        async with asyncio.timeout(SOON), connected(frozen) as at:
            pool = ConnectionPool(strategy=at.strategy(patience=0.1), max_size=3)
            async with pool.get_connection() as idle, pool.get_connection() as used, pool.get_connection() as busy:
                query = asyncio.create_task(busy.fetchval("SELECT pg_sleep(60)"))
                await asyncio.sleep(0.05)
                frozen.freeze()
                for conn in (idle, busy):
                    await pool.strategy.close_connection(conn)
                    assert pool.strategy.connection_is_closed(conn)
                    assert conn._transport.is_closing()
            await asyncio.wait([query])  # up to 0.31 asyncpg tells it that the result is None
            query.exception()
            await until(lambda: pool.stats().size == 0)
            assert pool.stats().closed["reset_failed"] == 1
            assert pool.strategy.connection_is_closed(used)
            await pool.close()
            frozen.thaw()


async def test_closing_a_busy_connection_ends_what_it_does_at_the_server(driver):
    strategy = driver.strategy()
    conn = await strategy.create_connection()
    busy = asyncio.create_task(conn.fetchval("SELECT pg_sleep(60)"))
    await asyncio.sleep(0.05)
    await strategy.close_connection(conn)
    await until_seen(driver, 0)
    await asyncio.wait([busy])
    assert busy.exception()


async def test_a_connection_class_of_the_users_own_stays_one(driver):
    class Own(asyncpg.Connection):
        resets = 0

        async def reset(self, **options):
            Own.resets += 1
            await super().reset(**options)

    async with ConnectionPool(strategy=driver.strategy(connection_class=Own), max_size=1) as pool:
        async with pool.get_connection() as conn:
            assert isinstance(conn, Own)
            await conn.execute("SET ROLE pg_monitor")
        await until(lambda: pool.stats().idle)
        assert Own.resets == 1
        assert await use(pool, "SELECT current_user::text") == [[("postgres",)]]


@pytest.mark.parametrize("options", [{"nonsense": 1}, {"connection_class": int}, {"max_queries": 5}])
def test_arguments_that_asyncpg_does_not_take_are_refused_at_once(options):
    with pytest.raises(TypeError):
        PostgresConnectionStrategy("postgresql://localhost", **options)


async def test_a_connection_is_validated_by_a_round_trip(driver):
    strategy = driver.strategy()
    conn = await strategy.create_connection()
    await strategy.validate_connection(conn)
    await driver.cut(conn)
    with pytest.raises(driver.lost):
        await strategy.validate_connection(conn)
    await strategy.close_connection(conn)


def test_a_reset_of_a_subclass_runs_whatever_the_option_says():
    class Own(PostgresConnectionStrategy):
        async def reset_connection(self, conn):
            """Do something else."""

    assert Own(reset=False).reset_connection.__func__ is Own.reset_connection
