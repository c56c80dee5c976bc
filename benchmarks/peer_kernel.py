"""Background and mask of one frame against pyFAI's sigma clipping: peer_kernel.py OPTIONS PONI BACKGROUND FRAME

Both run in turn in this process and may use all cores. OPTIONS are those of `sigma_clip`, as JSON. The program prints
the median seconds of both as JSON.
"""

import json
import sys
import time
from statistics import median

REPEATS = 15


def main(options: str, poni: str, background: str, image: str) -> None:
    from xrdpipe.geometry.geometry import shared_geometry
    from xrdpipe.geometry.poni import Poni
    from xrdpipe.model.frame import Frame
    from xrdpipe.stages.background import Background
    from xrdpipe.stages.mask import Mask
    from xrdpipe.stages.source import Source
    from xrdpipe.stages.stage import Setup

    source = Source()
    frame = Frame("frame", source.read(image))
    setup = Setup(shared_geometry(Poni.read(poni), frame.image.shape), source.read, source.to_raw)
    steps = [stage.prepare(setup) for stage in (Background(background), Mask())]
    integrator = setup.geometry.integrator
    settings = {"unit": "q_A^-1", "method": ("no", "csr", "cython"), "correctSolidAngle": False, **json.loads(options)}
    writable = frame.image.copy()  # pyFAI's sigma clipping refuses arrays that are read-only

    def ours() -> None:
        result = frame
        for step in steps:
            result = step(result)

    def sigma_clip() -> None:
        integrator.sigma_clip(writable, 1480, **settings)

    seconds: dict[str, list[float]] = {"xrdpipe": [], "sigma_clip": []}
    for _ in range(REPEATS + 1):
        for name, function in [("xrdpipe", ours), ("sigma_clip", sigma_clip)]:
            start = time.perf_counter()
            function()
            seconds[name].append(time.perf_counter() - start)
    print(json.dumps({name: median(values[1:]) for name, values in seconds.items()}))  # the first one prepares


if __name__ == "__main__":
    main(*sys.argv[1:])
