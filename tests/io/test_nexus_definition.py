"""The NeXus files have what the application definitions NXazint1d and NXazint2d require.

The lists follow ``applications/NXazint1d.nxdl.xml`` and ``NXazint2d.nxdl.xml`` of github.com/nexusformat/definitions,
at commit 0cbc766bf98f009ee2066de219657037a17ac38b: every group, field and attribute that is not marked optional there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from command import call
from nexus_files import WORDS

GROUPS = {  # path below the entry -> class; the definition names only "reduction" and "input"
    "": "NXentry",
    "instrument": "NXinstrument",
    "instrument/monochromator": "NXmonochromator",
    "instrument/source": "NXsource",
    "reduction": "NXprocess",
    "reduction/input": "NXparameters",
    "data": "NXdata",
}
FIELDS = {  # path below the entry -> kinds of numpy: text, boolean, real number
    "definition": "O",
    "solid_angle_applied": "b",
    "polarization_applied": "b",
    "normalization_applied": "b",
    "monitor_applied": "b",
    "instrument/name": "O",
    "instrument/monochromator/wavelength": "f",
    "instrument/monochromator/energy": "f",
    "instrument/source/name": "O",
    "instrument/source/type": "O",
    "instrument/source/probe": "O",
    "reduction/program": "O",
    "reduction/version": "O",
    "reduction/date": "O",
    "reduction/reference": "O",
    "data/I": "iuf",
    "data/radial_axis": "iuf",
}
AXES = {"NXazint1d": [".", "radial_axis"], "NXazint2d": [".", "azimuthal_axis", "radial_axis"]}
VALUES = {  # path and attribute -> what the definition lists
    "data/I@long_name": {"intensity"},
    "data/I@units": {"arbitrary units"},
    "data/I_errors@long_name": {"estimated intensity error"},
    "data/I_errors@units": {"arbitrary units"},
    "data/radial_axis@long_name": {"q", "2theta"},
    "data/radial_axis@units": {"1/angstrom", "1/nm", "degree", "rad"},  # of NX_WAVENUMBER, NX_ANGLE
    "data/azimuthal_axis@long_name": {"azimuthal bin center"},
    "data/azimuthal_axis@units": {"degree"},  # of NX_ANGLE
    "instrument/monochromator/wavelength@units": {"angstrom"},
    "instrument/monochromator/energy@units": {"keV"},
}


def check(path: Path, definition: str) -> None:
    """Fail where a file lacks something that the definition requires, or has a value that it does not list."""
    with h5py.File(path) as file:
        entry = file["entry"]
        for name, kind in GROUPS.items():
            assert (entry[name] if name else entry).attrs["NX_class"] == kind
        for name, kinds in FIELDS.items():
            assert entry[name].dtype.kind in kinds, name
        assert entry["definition"].asstr()[()] == definition
        data = entry["data"]
        assert data.attrs["axes"].tolist() == AXES[definition]
        assert data.attrs["signal"] == "I"
        assert data.attrs["interpretation"] == {"NXazint1d": "spectrum", "NXazint2d": "image"}[definition]
        for where, allowed in VALUES.items():
            name, attribute = where.split("@")
            if name in entry:
                assert entry[name].attrs[attribute] in allowed, where
        lengths = [len(entry["frames/name"]), *(len(data[axis]) for axis in AXES[definition][1:])]
        assert data["I"].shape == tuple(lengths)
        assert data["I_errors"].shape == data["I"].shape


@pytest.mark.parametrize("unit", ["q_A^-1", "2th_rad"])
def test_patterns_have_what_nxazint1d_requires(unit: str, here: Path) -> None:
    assert call(*WORDS, f"integ.unit={unit}", "output_dir=out").status == 0
    check(here / "out" / "patterns.nxs", "NXazint1d")


@pytest.mark.slow
def test_sectors_and_cakes_have_what_the_definitions_require(here: Path) -> None:
    error = "integ.error_model=poisson"
    assert call(*WORDS, "integ=sectors", "integ.sectors=[[-90,90]]", error, "output_dir=sectors").status == 0
    assert call(*WORDS, "integ=cake", "integ.npt_azim=12", error, "output_dir=cake").status == 0
    check(here / "sectors" / "patterns_sector_-90_90.nxs", "NXazint1d")
    check(here / "cake" / "patterns_cake.nxs", "NXazint2d")


@pytest.mark.parametrize(
    ("words", "applied"),
    [
        ((), {}),
        (("integ.correctSolidAngle=true", "integ.polarization_factor=0.9"), {"solid_angle", "polarization"}),
        (("correction.polarization_factor=0.9", "integ.exposure=2"), {"polarization", "monitor"}),
        (("integ.monitor=2",), {"monitor"}),
    ],
)
def test_corrections_that_are_applied_are_said_to_be(words: tuple[str, ...], applied: Any, here: Path) -> None:
    assert call(*WORDS, *words, "data/ni_1.tiff", "output_dir=out").status == 0
    with h5py.File(here / "out" / "patterns.nxs") as file:
        names = ("solid_angle", "polarization", "normalization", "monitor")
        assert {name for name in names if file[f"entry/{name}_applied"][()]} == {"normalization", *applied}
        assert np.isfinite(file["entry/instrument/monochromator/energy"][()])
