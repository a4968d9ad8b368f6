"""Let ``ACP_TEST_LOOP`` choose the loop of every asynchronous test; see `loops`."""

from __future__ import annotations

import signal

import pytest

import loops


def pytest_configure():
    """Listen to Ctrl-C: what a shell starts in the background ignores it, and so does what that starts."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def caplog(caplog):
    """Leave asyncio's own records out: it may tell, in any test, of a task that another test has left."""

    def is_ours(record):
        return record.name != "asyncio"

    caplog.handler.addFilter(is_ours)
    yield caplog
    caplog.handler.removeFilter(is_ours)


def pytest_asyncio_loop_factories(config, item):
    """Give pytest-asyncio the loop of this run."""
    return loops.factories()


def pytest_collection_modifyitems(items):
    """Mark what `sampling` may take a sample of."""
    for item in items:
        if item.path.parent.name in {"explorer", "fleet", "sweep"}:
            item.add_marker("sampled")


def pytest_report_header():
    """Say in the first lines of a run which loop it is for."""
    return f"loop: {loops.KIND}"
