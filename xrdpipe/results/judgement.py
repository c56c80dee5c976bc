"""What the numbers of a run are worth: one line that a scientist can act on, and none where all is well."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import numpy as np

from ..model.record import Record

CLEAR = 1.5  # sigma is clearly off where it is so many times too small or too large
CHANGE = 0.03  # of the pattern, by pixels that fit their ring
FLAT = 0.003  # of the counts: pixels of any detector differ a little
NEGATIVE = 5  # bins


def judgement(records: Iterable[Record], gain: float) -> str:
    """Return what is wrong with the numbers of a run, or "".

    Parameters
    ----------
    records
        The frames; the medians of their metrics are judged, see docs/metrics.md.
    gain
        ``source.gain`` of the run, counts a photon.
    """
    names = ("reduced_chi2", "local_chi2", "flat_scatter", "mask_change", "oversubtracted_bins")
    known = {name: array("d") for name in names}
    for record in records:
        for name in known.keys() & record.metrics.keys() if record.status == "done" else ():
            known[name].append(record.metrics[name])
    middle = {name: float(np.median(values)) for name, values in known.items() if values}
    statements = [*_sigma(middle, gain), *_flat(middle), *_mask(middle), *_background(middle)]
    return f"check the numbers: {'; '.join(statements)}" if statements else ""


def _sigma(middle: dict[str, float], gain: float) -> list[str]:
    ring, local = middle.get("reduced_chi2"), middle.get("local_chi2")
    if ring is None or local is None or ring <= 0 or local <= 0:
        return []
    flat = middle.get("flat_scatter", 0.0) >= FLAT
    if local > CLEAR**2 and not flat:
        return [
            f"sigma is {local**0.5:.1f} times too small: neighbouring pixels scatter more than counting noise, at all "
            f"intensities alike (source.gain={gain * local:.2g} would fit; or source.readout_noise)"
        ]
    if ring < CLEAR**-2 and local < CLEAR**-2:
        return [
            f"sigma is {ring**-0.5:.1f} times too large: pixels scatter less than counting noise (less than a count a "
            f"pixel, of which one is always taken for granted; source.gain={gain * local:.2g}; or pixels that share "
            f"their signal)"
        ]
    if ring > CLEAR**2 * max(1.0, local):
        return [
            f"rings scatter {ring**0.5:.1f} times more than counting noise, smoothly along them: sigma is that of the "
            f"noise alone (texture, integ.polarization_factor, geometry)"
        ]
    return []


def _flat(middle: dict[str, float]) -> list[str]:
    flat = middle.get("flat_scatter", 0.0)
    if flat < FLAT:
        return []
    return [
        f"neighbouring pixels differ by {100 * flat:.1f} % of their counts where these are many: the detector's flat "
        f"shows (correction.flat_file), or grains; sigma is too small there"
    ]


def _mask(middle: dict[str, float]) -> list[str]:
    change = middle.get("mask_change", 0.0)
    if abs(change) < CHANGE:
        return []
    how = "lowers" if change > 0 else "raises"
    return [
        f"the mask {how} the pattern by {100 * abs(change):.0f} % with pixels that fit their ring: it "
        f"takes one side of the noise (mask.lower_thresh, mask.alpha; mask=robust does not)"
    ]


def _background(middle: dict[str, float]) -> list[str]:
    bins = middle.get("oversubtracted_bins", 0.0)
    if bins < NEGATIVE:
        return []
    return [
        f"{bins:.0f} bins are below zero by more than 3 sigma: too much is subtracted (background.scale, or "
        f"background.scale=auto)"
    ]
