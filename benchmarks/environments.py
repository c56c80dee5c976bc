"""Separate virtual environments for the other programs, installed from PyPI with pip."""

import json
import subprocess
import sys
from pathlib import Path

# Each entry: the arguments of the `pip install` calls, one after the other.
PACKAGES: dict[str, list[list[str]]] = {
    "pyfai": [["pyFAI", "fabio"]],
    # Its requirements hold a beamline's control system; this is what its integration code imports.
    "pdfstream": [
        ["--no-deps", "pdfstream==0.6.3"],
        ["pyFAI", "fabio", "matplotlib", "numba", "PyYAML", "scikit-beam", "setuptools<81", "tifffile", "xarray"],
    ],
    "dioptas": [["dioptas"]],
    "ewoksxrpd": [["ewoksxrpd"]],
}
SHOWN = [
    "xrdpipe",
    "pdfstream",
    "dioptas",
    "ewoksxrpd",
    "pyFAI",
    "fabio",
    "numpy",
    "numba",
    "matplotlib",
    "scikit-beam",
]
LIST_VERSIONS = """
import importlib.metadata as m, json, platform
have = {d.metadata["Name"].lower(): d.version for d in m.distributions()}
print(json.dumps({"python": platform.python_version(), **{n: have[n.lower()] for n in %r if n.lower() in have}}))
"""


class NotInstalledError(Exception):
    """Error for an environment that cannot be created, with the reason that pip gives."""


def python_of(name: str, work: Path) -> Path:
    """Return the interpreter of environment `name`, created in `work` on first use.

    Raise NotInstalledError if the installation fails.
    """
    folder = work / "environments" / name
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    receipt = folder / "installed.json"  # written last: an environment without it is unfinished
    packages = json.dumps(PACKAGES[name])
    if not (receipt.exists() and receipt.read_text() == packages):
        print(f"installing {name} ...", file=sys.stderr, flush=True)
        _call([sys.executable, "-m", "venv", "--clear", str(folder)])
        for arguments in PACKAGES[name]:
            _call([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments])
        receipt.write_text(packages)
    return python


def versions(python: Path | str) -> dict[str, str]:
    """Return the versions of Python and of the packages in `SHOWN` in the environment of `python`."""
    installed: dict[str, str] = json.loads(subprocess.check_output([python, "-c", LIST_VERSIONS % SHOWN]))
    return installed


def _call(command: list[str]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line.strip() for line in lines if "error" in line.lower()]
        raise NotInstalledError((errors or lines or ["no reason given"])[-1].strip())
