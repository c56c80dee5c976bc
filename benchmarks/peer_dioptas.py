"""Dioptas' headless `Pipeline`: peer_dioptas.py PONI BACKGROUND OUTPUT FRAME...

It subtracts a background frame and computes its spot mask for every frame.
"""

import os
import sys
from pathlib import Path


def main(poni: str, background: str, output: str, *images: str) -> None:
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    from dioptas.pipeline import Pipeline

    pipeline = Pipeline()
    pipeline.load_calibration(poni)
    pipeline.integration_unit = "q_A^-1"
    pipeline.integration_num_points = 1480
    pipeline.correct_solid_angle = False
    pipeline.img_model.load(images[0])  # the background is checked against an image
    pipeline.load_image_background(background)
    pipeline.configuration.mask_plugin_manager.set_enabled("Spot Mask", True)
    pipeline.use_mask = True
    for image in images:
        pattern = pipeline.integrate(image)
        pattern.save(str(Path(output, Path(image).stem + ".xy")))
    mask = pipeline.mask_model.get_mask()
    print(f"masked fraction {mask.mean():.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
