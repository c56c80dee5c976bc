"""What the page leaves: an experiment, and the drawn mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config.experiment import check_experiment
from ..execution.static_mask_files import write_mask
from ..io.writing import write_text
from ..model.errors import ConfigError, choice
from ..results.command import repeat_command
from .answer import texts
from .session import Session
from .view import View

FORMATS = ("npy", "edf")


class ExistsError(ConfigError):
    """Error of a name that is taken."""


def save(session: Session, view: View, what: str, form: str, overwrite: bool) -> dict[str, Any]:
    """Write the experiment or the drawn mask of a view under the view's name, each file whole or not at all.

    Returns
    -------
    dict
        ``written``: paths relative to the folder ``save=``; ``next``: the command line that uses them.

    Raises
    ------
    ExistsError
        A file is there already, and ``overwrite`` is false.
    ConfigError
        There is nothing to save, or it cannot be written.
    """
    choice("what", what, ("experiment", "mask"))
    choice("format", form, FORMATS)
    folder, name = Path(session.save), view.name
    result = session.result(view)
    if what == "mask" and result.drawn is None:
        raise ConfigError("what=mask: nothing is drawn")
    mask = folder / f"{name}.{form}" if result.drawn is not None else None
    made = texts(session, view, result.start, form)
    files = [] if mask is None else [mask]
    text = made["yaml"] if what == "experiment" else ""
    if text:
        start = result.start if mask is None else session.with_mask(result.start, str(mask))
        check_experiment(text, session.composed(start)[0], name)
        files.append(folder / "experiment" / f"{name}.yaml")
    taken = [str(path) for path in files if path.exists()]
    if taken and not overwrite:
        raise ExistsError(f"{' and '.join(taken)}: there already; choose another name, or overwrite")
    try:
        if mask is not None and result.drawn is not None:
            write_mask(mask, result.drawn)
        if text:
            write_text(files[-1], text)
    except OSError as error:
        raise ConfigError(f"save={session.save}: cannot be written ({error.strerror})") from error
    run = repeat_command({"command": ["--config-dir", session.save, f"experiment={name}"]})
    following = run if text else made["command"]
    return {"written": [str(path.relative_to(folder)) for path in files], "next": following}
