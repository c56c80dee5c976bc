"""Sessions of nox: the tests with the newest and the lowest versions of the libraries, Tiled, lint, packages, the site.

`nox --list` names them; `.github/workflows` runs the same sessions.
"""

from pathlib import Path

import nox

nox.options.sessions = ["newest", "lowest", "lint", "package"]
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """Run the fast tests, or those that are named after --, with the newest libraries."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """Run the fast tests, or those that are named after --, with the oldest libraries that pyproject.toml takes."""
    session.install("-e", ".[test]", "--constraint", "constraints/lowest.txt")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python="3.11")
def tiled(session: nox.Session) -> None:
    """Run the tests of a Tiled server, which is too large for the extra `test`."""
    session.install("-e", ".[test,tiled]", "tiled[client,server]")
    session.run("python", "-m", "pytest", "-m", "", "tests/stages/test_source_tiled.py", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Run ruff, mypy and the import contracts."""
    session.install("-e", ".[dev]")
    for command in (["ruff", "check"], ["ruff", "format", "--check"], ["lint-imports"]):
        session.run(*command)
    for system in ("linux", "darwin", "win32"):  # finds what another system lacks
        session.run("mypy", "--platform", system)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the site into docs/_build/html; a warning is an error."""
    session.install(".[docs]")
    session.run("python", "-m", "sphinx", "-W", "--keep-going", "docs", "docs/_build/html")


@nox.session
def package(session: nox.Session) -> None:
    """Build sdist and wheel twice, compare them, and check their metadata."""
    session.install("build", "twine")
    folders = [Path(session.create_tmp(), number) for number in "12"]
    for folder in folders:
        session.run("python", "-m", "build", "--outdir", str(folder), env={"SOURCE_DATE_EPOCH": "1767225600"})
    first, second = ({file.name: file.read_bytes() for file in folder.iterdir()} for folder in folders)
    if first != second:
        session.error("two builds of the same files differ")
    session.run("twine", "check", "--strict", *map(str, folders[0].iterdir()))
