"""The fuzzer: spoiled inputs through the program, in a process that may die of them.

`python tests/fuzz.py 20000 [kind...]` does so many and prints a table; `test_fuzz.py` a thousand.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from fuzz_inputs import KINDS, Case

LIMIT = 20  # seconds of a core that one command may take; ten times as long where it waits
MEMORY = 2 << 30  # bytes that one command may take
STATUSES = (0, 1, 2)  # 130 is for Ctrl-C, which nobody types here
LACKING = re.compile(r"MemoryError|Unable to allocate|bad_alloc|Cannot allocate|ENOMEM")


@dataclass
class Figures:
    """What became of the inputs of a kind; ``faults``: what may not be -> how often, ``worst`` in bytes and seconds."""

    inputs: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    memory: int = 0
    seconds: float = 0.0


class Fuzzer:
    """The child process, started again when it dies, and the folder that its inputs lie in; bad ones are kept."""

    def __init__(self, folder: Path, keep: Path | None = None) -> None:
        self.folder, self.keep, self.log = folder, keep, folder / "log"
        self.figures = {kind: Figures() for kind in KINDS}
        self._child: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def _end(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def faults(self, case: Case) -> list[str]:
        """What may not be and was, with the inputs that did it; mostly nothing."""
        found = self._faults(case, count=True)
        self.figures[case.kind].inputs += case.inputs
        if found and len(case.spoiled) > 1:
            each = [self._faults(case.alone(name)) for name in case.spoiled]
            found = [fault for faults in each for fault in faults] or found
        for fault in found:
            self.figures[case.kind].faults[fault.partition(":")[0]] += 1
        return found

    def _faults(self, case: Case, count: bool = False) -> list[str]:
        here = self.folder / "here"
        shutil.rmtree(here, ignore_errors=True)
        for name, content in case.files.items():
            path = here / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for words in case.commands:
            answer = self._ask(here, words)
            wrong = self._judge(answer, here)
            if wrong.startswith("memory") and answer["grown"] < MEMORY:  # was it asked for, or would it be taken?
                shutil.rmtree(here / "out", ignore_errors=True)
                wrong = self._judge(answer := self._ask(here, words, 4 * MEMORY), here, lacking=False)
            figures = self.figures[case.kind]
            if count:
                figures.statuses[str(answer.get("status", "none"))] += 1
            figures.memory = max(figures.memory, answer.get("grown", 0))
            figures.seconds = max(figures.seconds, answer.get("seconds", 0.0))
            if not wrong and case.good and words is case.commands[-1] and not (here / case.good).exists():
                wrong = f"lost: {case.good} is not there"
            if wrong:
                self._kept(case, words)
                return [f"{wrong}\n    in {case.kind} {case.name} {case.spoiled}: {words}"]
        return []

    def _ask(self, here: Path, words: list[str], room: int = MEMORY) -> dict[str, Any]:
        if self._child is None or self._child.poll() is not None:
            env = {
                **os.environ,
                "XRDPIPE_CACHE": str(self.folder / "cache"),
                "COLUMNS": "200",
                "HOME": str(self.folder),
                "OMP_NUM_THREADS": "1",
            }
            child = str(Path(__file__).with_name("fuzz_child.py"))
            self._child = subprocess.Popen(
                [sys.executable, "-W", "default", child, str(self.log), str(LIMIT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=env,
            )
        running = self._child
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write(json.dumps([str(here), words, room]) + "\n")
        running.stdin.flush()
        line = running.stdout.readline()
        if line:
            return dict(json.loads(line))
        running.communicate()
        return {"died": running.returncode, "text": self.log.read_text(errors="replace")}

    def _judge(self, answer: dict[str, Any], here: Path, *, lacking: bool = True) -> str:
        text = answer["text"] + "".join(
            path.read_text(errors="replace") for path in here.rglob("xrdpipe.log") if path.is_file()
        )
        short = "\n    ".join(text.strip().splitlines()[-12:])[:2000]
        if "died" in answer:
            hung = answer["died"] == -signal.SIGPROF or "Timeout" in text
            return f"{'hang' if hung else 'crash'}: status {answer['died']}\n    {text[:1500]}"
        if "Traceback" in text:
            ours = re.findall(r"xrdpipe/(\w+\.py)\", line (\d+)", text)
            return f"traceback: {':'.join(ours[-1]) if ours else ''} {text.strip().splitlines()[-1][:200]}\n    {short}"
        if answer["grown"] > MEMORY or (lacking and LACKING.search(text)):
            return f"memory: {answer['grown'] >> 20} MB, {short}"
        if answer["status"] not in STATUSES:
            return f"status: {answer['status']}, {short}"
        if answer["status"] and not answer["told"]:
            return f"silent: status {answer['status']} without a word"
        return ""

    def _kept(self, case: Case, words: list[str]) -> None:
        if self.keep is not None:
            place = self.keep / f"{case.kind}-{case.name}"
            shutil.copytree(self.folder / "here", place, dirs_exist_ok=True)
            (place / "words.json").write_text(json.dumps(words))

    def table(self) -> Iterator[str]:
        """The figures, a line a kind."""
        yield "| kind | inputs | commands by exit status | crash | hang | traceback | other | most memory | longest |"
        yield "|---|---|---|---|---|---|---|---|---|"
        for kind, each in self.figures.items():
            if not each.inputs:
                continue
            told = ", ".join(f"{status}: {number}" for status, number in sorted(each.statuses.items()))
            named = [each.faults[fault] for fault in ("crash", "hang", "traceback")]
            other = each.faults.total() - sum(named)
            cells = [kind, each.inputs, told, *named, other, f"{each.memory >> 20} MB", f"{each.seconds:.1f} s"]
            yield f"| {' | '.join(map(str, cells))} |"


def main(count: int, kinds: list[str]) -> int:
    """Do ``count`` inputs, of some kinds or all; what fails is kept in the folder fuzz_findings."""
    status = 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))  # with the table so far
    with tempfile.TemporaryDirectory() as folder, Fuzzer(Path(folder), Path("fuzz_findings")) as fuzzer:
        shares = sum(KINDS[kind][0] for kind in kinds)
        try:
            for kind in kinds:
                share, cases = KINDS[kind]
                for case in cases(count * share // shares):
                    for fault in fuzzer.faults(case):
                        print(fault, flush=True)
                        status = 1
        finally:
            print(*fuzzer.table(), sep="\n", flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:] or list(KINDS)))
