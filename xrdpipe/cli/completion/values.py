"""Values of keys that have a fixed set, and the words of the commands.

They stand here a second time because the schemas import numpy and pyFAI; `tests/cli/test_completion.py` compares them.
"""

from __future__ import annotations

METRICS = (
    *("pattern_error", "ring_scatter", "spottiness", "signal_to_background", "peak_width", "sigma_over_intensity"),
    *("reduced_chi2", "local_chi2", "flat_scatter", "mask_change", "oversubtracted_bins", "total_intensity"),
    *("negative_bins", "empty_bins", "masked_fraction", "masked_user", "masked_detector", "masked_edge"),
    *("masked_lower", "masked_upper", "masked_outlier", "masked_not_finite", "masked_grown", "seconds"),
)
UNITS = (  # of pyFAI, those of a powder pattern
    *("q_A^-1", "q_nm^-1", "2th_deg", "2th_rad", "d_A", "d_nm", "r_mm", "r_m", "d*2_A^-2", "d*2_nm^-2"),
    *("log(1+q.A)_None", "log(1+q.nm)_None", "arcsinh(q.A)_None", "arcsinh(q.nm)_None"),
)
SCALES = ("linear", "sqrt", "log")
VALUES = {
    "resume": ("true", "false", "verify"),
    "background.scale": ("auto",),
    "mask.auto_type": ("median", "mean", "mad", "sigma_clip"),
    "integ.unit": UNITS,
    "integ.error_model": ("poisson", "azimuthal", "hybrid", "null"),
    "plot.image.scale": SCALES,
    "plot.pattern.scale": SCALES,
    "plot.waterfall.scale": SCALES,
    "output.format": ("chi", "chi_fit2d", "xy", "xye", "xye_topas", "fxye", "csv", "nxs"),
    "output.mask": ("true", "false", "reasons"),
    "geometry.orientation": ("1", "2", "3", "4"),
    "parallel.backend": ("auto", "threading", "loky", "cuda", "dask", "slurm"),
    "parallel.cluster": ("slurm", "pbs", "lsf", "local"),
    "sweep.rank": METRICS,
}
LISTS = {  # keys that take a list of these
    "source.transform": ("flipud", "fliplr", "rot90", "transpose"),
    "plot.format": ("pdf", "svg", "png"),
    "stages": ("background", "correction", "mask", "integ", "plot", "output"),
    "fix": ("dist", "poni1", "poni2", "rot1", "rot2", "rot3", "wavelength"),
    "fit": ("wavelength",),
}
COMMANDS = {
    "calibrate": "a PONI from frames of a calibrant",
    "completion": "the script of a shell that completes commands, keys and values",
    "config": "show, search and explain keys",
    "doctor": "check the orientation of a frame against its PONI",
    "inspect": "what is inside files of frames",
    "look": "a page to see frames, draw masks and change keys",
    "mask": "the static mask of a series",
    "new": "write an experiment from the last run",
    "replay": "run a record again and compare",
    "report": "make report.html again",
}
KEYS = {  # command -> keys that it has besides those of a run, with their meaning; of calibrate, see `help.CALIBRATE`
    "inspect": {"thumbnail": "true, a folder, or a name.png"},
    "look": {
        "phase": "files of d-spacings or CIF whose rings can be shown",
        "save": "folder for masks and experiments",
        "port": "port of the page",
        "browser": "open the browser",
        "stay": "go on when the last tab is closed",
    },
    "mask": {"save": "file of the mask"},
    "new": {"from": "results folder", "to": "folder of the experiments"},
    "replay": {"output_dir": "folder of the new results", "inputs": "folder in which moved inputs are searched"},
}
OF_A_RUN = ("", "calibrate", "config", "doctor", "look", "mask")  # commands that take the keys of a run
WORDS = {"completion": ("bash", "zsh", "fish"), "new": ("experiment",)}  # command -> its first words
FOLDERS = ("output_dir", "source.folder", "from", "to", "inputs", "look save", "hydra.sweep.dir")
FILES = ("integ.edges", "phase", "save", "thumbnail", "calibrant")  # besides `arguments.PATH_KEYS` and `NUMBER_KEYS`
SWITCHES = {"overwrite", "browser", "stay"}  # of commands, true or false
OPTIONS = {
    "--multirun": "a sweep",
    "--cfg": "show the resulting configuration",
    "--info": "show which files the configuration is made of",
    "--config-dir": "a folder with your own options",
    "--config-name": "another top-level file than config.yaml",
    "--package": "with --cfg: the part to show",
    "--resolve": "with --cfg: resolve interpolations",
    "--json": "one JSON document on stdout",
    "--help": "the manual page",
    "--version": "the version",
}
AFTER = {  # option -> values of its next word
    "--cfg": ("job", "hydra", "all"),
    "-c": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "-i": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "-sc": ("install=bash", "install=zsh", "install=fish"),
}
