"""A plain pyFAI loop: peer_pyfai_loop.py PROCESSES PONI BACKGROUND OUTPUT FRAME...

It uses fabio, `integrate1d` of pyFAI with the full-split CSR matrix, and `savetxt` of numpy; no mask, no background.
"""

import sys
from pathlib import Path


def loop(poni: str, output: str, images: list[str]) -> None:
    import fabio
    import numpy as np
    import pyFAI

    ai = pyFAI.load(poni)
    for image in images:
        data = fabio.open(image).data
        pattern = ai.integrate1d(data, 1480, unit="q_A^-1", method=("full", "csr", "cython"), correctSolidAngle=False)
        np.savetxt(Path(output, Path(image).stem + ".chi"), np.transpose(pattern[:2]), fmt="%14.6e")


def main(processes: str, poni: str, _background: str, output: str, *images: str) -> None:
    if processes == "1":
        loop(poni, output, list(images))
        return

    from multiprocessing import Process

    shares = [list(images[start :: int(processes)]) for start in range(int(processes))]
    workers = [Process(target=loop, args=(poni, output, share)) for share in shares]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    sys.exit(max(abs(worker.exitcode or 0) for worker in workers))


if __name__ == "__main__":
    main(*sys.argv[1:])
