"""Names of stages in configurations and results, and the modules of their classes.

Results record the names of their stages. These names stay the same when a class moves, so that folders of earlier
versions can be resumed, and the same configuration gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# name in results and earlier configurations -> current path of the class
MOVED = {
    "xrdpipe.source.Source": "xrdpipe.stages.source.Source",
    "xrdpipe.source.Demo": "xrdpipe.stages.source_demo.Demo",
    "xrdpipe.watch.Watch": "xrdpipe.stages.source_watch.Watch",
    "xrdpipe.background.Background": "xrdpipe.stages.background.Background",
    "xrdpipe.correction.Correction": "xrdpipe.stages.correction.Correction",
    "xrdpipe.mask.Mask": "xrdpipe.stages.mask.Mask",
    "xrdpipe.integ.Integ": "xrdpipe.stages.integ.integ.Integ",
    "xrdpipe.cake.Regroup": "xrdpipe.stages.integ.cake.Regroup",
    "xrdpipe.sectors.Sectors": "xrdpipe.stages.integ.sectors.Sectors",
    "xrdpipe.clip.SigmaClip": "xrdpipe.stages.integ.sigma_clip.SigmaClip",
    "xrdpipe.clip.Median": "xrdpipe.stages.integ.sigma_clip.Median",
    "xrdpipe.plot.Plot": "xrdpipe.stages.plot.plot.Plot",
    "xrdpipe.paper.Paper": "xrdpipe.stages.plot.paper.Paper",
    "xrdpipe.output.Output": "xrdpipe.stages.output.Output",
}
# keys that classes gained: results leave them out at their default, so that the bytes of earlier results come again
ADDED_KEYS: Mapping[str, Mapping[str, Any]] = {
    "xrdpipe.stages.mask.Mask": {"regions": False},
    "xrdpipe.stages.correction.Correction": {
        "polarization_factor": None,
        "polarization_offset": 0.0,
        "lorentz": False,
        "sensor_thickness": None,
        "sensor_absorption": None,
        "sensor_material": None,
        "plate_mu_t": None,
        "plate_transmission": None,
        "plate_tilt": 0.0,
        "plate_rotation": 0.0,
        "capillary_mu_r": None,
        "capillary_azimuth": 0.0,
        "capillary_beam": 1.0,
        "diamond_thickness": None,
        "diamond_abs_length": 13.7,
        "seat_thickness": 5.0,
        "seat_abs_length": 14.05,
        "seat_small_radius": 0.5,
        "seat_large_radius": 2.0,
        "cell_tilt": 0.0,
        "cell_tilt_rotation": 0.0,
        "cell_offset": 0.0,
        "cell_offset_angle": 0.0,
    },
}
_RECORDED = {place: name for name, place in MOVED.items()}


def current_target(target: str) -> str:
    """Return the current path of the class of ``target``."""
    return MOVED.get(target, target)


def recorded_target(target: str) -> str:
    """Return the name of the class of ``target`` in results."""
    return _RECORDED.get(target, target)


def recorded_values(target: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a stage as results record it."""
    added = ADDED_KEYS.get(current_target(target), {})
    recorded = {key: value for key, value in values.items() if key not in added or value != added[key]}
    return {"_target_": recorded_target(target), **recorded}


def old_targets(groups: Mapping[str, Any]) -> list[str]:
    """Return a note for each configuration group that names its class by an earlier path."""
    targets = {name: values.get("_target_") for name, values in groups.items() if isinstance(values, Mapping)}
    return [
        f"{name}._target_={target}: the class is {MOVED[target]} now; the old name still works"
        for name, target in targets.items()
        if isinstance(target, str) and target in MOVED
    ]
