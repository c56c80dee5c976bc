"""ewoksxrpd's task for a list of images into one HDF5 file: peer_ewoksxrpd.py PONI BACKGROUND OUTPUT FRAME...

It uses no mask and no background, like the plain pyFAI loop.
"""

import sys
from pathlib import Path


def main(poni: str, _background: str, output: str, *images: str) -> None:
    from ewoksxrpd.tasks.integrate import Integrate1DList
    from ewoksxrpd.tasks.pyfaiconfig import PyFaiConfig

    read = PyFaiConfig(inputs={"filename": poni})
    read.execute()
    names = ["energy", "geometry", "detector", "detector_config"]
    integration = {
        "application": "worker",
        "version": 5,
        "nbpt_rad": 1480,
        "unit": "q_A^-1",
        "method": ["full", "csr", "cython"],
        "correct_solid_angle": False,
    }
    inputs = {
        **{name: read.get_output_value(name) for name in names},
        "integration_options": integration,
        "images": images,
        "output_file": str(Path(output, "patterns.h5")),
    }
    Integrate1DList(inputs=inputs).execute()


if __name__ == "__main__":
    main(*sys.argv[1:])
