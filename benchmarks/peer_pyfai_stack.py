"""A plain pyFAI loop over an HDF5 stack: peer_pyfai_stack.py PONI STACK FRAMES OUTPUT.

It uses h5py, `integrate1d` of pyFAI with the full-split CSR matrix, and `savetxt` of numpy; no mask.
"""

import sys
from itertools import islice
from pathlib import Path


def main(poni: str, stack: str, frames: str, output: str) -> None:
    import h5py
    import hdf5plugin  # noqa: F401
    import numpy as np
    import pyFAI

    ai = pyFAI.load(poni)
    Path(output).mkdir(exist_ok=True)
    with h5py.File(stack) as file:
        group = file["entry/data"]
        images = (image for name in sorted(group) for image in group[name])
        for number, data in enumerate(islice(images, int(frames))):
            result = ai.integrate1d(
                data, 1480, unit="q_A^-1", method=("full", "csr", "cython"), correctSolidAngle=False
            )
            np.savetxt(Path(output, f"{number:06d}.chi"), np.transpose(result[:2]), fmt="%14.6e")


if __name__ == "__main__":
    main(*sys.argv[1:])
