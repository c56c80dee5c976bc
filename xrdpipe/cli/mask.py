"""Mask: the static mask of a series, what is bad in every frame, with a picture and the reasons."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..config.arguments import parse
from ..config.loader import Loader, force_overrides, to_builtin
from ..config.settings import all_images
from ..execution.interruption import handle_signals
from ..execution.plan import Plan
from ..execution.progress import Progress
from ..execution.static_mask import make_static_mask
from ..execution.static_mask_files import mask_files, write_static_mask
from ..io.paths import expand_user
from ..model.errors import ConfigError
from ..report.static_mask import reason_rows
from ..report.tables import print_table
from .new_files import check_new_files

USAGE = "xrdpipe mask poni=geometry.poni FRAMES... save=mask.npy"


def main(arguments: Sequence[str], document: dict[str, Any] | None = None) -> int:
    """``xrdpipe mask poni=... FRAMES... save=mask.npy [keys of a run]``.

    Returns
    -------
    int
        The exit status: 0 written; 1 not to be trusted, so not written; 130 stopped.
    """
    save, words = _save(arguments)
    plan = _plan(words)
    files = mask_files(save)
    _check_files(files, plan)
    if plan.settings.dry_run:
        print(f"would read {plan.poni.path} and {len(plan.images)} images, and write {', '.join(map(str, files))}")
        return 0
    progress = Progress(len(plan.images), plan.settings.quiet)
    for note in plan.notes:
        progress.say(note)
    with progress, handle_signals():
        found = make_static_mask(plan, progress)
    if document is not None:
        document |= {"frames": len(plan.images), "used": len(found.frames), "reasons": reason_rows(found)}
        document |= {"doubts": list(found.doubts), "written": [] if found.doubts else files}
    elif not plan.settings.quiet:
        print_table(reason_rows(found))
        of = f"{len(found.frames)} of {len(plan.images)} frames used"
        print(f"{of}; {found.together} pixels are seen in the sum of all frames alone")
    for doubt in found.doubts:
        print(f"xrdpipe: the mask is not to be trusted, nothing is written: {doubt}", file=sys.stderr)
    if found.doubts:
        return 1
    try:
        write_static_mask(save, found, plan)
    except OSError as error:
        raise ConfigError(f"save={save}: cannot be written ({error.strerror})") from error
    if document is None and not plan.settings.quiet:
        print(f"written: {', '.join(map(str, files))}; use it as mask.file={save}")
    return 0


def _save(arguments: Sequence[str]) -> tuple[Path, list[str]]:
    """Return where the mask goes, and the other words."""
    given = [word for word in arguments if word.startswith("save=") and not os.path.lexists(word)]
    if len(given) != 1 or given[0] == "save=":
        raise ConfigError(f"save: say once where the mask goes, as in {USAGE}")
    path = given[0].removeprefix("save=")
    return Path(expand_user(path)), [word for word in arguments if word != given[0]]


def _plan(words: Sequence[str]) -> Plan:
    """Return the run whose frames are looked at; its masks are those of mask=series unless the user says otherwise."""
    command = parse(words)
    overrides = force_overrides(command.overrides)
    if command.options.multirun or any(word.startswith("hydra.mode=") for word in overrides):
        raise ConfigError(f"mask: makes one mask, so no sweep; say {USAGE}")
    loader = Loader(command.options.config_dir)
    chosen = [] if any(word.startswith("mask=") for word in overrides) else ["mask=series"]
    values = to_builtin(loader.compose([*chosen, *overrides], command.options.config_name or "config"))
    values["images"] = all_images(values.get("images"), command.images, overrides)
    plan = Plan.of(values, {}, False, {})
    if plan.settings.output_dir:
        raise ConfigError(
            f"output_dir={plan.settings.output_dir}: a mask has none; say where it goes with save=mask.npy"
        )
    if len(plan.images) < 2:
        one = "a spot or cosmic ray cannot be told from a bad pixel; give several, or mask each frame with mask=robust"
        raise ConfigError(f"images: one frame is no series, {one}")
    return plan


def _check_files(files: Sequence[Path], plan: Plan) -> None:
    """Raise ConfigError where a file is there already, is an input, or cannot be written."""
    inputs = [image.path for image in plan.images]
    inputs += [Path(path) for path in (*plan.pipeline.inputs().values(), plan.settings.poni) if path]
    check_new_files(files, inputs, plan.settings.overwrite, f"save={files[0]}")
