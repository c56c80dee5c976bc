"""Sessions of nox: the tests with the newest and the lowest versions of the libraries, lint, packages.

`nox --list` names them; `.github/workflows` runs the same sessions.
"""

import nox

nox.options.sessions = ["newest", "lowest", "lint", "package"]
PYTHONS = ["3.11", "3.12", "3.13"]
LOWEST = "constraints/lowest.txt"


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """Run the fast tests, or those that are named after --, with the newest libraries."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """Run the tests with the lowest versions that pyproject.toml allows."""
    session.install("-e", ".[test]", "--constraint", LOWEST)
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Run ruff, mypy and the import contracts."""
    session.install("-e", ".[dev]")
    for command in (["ruff", "check"], ["ruff", "format", "--check"], ["mypy"], ["lint-imports"]):
        session.run(*command)


@nox.session
def package(session: nox.Session) -> None:
    """Build sdist and wheel twice, compare them, and check their metadata."""
    session.install("build", "twine")
    folders = [session.create_tmp() + f"/{number}" for number in (1, 2)]
    for folder in folders:
        session.run("python", "-m", "build", "--outdir", folder, env={"SOURCE_DATE_EPOCH": "1767225600"})
    session.run("diff", "--recursive", *folders, external=True)
    session.run("twine", "check", "--strict", *[f"{folders[0]}/{pattern}" for pattern in ("*.whl", "*.tar.gz")])
