"""A throw-away agent for traces: Datadog's own for tests, over HTTP, from the ddapm-test-agent wheel."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from servers.process import Server, free_port

PATIENCE_SECONDS = 30.0


class TraceAgent(Server):
    """Takes traces at `url`, and gives them back."""

    @property
    def url(self) -> str:
        """What ``DD_TRACE_AGENT_URL`` is to be."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str | Path]:
        """Return the command line: it would take two more ports of its own choice, and one for a page."""
        others = ["--otlp-http-port", str(free_port()), "--otlp-grpc-port", str(free_port())]
        return [Path(sys.executable).with_name("ddapm-test-agent"), "--port", str(self.port), *others]

    def is_ready(self) -> bool:
        """Say whether it answers."""
        try:
            self._ask("/info")
        except (URLError, OSError):
            return False
        return True

    def spans(self, count: int) -> list[dict[str, Any]]:
        """Return all spans that have arrived, as soon as they are so many, or after a long while."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = [span for trace in self._ask("/test/traces") for span in trace]
            if len(found) >= count or time.monotonic() > end:
                return found
            time.sleep(0.05)

    def _ask(self, path: str) -> Any:
        with urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)
