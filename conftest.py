"""Fail a full run in which a test was skipped without leave.

nox sets ``ACP_NO_SKIPS``; then a skip that ``allowed_skips.toml`` does not list turns the run red. A
developer who runs pytest by hand may skip what they like.
"""

from __future__ import annotations

import os
import tomllib
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

LIST = Path(__file__).with_name("allowed_skips.toml")


class NoSilentSkips:
    """Remembers the skips that nobody allowed, and reports them at the end."""

    def __init__(self, allowed: list[str]) -> None:
        self.allowed = allowed
        self.offenders: list[str] = []

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Remember the report of a skip, unless the list allows it; an expected failure is no skip."""
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        if not any(fnmatchcase(report.nodeid, pattern) for pattern in self.allowed):
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
            self.offenders.append(f"{report.nodeid}: {reason}")

    pytest_runtest_logreport = note
    pytest_collectreport = note

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turn a green run red."""
        if self.offenders and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say which tests were skipped, and where a skip is allowed."""
        if self.offenders:
            terminalreporter.section(f"skipped without leave (see {LIST.name})", red=True)
            for line in self.offenders:
                terminalreporter.write_line(line)


def pytest_configure(config: pytest.Config) -> None:
    """Arm the check where nox asked for it."""
    if os.environ.get("ACP_NO_SKIPS"):
        allowed = tomllib.loads(LIST.read_text(encoding="utf-8"))["allowed"]
        config.pluginmanager.register(NoSilentSkips(list(allowed)), "no-silent-skips")
