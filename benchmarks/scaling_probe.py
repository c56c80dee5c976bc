"""Run the command line in this process and write what it costs, for `scaling`.

    python -m benchmarks.scaling_probe REPORT.json [--knock] ARGUMENTS OF XRDPIPE

With ``--knock``, gilknocker asks for Python's lock (GIL) all 50 microseconds and measures how long it waits: the share
of time for which another thread holds it.
"""

import json
import os
import resource
import sys
import time
from pathlib import Path

KNOCK = 50  # microseconds between two requests for the lock
SAMPLING, PAUSE, TIMEOUT = 100_000, 1, 1000  # microseconds of knocking, of the pause after it, and of a knock


def main() -> None:
    report, *words = sys.argv[1:]
    knock = "--knock" in words
    from xrdpipe.cli.main import main as xrdpipe

    clock = time.perf_counter()
    if knock:
        from gilknocker import KnockKnock

        words.remove("--knock")
        knocker = KnockKnock(KNOCK, SAMPLING, PAUSE, TIMEOUT)
        knocker.start()
    status = xrdpipe(words)
    seconds = time.perf_counter() - clock
    usage = resource.getrusage(resource.RUSAGE_SELF)
    values = {"wall": seconds, "processor": usage.ru_utime + usage.ru_stime, "locked": 0.0}
    if knock:
        values["locked"] = knocker.contention_metric * seconds
        knocker.stop()
    Path(report).write_text(json.dumps(values))
    if knock:
        os._exit(status)  # the knocker's thread aborts a process that ends while it asks for the lock
    sys.exit(status)


if __name__ == "__main__":
    main()
