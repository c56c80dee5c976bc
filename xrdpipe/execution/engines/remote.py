"""What travels to processes of other computers: a recipe and frames that do not depend on the folder they stand in."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from ...model.identity import relocate, versions
from ...model.reference import Reference
from ...pipeline.pipeline import Pipeline
from ...pipeline.recipe import Recipe


def portable_recipe(recipe: Recipe) -> Recipe:
    """The same recipe for a process that stands in another folder."""
    config = json.loads(recipe.config)
    places = {path: os.path.abspath(path) for path in Pipeline.of(config, list(recipe.order)).inputs().values()}
    folder = None if recipe.folder is None else recipe.folder.absolute()
    return replace(recipe, config=json.dumps(relocate(config, places)), folder=folder)


def portable_reference(image: Reference) -> Reference:
    """The same frame for a process that stands in another folder."""
    return replace(image, path=Path(os.path.abspath(image.path)), parts=tuple(map(portable_reference, image.parts)))


@cache
def deciding_versions() -> dict[str, str]:
    """The versions here of what decides the numbers; any Python will do."""
    return {name: version for name, version in versions().items() if name != "python"}


def version_difference(ours: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """In which of them another computer differs, in words; nothing where it does not."""
    return ", ".join(f"{name} {theirs.get(name)}, not {ours[name]}" for name in ours if theirs.get(name) != ours[name])
