"""Recipes and references for processes on other computers, independent of the working directory."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from ...model.identity import relocate, versions
from ...model.record import Record
from ...model.reference import Reference
from ...pipeline.pipeline import Pipeline
from ...pipeline.recipe import Recipe


def portable_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe with absolute paths, for a process with another working directory."""
    config = json.loads(recipe.config)
    inputs = {**Pipeline.of(config, list(recipe.order)).inputs(), **recipe.poni.tables}
    absolute = {path: os.path.abspath(path) for path in inputs.values()}
    poni = replace(recipe.poni, looked_up=json.dumps(relocate(recipe.poni.lookups, absolute)))
    folder = None if recipe.folder is None else recipe.folder.absolute()
    return replace(recipe, config=json.dumps(relocate(config, absolute)), poni=poni, folder=folder)


def portable_reference(image: Reference) -> Reference:
    """Return the reference with absolute paths, for a process with another working directory."""
    return replace(image, path=Path(os.path.abspath(image.path)), parts=tuple(map(portable_reference, image.parts)))


def with_paths_of(record: Record, local: Record) -> Record:
    """Return a record of another computer with the paths of this one, as the user wrote them."""
    return replace(record, file=local.file, path=local.path, parts=local.parts)


@cache
def deciding_versions() -> dict[str, str]:
    """Return the versions of the packages that determine the numbers; the version of Python does not matter."""
    return {name: version for name, version in versions().items() if name != "python"}


def version_difference(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """Describe how the versions ``theirs`` differ from ``ours``; an empty string means that they agree."""
    return ", ".join(f"{name} {theirs.get(name)}, not {ours[name]}" for name in ours if theirs.get(name) != ours[name])
