"""The program: the command line in a process of its own, also with ``python -m xrdpipe``."""

import gc
import sys

from .cli.main import main


def program() -> int:
    """Run the command line of this process, and return its exit status.

    Hundreds of thousands of objects of imported modules are no garbage. Python searches them many times while it
    imports, and once more at the end, unless it is told: a short run takes a quarter less time.
    """
    gc.set_threshold(10_000, *gc.get_threshold()[1:])
    try:
        return main()
    finally:
        gc.freeze()


if __name__ == "__main__":
    sys.exit(program())
