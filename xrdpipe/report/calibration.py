"""The page and the tables of a calibration."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..calibration.parameters import Parameters
from .calibration_figures import Drawn, cake_figure, correlation_figure, frame_figure, residual_figure
from .pages import page_environment, page_part

UNITS = {"dist": "m", "poni1": "m", "poni2": "m", "wavelength": "m"}  # of the others: rad
MEANINGS = {
    "dist": "distance from the sample along the normal of the detector",
    "poni1": "foot of that normal, along the rows' numbers",
    "poni2": "foot of that normal, along the columns' numbers",
    "rot1": "rotation about axis 1",
    "rot2": "rotation about axis 2",
    "rot3": "rotation about the beam",
    "wavelength": "",
    "axis1": "slope of the translation against the beam, along axis 1",
    "axis2": "slope of the translation against the beam, along axis 2",
}
DRIFT = (
    "Each refined parameter with its standard deviation, as an offset from the median, and how far a ring lies from "
    "its place in the first frame, at most, against the number of the frame."
)
SCALE = 0.72  # pixels of a page for one of a figure
Row = dict[str, str]


@dataclass(frozen=True)
class CalibratedFrame:
    """A frame of the page.

    Attributes
    ----------
    name
        Of the frame.
    poni
        PONI file that was written for it.
    parameters
        As in that file.
    drawn
        Content of the figures.
    spacings
        d-spacings of the calibrant, angstrom.
    """

    name: str
    poni: str
    parameters: Parameters
    drawn: Drawn
    spacings: np.ndarray[Any, np.dtype[np.float64]]


def parameter_rows(parameters: Parameters, bounded: Sequence[str] = ()) -> list[Row]:
    """Return the rows of the table of parameters; ``bounded`` names those with bounds."""
    errors = parameters.errors
    return [
        {
            "parameter": name,
            "value": rounded(parameters.values[name], errors.get(name)),
            "uncertainty": f"{errors[name]:.1e}" if name in errors else "at its bound" if name in bounded else "fixed",
            "unit": UNITS.get(name, "rad"),
        }
        for name in MEANINGS
        if name in errors or (name in parameters.values and not name.startswith("axis"))
    ]


def rounded(value: float, error: float | None) -> str:
    """Return a value with two digits of its error, or ten digits."""
    if not error:
        return f"{value:.10g}"
    digits = int(np.clip(np.floor(np.log10(max(abs(value), error))) - np.floor(np.log10(error)) + 2, 2, 15))
    return f"{value:.{digits}g}"


def ring_rows(frame: CalibratedFrame) -> list[Row]:
    """Return the rows of the table of rings: number from 1, d, 2theta, control points, mean and root mean square."""
    drawn, rows = frame.drawn, []
    for number in np.unique(drawn.rings):
        residuals = drawn.residuals[drawn.rings == number]
        rows.append(
            {
                "ring": str(number + 1),
                "d (angstrom)": f"{frame.spacings[number]:.4f}",
                "2theta (deg)": f"{drawn.lines[number]:.3f}",
                "points": str(len(residuals)),
                "mean (px)": f"{residuals.mean():+.3f}",
                "rms (px)": f"{np.sqrt(np.mean(residuals**2)):.3f}",
            }
        )
    return rows


def calibration_page(
    title: str,
    frames: Sequence[CalibratedFrame],
    shared: Parameters,
    command: str,
    facts: Mapping[str, str],
    bounded: Sequence[str] = (),
) -> str:
    """Return the page of a calibration: HTML that loads nothing from elsewhere and has no script.

    Parameters
    ----------
    title
        Name of the calibration.
    frames
        The frames.
    shared
        Parameters with the uncertainties of the fit.
    command
        Command line that made it.
    facts
        What is said first, name -> text.
    bounded
        Names of the parameters with bounds.
    """
    shown = [
        {
            "name": frame.name,
            "poni": frame.poni,
            "rows": ring_rows(frame),
            "parameters": parameter_rows(frame.parameters),
            "figures": _figures(frame),
        }
        for frame in frames
    ]
    return _render(
        "calibration.html.j2",
        title=title,
        command=command,
        facts=facts,
        parameters=[{**row, "meaning": MEANINGS[row["parameter"]]} for row in parameter_rows(shared, bounded)],
        correlation=_correlation(shared) if len(shared.free) > 1 else None,
        frames=shown,
    )


def _correlation(shared: Parameters) -> Row:
    text = "Correlation of the refined parameters"
    return _picture(correlation_figure(shared.free, shared.correlation), text, f"{text}.")


def _figures(frame: CalibratedFrame) -> list[Row]:
    """Return the figures of a frame."""
    figures: list[tuple[Callable[[Drawn], bytes], str, str]] = [
        (
            frame_figure,
            "Rings over the frame",
            "The frame with the measured rings of the geometry found and its control points. Strong pixels are dark, "
            "by the root of the counts; pixels without a value are white.",
        ),
        (
            residual_figure,
            "Residuals",
            "Distance of each control point from its ring, positive outwards, against azimuth and the ring. One "
            "or two waves over all azimuths would mean a wrong centre or tilt, a trend in 2theta a wrong distance or "
            "wavelength; steps are modules of the detector that stand a little off.",
        ),
        (
            cake_figure,
            "Cake",
            "The frame unrolled, with the lines of the calibrant. With the right geometry the rings are straight and "
            "lie on the lines.",
        ),
    ]
    return [_picture(draw(frame.drawn), alt, caption) for draw, alt, caption in figures]


def _picture(png: bytes, alt: str, caption: str) -> Row:
    """Return what the page needs to show a PNG; text has the same size in all of them."""
    width = int.from_bytes(png[16:20], "big")  # of the header of PNG
    address = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return {"address": address, "alt": alt, "caption": caption, "width": str(round(width * SCALE))}


def drift_page(
    title: str,
    verdict: str,
    rows: Sequence[Row],
    failures: Sequence[tuple[str, str]],
    figure: bytes | None,
    command: str,
) -> str:
    """Return the page of a series: the verdict, the figure, and a row for each frame."""
    return _render(
        "drift.html.j2",
        title=title,
        verdict=verdict,
        rows=rows,
        failures=failures,
        figure=None if figure is None else _picture(figure, "Parameters against the number of the frame", DRIFT),
        command=command,
    )


def _render(template: str, **values: Any) -> str:
    environment = page_environment()
    style = page_part(environment, "report.css")
    return str(environment.get_template(template).render(style=style, **values))
