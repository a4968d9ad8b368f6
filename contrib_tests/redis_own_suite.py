"""Run redis-py's own asyncio tests with our pool in place of its pools.

    python contrib_tests/redis_own_suite.py [test_connection_pool.py …]

The tests come from the source distribution of the redis-py that is installed, which pip fetches. They run twice against
a throw-away Valkey: as they are, and with our pool under the names of redis-py's. A test that passes as it is has to
pass with ours too, unless it is listed in `NOT_OURS` with the reason why it does not apply.

This file is also the pytest plugin that puts our pool there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from fnmatch import fnmatchcase
from pathlib import Path
from unittest import mock
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import redis

POOLS = "ACP_REDIS_POOLS"
HERE = Path(__file__).parent

FILES = [
    *("test_connection_pool.py", "test_client.py", "test_commands.py", "test_connection.py", "test_cwe_404.py"),
    *("test_encoding.py", "test_lock.py", "test_monitor.py", "test_pipeline.py", "test_pubsub.py", "test_retry.py"),
    "test_scripting.py",
]

_KEPT = "our pool does not keep a connection that was lost or closed, to dial it again"
_NAMED = "what one caller tells the server of itself is not there for the next: that connection is closed"
NOT_OURS = {
    "*.test_on_connect_error": _KEPT,
    "*.test_busy_loading_from_pipeline[[]*": _KEPT,
    "*.test_auto_release_override_true_manual_created_pool[[]*": _KEPT,
    "*.TestConnectionPool.test_max_connections": "it drops the connections that it took, and our pool takes them back",
    "*MetricsRecording.*": "redis-py's own metrics of its pools are not recorded",
    "*.test_client_setname[[]pool*": _NAMED,
    "*.test_client_list_after_client_setname[[]pool*": _NAMED,
    "*.test_client_kill*[[]pool*": _NAMED,
}
"""Tests that do not apply, as patterns of fnmatch, and why."""


def substitute() -> None:
    """Put our pool where redis-py has its own."""
    import redis.asyncio.client
    import redis.asyncio.connection

    from asyncio_connection_pool.contrib.redis import RedisConnectionPool

    class ConnectionPool(RedisConnectionPool):
        """Does not wait, as `redis.asyncio.ConnectionPool` does not."""

        def __init__(self, *args, max_connections=None, **options):
            super().__init__(*args, max_connections=max_connections or 100, max_waiting=0, **options)

    for module in (redis.asyncio, redis.asyncio.client, redis.asyncio.connection):
        module.ConnectionPool = ConnectionPool
        module.BlockingConnectionPool = RedisConnectionPool


def imagine_what_is_missing() -> None:
    """Let the suite's conftest import what only tests of other things need."""
    for name in ("jwt", "redis_entraid", "redis_entraid.cred_provider", "redis_entraid.identity_provider"):
        sys.modules.setdefault(name, mock.MagicMock())
    sys.modules.setdefault("mock", mock)
    sys.modules.setdefault("mock.mock", mock)


def pytest_runtest_setup(item):
    """Lead to the server those tests too that expect it at the usual port."""
    import redis.asyncio

    port = urlsplit(item.config.getoption("--redis-url")).port
    shown = "test_connect_from_url_tcp" in item.name  # and compared
    redis.asyncio.Connection.__init__.__kwdefaults__["port"] = 6379 if shown else port


def pytest_collection_modifyitems(items):
    """Give a socket to the suite's connections that have none: our pool looks at it."""
    import redis.asyncio

    class DummyConnection(redis.asyncio.Connection):
        def __init__(self, **kwargs):
            self.kwargs = kwargs
            super().__init__()

    for module in {item.module for item in items}:
        if os.environ[POOLS] == "ours" and hasattr(module, "DummyConnection"):
            module.DummyConnection = DummyConnection


if POOLS in os.environ:
    imagine_what_is_missing()
    if os.environ[POOLS] == "ours":
        substitute()


