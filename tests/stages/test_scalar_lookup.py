"""A monitor or an exposure time: where each frame's is found, and what is said where it is not."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import fabio
import h5py
import numpy as np
import pytest
import tifffile
from command import FAST, CommandResult, call, results
from hypothesis import given
from hypothesis import strategies as st

from xrdpipe.io.header import file_header
from xrdpipe.model.errors import ConfigError, FrameError
from xrdpipe.model.frame import Frame, Info
from xrdpipe.stages.scalar_lookup import ScalarLookup

NOTHING = np.empty((0, 0), np.float32)


def frame(name: str = "a", file: str = "a.edf", **header: Any) -> Frame:
    return Frame(name, NOTHING, header=header, info=Info(file))


def table(folder: Path, text: str) -> str:
    (folder / "log.csv").write_text(text, encoding="utf-8")
    return f"{folder / 'log.csv'}:i0"


@pytest.mark.slow
@given(st.floats(min_value=1e-300, max_value=1e300))
def test_a_number_is_that_of_every_frame(value: float) -> None:
    assert ScalarLookup("k", value).of(frame()) == value
    assert ScalarLookup("k", repr(value)).of(frame()) == value


def test_a_header_key_may_be_text_or_number() -> None:
    assert ScalarLookup("k", "i0").of(frame(i0="1.5e3")) == 1500
    assert ScalarLookup("k", "i0").of(frame(i0=np.float32(2))) == 2


@pytest.mark.parametrize("value", ["0", "-3", "nan", "inf", "", "many", None])
def test_a_value_that_is_no_positive_number_fails_the_frame(value: Any) -> None:
    with pytest.raises(FrameError, match=r"integ\.monitor=i0: is .* in the header of a\.edf, a number"):
        ScalarLookup("integ.monitor", "i0").of(frame(i0=value))


def test_a_missing_key_fails_the_frame_with_the_nearest_one() -> None:
    with pytest.raises(FrameError, match=r"not in the header of a\.edf; did you mean 'Photo'\?"):
        ScalarLookup("integ.monitor", "Foto").of(frame(Photo="1", Exposure="2"))


@pytest.mark.parametrize("first", ["a", "a.edf", "run/a.edf", "/data/run/a.edf"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", ", "])
def test_a_row_is_that_of_the_name_or_the_file(first: str, delimiter: str, tmp_path: Path) -> None:
    lines = ["image temperature i0", "b.edf 300 7", f"{first} 310 8"]
    where = table(tmp_path, "\n".join(line.replace(" ", delimiter) for line in lines))
    assert ScalarLookup("k", where).of(frame()) == 8


def test_the_name_in_the_results_tells_files_of_one_name_apart(tmp_path: Path) -> None:
    where = table(tmp_path, "image,i0\nx_a,1\ny_a,2\na.edf,3\n")
    assert [ScalarLookup("k", where).of(frame(name)) for name in ("x_a", "y_a", "z_a")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("b,1", "has no row for a.edf"),
        ("a.edf,1\nx/a.edf,2", "2 rows of .* are for a.edf, one is expected"),
        ("a.edf", "is '' in the row of a.edf"),
        ("a.edf,0", "is 0 in the row of a.edf .* a number > 0"),
    ],
)
def test_a_frame_without_one_good_row_fails(rows: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(FrameError, match=said):
        ScalarLookup("k", table(tmp_path, f"image,i0\n{rows}\n")).of(frame())


@pytest.mark.parametrize(("text", "said"), [("", "is empty"), ("image,I0\na,1", "has no such column; allowed: I0")])
def test_a_table_without_the_column_is_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        ScalarLookup("k", table(tmp_path, text)).check()


@pytest.mark.parametrize("where", [0, -1.0, float("nan"), True, "", [1]])
def test_what_names_no_number_is_refused(where: Any) -> None:
    with pytest.raises(ConfigError, match="monitor="):
        ScalarLookup("monitor", where)


def test_a_header_is_that_of_the_file_and_a_path_leads_into_hdf5(tmp_path: Path) -> None:
    fabio.edfimage.EdfImage(np.zeros((4, 5), np.uint16), {"Photo": "12.5"}).write(str(tmp_path / "a.edf"))
    assert file_header(str(tmp_path / "a.edf"))["Photo"] == 12.5
    assert "Photo" in file_header(str(tmp_path / "a.edf"))
    assert len(file_header(str(tmp_path / "a.edf"))) >= 1
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/i0"], file["entry/note"], file["entry/many"] = [42.5], "text", [1, 2]
    header = file_header(str(tmp_path / "a.h5"))
    assert (header["/entry/i0"], header["/entry/note"]) == (42.5, "text")
    for key in ("/entry/none", "/entry/many", "/entry", "other"):
        assert key not in header
    assert "/entry/i0" not in file_header(str(tmp_path / "a.edf"))


@pytest.fixture
def edf(frames: list[Path], data: Path) -> list[Path]:
    """The frames as EDF with a monitor in the header; the last one has none."""
    paths = [data / f"m_{number}.edf" for number in range(3)]
    for path, tiff, header in zip(paths, frames, ({"Photo": "2"}, {"Photo": "4"}, {}), strict=True):
        fabio.edfimage.EdfImage(tifffile.imread(tiff), header).write(str(path))
    return paths


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "summary.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_frame_without_monitor_fails_alone_and_the_others_are_divided(
    edf: list[Path], poni: Path, tmp_path: Path
) -> None:
    counts, divided = tmp_path / "counts", tmp_path / "divided"

    def run(out: Path, *words: str) -> CommandResult:
        return call(f"poni={poni}", *edf, "integ.error_model=poisson", *FAST, *words, f"output_dir={out}")

    assert run(counts).status == 0
    told = run(divided, "integ.monitor=Photo", "integ.exposure=0.5")
    assert told.status == 1
    assert "m_2.edf: integ.monitor=Photo: not in the header of m_2.edf" in told.err
    for name, factor in (("m_0", 1), ("m_1", 2)):
        before, after = (np.loadtxt(folder / f"{name}.chi") for folder in (counts, divided))
        np.testing.assert_allclose(after[:, 1:] * factor, before[:, 1:], rtol=2e-6)
        assert f"# monitor: {2.0 * factor}\n# exposure: 0.5\n" in (divided / f"{name}.chi").read_text()
    assert [row["monitor"] for row in rows(divided)] == ["2.0", "4.0", ""]
    assert [row["status"] for row in rows(divided)] == ["done", "done", "failed"]


@pytest.mark.slow
def test_a_table_is_an_input_like_any_other(frames: list[Path], poni: Path, tmp_path: Path, data: Path) -> None:
    where = table(data, "file,i0\n" + "".join(f"{path.name},{number + 1}\n" for number, path in enumerate(frames)))
    out = tmp_path / "out"
    words = (f"poni={poni}", *frames, *FAST, f"integ.monitor={where}")
    assert call(*words, f"output_dir={out}").status == 0
    assert [row["monitor"] for row in rows(out)] == ["1.0", "2.0", "3.0"]
    header = (out / "ni_1.chi").read_text()
    assert "# monitor_table: log.csv xxh128:" in header
    assert '"monitor": "log.csv:i0"' in header
    assert call("replay", out).status == 0
    serial = tmp_path / "serial"
    assert call(*words, "parallel=serial", f"output_dir={serial}").status == 0
    assert results(serial) == results(out)
    (data / "log.csv").rename(data / "moved.csv")
    assert call("replay", out, f"inputs={data}").status == 0
    told = call(*words, f"output_dir={tmp_path / 'none'}")
    assert told.status == 2
    assert "log.csv: no such file" in told.err
