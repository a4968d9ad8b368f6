"""How Sphinx builds the documentation: `nox -s docs`."""

from __future__ import annotations

from importlib.metadata import version as installed
from importlib.util import find_spec

project = "asyncio-connection-pool"
copyright = "its contributors"  # noqa: A001 - Sphinx's name for it
version = release = installed(project)

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.intersphinx"]
exclude_patterns = ["_build"]
suppress_warnings = ["ref.python"]  # a Datadog pool and a pool have one name
# The reference of the adapters is made where their libraries are installed, and left out elsewhere.
LIBRARIES = ("aioredis", "asyncpg", "ddtrace", "opentelemetry", "prometheus_client", "redis")
if not all(map(find_spec, LIBRARIES)):
    exclude_patterns.append("api-adapters.md")
    suppress_warnings.append("toc.not_readable")
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
default_role = "code"  # single backquotes in docstrings
intersphinx_mapping = {}
# Everything that is named has to be found (`-n`), but for other people's and for what stands for a type.
nitpick_ignore_regex = [
    ("py:.*", r"(asyncpg|collections|contextlib|os|redis)\..*|AbstractAsyncContextManager"),
    ("py:class", r"(asyncio_connection_pool\..*\.)?(Conn|Raw|T|Unset)|Attributes|Behaviour|Stage"),
    ("py:class", "CollectorRegistry|MeterProvider|TracerProvider"),
]

html_theme = "furo"
html_title = project
html_show_sphinx = False
html_static_path = ["_static"]
html_css_files = ["pages.css"]
