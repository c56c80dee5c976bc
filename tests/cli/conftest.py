"""A folder with everything in it that may be wrong with inputs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

SHAPE = (120, 100)


@pytest.fixture
def here(data: Path, poni: Path, frames: list[Path], air: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the current one, with everything in data/ that may be wrong with inputs."""
    text = poni.read_text()
    ponis = {
        "empty": "",
        "words": "Once upon a time\n",
        "garbled": text.replace("Distance: 0.5", "Distance: far"),
        "negative": text.replace("Distance: 0.5", "Distance: -0.5"),
        "shape": re.sub("(config: {).*", r'\1"pixel1": 1e-3, "pixel2": 1e-3, "max_shape": ["a", "b"]}', text),
        "far": text.replace("Distance: 0.5", "Distance: 10000000.0"),
        "half": "\n".join(text.splitlines()[:4]),
        "no_wavelength": re.sub("Wavelength: .*", "", text),
        "pilatus": re.sub("Detector: .*\nDetector_config: .*", "Detector: Pilatus1M\nDetector_config: {}", text),
        "pilatos": re.sub("Detector: .*\nDetector_config: .*", "Detector: Pilatos1M\nDetector_config: {}", text),
    }
    for name, content in ponis.items():
        (data / f"{name}.poni").write_text(content)
    (data / "binary.poni").write_bytes(b"\xff\x00" * 50)
    arrays: dict[str, Any] = {
        "of_greys": np.resize([0, 128, 255], SHAPE).astype(np.uint8),
        "of_objects": np.array([{}, []], object),
        "small": np.zeros((12, 10), np.uint8),
        "all": np.ones(SHAPE, np.uint8),
    }
    for name, array in arrays.items():
        np.save(data / f"{name}.npy", array)
    tifffile.imwrite(data / "small.tiff", np.ones((12, 10), np.uint16))
    (data / "empty.txt").write_text("")
    conf = {
        "mask/typo": "defaults: [default]\nalhpa: 3\n",
        "mask/torn": "alpha: [3\n",
        "mask/bare": "alpha: 3\n",
        "mask/wrong": "defaults: [default]\nalpha: many\n",
        "top": "defaults: [config, _self_]\noverwrit: true\n",
    }
    for name, content in conf.items():
        path = data.parent / "conf" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    monkeypatch.chdir(data.parent)
    return data.parent
