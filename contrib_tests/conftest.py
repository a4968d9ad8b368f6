"""The servers of a test run: each is started when the first test asks for it, and serves them all."""

from __future__ import annotations

import signal

import pytest

from servers import valkey


def pytest_configure():
    """Listen to Ctrl-C: what a shell starts in the background ignores it, and so does what that starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_valkey():
    """The Valkey of this run, or what ``REDIS_URL`` names: to be used, not to be killed."""
    with valkey.connect() as server:
        yield server


@pytest.fixture
def own_valkey():
    """A Valkey for one test, which may do with it what it likes."""
    with valkey.start() as server:
        yield server


@pytest.fixture
def redis_server(shared_valkey):
    """The Valkey of this run, emptied, as the server itself sees it."""
    from redis_eyes import Eyes

    with Eyes(shared_valkey.url) as eyes:
        eyes.ask.flushall()
        yield eyes
