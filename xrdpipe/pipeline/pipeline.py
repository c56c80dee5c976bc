"""Stages in a row: a frame walks in at the source and leaves at the output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from ..config.schema import build
from ..config.targets import recorded_target
from ..geometry.poni import Poni
from ..io.files import content_of
from ..io.paths import base_name
from ..model.errors import ConfigError, FrameError
from ..model.identity import content_hash, relocate, versions
from ..model.series import Series
from ..stages.collector import Collector
from ..stages.source import Source
from ..stages.stage import Makes, Stage

SHOWN = "plot"  # the group that changes no number, so its values are no part of a result's identity


@dataclass(frozen=True)
class Pipeline:
    """The source and the stages of a run, built from their configuration (group -> values), not yet prepared."""

    source: Source
    stages: Mapping[str, Stage]
    config: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, config: Mapping[str, Any], order: list[str]) -> Pipeline:
        """Build the source and the stages named in ``order``; ConfigError says which key is wrong and how."""
        groups = [key for key, value in config.items() if isinstance(value, Mapping)]
        for name in order:
            if name not in groups or name == "source":
                raise ConfigError(f"stages: there is no stage {name!r}; choose from {', '.join(groups)}")
        source = build(config["source"], "source", Source)
        stages = {name: build(config[name], name) for name in order}
        built = {"source": source, **stages}
        return cls(
            source,
            stages,
            {name: {"_target_": recorded_target(config[name]["_target_"]), **asdict(built[name])} for name in built},
        )

    def inputs(self) -> dict[str, str]:
        """Return the files that the stages read besides the frames, by what they are called."""
        return {what: path for stage in self.stages.values() for what, path in stage.needs.files.items()}

    @cached_property
    def makes(self) -> Makes:
        """What the line makes of a frame: the columns of the last pattern, and all other parts."""
        stages = [stage.makes for stage in self.stages.values()]
        columns = next((each.columns for each in reversed(stages) if each.columns), ())
        return Makes(columns, {what: suffixes for each in stages for what, suffixes in each.parts.items()})

    def outputs(self, name: str) -> list[str]:
        """Return the files that the frame ``name`` leaves, relative to the folder of the run."""
        return [path for stage in self.stages.values() for path in stage.writes(name, self.makes)]

    def check(self, poni: Poni) -> None:
        """Raise ConfigError for what cannot be with this geometry, before any frame is read."""
        for stage in self.stages.values():
            stage.check(poni, self.makes)

    def collectors(self, series: Series) -> list[Collector]:
        """Return what the stages make of all frames together; those that take results come first."""
        collectors = [each for stage in self.stages.values() for each in stage.collect(series)]
        return sorted(collectors, key=lambda each: not each.takes_results)

    def identity(self) -> dict[str, Any]:
        """The configuration that decides the numbers, files by base name: the same for the same result."""
        files = {path: base_name(path) for path in self.inputs().values()}
        stages = {name: relocate(values, files) for name, values in self.config.items() if name != SHOWN}
        stages["source"].pop("columns", None)  # they change no number either
        return {"stages": [name for name in self.stages if name != SHOWN], **stages}

    def provenance(self, poni: Poni) -> dict[str, Any]:
        """What every result says about its making: no time, no host, no folder, so that it repeats to the byte.

        ConfigError where an input cannot be read.
        """
        hashes = {}
        for what, path in self.inputs().items():
            try:
                hashes[what] = f"{base_name(path)} {content_of(path)}"
            except FrameError as error:
                raise ConfigError(f"{what} file {path}: {error}") from error
        installed = versions()
        return {
            "program": f"xrdpipe {installed['xrdpipe']}, pyFAI {installed['pyFAI']}",
            "geometry": dict(poni.values),
            "poni": f"{poni.name} {content_hash(poni.text.encode())}",
            **({"changed": poni.changed} if poni.changed else {}),
            **hashes,
            "config": self.identity(),
        }
