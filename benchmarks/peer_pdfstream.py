"""PDFstream's own `integrate`, figures off: peer_pdfstream.py [--compare] PONI BACKGROUND OUTPUT FRAME...

With --compare, frames are processed one at a time in this process over a fixed radial range (by default pyFAI takes the
range of the pixels that are not masked), and masks are saved as well (uint8, 1 = masked).
No part of PDFstream is replaced: this part does not import the beamline packages that it requires.
"""

import sys
from pathlib import Path

RANGE = (1.0, 25.0)  # 1/angstrom


def main(poni: str, background: str, output: str, *images: str, compare: bool = False) -> None:
    from pdfstream.cli import integrate

    if not compare:
        off = {"img_setting": "OFF", "plot_setting": "OFF"}
        integrate(poni, *images, bg_img_file=background, output_dir=output, parallel=True, **off)
        return

    import numpy as np
    import pdfstream.io
    from pdfstream.integration import get_chi

    ai = pdfstream.io.load_ai_from_poni_file(poni)
    load = pdfstream.io.load_img
    for image in images:
        settings = {"integ_setting": {"radial_range": RANGE}, "img_setting": "OFF", "plot_setting": "OFF"}
        chi, *_, mask, _, _ = get_chi(ai, load(image), bg_img=load(background), **settings)
        name = Path(output) / Path(image).stem
        np.savetxt(name.with_suffix(".chi"), chi.T, fmt="%14.6e")
        np.save(name.with_suffix(".npy"), mask.astype(np.uint8))


if __name__ == "__main__":
    main(*[argument for argument in sys.argv[1:] if argument != "--compare"], compare="--compare" in sys.argv)
