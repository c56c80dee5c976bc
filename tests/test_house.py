"""The house is in order: packages in layers, no circle of imports, nothing too long."""

from __future__ import annotations

import ast
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import xrdpipe

PACKAGE = Path(xrdpipe.__file__).parent
FILES = {path.relative_to(PACKAGE.parent): path for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = {".".join(path.with_suffix("").parts).removesuffix(".__init__"): FILES[path] for path in FILES}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(module: str, path: Path) -> set[str]:
    """Every module of ours that one imports, in functions and under TYPE_CHECKING too."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            found |= {name if (name := f"{base}.{each.name}") in MODULES else base for each in node.names}
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    return {each for each in found if each in MODULES and each != module}


@pytest.mark.slow
def test_no_module_imports_itself_over_others() -> None:
    graph = {module: imported(module, path) for module, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_hydras_private_modules_are_used_in_one_file_alone() -> None:
    importing = {
        path.name
        for path in FILES.values()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hydra._internal")
    }
    assert importing == {"hydra_internals.py"}


def test_every_package_says_what_lives_there() -> None:
    for module, path in MODULES.items():
        if path.name == "__init__.py":
            assert len((ast.get_docstring(parsed(path)) or "").splitlines()) >= (1 if module == "xrdpipe" else 3), (
                module
            )


def test_folders_modules_and_functions_stay_small() -> None:
    folders: dict[Path, int] = {}
    for path in FILES.values():
        folders[path.parent] = folders.get(path.parent, 0) + (path.name != "__init__.py")
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path
        if "numerics" not in path.parts:
            for node in ast.walk(parsed(path)):
                if isinstance(node, ast.FunctionDef):
                    assert (node.end_lineno or 0) - node.lineno < 50, f"{path}:{node.name}"
    assert max(folders.values()) <= 14
