"""The compared programs: what each does, and the command that runs it."""

import json
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .environments import NotInstalledError, python_of
from .frames import Frames
from .measure import FailedError, Usage, run

HERE = Path(__file__).parent
SIGMA_CLIP = {"error_model": "azimuthal", "thres": 0, "max_iter": 3}  # the example in the docs of pyFAI's Worker


@dataclass
class Bench:
    """State of a session: folders, numbers of frames, working interpreters, and failures with their reasons."""

    work: Path
    frames: Frames
    few: int
    many: int
    rounds: int
    pythons: dict[str, Path] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def output(self, name: str) -> Path:
        """Create an empty folder for the results of `name`."""
        folder = self.work / "output" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def run(
        self, name: str, command: list[object], variables: Mapping[str, str] | None = None, watch: bool = False
    ) -> Usage:
        """Run a command to its end, with output in logs/<name>.log and with the caches of this session."""
        log = self.work / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        ours = {"MPLBACKEND": "Agg", "XDG_CACHE_HOME": str(self.work / "cache"), **(variables or {})}
        return run([str(word) for word in command], ours, log, watch)

    def prepare(self, name: str) -> None:
        """Install program `name` if necessary and process a few frames; add it to `pythons` or to `failed`."""
        program = PROGRAMS[name]
        try:
            python = python_of(program.environment, self.work) if program.environment else Path(sys.executable)
            self.run(name, program.command(self, name, python, self.few), program.variables)
        except NotInstalledError as error:
            self.failed[name] = f"not installed: {error}"
        except (FailedError, OSError) as error:
            self.failed[name] = f"does not run: {error}"
        else:
            count = len(list((self.work / "output" / name).glob(program.results)))
            if count == self.few or program.results == "*.h5":
                self.pythons[name] = python
            else:
                self.failed[name] = f"does not run: {count} results of {self.few} frames"


Command = Callable[[Bench, str, Path, int], list[object]]


@dataclass(frozen=True)
class Program:
    """A program; `command(bench, name, python, count)` processes `count` frames into `bench.output(name)`."""

    does: str
    environment: str | None  # see `environments`; None: the one of xrdpipe, where this runs
    command: Command
    results: str = "*.chi"  # pattern of its results, one per frame
    variables: dict[str, str] = field(default_factory=dict)


def xrdpipe(bench: Bench, output: str, images: list[Path], *overrides: str) -> list[object]:
    """Return the command line of xrdpipe on `images`."""
    settings = [f"poni={bench.frames.poni}", f"output_dir={bench.output(output)}", "quiet=true"]
    return [Path(sys.executable).with_name("xrdpipe"), *settings, *overrides, *images]


def script(file: str, *options: str) -> Command:
    """Return a command that runs python peer_<file>.py [options] PONI BACKGROUND OUTPUT FRAME..."""

    def command(bench: Bench, name: str, python: Path, count: int) -> list[object]:
        frames = bench.frames
        inputs = [frames.poni, frames.background, bench.output(name), *frames.first(count)]
        return [python, HERE / f"peer_{file}.py", *options, *inputs]

    return command


def _xrdpipe(plot: str) -> Command:
    def command(bench: Bench, name: str, _python: Path, count: int) -> list[object]:
        background = f"background.file={bench.frames.background}"
        return xrdpipe(bench, name, bench.frames.first(count), background, f"plot={plot}")

    return command


def _pyfai_integrate(**settings: object) -> Command:
    config = {
        "application": "worker",
        "version": 5,
        "nbpt_rad": 1480,
        "nbpt_azim": 1,
        "unit": "q_A^-1",
        "correct_solid_angle": False,
        "method": ["full", "csr", "cython"],
        **settings,
    }

    def command(bench: Bench, name: str, python: Path, count: int) -> list[object]:
        file = bench.work / f"{name}.json"
        file.write_text(json.dumps({**config, "poni": str(bench.frames.poni)}))
        options = ["--no-gui", "-j", file, "-o", bench.output(name)]
        return [python.with_name("pyFAI-integrate"), *options, *bench.frames.first(count)]

    return command


def _matplotlib(bench: Bench, name: str, python: Path, count: int) -> list[object]:
    return [python, HERE / "peer_matplotlib.py", count, bench.frames.images[0], bench.output(name)]


PROGRAMS = {
    "xrdpipe": Program("background, mask", None, _xrdpipe("none")),
    "pdfstream": Program("background, mask; all cores", "pdfstream", script("pdfstream")),
    "dioptas": Program("background, spot mask", "dioptas", script("dioptas"), "*.xy"),
    "pyfai-sigma-clip": Program(
        "sigma clipping",
        "pyfai",
        _pyfai_integrate(
            method=["no", "csr", "cython"],
            integrator_method="sigma_clip",
            error_model=SIGMA_CLIP["error_model"],
            extra_options={key: SIGMA_CLIP[key] for key in ("thres", "max_iter")},
        ),
        "*.dat",
    ),
    "pyfai-integrate": Program("no mask", "pyfai", _pyfai_integrate(), "*.dat"),
    "ewoksxrpd": Program("no mask", "ewoksxrpd", script("ewoksxrpd"), "*.h5"),
    "pyfai-loop": Program("no mask", "pyfai", script("pyfai_loop", "1")),
    "pyfai-loop-2": Program(
        "no mask; two processes", "pyfai", script("pyfai_loop", "2"), variables={"OMP_NUM_THREADS": "1"}
    ),
    "xrdpipe-figures": Program("background, mask, two figures", None, _xrdpipe("default")),
    "matplotlib": Program("two figures, nothing else", None, _matplotlib, "*_image.png"),
}
NOT_ON_PYPI = {"azint": "not installed: not on PyPI (2026)"}
