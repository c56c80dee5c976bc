"""`parallel=cuda`: the results of the processor, in numba's simulator of a GPU; and what is said where none is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
from command import call, results
from numpy.typing import NDArray

import xrdpipe
from xrdpipe.model.errors import ConfigError
from xrdpipe.stages.simulation import Simulation

TESTS = Path(__file__).parents[2]
SMALL = Simulation(
    shape=(48, 40), pixel=(2.5e-3, 2.5e-3), dist=0.5, poni=(0.06, 0.05), counts=2000.0, dead=2e-3, hot=2e-3
)
USUAL = ("poni=small.poni", "plot=none", "report=false", "integ.npt=20", "mask.edge=2")
BACKGROUND = ("background.file=air.tiff", "background.scale=0.7", "background.dark_file=dark.tiff")
MASKS = ("output.mask=reasons",)
ONE = ("images=f_1.tiff",)
FRAMES = {"errors": ("images=f_*.tiff",)}  # the second finds on the GPU what the first has left there
SAME = {  # what differs from the usual settings
    "background": BACKGROUND,
    "errors": (*BACKGROUND, "integ.error_model=poisson", "integ.correctSolidAngle=true"),
    "corrections": ("integ.polarization_factor=0.95", "correction.saturation=1900", "mask.upper_thresh=1500"),
    "fitted": ("background.file=air.tiff", "background.scale=auto"),
    "split": ("integ.method=[bbox,csr,cython]", "integ.unit=2th_deg", "integ.radial_range=[3,6]"),
    "no mask": ("mask=none", "integ.error_model=poisson"),
    "by position": ("mask.alpha=null", *BACKGROUND),
    "grown": ("mask.grow=1", "mask.regions=true", *BACKGROUND),
    "sectors": ("integ=sectors", "integ.number=2", "integ.error_model=poisson"),
    "cake": ("integ=cake", "integ.npt=10", "integ.npt_azim=6"),
}
REFUSED = {
    "mask=robust": "mask.auto_type=mad: parallel=cuda knows median alone",
    "mask.auto_type=mean": "mask.auto_type=mean: parallel=cuda knows median alone",
    "integ=sigma_clip": "not on the GPU; leave out parallel=cuda",
    "integ.error_model=azimuthal": "integ.error_model=azimuthal: parallel=cuda knows poisson alone",
    "integ.error_model=hybrid": "not on the GPU; leave out parallel=cuda",
    "integ.method=[no,histogram,cython]": "not on the GPU; leave out parallel=cuda",
    "parallel.chunks=3": "parallel.chunks=3: say parallel=slurm as well",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two small frames, a background and a dark frame."""
    monkeypatch.chdir(tmp_path)
    Path("small.poni").write_text(SMALL.poni_text())
    for number in (1, 2):
        tifffile.imwrite(f"f_{number}.tiff", SMALL.frame(number))
    tifffile.imwrite("air.tiff", replace(SMALL, lines=0).air_frame())
    tifffile.imwrite("dark.tiff", np.full(SMALL.shape, 3, np.uint16))
    return tmp_path


def simulated(*lines: list[str]) -> list[tuple[int, str]]:
    """Status and messages of command lines, in a process in which numba simulates a GPU."""
    paths = [str(Path(xrdpipe.__file__).parents[1]), str(TESTS)]
    env = {**os.environ, "NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": os.pathsep.join(paths)}
    words = [sys.executable, str(TESTS / "cuda_child.py"), *(json.dumps(line) for line in lines)]
    run = subprocess.run(words, env=env, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stderr
    return [(status, text) for status, text in json.loads(run.stdout)] if lines else []


def numbers(file: str, content: bytes) -> NDArray[np.float64]:
    """What a pattern or a cake holds."""
    if file.endswith(".npz"):
        cake: NDArray[np.float64] = np.load(BytesIO(content))["intensity"]
        return cake
    return np.loadtxt(content.decode().splitlines())


def assert_same_results(cases: dict[str, tuple[str, ...]]) -> None:
    lines = {name: [*USUAL, *MASKS, *FRAMES.get(name, ONE), *words] for name, words in cases.items()}
    on_gpu = simulated(*([*line, "parallel=cuda", f"output_dir=gpu/{name}"] for name, line in lines.items()))
    for (status, text), (name, line) in zip(on_gpu, lines.items(), strict=True):
        assert status == 0, (name, text)
        assert call(*line, f"output_dir=processor/{name}").status == 0
        patterns = "**/*.chi", "**/*.npy", "**/*.npz"
        ours, theirs = (results(Path(where, name), *patterns) for where in ("gpu", "processor"))
        assert ours.keys() == theirs.keys()
        assert len(ours) >= 3
        for file in ours:
            if file.startswith("masks"):
                assert ours[file] == theirs[file], (name, file)
            else:
                found, expected = (numbers(file, each[file]) for each in (ours, theirs))
                np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=f"{name} {file}")


