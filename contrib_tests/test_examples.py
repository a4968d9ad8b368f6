"""Each example does what it says, against the real thing."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError

import asyncssh
import pytest
import redis

from asyncio_connection_pool import ConnectionPool
from asyncio_connection_pool.testing import check_strategy
from servers.process import free_port
from strategy_contract import until

EXAMPLES = Path(__file__).parent.parent / "examples"
SECONDS = 60
"""That pass only if something is wrong."""


@pytest.fixture
def example(monkeypatch):
    """Imports an example, as a script beside it would."""
    monkeypatch.syspath_prepend(EXAMPLES)
    return importlib.import_module


def output(*command):
    """Run an example as its docstring says, and return what it prints; a warning is an error."""
    python = [sys.executable, "-W", "error", *command]
    return subprocess.run(python, cwd=EXAMPLES, check=True, capture_output=True, text=True, timeout=SECONDS).stdout


@contextmanager
def running(*command, **environment):
    """Have a Python program run in the folder of the examples, and end with the block."""
    python = [sys.executable, *command]
    process = subprocess.Popen(
        python, cwd=EXAMPLES, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until_true(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def finish(process):
    """Ask a program to end; return its exit status and what it wrote."""
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


# A web application.


@pytest.fixture
def shop(tmp_path):
    """The application as uvicorn serves it."""
    port = free_port()
    command = ["-m", "uvicorn", "shop:app", "--port", str(port), "--log-level", "warning"]
    with running(*command, SHOP_DATABASE=str(tmp_path / "shop.db")) as process:
        process.url = f"http://127.0.0.1:{port}"
        process.database = tmp_path / "shop.db"
        wait_until_served(process)
        yield process


def wait_until_served(process):
    end = time.monotonic() + SECONDS
    while True:
        try:
            return fetch(process, "/stats")
        except OSError:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.05)


def fetch(process, path, method="GET"):
    """Ask the application; return the status and the body."""
    request = urllib.request.Request(process.url + path, method=method)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def order(process, item):
    return fetch(process, f"/orders/{item}", "POST")


def test_the_shop_serves_many_at_once_over_few_connections_and_tells_of_them(shop):
    with ThreadPoolExecutor(10) as customers:
        answers = list(customers.map(lambda n: order(shop, f"item-{n}"), range(40)))
    assert {status for status, _ in answers} == {200}
    assert max(json.loads(body)["orders"] for _, body in answers) == 40
    status, body = fetch(shop, "/stats")
    stats = json.loads(body)
    assert (status, stats["name"], stats["in_use"], stats["released"]) == (200, "shop", 0, 40)
    assert stats["created"] <= 4
    status, metrics = fetch(shop, "/metrics/")
    assert status == 200
    assert re.search(r'^asyncio_connection_pool_.*pool="shop"', metrics, re.MULTILINE)


def test_a_shop_that_cannot_keep_up_says_so_instead_of_letting_callers_wait(shop):
    order(shop, "first")
    thief = sqlite3.connect(shop.database, isolation_level=None)
    thief.execute("BEGIN EXCLUSIVE")
    with ThreadPoolExecutor(5) as customers:
        answers = [customers.submit(order, shop, f"item-{n}") for n in range(5)]
        refused = next(as_completed(answers, timeout=SECONDS)).result()
        thief.execute("COMMIT")
        thief.close()
    assert refused[0] == 503
    assert "pool 'shop' had no connection within 5 s" in json.loads(refused[1])["error"]
    assert {answer.result()[0] for answer in answers} <= {200, 503}
    assert order(shop, "last")[0] == 200


def test_the_shop_closes_its_pool_when_it_is_told_to_end(shop):
    order(shop, "first")
    status, _, err = finish(shop)
    assert status in {0, -signal.SIGTERM}  # uvicorn dies of the signal when it has tidied up
    assert "Traceback" not in err
    with sqlite3.connect(shop.database) as db:
        assert db.execute("SELECT item FROM orders").fetchall() == [("first",)]
    db.close()


# Mail.


def test_many_letters_go_through_few_sessions():
    assert output("mail.py") == "100 letters went through 3 sessions\n"


async def test_smtp_sessions_keep_the_contract(example):
    mail = example("mail")
    async with mail.mail_server(mail.Mailbox()) as address:
        checked = await check_strategy(mail.smtp_sessions(*address), dirt={}, patience=SECONDS)
    assert "C7: validation tells the living from the dead" in checked


async def test_a_letter_that_was_begun_is_not_continued_by_the_next_user(example):
    mail = example("mail")
    mailbox = mail.Mailbox()
    async with (
        mail.mail_server(mailbox) as address,
        ConnectionPool(strategy=mail.smtp_sessions(*address), max_size=1) as pool,
    ):
        async with pool.get_connection() as session:
            await session.mail("pool@example.org")
            await session.rcpt("somebody-else@example.org")
        await mail.send(pool, mail.letter(1))
        assert pool.stats().created == 1
    assert [readers for _, readers in mailbox.letters] == [["reader-1@example.org"]]


# SSH.


def test_many_commands_share_few_ssh_connections():
    assert re.fullmatch(r"COMMAND 0 … COMMAND 19, over [12] connections\n", output("remote_shell.py"))


@pytest.fixture
async def ssh_strategy(example):
    remote_shell = example("remote_shell")
    key = asyncssh.generate_private_key("ssh-ed25519")
    async with remote_shell.shouting_server(key) as port:
        yield remote_shell.ssh_connections(
            "127.0.0.1", port=port, username="me", client_keys=[key], known_hosts=None, config=None
        )


async def test_ssh_connections_keep_the_contract(ssh_strategy):
    async def echo(connection, text):
        return (await connection.run(text, check=True)).stdout.lower()

    checked = await check_strategy(ssh_strategy, echo=echo, patience=SECONDS)
    assert "C9: the reply to a cancelled operation reaches nobody else" in checked


async def test_a_lost_ssh_connection_is_not_handed_out(ssh_strategy):
    async with ConnectionPool(strategy=ssh_strategy, max_size=1) as pool:
        async with pool.get_connection() as first:
            pass
        first.abort()
        await until(lambda: ssh_strategy.connection_is_closed(first), SECONDS)
        async with pool.get_connection() as second:
            assert second is not first


# SQLite through aiosqlite.


def test_a_forgotten_transaction_reaches_nobody_else():
    assert output("notes.py") == "['kept', 'kept too']\n"


async def test_who_comes_next_waits_for_the_rollback_and_finds_no_transaction(example, tmp_path):
    notes = example("notes")
    async with ConnectionPool(strategy=notes.databases(tmp_path / "notes.db"), max_size=1) as pool:
        async with pool.get_connection() as first:
            await first.execute("CREATE TABLE notes (text)")
            await first.execute("INSERT INTO notes VALUES ('forgotten')")
            assert first.in_transaction
        async with pool.get_connection() as second:
            assert second is first
            assert not second.in_transaction
        assert await notes.read(pool) == []


# A worker.


def test_a_worker_that_is_told_to_end_finishes_its_jobs_and_takes_no_more(own_valkey):
    jobs = [f"job-{n}" for n in range(2000)]
    with (
        redis.Redis.from_url(own_valkey.url, decode_responses=True) as ask,
        running("worker.py", own_valkey.url) as worker,
    ):
        assert worker.stdout.readline() == "working\n"
        ask.rpush("jobs", *jobs)
        until_true(lambda: ask.llen("done") >= 20)
        status, out, err = finish(worker)
        assert (status, out, err) == (0, "draining\ndrained\n", "")
        assert ask.llen("doing") == 0
        done, left = ask.lrange("done", 0, -1), ask.lrange("jobs", 0, -1)
        assert sorted(done + left) == sorted(jobs)
        assert left
        assert len(ask.client_list()) == 1


STUCK = """
import asyncio, sys, worker

