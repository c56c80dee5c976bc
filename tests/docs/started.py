"""An `xrdpipe` that starts at once: a fork of a process that has used the program already.

``python started.py serve SOCKET`` is that process. ``python started.py ask SOCKET WORD...`` has it run the words in a
process of their own, with the folder, the environment, the streams and the exit status of the one that asks.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import socket
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory

SIZE = 1 << 20  # bytes that words and environment may have


def ask(address: str, words: list[str]) -> int:
    """Have words run, and return their exit status."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(address)
        call = json.dumps([words, os.getcwd(), dict(os.environ)])
        socket.send_fds(connection, [call.encode()], [0, 1, 2])
        told = connection.recv(1)
    return told[0] if told else 1  # nothing: the process was killed


def serve(address: str) -> int:
    """Fork at every call. This process never returns; the others return the exit status of their call."""
    from xrdpipe.cli.main import main

    _check_once()
    gc.freeze()  # or the processes would copy what they collect
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the others
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address)
        listener.listen()
        while True:
            connection, _ = listener.accept()
            call, streams, _, _ = socket.recv_fds(connection, SIZE, 3)
            if os.fork() == 0:
                break
            for number in (connection.detach(), *streams):
                os.close(number)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    words, folder, environment = json.loads(call)
    os.chdir(folder)
    if (places := environment.get("PYTHONPATH")) != os.environ.get("PYTHONPATH"):
        sys.path[1:1] = places.split(os.pathsep) if places else []
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["xrdpipe", *words]
    ENDED.append((connection, 1))
    ENDED.append((connection, status := main()))
    return status


def _check_once() -> None:
    """Check settings and draw small figures, so that what this imports stays in memory; nothing may start a thread."""
    import numpy as np
    import tifffile

    import xrdpipe.cli.calibrate.command
    import xrdpipe.report.report  # noqa: F401
    from xrdpipe.cli.main import main
    from xrdpipe.stages.simulation import Simulation

    with TemporaryDirectory() as place, redirect_stdout(StringIO()):
        poni, image = Path(place, "some.poni"), Path(place, "some.tif")
        poni.write_text(Simulation().poni_text(), encoding="utf-8")
        tifffile.imwrite(image, np.zeros(Simulation().shape, np.uint16))
        assert main([f"poni={poni}", f"images={image}", "dry_run=true"]) == 0


ENDED: list[tuple[socket.socket, int]] = []  # whom to tell the exit status


@atexit.register  # as the first one, so that it is called last
def _tell() -> None:
    if ENDED:
        connection, status = ENDED[-1]
        sys.stdout.flush()
        sys.stderr.flush()
        connection.send(bytes([status]))
        os._exit(status)


if __name__ == "__main__":
    role, address, *words = sys.argv[1:]
    sys.exit(serve(address) if role == "serve" else ask(address, words))
