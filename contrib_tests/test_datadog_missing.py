"""Without ddtrace or datadog the module says what to install."""

from __future__ import annotations

import importlib
import sys

import pytest


@pytest.mark.parametrize("missing", ["ddtrace.trace", "datadog"])
def test_the_error_names_the_extra(monkeypatch, missing):
    for name in ("datadog", "_datadog_meter", "_datadog_observer"):
        monkeypatch.delitem(sys.modules, f"asyncio_connection_pool.contrib.{name}", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)  # as if it were not installed
    with pytest.raises(ImportError, match=r"pip install asyncio-connection-pool\[datadog\]"):
        importlib.import_module("asyncio_connection_pool.contrib.datadog")
