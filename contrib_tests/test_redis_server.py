"""The throw-away Valkey does what the tests of faults ask of it, and outlives nobody."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from servers import valkey
from servers.reaper import family

ORPHAN = """
import os, signal
from servers import valkey
server = valkey.start()
server.freeze()
print(server.url, server.folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def ping(server, seconds=30.0):
    client = redis.Redis.from_url(server.url, socket_timeout=seconds, retry=None)
    try:
        return client.ping()
    finally:
        client.connection_pool.disconnect()


def test_it_can_be_killed_and_restarted_on_its_port(own_valkey):
    port, pid = own_valkey.port, own_valkey.pid
    own_valkey.kill()
    with pytest.raises(redis.ConnectionError):
        ping(own_valkey)
    own_valkey.restart()
    assert ping(own_valkey)
    assert own_valkey.port == port
    assert own_valkey.pid != pid
    own_valkey.restart()  # while it runs
    assert ping(own_valkey)


def test_it_can_be_frozen_and_thawed(own_valkey):
    own_valkey.freeze()
    with pytest.raises(redis.TimeoutError):
        ping(own_valkey, seconds=0.1)
    own_valkey.thaw()
    assert ping(own_valkey)


def test_stopping_removes_what_it_wrote_even_while_it_is_frozen():
    server = valkey.start()
    server.freeze()
    server.stop()
    server.stop()
    assert not server.folder.exists()


def test_it_listens_on_loopback_only(own_valkey):
    client = redis.Redis.from_url(own_valkey.url, decode_responses=True)
    assert client.config_get("bind") == {"bind": "127.0.0.1"}
    client.connection_pool.disconnect()


def test_it_ends_with_a_process_that_was_killed():
    process = subprocess.Popen([sys.executable, "-c", ORPHAN], cwd=Path(__file__).parent, stdout=subprocess.PIPE)
    url, folder = process.communicate(timeout=60)[0].decode().split()
    assert process.returncode == -signal.SIGKILL
    end = time.monotonic() + 30
    while Path(folder).exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    with pytest.raises(redis.ConnectionError):  # not a timeout, so nobody listens
        ping(valkey.Elsewhere(url))


def test_a_family_is_a_process_and_its_descendants():
    with subprocess.Popen(["sh", "-c", "sleep 60 & wait"], start_new_session=True) as parent:
        while len(found := family(parent.pid)) < 2:
            time.sleep(0.01)
        assert found[0] == parent.pid
        for pid in found:
            subprocess.run(["kill", str(pid)], check=True)


def test_a_server_that_cannot_start_says_why(own_valkey):
    other = valkey.Valkey()
    other.port = own_valkey.port
    other.is_ready = lambda: False  # it is the other one that answers
    with pytest.raises(RuntimeError, match="already in use"):
        other.start()
    assert not other.folder.exists()
