"""The documentation's code that needs a PostgreSQL runs against a real one."""

from __future__ import annotations

from pathlib import Path

import pytest

import documentation
from echo_server import echo_server
from servers import postgres

ROOT = Path(__file__).parents[1]
PAGES = [page for page in documentation.files(ROOT) if any("postgres" in b.needs for b in documentation.blocks(page))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs_against_a_server(page):
    with echo_server() as addresses, postgres.connect() as server:
        here = {**addresses, "postgresql://localhost/shop": server.dsn}
        documentation.run(page, servers={"postgres"}, addresses=here)
