"""Without redis-py the module says what to install."""

from __future__ import annotations

import importlib
import sys

import pytest


def test_the_error_names_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "redis" or ".contrib._redis" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "asyncio_connection_pool.contrib.redis", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)  # as if it were not installed
    with pytest.raises(ImportError, match=r"pip install asyncio-connection-pool\[redis\]"):
        importlib.import_module("asyncio_connection_pool.contrib.redis")
