"""Let ``ACP_TEST_LOOP`` choose the loop of every asynchronous test; see `loops`."""

from __future__ import annotations

import loops


def pytest_asyncio_loop_factories(config, item):
    """Give pytest-asyncio the loop of this run."""
    return loops.factories()


def pytest_report_header():
    """Say in the first lines of a run which loop it is for."""
    return f"loop: {loops.KIND}"
