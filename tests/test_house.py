"""The house is in order: packages in layers, no circle of imports, nothing too long."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import yaml

import xrdpipe

ROOT = Path(__file__).parents[1]
TESTED = ("optuna", "background", "dask", "look", "notebook", "slurm", "stream", "test")  # extras; cuda needs a GPU
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


def bounds(requirements: list[str]) -> dict[str, str]:
    """The lower bound of each requirement, by name."""
    found = (re.match(r"([\w.-]+)(?:\[.*?\])? ?>=([\w.]+)", each) for each in requirements)
    return {match[1].lower().replace(".", "-"): match[2] for match in found if match}


def test_the_oldest_versions_that_are_tested_are_those_that_are_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = bounds([*project["dependencies"], *(each for name in TESTED for each in extras[name])])
    lines = (ROOT / "constraints" / "lowest.txt").read_text(encoding="utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    assert len(declared) > 30
    assert {name: pinned[name] for name in declared if not pinned[name].startswith(declared[name])} == {}


def test_the_conda_recipe_declares_what_the_package_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    recipe = yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8"))
    names = {"pyfai-base": "pyfai", "matplotlib-base": "matplotlib", "python-xxhash": "xxhash"}
    required = {names.get(name, name): bound for name, bound in bounds(recipe["requirements"]["run"]).items()}
    assert required == bounds(project["dependencies"])
    assert recipe["build"]["python"]["entry_points"] == [
        f"{name} = {path}" for name, path in project["scripts"].items()
    ]
