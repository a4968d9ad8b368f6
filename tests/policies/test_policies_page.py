"""The page on policies shows what its code really prints."""

from __future__ import annotations

import re
from pathlib import Path

import documentation

PAGE = Path(__file__).parents[2] / "docs" / "policies.md"


def plain(text):
    """Leave out what differs from run to run: files and lines, the number of a task, empty lines."""
    text = re.sub(r'File "[^"]+", line \d+', "File", text)
    text = re.sub(r"taken at \S+:\d+ in", "taken at", text)
    text = re.sub(r"Task-\d+", "Task", text)
    return [line for line in text.splitlines() if line]


def test_the_page_shows_what_its_code_prints(capsys):
    documentation.run(PAGE)
    page = PAGE.read_text(encoding="utf-8")
    shown = re.findall(r"^```text\n(.*?)^```$|print\([^\n]*\)  # ([^\n]*)$", page, re.MULTILINE | re.DOTALL)
    assert plain(capsys.readouterr().out) == plain("\n".join(map("".join, shown)))
