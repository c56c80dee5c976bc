"""Tables of the measured figures: ratios with their targets, programs, agreement, roofline."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from statistics import median
from typing import Any

from .programs import PROGRAMS


@dataclass(frozen=True)
class Result:
    """Result of a session; `measured` holds seconds, bytes or fractions, one value per round."""

    machine: Mapping[str, Any]
    versions: Mapping[str, Mapping[str, str]]
    settings: Mapping[str, int]
    measured: Mapping[str, list[float]]
    failed: Mapping[str, str]
    bandwidth: float  # bytes a second
    date: str = field(default_factory=lambda: date.today().isoformat())

    @property
    def medians(self) -> dict[str, float]:
        """Medians of the figures, except programs whose long runs took no longer than the short ones (noise)."""
        middle = {name: median(values) for name, values in self.measured.items() if values}
        return {name: value for name, value in middle.items() if value > 0 or name not in PROGRAMS}


@dataclass(frozen=True)
class Row:
    """A ratio of figures, (over - less) / under, with a required value (`must`) and a goal (`aim`)."""

    what: str
    over: str
    under: str
    must: float
    aim: float
    less: str = ""

    def ratio(self, figures: Mapping[str, float]) -> float | None:
        if not {self.over, self.under, self.less or self.over} <= set(figures):
            return None
        return (figures[self.over] - figures.get(self.less, 0)) / figures[self.under]

    def verdict(self, ratio: float) -> str:
        if ratio <= 0:
            return "noise"
        sign = 1 if self.aim > self.must else -1  # more is better, or less
        return "aim" if sign * ratio >= sign * self.aim else "must" if sign * ratio >= sign * self.must else "short"


ROWS = [
    Row("a frame: PDFstream `integrate(parallel=True)` / xrdpipe", "pdfstream", "xrdpipe", 20, 40),
    Row("a frame: plain pyFAI loop in one process / xrdpipe", "pyfai-loop", "xrdpipe", 0.8, 1.5),
    Row("background + mask: `pyFAI.sigma_clip` / xrdpipe, same frame", "kernel:sigma_clip", "kernel:xrdpipe", 2, 4),
    Row(
        "default figures add / the same two with plain matplotlib", "xrdpipe-figures", "matplotlib", 0.4, 0.2, "xrdpipe"
    ),
    Row("command on one frame, cache warm / `python -c` with pyFAI", "one-frame", "one-frame:pyfai", 1.5, 0.8),
    Row("peak memory: 500 frames / 50 frames", "memory:500", "memory:50", 1.1, 1.05),
    Row("sweep of 12 mask settings on one frame / one such run", "sweep", "one-frame", 4, 2),
]
# Memory traffic of the kernels of xrdpipe for a float32 frame, in bytes per pixel. Full splitting has 3.71 float32
# weights per pixel, ring by ring.
TRAFFIC = {
    "file to memory (read, write), hash": 4 + 4 + 4,
    "background (read two, write one)": 4 + 4 + 4,
    "mask (image, ring order, values by ring twice, mask twice)": 4 + 4 + 8 + 2,
    "integration (values by ring, weights by ring)": 4 + 3.71 * 4,
}


def markdown(result: Result) -> str:
    tables = [_ratios(result), _programs(result), _others(result), _roofline(result)]
    failed = [f"- {name}: {reason}" for name, reason in result.failed.items()]
    versions = [
        f"- {name}: {', '.join(f'{package} {number}' for package, number in packages.items())}"
        for name, packages in result.versions.items()
    ]
    where = ", ".join(f"{key} {value}" for key, value in result.machine.items())
    size, many, few, rounds = (result.settings[key] for key in ("size", "frames", "few", "rounds"))
    what = (
        f"Frames of {size} x {size} float32, 1480 points. A frame costs what a run of {many} takes more than a run of "
        f"{few}, over {many - few}; median of {rounds} rounds in turn. Figures off but where said."
    )
    busy = "The machine was busy with other things: provisional." if result.machine["load before"] > 0.5 else ""
    blocks = [f"{result.date}: {where}", what, busy, *tables, "\n".join(failed), "Versions:\n\n" + "\n".join(versions)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def as_json(result: Result) -> str:
    figures = result.medians
    ratios = {row.what: row.ratio(figures) for row in ROWS}
    return json.dumps(
        {**asdict(result), "medians": figures, "ratios": ratios, "bytes_a_frame": _traffic(result)}, indent=1
    )


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows]) if rows else ""


def _ratios(result: Result) -> str:
    lines = []
    for row in ROWS:
        ratio = row.ratio(result.medians)
        shown = ["not measured", ""] if ratio is None else [f"{ratio:.3g}", row.verdict(ratio)]
        lines.append([row.what, shown[0], f"{row.must:g}", f"{row.aim:g}", shown[1]])
    return _table(["ratio", "measured", "must", "aim", "reached"], lines)


def _programs(result: Result) -> str:
    figures, lines = result.medians, []
    for name in [name for name in PROGRAMS if result.measured.get(name)]:
        rounds = [1000 * value for value in result.measured[name]]
        shown = f"{1000 * figures[name]:.1f}" if name in figures else "noise"
        times = f"{figures[name] / figures['xrdpipe']:.2f}" if {name, "xrdpipe"} <= set(figures) else ""
        start = f"{figures[f'{name}:start']:.1f}"
        lines.append([name, PROGRAMS[name].does, shown, f"{min(rounds):.1f} to {max(rounds):.1f}", times, start])
    return _table(["program", "does", "ms a frame", "rounds", "/ xrdpipe", "start-up, s"], lines)


def _others(result: Result) -> str:
    names = [name for name in result.medians if name not in PROGRAMS and not name.endswith(":start")]
    return _table(["figure", "measured"], [[name, _shown(name, result.medians[name])] for name in names])


def _shown(name: str, value: float) -> str:
    match name.split(":"):
        case ["memory", *_]:
            return f"{value / 1e6:.0f} MB"
        case ["kernel", *_]:
            return f"{1000 * value:.1f} ms"
        case ["agreement", *_, "mask"]:
            return f"{value:.0f} pixels differ in the worst frame"
        case ["agreement", *_]:
            return f"{value:.1e} of the maximum is the largest difference"
        case _:
            return f"{value:.2f} s"


def _traffic(result: Result) -> float:
    return sum(TRAFFIC.values()) * result.settings["size"] ** 2


def _roofline(result: Result) -> str:
    size, seconds = _traffic(result), _traffic(result) / result.bandwidth
    parts = "; ".join(f"{what} {count:.3g}" for what, count in TRAFFIC.items())
    text = (
        f"Roofline: {size / 1e6:.0f} MB a frame (bytes a pixel: {parts}) at {result.bandwidth / 1e9:.1f} GB/s "
        f"(numpy add, one thread a core) take {1000 * seconds:.1f} ms"
    )
    xrdpipe = result.medians.get("xrdpipe")
    return text + (
        f"; xrdpipe takes {1000 * xrdpipe:.1f} ms, {seconds / xrdpipe:.0%} of what memory allows." if xrdpipe else "."
    )
