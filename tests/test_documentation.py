"""The code in the README and in the documentation runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import documentation
import loops
from asyncio_connection_pool.testing import check_strategy
from echo_server import echo_server

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("path", documentation.files(ROOT), ids=lambda path: str(path.relative_to(ROOT)))
def test_the_code_of_a_page_runs(path):
    with echo_server() as addresses:
        documentation.run(path, addresses=addresses, loop_factory=loops.new_loop)


def test_the_readme_has_code():
    """Else the test above proves nothing."""
    assert documentation.blocks(ROOT / "README.md")


def test_a_block_that_needs_a_server_is_left_alone_where_there_is_none(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- requires: redis -->\n```python\nran = True\n```\n")
    assert "ran" not in documentation.run(page)
    assert documentation.run(page, servers={"redis"})["ran"]


def test_a_block_that_is_not_python_fails_even_where_it_does_not_run(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("text\n\n<!-- requires: redis -->\n```python\nran = \n```\n")
    with pytest.raises(SyntaxError) as error:
        documentation.run(page)
    assert error.value.lineno == 5


def test_blocks_share_a_namespace_and_a_loop(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nimport asyncio\nfirst = asyncio.get_running_loop() if False else None\n```\n"
        "```python\nawait asyncio.sleep(0)\nfirst = asyncio.get_running_loop()\n```\n"
        "```python\nawait asyncio.sleep(0)\nsame = asyncio.get_running_loop() is first\n```\n"
        "```python\nasyncio.run(asyncio.sleep(0))\n```\n"
    )
    assert documentation.run(page)["same"]


@pytest.mark.parametrize("path", documentation.files(ROOT), ids=lambda path: str(path.relative_to(ROOT)))
def test_links_inside_the_project_lead_somewhere(path):
    for target, anchor in documentation.links(path):
        page = path.parent / target if target else path
        assert page.exists(), target
        assert not anchor or anchor in documentation.anchors(page), f"{target}#{anchor}"


@pytest.mark.parametrize(
    "page, strategy", [("README.md", "Lines"), ("docs/index.md", "strategy"), ("docs/strategies.md", "EchoStrategy")]
)
def test_a_strategy_that_is_shown_keeps_the_contract(page, strategy):
    with echo_server() as addresses:
        shown = documentation.run(ROOT / page, addresses=addresses, loop_factory=loops.new_loop)[strategy]
        with asyncio.Runner(loop_factory=loops.new_loop) as runner:
            runner.run(check_strategy(shown() if isinstance(shown, type) else shown, patience=60))
