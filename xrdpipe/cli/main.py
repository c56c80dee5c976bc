"""Entry point of the command line."""

from __future__ import annotations

import codecs
import errno
import io
import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..model.errors import ConfigError

if TYPE_CHECKING:
    from ..config.arguments import Command
    from ..execution.result import Run


COMMANDS = {
    "calibrate": "cli.calibrate.command",
    "doctor": "cli.doctor",
    "inspect": "cli.inspect",
    "look": "cli.look",
    "mask": "cli.mask",
    "replay": "cli.replay",
    "report": "report.report",
}

NOTHING_TO_DO = """\
xrdpipe: nothing to do: images and a geometry are missing
  with data:     xrdpipe poni=geometry.poni images='data/*.tiff'
  without data:  xrdpipe source=demo        (xrdpipe --help says more)"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Parameters
    ----------
    arguments
        Arguments of the command line; by default those of this process.

    Returns
    -------
    int
        Exit status: 0 done, 1 a frame or job failed, 2 refused, 130 stopped.
    """
    status = 0
    if isinstance(sys.stdout, io.TextIOWrapper):
        codecs.register_error("xrdpipe", _escape)
        sys.stdout.reconfigure(errors="xrdpipe")
    if not (root := logging.getLogger()).handlers:
        root.addHandler(logging.NullHandler())  # messages of libraries belong in xrdpipe.log
    try:
        status = run_words(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has closed the pipe, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write a file name as the bytes that it is, and escape what the encoding of the terminal or pipe lacks."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def run_words(words: list[str]) -> int:
    """Run the command that the arguments name; print errors and return the exit status."""
    if not words:
        print(NOTHING_TO_DO, file=sys.stderr)
        return 2
    options = words[: words.index("--")] if "--" in words else words
    if "--version" in options:
        print(f"xrdpipe {__version__}")
        return 0
    if "--help" in options or "-h" in options:
        from .help import help_text

        print(help_text(words[0]))
        return 0
    from ..config.arguments import UsageError, parse

    try:
        if words[0] in COMMANDS and not os.path.isfile(words[0]):  # a folder of this name is no frame
            return _run_other_command(words[0], words[1:])
        return run_command(parse(words), words)
    except (ConfigError, UsageError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"xrdpipe: {error}", file=sys.stderr)
        return 2
    except MemoryError:
        print("xrdpipe: not enough memory; lower parallel.n_jobs; resume=true keeps what is done", file=sys.stderr)
        return 1
    except OSError as error:  # any file access with such a name may raise ENAMETOOLONG
        if error.errno != errno.ENAMETOOLONG:
            raise
        print(f"xrdpipe: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("xrdpipe: stopped", file=sys.stderr)
        return 130


def _run_other_command(name: str, words: Sequence[str]) -> int:
    from importlib import import_module

    return int(import_module(f"xrdpipe.{COMMANDS[name]}").main(words))


def run_command(command: Command, words: Sequence[str]) -> int:
    """Run the pipeline or a sweep, or show the configuration; return the exit status."""
    from ..config.hydra_internals import application
    from ..config.loader import Loader, force_overrides, is_sweep, run_mode, to_builtin
    from ..config.settings import as_list

    if command.options.help:  # as in -mh
        return main(["--help"])
    options, name = command.options, command.options.config_name or "config"
    if options.config_path:
        raise ConfigError("--config-path: would hide the shipped configuration; --config-dir adds yours before it")
    loader = Loader(options.config_dir)
    overrides = force_overrides(command.overrides)
    hydra = application(loader)
    if options.shell_completion:
        try:
            hydra.shell_completion(name, command.overrides)
        except ValueError as error:
            raise ConfigError(f"--shell-completion: {error}") from error
    elif options.hydra_help:
        raise ConfigError("--hydra-help: not here; Hydra's own options are in https://hydra.cc/docs/1.3/intro")
    elif options.cfg:
        if options.cfg == "job":
            from ..config.config_provenance import describe_config

            view: dict[str, Any] = {"package": options.package, "resolve": options.resolve}
            print(describe_config(options.config_dir, overrides, name, images=command.images, **view))
        else:
            hydra.show_cfg(name, overrides, options.cfg, options.package, options.resolve)
    elif options.info:
        hydra.show_info(options.info, name, overrides, run_mode(options.multirun))
    else:
        sweeps = options.multirun or "hydra.mode=MULTIRUN" in command.overrides
        cfg = None if sweeps else loader.compose(overrides, name)
        if cfg is None or is_sweep(cfg):
            from ..sweeps.sweep import sweep

            return sweep(loader, overrides, command.images, name)
        from ..execution.run import run

        values = to_builtin(cfg)
        values["images"] = [*as_list(values.get("images")), *command.images]
        result = run(values, words)
        if not values["quiet"] and result.folder is not None:
            _print_summary(result)
        _say_judgement(result)
        return result.status
    return 0


def _say_judgement(result: Run) -> None:
    if result.judgement:
        print(f"xrdpipe: {result.judgement}", file=sys.stderr)


def _print_summary(result: Run) -> None:
    from ..report.tables import ends, print_table

    rows = [
        {
            "image": record.name if "::" in record.file else record.file,
            "status": record.status,
            "masked": "" if record.masked_fraction is None else f"{100 * record.masked_fraction:.1f} %",
            "seconds": "" if record.seconds is None else f"{record.seconds:.2f}",
        }
        for record in ends(result.frames)
    ]
    total, done = len(result.frames), result.count("done")
    print_table(rows, total)
    print(f"{done} of {total} frames done, {result.count('failed')} failed; results in {result.folder}")
    first = next((record for record in result.frames if record.status == "done"), None)
    if first is not None:
        files = [f"figures/{first.name}_pattern.png", *first.outputs]
        existing = [file for file in files if result.folder is not None and (result.folder / file).exists()]
        print(f"look at {existing[0] if existing else 'summary.csv'} there first")