async def do(job):
    await asyncio.sleep(3600)

worker.do = do
worker.SECONDS_TO_DRAIN = 0.2
asyncio.run(worker.main(*sys.argv[1:]))
"""


def test_a_worker_does_not_wait_for_ever_for_a_job_that_does_not_end(own_valkey):
    with (
        redis.Redis.from_url(own_valkey.url, decode_responses=True) as ask,
        running("-c", STUCK, own_valkey.url) as worker,
    ):
        assert worker.stdout.readline() == "working\n"
        ask.rpush("jobs", "stuck")
        until_true(lambda: ask.llen("doing") == 1)
        status, out, err = finish(worker)
        assert (status, out) == (1, "draining\n")
        assert "TimeoutError" in err
        assert ask.lrange("doing", 0, -1) == ["stuck"]
        assert len(ask.client_list()) == 1


def test_a_worker_with_nothing_to_do_ends_as_well(own_valkey):
    with running("worker.py", own_valkey.url) as worker:
        assert worker.stdout.readline() == "working\n"
        assert finish(worker) == (0, "draining\ndrained\n", "")


def test_each_example_is_run_by_a_test():
    """As docs/examples.md says."""
    page = (EXAMPLES.parent / "docs" / "examples.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| (\w+\.py) \| (`test_.*`) \|$", page, re.MULTILINE))
    assert set(told) == {path.name for path in EXAMPLES.glob("*.py") if not path.stem.startswith("demo")}
    named = {name for tests in told.values() for name in re.findall(r"`(\w+)`", tests)}
    assert named == {name for name in globals() if name.startswith("test_")} - {"test_each_example_is_run_by_a_test"}
