"""The linear pipeline: a source, followed by stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ..config.described import is_shipped_default
from ..config.schema import build
from ..config.targets import recorded_values
from ..geometry.poni import Poni
from ..io.files import input_hash
from ..io.paths import base_name
from ..model.errors import ConfigError, FrameError
from ..model.identity import content_hash, relocate, versions
from ..model.series import Series
from ..stages.collector import Collector
from ..stages.source import Source
from ..stages.stage import Makes, Stage

OPTIONAL = "pattern"  # by default this stage does nothing; then not even its module is imported
PLOT = "plot"  # this group changes no numbers, so its values are not part of the identity of a result
NO_SERIES = Series(Path(), {}, {}, "", None, "")  # for a look at the collectors


@dataclass(frozen=True)
class Pipeline:
    """The source and the stages of a run, not yet prepared.

    Attributes
    ----------
    source
        Source of the frames.
    stages
        Stages by the name of their group, in the order in which a frame passes them.
    config
        Complete configuration of the source and of every stage, by group.
    """

    source: Source
    stages: Mapping[str, Stage]
    config: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, config: Mapping[str, Any], order: list[str]) -> Pipeline:
        """Build the source and the stages.

        Parameters
        ----------
        config
            Configuration: the values of each group.
        order
            Names of the stages.

        Raises
        ------
        ConfigError
            A stage does not exist, or a value is wrong.
        """
        groups = [key for key, value in config.items() if isinstance(value, Mapping)]
        for name in order:
            if name not in groups or name == "source":
                raise ConfigError(f"stages: there is no stage {name!r}; choose from {', '.join(groups)}")
        source = build(config["source"], "source", Source)
        wanted = [name for name in order if name != OPTIONAL or not is_shipped_default(name, config[name])]
        stages = {name: stage for name in wanted if (stage := build(config[name], name)).active}
        built = {"source": source, **stages}
        return cls(
            source,
            stages,
            {name: recorded_values(config[name]["_target_"], asdict(built[name])) for name in built},
        )

    def inputs(self) -> dict[str, str]:
        """Return the files that the stages read in addition to the frames, by their role."""
        return {role: path for stage in self.stages.values() for role, path in stage.needs.files.items()}

    @property
    def per_frame(self) -> list[str]:
        """Keys with files of each frame, which tables name, as in ``mask.file``."""
        return [f"{name}.{key}" for name, stage in self.stages.items() for key in stage.needs.per_frame]

    @cached_property
    def makes(self) -> Makes:
        """Products of a frame: the columns of the last pattern, and all other parts."""
        products = [stage.makes for stage in self.stages.values()]
        columns = next((product.columns for product in reversed(products) if product.columns), ())
        unit = next((product.unit for product in reversed(products) if product.unit), "")
        columns = (unit or columns[0], *columns[1:]) if columns else ()
        parts = {part: suffixes for product in products for part, suffixes in product.parts.items()}
        return Makes(columns, parts, merged=any(product.merged for product in products))

    def outputs(self, name: str) -> list[str]:
        """Return the output files of the frame ``name``, relative to the results folder."""
        return [path for stage in self.stages.values() for path in stage.writes(name, self.makes)]

    def check(self, poni: Poni) -> None:
        """Raise ConfigError if a stage cannot work with this geometry; no frame is read."""
        for stage in self.stages.values():
            stage.check(poni, self.makes)

    def collectors(self, series: Series) -> list[Collector]:
        """Return the collectors of the stages, which combine all frames; those that take results come first."""
        collectors = [collector for stage in self.stages.values() for collector in stage.collect(series)]
        return sorted(collectors, key=lambda collector: not collector.takes_results)

    @property
    def combines_results(self) -> bool:
        """True if a stage writes a file from the results of all frames together."""
        nothing = replace(NO_SERIES, merged=self.makes.merged)
        return any(collector.takes_results for collector in self.collectors(nothing))

    @property
    def takes_arrivals(self) -> bool:
        """False if a stage needs all frames to be there when the run starts."""
        return all(each.takes_arrivals or not each.takes_results for each in self.collectors(NO_SERIES))

    def identity(self) -> dict[str, Any]:
        """Return the configuration that determines the numbers, with files by base name."""
        files = {path: base_name(path) for path in self.inputs().values()}
        stages = {name: relocate(values, files) for name, values in self.config.items() if name != PLOT}
        stages["source"].pop("columns", None)  # they change no numbers either
        if self.source.where is None or not self.source.merges:
            stages["source"].pop("where", None)  # nor does the choice of frames, unless they are merged
        if self.source.group is None:
            stages["source"].pop("group", None)  # so that results of earlier versions stay the same
        return {"stages": [name for name in self.stages if name != PLOT], **stages}

    def provenance(self, poni: Poni) -> dict[str, Any]:
        """Return the provenance that every result carries.

        It contains no time, host or folder, so that a repeated run writes the same bytes.

        Raises
        ------
        ConfigError
            An input file is not readable.
        """
        hashes = {}
        tables = {path: base_name(path) for path in poni.tables.values()}
        for role, path in {**self.inputs(), **poni.tables}.items():
            try:
                hashes[role] = f"{base_name(path)} {input_hash(path)}"
            except FrameError as error:
                raise ConfigError(f"{role} file {path}: {error}") from error
        installed = versions()
        return {
            "program": f"xrdpipe {installed['xrdpipe']}, pyFAI {installed['pyFAI']}",
            "geometry": dict(poni.values),
            "poni": f"{poni.name} {content_hash(poni.text.encode())}",
            **({"changed": poni.changed} if poni.changed else {}),
            **({"looked_up": relocate(poni.lookups, tables)} if poni.lookups else {}),
            **hashes,
            "config": self.identity(),
        }
