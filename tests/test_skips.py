"""A skip without leave turns a run red, so that no test stops running unnoticed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[1]
TESTS = """
import pytest

@pytest.mark.skip(reason="the list allows it")
def test_allowed(): ...

@pytest.mark.skip(reason="nobody said so")
def test_silent(): ...

def test_fine(): ...
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run the tests above in a process of their own, under the project's conftest."""
    shutil.copy(ROOT / "conftest.py", pytester.path)
    (pytester.path / "allowed_skips.toml").write_text('[allowed]\n"*::test_allowed" = "an example"\n')
    pytester.makepyfile(test_it=TESTS)

    def run(*arguments: str, full: bool) -> pytest.RunResult:
        monkeypatch.setenv("ACP_NO_SKIPS", "1" if full else "")
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", *arguments)

    return run


def test_a_full_run_fails_and_names_the_test(run):
    result = run(full=True)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*skipped without leave*", "test_it.py::test_silent: Skipped: nobody said so"])
    result.stdout.no_fnmatch_line("test_it.py::test_allowed: *")


def test_a_full_run_passes_where_every_skip_is_allowed(run):
    assert run("-k", "not silent", full=True).ret == pytest.ExitCode.OK


def test_a_run_by_hand_may_skip_what_it_likes(run):
    assert run(full=False).ret == pytest.ExitCode.OK
