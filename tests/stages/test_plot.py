"""The figures, looked at as pixels."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from xrdpipe.model.cake import Cake
from xrdpipe.model.errors import ConfigError
from xrdpipe.model.frame import Frame, Results
from xrdpipe.model.pattern import Pattern
from xrdpipe.stages.plot.azimuth import CakeFigure
from xrdpipe.stages.plot.figures import ImageFigure, pattern_png, shrink_image
from xrdpipe.stages.plot.paint import MASK_COLOUR
from xrdpipe.stages.plot.plot import Plot
from xrdpipe.stages.plot.ring_lines import RING_UNITS
from xrdpipe.stages.stage import Setup

Pixels = NDArray[np.int16]
AXIS = np.linspace(1, 10, 200)


def pattern(scale: float = 100.0, sigma: bool = False, empty: int = 0) -> Pattern:
    intensity = scale * (1 + np.sin(AXIS) ** 2)
    intensity[:empty] = np.nan
    return Pattern(AXIS, intensity, intensity / 4 if sigma else None, "q_A^-1", "q label")


@pytest.fixture
def drawn(setup: Setup) -> Callable[..., Pixels]:
    """Draw frames with one step, as a run does; the pixels of the last figure."""

    def run(*frames: Frame, **keys: Any) -> Pixels:
        step = Plot(**keys).prepare(setup)
        for frame in frames:
            step(frame)
        what = "image" if keys.get("image") is not None else "pattern"
        assert setup.folder is not None
        with Image.open(setup.folder / "figures" / f"{frames[-1].name}_{what}.png") as picture:
            return np.asarray(picture.convert("RGB"), np.int16)

    return run


def image(image: Any, mask: Any = None, name: str = "a") -> Frame:
    return Frame(name, np.asarray(image, np.float32), mask=None if mask is None else np.asarray(mask, np.uint8))


def colour(name: Any) -> NDArray[np.int16]:
    from matplotlib.colors import to_rgb

    return np.round(np.array(to_rgb(name)) * 255).astype(np.int16)


def share(pixels: Pixels, rgb: Any, tolerance: int = 3) -> float:
    """The share of the picture that has a colour."""
    return float(np.mean(np.abs(pixels - np.asarray(rgb)).max(axis=-1) <= tolerance))


def box(pixels: Pixels, rgb: Any) -> tuple[int, int]:
    """Height and width of what has a colour."""
    rows, columns = np.nonzero(np.abs(pixels - np.asarray(rgb)).max(axis=-1) <= 3)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


RAMP = np.tile(np.linspace(0, 1000, 100), (120, 1))


def test_both_figures_are_drawn_by_name_and_nothing_else(setup: Setup, tmp_path: Path) -> None:
    stage = Plot({}, {})
    stage.prepare(setup)(Frame("a.b", RAMP.astype(np.float32), results=Results(pattern())))
    assert sorted(path.name for path in (tmp_path / "out" / "figures").iterdir()) == [
        "a.b_image.png",
        "a.b_pattern.png",
    ]
    assert stage.writes("a.b") == ["figures/a.b_image.png", "figures/a.b_pattern.png"]


@pytest.mark.parametrize(("keys", "what"), [({"image": {}}, "image"), ({"pattern": {}}, "pattern")])
def test_one_figure_alone_can_be_asked_for(keys: dict[str, Any], what: str, setup: Setup, tmp_path: Path) -> None:
    Plot(**keys).prepare(setup)(Frame("a", RAMP.astype(np.float32), results=Results(pattern())))
    assert [path.name for path in (tmp_path / "out" / "figures").iterdir()] == [f"a_{what}.png"]


def test_without_figures_or_folder_nothing_is_written(setup: Setup, tmp_path: Path) -> None:
    from dataclasses import replace

    frame = Frame("a", RAMP.astype(np.float32), results=Results(pattern()))
    assert Plot().prepare(setup)(frame) is frame
    assert Plot({}, {}).prepare(replace(setup, folder=None))(frame) is frame
    assert not (tmp_path / "out").exists()


def test_masked_pixels_have_their_colour_and_good_ones_do_not(drawn: Any) -> None:
    mask = np.zeros(RAMP.shape)
    mask[:30] = 1
    solid = {"mask_opacity": 1}
    with_, without = (drawn(image(RAMP, each), image=solid) for each in (mask, np.zeros(RAMP.shape)))
    assert share(without, MASK_COLOUR) == 0
    height, width = box(with_, MASK_COLOUR)
    assert height / width == pytest.approx(30 / 100, rel=0.05)


def test_pixels_that_are_not_finite_are_all_mask(drawn: Any) -> None:
    spoilt = RAMP.copy()
    spoilt[:30] = np.nan
    spoilt[30:60] = np.inf
    height, width = box(drawn(image(spoilt), image={}), MASK_COLOUR)
    assert height / width == pytest.approx(60 / 100, rel=0.05)


def test_a_single_masked_pixel_of_a_large_frame_can_be_seen(drawn: Any) -> None:
    large, mask = np.full((2000, 2000), 5.0), np.zeros((2000, 2000))
    mask[900, 1100] = 1
    pixels = drawn(image(large, mask), image={"cmap": "gray"}).astype(int)
    assert (pixels[..., 0] - pixels[..., 1]).max() > 20  # orange, where all else is grey


def test_an_image_that_is_masked_all_over_is_drawn(drawn: Any) -> None:
    assert share(drawn(image(RAMP, np.ones(RAMP.shape)), image={"mask_opacity": 1}), MASK_COLOUR) > 0.3


def test_the_image_is_seen_through_the_mask(drawn: Any) -> None:
    halves = np.where(np.arange(100) < 50, 10, 20) * np.ones((120, 1))
    mask = np.zeros(halves.shape)
    mask[:60] = 1
    pixels = drawn(image(halves, mask), image={"cmap": "gray"})
    for grey in (0, 255):
        assert share(pixels, 0.4 * grey + 0.6 * np.array(MASK_COLOUR)) > 0.05
    assert share(drawn(image(halves, mask), image={"cmap": "gray", "mask_opacity": 0}), (0, 0, 0)) > 0.1


@pytest.mark.parametrize("shape", [(300, 100), (100, 300), (100, 100), (2000, 500)])
def test_an_image_that_is_not_square_keeps_its_aspect(shape: tuple[int, int], drawn: Any) -> None:
    height, width = box(drawn(image(np.zeros(shape), np.ones(shape)), image={"mask_opacity": 1}), MASK_COLOUR)
    assert height / width == pytest.approx(shape[0] / shape[1], rel=0.03)


def test_rows_of_the_image_go_down_as_in_matshow_and_up_if_asked(drawn: Any) -> None:
    mask = np.zeros(RAMP.shape)
    mask[:30] = 1
    for origin, above in (("upper", True), ("lower", False)):
        pixels = drawn(image(RAMP, mask), image={"origin": origin, "mask_opacity": 1})
        rows = np.nonzero(np.abs(pixels - np.array(MASK_COLOUR)).max(axis=-1) <= 3)[0]
        assert (rows.mean() < pixels.shape[0] / 2) == above


@pytest.mark.parametrize("cmap", ["viridis", "gray", "magma"])
def test_the_colour_map_runs_from_vmin_to_vmax(cmap: str, drawn: Any) -> None:
    halves = np.where(np.arange(100) < 50, 10, 20) * np.ones((120, 1))
    pixels = drawn(image(halves), image={"cmap": cmap, "vmin": 10, "vmax": 20})
    for value in (0.0, 1.0):
        assert share(pixels, colour(mpl.colormaps[cmap](value))) > 0.15
    pixels = drawn(image(halves), image={"cmap": cmap, "vmin": 0, "vmax": 40, "scale": "linear"})
    for value in (0.25, 0.5):
        assert share(pixels, colour(mpl.colormaps[cmap](value)), 4) > 0.15


def test_colours_span_mean_plus_minus_z_score_times_std_of_the_good_pixels(drawn: Any) -> None:
    # Half 10, half 20: mean 15, std 5; the masked rows would change both.
    halves = np.where(np.arange(100) < 50, 10, 20) * np.ones((120, 1))
    mask = np.zeros((120, 100))
    mask[:20], halves[:20] = 1, 1e6
    for z_score, values in ((1.0, (0.0, 1.0)), (2.0, (0.25, 0.75))):
        pixels = drawn(image(halves, mask), image={"cmap": "gray", "z_score": z_score})
        for value in values:
            assert share(pixels, colour(str(value)), 4) > 0.1


def test_by_default_colours_follow_the_root_between_percentiles_so_that_a_strong_peak_hides_nothing(drawn: Any) -> None:
    steps = np.repeat([0.0, 1.0, 4.0, 9.0, 16.0], 20) * np.ones((120, 1))
    steps[60, 50] = 1e9
    for name, spoilt in (("a", steps), ("b", np.where(np.eye(120, 100), np.nan, steps))):
        pixels = drawn(image(spoilt, name=name), image={"cmap": "gray"})
        assert min(share(pixels, 255 * value, 4) for value in (0.0, 0.25, 0.5, 0.75)) > 0.03


def test_axes_count_pixels_of_the_frame(setup: Setup) -> None:
    figure = ImageFigure({})
    figure.draw(Frame("a", np.zeros((1500, 1000), np.float32)))
    assert figure.axes.get_xlim() == (-0.5, 998.5)  # 333 blocks of three pixels
    assert figure.axes.get_ylim() == (1499.5, -0.5)
    assert (figure.axes.get_xlabel(), figure.axes.get_ylabel()) == ("Column (pixel)", "Row (pixel)")


@pytest.mark.parametrize("unit", RING_UNITS)
def test_rings_lie_where_the_geometry_has_their_value(unit: str, setup: Setup) -> None:
    shape = setup.geometry.shape
    figure = ImageFigure({"rings": unit}, setup.geometry)
    figure.draw(Frame("a", np.zeros(shape, np.float32)))
    lines, *labels, centre = figure.moving[3:]
    radial = setup.geometry.integrator.center_array(shape, unit=unit)
    assert len(labels) >= 3
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        columns, rows = path.vertices.round().astype(int).T
        assert np.abs(radial[rows, columns] - level).max() < 0.03 * radial.max()
    column, row = (int(value[0]) for value in centre.get_data())
    assert radial[row, column] == radial.min()
    assert {label.get_text().lstrip("0123456789.") for label in labels} == {RING_UNITS[unit]}


def test_rings_in_q_need_a_wavelength(setup: Setup, tmp_path: Path) -> None:
    from dataclasses import replace

    poni = setup.geometry.poni
    lines = [line for line in poni.text.splitlines() if not line.startswith("Wavelength")]
    with pytest.raises(ConfigError, match=r"plot\.image\.rings=q_A\^-1: needs a wavelength"):
        Plot({"rings": "q_A^-1"}).check(replace(poni, text="\n".join(lines)))
    Plot({"rings": "2th_deg"}).check(replace(poni, text="\n".join(lines)))


def test_a_cake_is_white_where_no_pixel_is() -> None:
    cells = np.full((36, 50), 10.0)
    cells[:, 25:] = np.nan
    cake = Cake(np.arange(50.0), np.arange(-175.0, 180, 10), cells, None, "2th_deg")
    with Image.open(
        io.BytesIO(CakeFigure({"cmap": "gray", "vmin": 10, "vmax": 20, "rings": "2th_deg"}).draw(cake, "a"))
    ) as it:
        pixels = np.asarray(it.convert("RGB"), np.int16)
    height, width = box(pixels, (0, 0, 0))  # the frame of the axes
    inside = pixels[height // 4 : height // 2, width // 3 : width]
    assert share(inside, (255, 255, 255)) > 0.3
    assert share(pixels, (0, 0, 0)) > 0.25  # the other half has the first colour


@pytest.mark.slow
def test_a_logarithmic_norm_can_be_asked_for(drawn: Any) -> None:
    image_ = np.where(RAMP < 10, -5, RAMP)
    assert drawn(image(image_), image={"norm": "log"}).std() > 10
    assert drawn(image(image_), image={"norm": "log", "vmin": 1, "vmax": 1000}).std() > 10
    assert drawn(image(np.full((120, 100), -1.0)), image={"norm": "log"}).shape


@pytest.mark.parametrize(
    "keys",
    [
        {"alpha": 0.5},
        {"interpolation": "bilinear"},
        {"extent": [0, 10, 0, 12]},
        {"aspect": "auto"},
        {"cmap": "jet", "vmin": None, "vmax": None},
        {"zorder": 3, "rasterized": True},
    ],
)
def test_other_keys_of_matshow_are_taken(keys: dict[str, Any], drawn: Any) -> None:
    assert drawn(image(RAMP), image=keys).std() > 10


@pytest.mark.parametrize(
    ("keys", "visible"),
    [
        ({"color": "#00ff00"}, "#00ff00"),
        ({"c": "magenta"}, "magenta"),
        ({"color": "black", "marker": "o", "markerfacecolor": "#ffff00", "markersize": 8}, "#ffff00"),
        ({"linestyle": "none", "marker": "s", "color": "#ff00ff"}, "#ff00ff"),
        ({"lw": 4, "ls": "--", "color": "cyan"}, "cyan"),
        ({"linewidth": 4, "drawstyle": "steps-mid", "color": "cyan"}, "cyan"),
    ],
)
def test_keys_of_plot_are_what_the_line_looks_like(keys: dict[str, Any], visible: str, drawn: Any) -> None:
    pixels = drawn(Frame("a", np.zeros((2, 2), np.float32), results=Results(pattern())), pattern=keys)
    assert share(pixels, colour(visible)) > 0.0005


def test_a_wider_line_covers_more(drawn: Any) -> None:
    frame = Frame("a", np.zeros((2, 2), np.float32), results=Results(pattern()))
    thin, wide = (share(drawn(frame, pattern={"color": "#ff00ff", "linewidth": w}), colour("#ff00ff")) for w in (1, 5))
    assert wide > 3 * thin


def test_sigma_is_a_band_around_the_line(drawn: Any) -> None:
    plain, band = (
        drawn(
            Frame("a", np.zeros((2, 2), np.float32), results=Results(pattern(sigma=sigma))),
            pattern={"color": "#ff0000"},
        )
        for sigma in (False, True)
    )
    pink = colour((1, 0.7, 0.7))
    assert share(band, pink) > 0.05 > share(plain, pink)


def some_frames() -> list[Frame]:
    ramp, half = RAMP.astype(np.float32), (RAMP > 500).astype(np.uint8)
    return [
        Frame("first", ramp / 1000, results=Results(pattern(1))),
        Frame("second", ramp * 1000, mask=half, results=Results(pattern(1e6))),
        Frame("third", ramp.copy(), results=Results(pattern(sigma=True))),
        Frame("gap", ramp - 500, results=Results(pattern(empty=80))),
        Frame("last", ramp[::-1, ::-1].copy(), results=Results(pattern())),
    ]


@pytest.mark.parametrize("number", range(1, 5))
def test_the_figure_of_a_pattern_does_not_depend_on_the_frames_before_it(number: int, drawn: Any) -> None:
    frames = some_frames()
    after, alone = drawn(*frames[: number + 1], pattern={}), drawn(frames[number], pattern={})
    assert np.mean(np.abs(after - alone).max(axis=-1) > 20) < 3e-3  # but for an edge that is a pixel off


@pytest.mark.parametrize("number", range(1, 5))
def test_the_figure_of_an_image_does_not_depend_on_the_frames_before_it(number: int, drawn: Any) -> None:
    # All of it may stand a few pixels further left or right; colours and their number are the same.
    frames = some_frames()
    after, alone = (
        np.sort(pixels.reshape(-1, 3), axis=0)
        for pixels in (drawn(*frames[: number + 1], image={}), drawn(frames[number], image={}))
    )
    assert np.mean(np.abs(after - alone)) < 0.3


def test_a_pattern_is_drawn_over_the_whole_axis_of_its_run_also_where_bins_are_empty(drawn: Any) -> None:
    right = drawn(
        Frame("a", np.zeros((2, 2), np.float32), results=Results(pattern(empty=100))), pattern={"color": "#ff00ff"}
    )
    columns = np.nonzero(np.abs(right - colour("#ff00ff")).max(axis=-1) <= 3)[1]
    assert columns.min() > 0.45 * right.shape[1]  # half of the axis has no bin with a pixel


@pytest.mark.parametrize(
    "name", ["$x^2", "$\\frac{", "<script>alert(1)</script>", "a_b^c\\d", "%s {} {0}", "line\nbreak", "x" * 200, "Ωé"]
)
def test_a_title_of_any_name_is_harmless(name: str, setup: Setup) -> None:
    frame = Frame(name.replace("/", "|"), RAMP.astype(np.float32), results=Results(pattern()))
    Plot({}, {}).prepare(setup)(frame)


def test_values_far_apart_and_constant_images_are_drawn(drawn: Any) -> None:
    for values in (np.zeros((50, 40)), np.full((50, 40), 1e15), np.where(np.eye(50, 40) > 0, 1e15, -1e15)):
        assert drawn(image(values), image={}).shape


def test_a_pattern_without_any_value_is_drawn() -> None:
    nothing = Pattern(AXIS, np.full(AXIS.shape, np.nan), None, "2th_deg")
    assert pattern_png(nothing).startswith(b"\x89PNG")
    import xrdpipe.api  # noqa: F401 - tells patterns how they are drawn

    assert pattern()._repr_png_().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"image": {"cmap": "virids"}}, r"plot\.image\.cmap=virids: no such colour map; did you mean 'viridis'"),
        ({"image": {"cmpa": "gray"}}, r"plot\.image\.cmpa.*did you mean 'cmap'"),
        ({"image": {"interpolation": "nope"}}, r"plot\.image.*nope"),
        ({"image": {"z_score": "wide"}}, r"plot\.image"),
        ({"image": {"vmin": "low"}}, r"plot\.image"),
        ({"image": {"origin": "middle"}}, r"plot\.image"),
        ({"image": {"scale": "squrt"}}, r"image\.scale=squrt: unknown; did you mean 'sqrt'"),
        ({"image": {"scale": "log", "norm": "log"}}, r"plot\.image\.norm=log"),
        ({"image": {"rings": "q"}}, r"plot\.image\.rings=q: unknown"),
        ({"image": {"rings": "r_mm", "extent": [0, 1, 0, 1]}}, r"plot\.image\.rings=r_mm.*extent"),
        ({"image": {"mask_opacity": 2}}, r"plot\.image\.mask_opacity=2.0: 0 to 1 expected"),
        ({"pattern": {"colour": "red"}}, r"plot\.pattern\.colour.*did you mean 'color'"),
        ({"pattern": {"color": "redd"}}, r"plot\.pattern.*redd"),
        ({"pattern": {"marker": "nope"}}, r"plot\.pattern.*nope"),
        ({"pattern": {"linestyle": "wavy"}}, r"plot\.pattern.*wavy"),
        ({"pattern": {"linewidth": "thick"}}, r"plot\.pattern"),
        ({"pattern": {"color": "red", "c": "blue"}}, r"plot\.pattern"),
    ],
)
def test_what_matplotlib_does_not_take_is_refused_before_any_frame(
    keys: dict[str, Any], words: str, setup: Setup, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words) as error:
        Plot(**keys).check(setup.geometry.poni)
    assert len(str(error.value).splitlines()) <= 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shape", [(2048, 2048), (1043, 981), (7, 3000), (1, 1), (5, 5)])
def test_a_reduced_image_is_the_mean_of_the_good_pixels_of_each_block(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image_, masked = rng.random(shape, np.float32), rng.random(shape) < 0.5
    image_[masked] = np.nan
    values, covered, mean, std = shrink_image(image_, masked, 100)
    if not masked.all():
        good = image_[~masked].astype(float)
        assert (mean, std) == pytest.approx((good.mean(), good.std()), rel=1e-3)  # of whole blocks
    step = shape[0] // values.shape[0]
    assert max(values.shape) <= 100 or step == min(shape)
    block = (slice(0, step), slice(0, step))
    assert covered[0, 0] == pytest.approx(masked[block].mean())
    if not masked[block].all():
        assert values[0, 0] == pytest.approx(np.nanmean(image_[block]), rel=1e-5)


@pytest.mark.slow
def test_no_window_and_no_state_of_pyplot_is_touched(setup: Setup) -> None:
    import subprocess
    import sys

    code = (
        "import sys, numpy as np; from xrdpipe.model.pattern import Pattern;"
        "from xrdpipe.stages.plot.figures import pattern_png;"
        "pattern_png(Pattern(np.arange(3.), np.arange(3.), None, 'r_mm'));"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
