"""Say at the end of a run how much was swept."""

from __future__ import annotations

import sweeping


def pytest_terminal_summary(terminalreporter):
    for what, runs in sorted(sweeping.RUNS.items()):
        terminalreporter.write_line(f"swept: {runs:,} {what}")
