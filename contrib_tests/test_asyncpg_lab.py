"""The lab measures a real PostgreSQL, and says in a line what is wrong with one."""

from __future__ import annotations

import pytest

import lab_runs
from servers import postgres
from servers.process import free_port

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def server():
    with postgres.start() as own:
        yield own


def test_it_measures_a_burst(server):
    options = "--clients", 6, "--seconds", "1s", "--max-size", 1, "--burst-limit", 3
    (row,) = lab_runs.rows(lab_runs.run("load", server.dsn, *options, "--query", "SELECT pg_sleep(0.01)"))
    assert int(row["served"].replace(",", "")) > 0
    assert (row["burst_limit"], row["errors"]) == ("3", "0")
    assert 1 <= int(row["opened"]) - int(row["closed"]) <= 3


def test_without_a_query_it_asks_for_one(server):
    out = lab_runs.run("load", server.dsn, "--clients", 2, "--seconds", "200ms")
    assert out.startswith("SELECT 1 at postgresql://127.0.0.1:")


def test_errors_are_counted(server):
    """The first call succeeds, and the second finds the table that the first has made."""
    out = lab_runs.run("load", server.dsn, "--seconds", "1s", "--clients", 2, "--query", "CREATE TABLE lab_once ()")
    (row,) = lab_runs.rows(out)
    assert row["served"] == "0"
    assert int(row["errors"]) > 0
    assert 'DuplicateTableError: relation "lab_once" already exists' in out


@pytest.mark.parametrize(
    "url, query, message",
    [
        ("postgresql://127.0.0.1:{nobody}/db", "SELECT 1", "can't connect to postgresql://127.0.0.1:{nobody}/db: "),
        ("postgres://postgres:secret@127.0.0.1:{port}/dance", "SELECT 1", 'database "dance" does not exist'),
        ("postgresql://postgres@127.0.0.1:{port}/postgres", "DANCE", "does not answer 'DANCE': PostgresSyntaxError: "),
    ],
    ids=["nobody listens", "no such database", "no such statement"],
)
def test_what_is_wrong_is_said_in_a_line(server, url, query, message):
    numbers = {"port": server.port, "nobody": free_port()}
    said = lab_runs.complaint("load", url.format(**numbers), "--query", query)
    assert message.format(**numbers) in said
    assert "secret" not in said
