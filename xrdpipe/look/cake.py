"""The cake of a view, also where the integration makes none."""

from __future__ import annotations

from dataclasses import fields

from ..model.cake import Cake
from ..model.errors import ConfigError
from ..pipeline.recipe import setup_of
from ..stages.integ.cake import Regroup
from ..stages.integ.integ import Integ
from .session import Result, Session

TAKEN = ("unit", "correctSolidAngle", "polarization_factor", "radial_range")  # from the integration of the view


def cake_of(session: Session, result: Result) -> Cake:
    """Return the cake of a view; made on demand with the settings of the integration and the bins of ``integ=cake``.

    Raises
    ------
    ConfigError
        There is no integration, or its settings allow no cake.
    """
    made = result.frame.results.cake or result.pictures.get("cake")
    if isinstance(made, Cake):
        return made
    stages = result.configured.pipeline.stages.values()
    integ = next((stage for stage in stages if isinstance(stage, Integ)), None)
    if integ is None:
        raise ConfigError("stages: there is no integ stage, so there is no cake")
    keys = {field.name for field in fields(Regroup)}
    regroup = Regroup(**{key: getattr(integ, key) for key in TAKEN if key in keys})
    step = session.prepared("cake", regroup, setup_of(result.configured.pipeline, session.geometry))
    cake = step(result.frame).results.cake
    assert cake is not None
    result.pictures["cake"] = cake
    return cake
