"""The lab measures a real Valkey, with TLS and without, and says in a line what is wrong with one."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest
import redis

import lab_runs
from redis_eyes import Eyes
from servers.process import free_port
from tls_front import CERTIFICATE, tls_front

pytestmark = pytest.mark.once

FEW = "--clients", 8, "--seconds", "1s"


def test_it_measures(own_valkey):
    (row,) = lab_runs.rows(lab_runs.run("load", own_valkey.url, *FEW, "--max-size", 3))
    assert int(row["served"].replace(",", "")) > 0
    assert (row["max_size"], row["closed"], row["errors"]) == ("3", "0", "0")
    assert 1 <= int(row["opened"]) <= 3


def test_it_sweeps_with_a_query_of_the_user(own_valkey):
    out = lab_runs.run("load", own_valkey.url, *FEW, "--sweep", "1,2", "--query", "SET 'a key' value")
    assert [(row["max_size"], row["errors"]) for row in lab_runs.rows(out)] == [("1", "0"), ("2", "0")]
    with redis.Redis.from_url(own_valkey.url) as client:
        assert client.get("a key") == b"value"
        client.connection_pool.disconnect()


def test_what_it_records_can_be_advised_on(own_valkey, tmp_path):
    file = tmp_path / "load.jsonl"
    lab_runs.run("load", own_valkey.url, "--rate", 100, "--seconds", "1s", "--record", file)
    assert "The smallest that keeps the p99 within 10.00 s: max_size=1" in lab_runs.run(
        *("advise", file, "--target-p99", "10s")
    )


async def test_it_measures_over_tls(own_valkey):
    async with tls_front(own_valkey.port) as port:
        url = f"rediss://localhost:{port}/0?ssl_ca_certs={CERTIFICATE}"
        (row,) = lab_runs.rows(await asyncio.to_thread(lab_runs.run, "load", url, *FEW))
    assert int(row["served"].replace(",", "")) > 0
    assert row["errors"] == "0"


def test_control_c_prints_what_was_measured_and_leaves_nothing_open(own_valkey):
    with Eyes(own_valkey.url) as eyes:
        process = lab_runs.start("load", own_valkey.url, "--seconds", "60s", "--max-size", 4)
        while len(eyes.ask.client_list()) < 5:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        status, out, err = lab_runs.end(process)
        assert (status, err) == (0, "")
        assert "interrupted: this is what was measured until then" in out
        assert lab_runs.rows(out)[0]["errors"] == "0"
        while len(eyes.ask.client_list()) > 1:  # the server needs a moment to see them go
            time.sleep(0.01)


@pytest.mark.parametrize(
    "url, query, message",
    [
        ("redis://127.0.0.1:{nobody}", "PING", "can't connect to redis://127.0.0.1:{nobody}: ConnectionError: "),
        ("redis://nowhere.invalid", "PING", "can't connect to redis://nowhere.invalid: ConnectionError: "),
        ("redis://u:secret@127.0.0.1:{port}", "PING", "can't connect to redis://127.0.0.1:{port}: "),
        ("redis://127.0.0.1:{port}", "DANCE", "redis://127.0.0.1:{port} does not answer 'DANCE': ResponseError: "),
        ("redis://127.0.0.1:port", "PING", "redis://127.0.0.1:port can't be used: "),
    ],
    ids=["nobody listens", "no such host", "wrong password", "wrong command", "no such port"],
)
def test_what_is_wrong_is_said_in_a_line(own_valkey, url, query, message):
    numbers = {"port": own_valkey.port, "nobody": free_port()}
    said = lab_runs.complaint("load", url.format(**numbers), "--query", query)
    assert message.format(**numbers) in said
    assert "secret" not in said