def fetch(folder: Path) -> Path:
    """Fetch the tests of the redis-py that is installed."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "redis"]
    subprocess.run([*pip, "--dest", folder, f"redis=={redis.__version__}"], check=True)
    (sdist,) = folder.glob("redis-*.tar.gz")
    with tarfile.open(sdist) as archive:
        members = [member for member in archive if "/tests/" in member.name]
        archive.extractall(folder, members, filter="data")
    return folder / sdist.name.removesuffix(".tar.gz")


def run(suite: Path, url: str, paths: list[str], pools: str) -> dict[str, str]:
    """Run the tests with redis-py's pools, or with ours; return how each has ended."""
    report = suite / f"{pools}.xml"
    options = [
        *("-p", "redis_own_suite", "-p", "no:cacheprovider", "-p", "no:valkey", "-c", "/dev/null", "--rootdir", "."),
        *("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function", "-m", "not onlycluster"),
        *(
            "-o",
            "timeout=30",
            "-q",
            "--tb=short",
            "--continue-on-collection-errors",
            "--no-header",
            f"--junitxml={report}",
            f"--redis-url={url}",
        ),
    ]
    subprocess.run(
        [sys.executable, "-m", "pytest", *options, *paths],
        cwd=suite,
        env={**os.environ, POOLS: pools, "PYTHONPATH": str(HERE)},
        stdout=(suite / f"{pools}.log").open("w"),
        stderr=subprocess.STDOUT,
        check=False,
    )
    return dict(map(outcome, ET.parse(report).iter("testcase")))


def outcome(case: ET.Element) -> tuple[str, str]:
    """Read how a test has ended."""
    name = f"{case.get('classname', '').removeprefix('tests.test_asyncio.')}.{case.get('name')}"
    return name, next((tag for tag in ("failure", "error", "skipped") if case.find(tag) is not None), "passed")


def why_not(name: str) -> str | None:
    """Say why a test does not apply to our pool, if it does not."""
    return next((why for pattern, why in NOT_OURS.items() if fnmatchcase(name, pattern)), None)


def judge(theirs: dict[str, str], ours: dict[str, str]) -> list[str]:
    """Print how the tests have ended; return those that fail with ours for no reason that is known."""
    print("with redis-py's pools:", dict(Counter(theirs.values())))
    print("with ours:            ", dict(Counter(ours.values())))
    worse = [name for name, how in theirs.items() if how == "passed" and ours.get(name) != "passed"]
    for name in worse:
        if reason := why_not(name):
            print(f"does not apply: {name}: {reason}")
    return [name for name in worse if not why_not(name)]


def path(name: str) -> str:
    """Write the name of a test as pytest wants it."""
    module, _, rest = name.partition(".")
    return f"tests/test_asyncio/{module}.py::{rest.replace('.', '::', 1)}"


def main(files: list[str]) -> int:
    """Fetch, run twice, compare."""
    from servers import valkey

    with tempfile.TemporaryDirectory() as folder, valkey.start() as server:
        suite = fetch(Path(folder))
        paths = [f"tests/test_asyncio/{name}" for name in files or FILES]
        paths = [found for found in paths if (suite / found).exists()]
        theirs, ours = (run(suite, server.url, paths, pools) for pools in ("theirs", "ours"))
        print(f"redis-py {redis.__version__}, Python {sys.version.split()[0]}")
        failing = judge(theirs, ours)
        for _ in range(3):  # some look at the clock, and the machine may have had much else to do
            if failing:
                again = run(suite, server.url, [path(name) for name in failing], "ours")
                failing = [name for name in failing if again.get(name) != "passed"]
        for name in failing:
            print(f"FAILS: {name}")
        if failing or os.environ.get("ACP_SHOW"):
            print((suite / "ours.log").read_text())
        return bool(failing)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    sys.exit(main(sys.argv[1:]))
