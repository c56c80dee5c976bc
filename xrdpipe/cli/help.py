"""The text of ``xrdpipe --help``, made from the shipped configuration files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ..config.described import (
    GROUPS,
    Described,
    conf_dir,
    described_keys,
    described_option,
    group_keys,
    option_files,
)

HEAD = """\
xrdpipe - 2D X-ray diffraction frames to 1D patterns that can be trusted

USAGE
  xrdpipe poni=FILE IMAGE... [group=option ...] [group.key=value ...]
  xrdpipe -m key=value,value ...        a sweep: a job for every combination
  xrdpipe source=demo                   no data at hand: makes its own
  xrdpipe inspect FILE...               what is inside: frames, datasets, statistics, header
  xrdpipe calibrate calibrant=CeO2 wavelength=M detector=NAME IMAGE save=FILE   a PONI from a frame of a calibrant,
                                        without start values (xrdpipe calibrate --help)
  xrdpipe doctor poni=FILE IMAGE        is the frame in the orientation of its PONI, and its mask? (mask.file=...)
  xrdpipe mask poni=FILE IMAGE... save=mask.npy   the static mask of a series: what is bad in every frame, and why
  xrdpipe look poni=FILE IMAGE...       a page in the browser: see frame, mask and pattern, change keys, draw a mask
  xrdpipe config [KEY or WORD] [...]    show, search and explain keys: value, meaning, what is allowed, where it is set
  xrdpipe new experiment NAME           the last run as a commented YAML file, to be edited and run again
  xrdpipe replay FOLDER                 run a record again and compare, byte by byte
  xrdpipe report FOLDER                 make report.html of a run or a sweep again

EXAMPLES
  xrdpipe poni=geometry.poni images='data/*.tiff'
  xrdpipe poni=geometry.poni data/*.tiff mask=strict integ.unit=2th_deg
  xrdpipe poni=geometry.poni @list.txt background.file=air.tiff background.scale=0.1 output_dir=run_7
  xrdpipe -m mask.alpha=1.5,2,3 mask.edge=0,30 poni=geometry.poni data/*.tiff
  xrdpipe experiment=temperature_series poni=geometry.poni data/*.tiff plot.width=85

ARGUMENTS
  Bare paths are images; globs (also **) may be quoted; @list.txt names a file with one path a line.
  group=option picks a prepared set of values, group.key=value sets one; lists are [a,b], nothing is null.
"""

CALIBRATE = """\
xrdpipe calibrate - the geometry of a detector from frames of a calibrant

USAGE
  xrdpipe calibrate calibrant=CeO2 wavelength=1.665e-11 detector=Pilatus1M IMAGE save=geometry.poni
  xrdpipe calibrate calibrant=LaB6 energy=31 pixel=[2e-4,2e-4] poni=start.poni IMAGE fix=[rot1,rot2] save=new.poni
  xrdpipe calibrate calibrant=LaB6 wavelength=4e-11 pixel=[1e-4,1e-4] near.tif far.tif distances=[0.2,0.4] \\
      fit=[wavelength] save=geometry.poni
  xrdpipe calibrate calibrant=LaB6 pixel=[1e-4,1e-4] a.tif b.tif energies=[60,75] save=geometry.poni
  xrdpipe calibrate calibrant=LaB6 poni=geometry.poni series*.tif     follow the geometry over a series

KEYS
  calibrant        a name in pyFAI (CeO2, LaB6, Si, ...), or a file of d-spacings in angstrom, one a line
  wavelength       m; by default that of poni=, or of the header of the frame
  energy           the same in keV
  detector         a name in pyFAI; by default that of poni=
  pixel            size of a pixel, [slow,fast], m, for a detector without a name
  poni             a geometry to begin with; by default distance, centre and tilt are found from the frame
  fix              parameters that keep their values, of dist, poni1, poni2, rot1, rot2, rot3, wavelength
  fit              parameters that are refined although they are fixed by default (wavelength)
  bounds.NAME      lowest and highest value of a parameter, as in bounds.dist=[0.1,0.3] (m, rad)
  distances        of each frame, m: one geometry, the detector moved along a straight line; differences are exact
  energies         of each frame, keV: one geometry
  save             the PONI file; of several frames, a name is added for each; of a series, the table (.csv)
  overwrite, dry_run, quiet, report, source, background, mask.file, geometry.orientation: as of a run

EXIT STATUS
  0 written   1 a frame does not decide, or a series has one that does not   2 refused   130 stopped

A page (.html) beside the file of save= shows rings, residuals and the cake; report=false leaves it out.
"""

TAIL = """\
COMPLETION
  eval "$(xrdpipe completion bash)"        in ~/.bashrc; or zsh in ~/.zshrc
  xrdpipe completion fish | source         in ~/.config/fish/config.fish

OPTIONS
  -m, --multirun       a sweep
  --cfg job            show the resulting configuration, and where each value is from (--cfg hydra: Hydra's own)
  --info [defaults]    show which files it is made of, in which order; searchpath: the folders they are looked for in
  --config-dir DIR     a folder with your own options: DIR/mask/mine.yaml, then mask=mine
  --config-name NAME   another top-level file than config.yaml
  --json               one JSON document on stdout, messages and progress on stderr
  --version, --help

EXIT STATUS
  0 all done; 1 at least one image or job failed, the others are done; 2 refused before any image was tried;
  130 stopped with Ctrl-C, what is done is saved."""


def help_text(command: str = "") -> str:
    """Return the manual page of a command; of a run: usage, top-level keys, every group with its options and keys."""
    if command == "calibrate":
        return CALIBRATE
    parts = [HEAD, "TOP LEVEL", *_lines(described_keys(conf_dir() / "config.yaml")), ""]
    for group in GROUPS:
        parts += [group.upper(), *group_lines(group), ""]
    parts += ["EXPERIMENT", *_options("experiment", option_files("experiment"), 30), ""]
    return "\n".join([*parts, TAIL])


def group_lines(group: str) -> list[str]:
    """Return the lines of the manual about a group: its options and its keys."""
    files = option_files(group)
    return [*_options(group, files), *_lines(group_keys(group, files))]


def _options(group: str, files: Mapping[str, Path], width: int = 28) -> list[str]:
    return [f"  {f'{group}={option}':<{width}} {described_option(path)}" for option, path in files.items()]


def _lines(keys: Mapping[str, Described]) -> list[str]:
    return [f"  {name:<28} {text}{f' ({value})' if value else ''}" for name, (value, text) in keys.items()]
