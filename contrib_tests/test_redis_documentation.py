"""The documentation's code that needs a Redis runs against a real one."""

from __future__ import annotations

from pathlib import Path

import pytest

import documentation
from echo_server import echo_server
from servers import valkey

ROOT = Path(__file__).parents[1]
PAGES = [page for page in documentation.files(ROOT) if any("redis" in b.needs for b in documentation.blocks(page))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs_against_a_server(page):
    with echo_server() as addresses, valkey.connect() as server:
        documentation.run(page, servers={"redis"}, addresses={**addresses, "redis://localhost:6379": server.url})
