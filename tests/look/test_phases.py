"""Rings of phases: calibrants, files of the command line, d-spacings and cells that are typed."""

from __future__ import annotations

import math
from pathlib import Path
from urllib.parse import quote

import pytest
from command import xrdpipe
from look_page import WORDS, Page, served

from xrdpipe.look.canvas.phases import read_file_names, reflections
from xrdpipe.model.errors import ConfigError

CIF = """data_Ni
_cell_length_a 3.5238
_cell_length_b 3.5238
_cell_length_c 3.5238
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'F m -3 m'
loop_
_atom_site_label
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
Ni 0 0 0
"""


def spacings(phase: str, least: float = 1.0) -> list[float]:
    return [each.d for each in reflections(phase, {}, least)]


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("2.0345, 1.7619; 1.2459", [2.0345, 1.7619, 1.2459]),
        ("cubic F 3.5238", [3.5238 / math.sqrt(n) for n in (3, 4, 8, 11, 12)]),
        ("cubic 2", [2 / math.sqrt(n) for n in (1, 2, 3, 4)]),
        ("cubic I 2", [2 / math.sqrt(n) for n in (2, 4)]),
        ("hexagonal P 2 3", [3.0, 1.7320508, 1.5, 1.5, 1.1338934, 1.0, 1.0]),
        ("triclinic 2 2 2 90 90 90", [2 / math.sqrt(n) for n in (1, 2, 3, 4)]),
    ],
)
def test_spacings_and_cells_that_are_typed_give_their_rings(typed: str, expected: list[float]) -> None:
    found = spacings(typed)
    assert sorted({round(each, 4) for each in found}, reverse=True) == pytest.approx(
        sorted({round(each, 4) for each in expected}, reverse=True), abs=2e-4
    )


@pytest.mark.parametrize(
    "typed",
    ["Nickle", "", "1, -2", "nan", "1e999", "cubic", "cubic F", "cubic F 0", "cubic F 1 2", "cubic F 1e9", "x" * 5000,
     "triclinic 5 5 5 170 170 170", "hexagonal P 2.9 inf"],
)  # fmt: skip
def test_what_is_no_phase_is_refused_with_words_on_what_is_one(typed: str) -> None:
    with pytest.raises(ConfigError, match="phase="):
        spacings(typed)


def test_a_large_cell_is_cut_off_at_its_outer_rings_and_does_not_block() -> None:
    found = spacings("orthorhombic P 90 80 70", 0.5)
    assert 100 < len(found) < 100_000


@pytest.mark.slow
def test_files_of_spacings_are_given_on_the_command_line_and_rings_lie_on_the_frame(measured: Path, page: Page) -> None:
    by_name = page.get("/api/rings?phase=Ni").json["rings"]
    by_cell = page.get(f"/api/rings?phase={quote('cubic F 3.5238')}").json["rings"]
    assert [each["hkl"] for each in by_cell[:3]] == [[1, 1, 1], [2, 0, 0], [2, 2, 0]]
    assert [each["d"] for each in by_cell[:5]] == pytest.approx([each["d"] for each in by_name[:5]], rel=2e-3)
    for refused in ("/etc/passwd", "../data/own.D"):
        assert page.get(f"/api/rings?phase={quote(refused)}").status == 400
    (measured / "own.D").write_text("# mine\n2.03 # strongest\n1.76, 2 0 0\n")
    with served(measured, *WORDS[:2], "phase=own.D") as own:
        assert own.get("/api/info").json["phases"][0] == "own.D"
        assert [each["d"] for each in own.get("/api/rings?phase=own.D").json["rings"]] == [2.03, 1.76]
    told = xrdpipe("look", *WORDS[:2], "phase=data/own.npy", "browser=false", cwd=measured)
    assert (told.status, "phase=data/own.npy" in told.err) == (2, True)


def test_a_cif_gives_the_rings_of_its_cell_and_space_group(tmp_path: Path) -> None:
    pytest.importorskip("gemmi")
    (tmp_path / "Ni.cif").write_text(CIF)
    (tmp_path / "bad.cif").write_text("loop_\n_a\n")
    files = read_file_names(f"[{tmp_path / 'Ni.cif'}]")
    found = reflections("Ni.cif", files, 1.0)
    assert [each.d for each in found] == pytest.approx([3.5238 / math.sqrt(n) for n in (3, 4, 8, 11, 12)], abs=1e-5)
    assert found[0].hkl == [1, 1, 1]
    with pytest.raises(ConfigError, match=r"bad\.cif"):
        read_file_names(str(tmp_path / "bad.cif"))
