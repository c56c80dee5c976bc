"""Entry point of the command line."""

from __future__ import annotations

import codecs
import errno
import io
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..model.errors import ConfigError

if TYPE_CHECKING:
    from ..config.arguments import Command
    from ..execution.result import Run


JSON = "--json"
COMMANDS = {
    "calibrate": "cli.calibrate.command",
    "completion": "cli.completion.command",
    "config": "cli.config.command",
    "doctor": "cli.doctor",
    "inspect": "cli.inspect",
    "look": "cli.look",
    "mask": "cli.mask",
    "new": "cli.new",
    "replay": "cli.replay",
    "report": "report.report",
}

WITHOUT_JSON = {  # command -> what to read instead
    "calibrate": "it writes a PONI file, and for a series a table (.csv)",
    "completion": "it prints a script",
    "look": "it opens a page",
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
        words = list(sys.argv[1:] if arguments is None else arguments)
        status = run_with_json(words) if JSON in _options(words) else run_words(words)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has closed the pipe, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return status


def _options(words: list[str]) -> list[str]:
    return words[: words.index("--")] if "--" in words else words


def run_with_json(words: list[str]) -> int:
    """Run a command with ``--json``: one JSON document on stdout, everything else on stderr."""
    import json

    from .document import finite

    document: dict[str, Any] = {}
    at = words.index(JSON)
    with redirect_stdout(sys.stderr):
        status = run_words([*words[:at], *words[at + 1 :]], document)
    json.dump({"program": "xrdpipe", "version": __version__, "exit_status": status, **finite(document)}, sys.stdout)
    print()
    return status


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Write a file name as the bytes that it is, and escape what the encoding of the terminal or pipe lacks."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def run_words(words: list[str], document: dict[str, Any] | None = None) -> int:
    """Run the command that the arguments name; print errors and return the exit status.

    Parameters
    ----------
    words
        The arguments.
    document
        With ``--json``: takes what the command says, in place of its tables.
    """
    if not words:
        print(NOTHING_TO_DO, file=sys.stderr)
        return 2
    if words[0] == "--complete":
        from .completion.answer import answer

        sys.stdout.writelines(f"{line}\n" for line in answer(words[1:]))
        return 0
    options = _options(words)
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
            return _run_other_command(words[0], words[1:], document)
        return run_command(parse(words), words, document)
    except (ConfigError, UsageError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        return _refused(str(error), 2, document)
    except MemoryError:
        return _refused("not enough memory; lower parallel.n_jobs; resume=true keeps what is done", 1, document)
    except OSError as error:  # any file access with such a name may raise ENAMETOOLONG
        if error.errno != errno.ENAMETOOLONG:
            raise
        return _refused(f"{error.filename}: {error.strerror}", 2, document)
    except KeyboardInterrupt:
        return _refused("stopped", 130, document)


def _refused(message: str, status: int, document: dict[str, Any] | None) -> int:
    print(f"xrdpipe: {message}", file=sys.stderr)
    if document is not None:
        document["error"] = message
    return status


def _run_other_command(name: str, words: Sequence[str], document: dict[str, Any] | None) -> int:
    from importlib import import_module

    if document is None:
        return int(import_module(f"xrdpipe.{COMMANDS[name]}").main(words))
    if name in WITHOUT_JSON:
        raise ConfigError(f"--json: not for xrdpipe {name}; {WITHOUT_JSON[name]}")
    return int(import_module(f"xrdpipe.{COMMANDS[name]}").main(words, document))


def run_command(command: Command, words: Sequence[str], document: dict[str, Any] | None = None) -> int:
    """Run the pipeline or a sweep, or show the configuration; return the exit status."""
    from ..config.hydra_internals import application
    from ..config.loader import Loader, force_overrides, is_sweep, run_mode, to_builtin
    from ..config.settings import all_images
    from .document import sweep_document

    if command.options.help:  # as in -mh
        return main(["--help"])
    options, name = command.options, command.options.config_name or "config"
    if options.config_path:
        raise ConfigError("--config-path: would hide the shipped configuration; --config-dir adds yours before it")
    if document is not None and (options.cfg or options.info or options.shell_completion):
        raise ConfigError("--json: not with options of Hydra; xrdpipe config --json shows a configuration")
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

            swept = sweep(loader, overrides, command.images, name, tables=document is None)
            if document is not None:
                document |= sweep_document(swept)
            return swept.status
        values = to_builtin(cfg)
        values["images"] = all_images(values.get("images"), command.images, overrides)
        return _run_once(values, words, document)
    return 0


def _run_once(values: dict[str, Any], words: Sequence[str], document: dict[str, Any] | None) -> int:
    from ..execution.run import run
    from .document import run_document

    result = run(values, words)
    if document is not None:
        document |= run_document(result)
    elif not values["quiet"] and result.folder is not None:
        _print_summary(result)
    if result.judgement:
        print(f"xrdpipe: {result.judgement}", file=sys.stderr)
    return result.status


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
    if result.count("failed"):
        print(f"next: mend what failed (summary.csv says why); resume=true output_dir={result.folder} does it alone")
    first = next((record for record in result.frames if record.status == "done"), None)
    if first is not None:
        files = [f"figures/{first.name}_pattern.png", *sorted(first.outputs, key=lambda file: "/" in file)]
        existing = [file for file in files if result.folder is not None and (result.folder / file).exists()]
        print(f"look at {existing[0] if existing else 'summary.csv'} there first")
