"""The process that may die of what the fuzzer feeds the program: command lines come in, what became of them goes out.

`fuzz.py` starts it. What kills it, a native crash or its own watchdog, leaves every thread's stack in the log.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import re
import resource
import signal
import sys
import time
import traceback
from functools import cache
from pathlib import Path
from typing import Any


def serve(log: str, limit: int) -> None:
    """Answer each JSON line, [folder, words, bytes], by one; a command may take so many, and ``limit`` s of a core."""
    answers = os.fdopen(os.dup(1), "w")
    said = os.open(log, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    faulthandler.enable(said)
    faulthandler.register(signal.SIGPROF, said, chain=True)

    import numpy as np
    import pyFAI.integrator.azimuthal  # noqa: F401
    import tifffile  # noqa: F401

    from xrdpipe.cli.main import main
    from xrdpipe.config.loader import Loader
    from xrdpipe.stages import mask  # noqa: F401

    compose = Loader.compose
    composed = cache(lambda overrides, name: compose(Loader(), overrides, name))

    def once(self: Loader, overrides: Any = (), config_name: str = "config") -> Any:
        """As it is; the shipped configuration with the same words is composed once, which takes longest of all."""
        plain = self.config_dir is None and config_name == "config"
        return composed(tuple(overrides), config_name) if plain else compose(self, overrides, config_name)

    Loader.compose = once  # type: ignore[method-assign]
    np.ones(10) @ np.ones(10)  # the threads of BLAS are there
    taken, most = _memory("VmSize") + (1 << 28), resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin:
        folder, words, room = json.loads(line)
        resource.setrlimit(resource.RLIMIT_AS, (taken + room, most))
        os.chdir(folder)
        os.ftruncate(said, 0)
        faulthandler.dump_traceback_later(10 * limit, exit=True, file=said)  # for what waits
        signal.setitimer(signal.ITIMER_PROF, limit)  # for what computes, however busy the computer is
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before, clock = _memory("VmRSS"), time.process_time()
        out, err, raised = io.StringIO(), io.StringIO(), ""
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                status: Any = main(words)
        except SystemExit as error:
            status = error.code or 0
        except BaseException:
            status, raised = 1, traceback.format_exc()
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
        answer = {
            "status": status,
            "text": out.getvalue() + err.getvalue() + raised + Path(log).read_text(errors="replace"),
            "told": bool(err.getvalue().strip()),
            "grown": _memory("VmHWM") - before,
            "seconds": time.process_time() - clock,
        }
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _memory(what: str) -> int:
    text = Path("/proc/self/status").read_text()
    found = re.search(rf"{what}:\s*(\d+) kB", text)
    return int(found[1]) * 1024 if found else 0


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
