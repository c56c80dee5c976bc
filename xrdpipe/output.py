"""Output: the pattern and the mask of a frame as files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .collect import Collector, Series
from .formats import FORMATS
from .frame import Frame
from .provenance import write_text, write_whole
from .stage import ConfigError, Setup, Stage, Step, choice, require

NEXUS = "nxs"


@dataclass(frozen=True)
class Output(Stage):
    """Write the pattern in one or several formats (`formats.FORMATS`, and ``nxs``: a NeXus file that frames share),
    and with ``mask`` the mask as ``masks/<name>.npy`` (uint8, 1 = masked, raw orientation)."""

    format: Any = "chi"
    mask: bool = False

    def __post_init__(self) -> None:
        names = self.formats
        require(bool(names), "format", self.format, f"a format or a list expected: {', '.join([*FORMATS, NEXUS])}")
        for name in names:
            choice("format", name, [*FORMATS, NEXUS])
            require(names.count(name) == 1, "format", self.format, f"{name} stands there twice")

    @property
    def formats(self) -> list[Any]:
        """The names of the formats, in the order of the configuration."""
        return list(self.format) if isinstance(self.format, (list, tuple)) else [self.format]

    def check_columns(self, columns: tuple[str, ...]) -> None:
        for name in self.formats:
            form = FORMATS.get(name)
            if form and form.sigma and "sigma" not in columns:
                ways = "say integ.error_model=poisson, or output.format=xy for two columns"
                raise ConfigError(f"output.format={name}: has a column for sigma, and there is none; {ways}")
            if form and form.units and columns[0] not in form.units:
                ways = "say integ.unit=2th_deg, or output.format=xye"
                raise ConfigError(f"output.format={name}: is for 2theta, not for {columns[0]}; {ways}")

    def outputs(self, name: str) -> list[str]:
        text = [f"{name}{FORMATS[each].suffix}" for each in self.formats if each in FORMATS]
        return text + ([f"masks/{name}.npy"] if self.mask else [])

    def collect(self, series: Series) -> Collector | None:
        if NEXUS not in self.formats:
            return None
        from .nexus import NexusFiles

        return NexusFiles(series)

    def prepare(self, setup: Setup) -> Step:
        folder = setup.folder
        forms = [FORMATS[name] for name in self.formats if name in FORMATS]

        def write(frame: Frame) -> Frame:
            if folder is None:
                return frame
            texts = {}
            if frame.pattern is not None:  # first, as a format may refuse it: then nothing of the frame is written
                header = {**setup.provenance, "method": frame.pattern.method, "image": f"{frame.file} {frame.digest}"}
                texts = {form.suffix: form.text(frame.pattern, header) for form in forms}
            # The pattern comes last: where it stands, everything else of the frame does.
            if self.mask:
                raw = np.ascontiguousarray(setup.to_raw(frame.masked), dtype=np.uint8)
                write_whole(folder / "masks" / f"{frame.name}.npy", lambda file: np.save(file, raw))
            for suffix, text in texts.items():
                write_text(folder / f"{frame.name}{suffix}", text)
            return frame

        return write
