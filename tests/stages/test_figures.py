"""Pictures that are painted and written faster than by matplotlib and Pillow are the same, dot by dot."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.cm import ScalarMappable
from numpy.typing import NDArray
from PIL import Image

from xrdpipe.model.cake import Cake
from xrdpipe.model.frame import Frame
from xrdpipe.model.pattern import Pattern
from xrdpipe.stages.plot.azimuth import CakeFigure
from xrdpipe.stages.plot.colours import colour_norm
from xrdpipe.stages.plot.figures import ImageFigure, PatternFigure
from xrdpipe.stages.plot.paint import MASK_COLOUR, colour_table, paint
from xrdpipe.stages.plot.png import encode_png


@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([3, 4]))))
def test_a_png_file_holds_its_pixels(pixels: NDArray[np.uint8]) -> None:
    with Image.open(io.BytesIO(encode_png(pixels, 150))) as picture:
        picture.verify()
    with Image.open(io.BytesIO(encode_png(pixels, 150))) as picture:
        assert np.array_equal(np.asarray(picture), pixels[..., :3])
        assert picture.info["dpi"] == pytest.approx((150, 150), abs=0.1)


@settings(max_examples=50)
@given(
    arrays(np.float32, (6, 7), elements=st.one_of(st.floats(-100, 100, width=32), st.just(np.nan))),
    arrays(np.float32, (6, 7), elements=st.floats(0, 1, width=32)),
    st.floats(-100, 100),
    st.floats(0.5, 100),
    st.sampled_from(["viridis", "gray_r", "tab10"]),
    st.sampled_from(["linear", "sqrt"]),
    st.floats(0, 1),
)
def test_colours_are_those_of_matplotlib_blended_with_that_of_the_mask(
    values: NDArray[np.float32],
    share: NDArray[np.float32],
    low: float,
    span: float,
    cmap: str,
    scale: str,
    opacity: float,
) -> None:
    colours = ScalarMappable(colour_norm(scale), cmap)
    colours.set_clim(low, low + span)
    table = colour_table(colours)
    assert table is not None
    rgba = np.empty((*values.shape, 4), np.uint8)
    paint(values, share, low, low + span, scale == "sqrt", table, MASK_COLOUR, opacity, rgba)
    weight = (np.sqrt(share) * np.where(np.isnan(values), 1, opacity))[..., np.newaxis]
    part = (values - np.float32(low)) / span
    edges = (np.sqrt(np.maximum(part, 0)) if scale == "sqrt" else part) * len(table[:-3])
    clear = np.isnan(values) | (np.abs(edges - np.round(edges)) > 1e-3)  # between two colours rounding decides
    expected = colours.to_rgba(values, bytes=True)[..., :3] * (1 - weight) + np.array(MASK_COLOUR) * weight
    assert np.abs(rgba[..., :3] - expected)[clear].max(initial=0) < 1.01
    assert (rgba[..., 3] == 255).all()


@pytest.mark.parametrize(
    ("shape", "keys"),
    [
        ((120, 100), {}),
        ((30, 700), {"origin": "lower"}),
        ((7, 5), {"cmap": "gray", "vmin": 0, "vmax": 9}),
    ],
)
def test_the_image_is_where_matplotlib_draws_it(shape: tuple[int, int], keys: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    frames = [Frame("a", rng.normal(5, scale, shape).astype(np.float32)) for scale in (1, 300)]
    copied, drawn = ImageFigure(dict(keys)), ImageFigure(dict(keys))
    drawn.arrange = lambda: None  # type: ignore[method-assign]
    for frame in frames:
        assert copied.draw(frame) == drawn.draw(frame)
    assert copied.dots is not None
    assert drawn.dots is None


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["image", "pattern", "cake"])
def test_a_figure_has_the_same_bytes_whichever_frames_were_drawn_before_it(kind: str) -> None:
    base = np.random.default_rng(0).poisson(50, (60, 60)).astype(np.float32)
    axis = np.arange(60.0)

    def drawn(figure: Any, scale: float) -> bytes:
        counts = base * np.float32(scale) - 5
        if kind == "image":
            picture: bytes = figure.draw(Frame("a", counts))
        elif kind == "pattern":
            picture = figure.draw(Pattern(axis, counts[0].astype(float), None, "r_mm"), "a")
        else:
            picture = figure.draw(Cake(axis, axis, counts.astype(float), None, "r_mm"), "a")
        return picture

    new = {"image": ImageFigure, "pattern": PatternFigure, "cake": CakeFigure}[kind]
    scales = (1.0, 2.2, 0.013, 1000.0, 1.3)
    one = new({})
    assert [drawn(one, scale) for scale in scales] == [drawn(new({}), scale) for scale in scales]


@pytest.mark.parametrize("keys", [{"alpha": 0.5}, {"interpolation": "bilinear"}])
def test_other_keys_are_left_to_matplotlib(keys: dict[str, Any]) -> None:
    figure = ImageFigure(keys)
    figure.draw(Frame("a", np.eye(20, dtype=np.float32)))
    assert figure.dots is None
