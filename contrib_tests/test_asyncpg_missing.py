"""Without asyncpg the module says what to install."""

from __future__ import annotations

import importlib
import sys

import pytest


def test_the_error_names_the_extra(monkeypatch):
    for name in ("asyncpg", "_asyncpg_session"):
        monkeypatch.delitem(sys.modules, f"asyncio_connection_pool.contrib.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "asyncpg", None)  # as if it were not installed
    with pytest.raises(ImportError, match=r"pip install asyncio-connection-pool\[asyncpg\]"):
        importlib.import_module("asyncio_connection_pool.contrib.asyncpg")
