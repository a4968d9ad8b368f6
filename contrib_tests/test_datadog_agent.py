"""A program of its own sends to real ends: Datadog's agent for tests over HTTP, and a UDP socket; or to nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import datadog_eyes
from servers.dogstatsd import Receiver
from servers.process import free_port
from servers.trace_agent import TraceAgent

PROGRAM = Path(__file__).with_name("datadog_user.py")
PATIENCE_SECONDS = 120


def run_program(**environment):
    """Run it to its end, and return what it has printed."""
    return subprocess.run(
        [sys.executable, PROGRAM],
        env={**os.environ, **datadog_eyes.QUIET, **environment},
        timeout=PATIENCE_SECONDS,
        capture_output=True,
        text=True,
        check=True,
    )


def said_by_us(done):
    """What of its complaints is of none of the two libraries."""
    theirs = ("to intake at", "ddtrace", "dropping the packet")
    return [line for line in done.stderr.splitlines() if not any(words in line for words in theirs)]


def test_an_agent_gets_every_span_with_its_parent_and_every_metric():
    with TraceAgent().start() as agent, Receiver() as dogstatsd:
        done = run_program(
            DD_TRACE_AGENT_URL=agent.url, DD_AGENT_HOST=dogstatsd.host, DD_DOGSTATSD_PORT=str(dogstatsd.port)
        )
        spans, arrived = agent.spans(6), dogstatsd.take()
    assert (done.stdout, said_by_us(done)) == ("", [])
    names = {span["span_id"]: span["name"] for span in spans}
    assert sorted((span["service"], span["name"], names.get(span["parent_id"])) for span in spans) == [
        ("shop", "shop.pool._create_new_connection", "shop.pool.acquire_connection"),
        ("shop", "shop.pool._wait_for_connection", "shop.pool.acquire_connection"),
        ("shop", "shop.pool._wait_for_connection", "shop.pool.acquire_connection"),
        ("shop", "shop.pool.acquire_connection", "request"),
        ("shop", "shop.pool.acquire_connection", "request"),
        ("web", "request", None),
    ]
    assert len({span["trace_id"] for span in spans}) == 1
    assert arrived.gauges["shop.pool.total_connections"] == 0
    assert arrived.count("shop.pool.getting_connection", "method:new") == 1
    assert arrived.count("shop.pool.getting_connection", "method:wait") == 1
    assert all("env:test" in metric.tags for metric in arrived.metrics if metric.name.startswith("shop."))


def test_without_an_agent_a_program_ends_and_only_the_libraries_complain():
    nobody = free_port()
    done = run_program(DD_TRACE_AGENT_URL=f"http://127.0.0.1:{nobody}", DD_DOGSTATSD_PORT=str(nobody))
    assert (done.stdout, said_by_us(done)) == ("", [])