@pytest.mark.slow
def test_masks_are_the_processors_to_the_byte_and_patterns_to_a_millionth(here: Path) -> None:
    assert_same_results(SAME)


@pytest.mark.slow
def test_kernels_agree_with_numpy_and_with_the_loops_of_the_processor() -> None:
    simulated()


@pytest.mark.slow
def test_what_the_gpu_does_not_compute_is_refused_by_name(here: Path) -> None:
    answers = simulated(*([*USUAL, *ONE, word, "parallel=cuda", "output_dir=out"] for word in REFUSED))
    for (status, text), message in zip(answers, REFUSED.values(), strict=True):
        assert status == 2
        assert message in text
    assert not Path("out").exists()


def no_gpu() -> bool:
    from numba import cuda

    return not cuda.is_available()


def test_without_a_gpu_nothing_is_written_and_the_message_says_what_is_missing(here: Path) -> None:
    if not no_gpu():
        pytest.skip("there is a GPU")
    answer = call(*USUAL, *ONE, "parallel=cuda", "output_dir=out")
    assert answer.status == 2
    missing = "no CUDA GPU can be used" if find_spec("numba_cuda") else "pip install 'xrdpipe[cuda]'"
    assert missing in answer.err
    assert not Path("out").exists()


@pytest.mark.parametrize(("installed", "message"), [(None, r"xrdpipe\[cuda\]"), (object(), "no CUDA GPU can be used")])
def test_numba_cuda_and_a_gpu_are_needed(installed: Any, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from xrdpipe.numerics.cuda import device

    if not no_gpu():
        pytest.skip("there is a GPU")
    monkeypatch.setattr(device, "find_spec", lambda name: installed)
    device.require_gpu.cache_clear()
    with pytest.raises(ConfigError, match=message):
        device.require_gpu()


def test_a_gpu_without_room_is_said_to_have_none() -> None:
    from xrdpipe.numerics.cuda import device

    with pytest.raises(MemoryError, match="the GPU has no room"), device._memory_errors():
        raise RuntimeError("[2] Call to cuMemAlloc results in CUDA_ERROR_OUT_OF_MEMORY")


@pytest.mark.slow
def test_kernels_compile_for_a_real_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from numba import cuda, types
    from numba.cuda import dispatcher

    from xrdpipe.numerics.cuda import kernels

    f4, f8, u1, u4, i4, i8 = types.float32, types.float64, types.uint8, types.uint32, types.int32, types.int64
    flag, matrix = types.boolean, (u4[::1], u4[::1], f4[::1])
    signatures = {
        "subtract": (f4[::1], f4[::1], f4[::1], f8, flag, flag),
        "scatter_to_rings": (f4[::1], u1[::1], f4, f4, u4[::1], f4[::1]),
        "ring_statistics": (f4[::1], i4[::1], i8[::1], f8[:, ::1]),
        "mask_outliers": (f4[::1], u4[::1], i8[::1], f4[:, ::1], u1[::1]),
        "integrate": (f4[::1], u1[::1], f4[::1], f4[::1], flag, flag, *matrix, f8[:, ::1]),
    }
    # Functions that kernels call are compiled for the GPU of this computer, which may have none.
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: SimpleNamespace(compute_capability=(8, 0)))
    for name, signature in signatures.items():
        try:
            code, _ = cuda.compile_ptx(getattr(kernels, name).py_func, signature, cc=(8, 0))
        except (OSError, ImportError) as error:
            pytest.skip(f"numba's compiler for GPUs (libNVVM) is not installed: {error}")
        assert ".entry" in code
        assert "fma.rn.f32" not in code  # a difference would be rounded once instead of twice
