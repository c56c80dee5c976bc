"""The notebooks of the docs run, without a warning and without a network, and show what they promise."""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path
from typing import Any

import pytest

NOTEBOOKS = Path(__file__).parent.parent / "docs" / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
STRICT = "import warnings; warnings.simplefilter('error')"
NO_NETWORK = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_BUILD_ISOLATION": "0",
    "PIP_NO_DEPS": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}


def executed(cells: list[Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the cells with their outputs, as a kernel in a folder makes them."""
    (folder / "site").mkdir()
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    for key, value in {**NO_NETWORK, "PIP_TARGET": str(folder / "site"), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("PYTHONPATH", str(folder / "site"), prepend=os.pathsep)
    monkeypatch.setenv("PATH", sysconfig.get_path("scripts"), prepend=os.pathsep)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(STRICT), *cells])
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    return list(client.execute().cells[1:])


def outputs(cells: list[Any], kind: str) -> list[str]:
    """Return the outputs of a kind, such as text/html."""
    data = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    return [each[kind] for each in data if kind in each]


def test_notebooks_are_kept_without_outputs() -> None:
    import json

    assert NAMES == ["first_steps", "own_stage", "sweep"]
    for name in NAMES:
        cells = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]
        code = [cell for cell in cells if cell["cell_type"] == "code"]
        assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_runs_from_its_first_to_its_last_cell(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4)
    nbformat.validate(notebook)
    cells = executed(notebook.cells, tmp_path, monkeypatch)
    errors = [each for cell in cells for each in cell.get("outputs", []) if each["output_type"] == "error"]
    printed = [each["text"] for cell in cells for each in cell.get("outputs", []) if each.get("name") == "stderr"]
    assert errors == []
    assert all(line.startswith("xrdpipe: making frames in ") for line in "".join(printed).splitlines())
    texts = "\n".join(outputs(cells, "text/plain"))
    if name == "first_steps":
        assert "3/3" in "".join(outputs(cells, "text/html"))
        assert len(outputs(cells, "image/png")) == 2
        assert texts.endswith("True")
    if name == "sweep":
        assert "'best': 2" in texts  # mask.alpha=4
    if name == "own_stage":
        assert "array([0., 1., 1., 1., 0.])" in texts


@pytest.mark.slow
def test_progress_in_a_notebook_is_one_bar_that_needs_no_widgets(
    poni: Path, frames: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nbformat = pytest.importorskip("nbformat")
    code = (
        "import xrdpipe\nrun = xrdpipe.integrate('data/tiny.poni', 'data/ni_*.tiff', 'data/<b>.tiff', plot='none', "
        "output_dir=None, quiet=False)"
    )
    cells = executed([nbformat.v4.new_code_cell(code)], tmp_path, monkeypatch)
    bars = outputs(cells, "text/html")
    assert len(bars) == 1
    assert 'value="4" max="4"' in bars[0]
    assert "4/4, " in bars[0]
    streams = "".join(each.get("text", "") for each in cells[0]["outputs"] if each["output_type"] == "stream")
    assert "failed: data/<b>.tiff: no such file" in streams
    assert "\x1b" not in streams + bars[0]
