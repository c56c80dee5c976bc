"""Faults injected into real runs, and what became of them: `python tests/faults.py --times 10` tries all of them.

Each fault is a function that starts a run, does its harm at a random moment, and waits until the run has ended. Then
nothing may stand in the folder but whole files of the right bytes, the run must have said why it did not do all, and
resumed it must end in the same bytes as a serial run that nobody disturbed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from command import call, results
from fault_kinds import FAULTS
from fault_world import BACKENDS, LARGE, Case, ImpossibleError, MissedError, World


@dataclass
class Found:
    """What became of one injection."""

    fault: str
    backend: str
    status: int = 0
    said: str = ""
    left: int = 0  # frames that the run did not do, for whatever reason
    half: int = 0  # files that are not whole
    wrong: int = 0  # files of other bytes than they should have
    lost: int = 0  # frames that are not there with the right bytes after resume=true
    troubles: list[str] = field(default_factory=list)


def tried(name: str, backend: str, world: World, seed: object, place: Path) -> Found:
    """Inject one fault into one run; look at what it leaves, resume it, look again."""
    fault, found = FAULTS[name], Found(name, backend)
    for attempt in range(10):
        case = Case(world, backend, random.Random(f"{name} {backend} {seed} {attempt}"), place / str(attempt))
        try:
            told = fault.inject(case)
            break
        except (MissedError, psutil.NoSuchProcess, ProcessLookupError):
            case.end()
    else:
        raise ImpossibleError("runs end before it can be injected")
    found.status = told.status
    lines = [line for line in told.err.splitlines() if fault.reason and re.search(fault.reason, line)]
    found.said = lines[0] if lines else ""
    if told.status not in fault.statuses:
        found.troubles.append(f"exit status {told.status}: {told.err[-2000:]}")
    if told.status > 0 and fault.reason and not lines and "^$" not in fault.reason:
        found.troubles.append(f"does not say why: {told.err[-2000:]}")
    if re.search(r'File ".*xrdpipe[/\\]\w+\.py"', told.err):  # Dask's own workers may print one
        found.troubles.append(told.err[-3000:])
    there = results(case.out)
    for file, content in there.items():
        right = {world.expected[file], world.others[file]} if fault.either else {world.expected[file]}
        if content not in right:
            short = any(whole.startswith(content) for whole in right)
            found.half, found.wrong = found.half + short, found.wrong + (not short)
    found.left = sum(file.endswith(".chi") for file in world.expected) - sum(file.endswith(".chi") for file in there)
    record = json.loads((case.out / "run.json").read_text(encoding="utf-8"))
    if record["status"] != "running" and (parts := [*case.out.rglob("*.part")]) and name != "read_only":
        found.troubles.append(f"left behind: {parts}")
    again = call(*case.words, "resume=true", "parallel=serial")
    if again.status:
        found.troubles.append(f"resume: {again}")
    now = results(case.out)
    found.lost = sum(now.get(file) != content for file, content in world.expected.items())
    statuses = Counter(image["status"] for image in json.loads((case.out / "run.json").read_text())["images"])
    if statuses != {"done": world.frames}:
        found.troubles.append(f"in run.json: {statuses}")
    if left := [
        path.name for path in case.out.rglob("*") if path.suffix in (".part", ".lock", ".jsonl") or path.name == ".lock"
    ]:
        found.troubles.append(f"left after resume: {left}")
    if set(now) != set(world.expected):
        found.troubles.append(f"files after resume: {set(now) ^ set(world.expected)}")
    return found


def table(rows: Sequence[Found]) -> str:
    """In Markdown: a row a fault."""
    heads = ["injected", ", ".join(BACKENDS), "exit status", "said", "left for `resume=true`", "half", "wrong", "lost"]
    lines = [heads, ["---"] * len(heads)]  # of an exit status below 0 the number is that of a signal
    for name, fault in FAULTS.items():
        mine = [row for row in rows if row.fault == name]
        counts = Counter(row.backend for row in mine)
        times = ", ".join(str(counts[backend]) if backend in fault.backends else "-" for backend in BACKENDS)
        statuses = sorted(Counter(row.status for row in mine).items())
        told = (re.sub(r"/\S+/(data|out)/|^xrdpipe: (failed: )?", "", row.said) for row in mine if row.said)
        said = Counter(re.sub(r"f_\d+", "f_007", each) for each in told).most_common(1)
        sums = [sum(getattr(row, key) for row in mine) for key in ("left", "half", "wrong", "lost")]
        exits = ", ".join(f"{status}: {count}" for status, count in statuses)
        lines.append([fault.what, times, exits, said[0][0][:100] if said else "", *map(str, sums)])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> int:
    """Inject every fault, or those that are named, and print the table; 1 where something was not as it should be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faults", nargs="*", choices=[[], *FAULTS], help="all, where none is named")
    parser.add_argument("--times", type=int, default=10, help="how often, for each backend")
    parser.add_argument("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS))
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--seed", default="0")
    parser.add_argument(
        "--keep", type=Path, help="a file that takes a line of JSON for each injection, and adds to the table"
    )
    given = parser.parse_args()
    rows = []
    if given.keep and given.keep.exists():
        rows = [Found(**json.loads(line)) for line in given.keep.read_text(encoding="utf-8").splitlines()]
    with tempfile.TemporaryDirectory(prefix="xrdpipe-faults-") as scratch:
        os.environ.setdefault("XRDPIPE_CACHE", f"{scratch}/cache")
        worlds = {
            False: World.made(Path(scratch, "small"), given.frames),
            True: World.made(Path(scratch, "large"), given.frames // 2, LARGE),
        }
        for turn in range(given.times):
            for name in given.faults or FAULTS:
                for backend in given.backends:
                    if backend not in FAULTS[name].backends:
                        continue
                    place = Path(scratch, f"{name}_{backend}_{turn}")
                    try:
                        found = tried(name, backend, worlds[FAULTS[name].large], f"{given.seed} {turn}", place)
                    except ImpossibleError as error:
                        print(f"{name}, {backend}: {error}", file=sys.stderr)
                        continue
                    shutil.rmtree(place)
                    rows.append(found)
                    good = not (found.troubles or found.half or found.wrong or found.lost)
                    print(
                        f"{name}, {backend}, {turn}: {found.status} {found.said} {'' if good else asdict(found)}",
                        file=sys.stderr,
                        flush=True,
                    )
                    if given.keep:
                        with open(given.keep, "a", encoding="utf-8") as file:
                            file.write(json.dumps(asdict(found)) + "\n")
    print(table(rows))
    return int(any(row.troubles or row.half or row.wrong or row.lost for row in rows))


if __name__ == "__main__":
    sys.exit(main())
