"""Simulated powder diffraction of fcc nickel on a flat panel, with known truth, for a first run and for tests.

`Simulation` makes frames of any geometry. `frame(0)` and `air_frame()` are the output of the detector. `truth(0)` holds
the bad pixels of frame 0 by kind. `pattern(q)` is the correct result of integrating frame - air.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

ROOM_TEMPERATURE = 300.0  # K
EXPANSION = 15e-6  # 1/K, linear thermal expansion of nickel: about its mean from 300 to 800 K
# f(s) = sum a exp(-b s^2) + c with s = sin(theta)/lambda: International Tables for Crystallography C, table 6.1.1.4
NICKEL = {12.8376: 3.8785, 7.2920: 0.2565, 4.4438: 12.1763, 2.3800: 66.3421}  # a: b (angstrom^2)
NICKEL_C, NICKEL_Z = 1.0341, 28


@dataclass(frozen=True)
class Simulation:
    """Nickel powder at a synchrotron, on a flat panel like Perkin-Elmer's XRD 1621.

    Frames are (slow, fast) uint16 with bad pixels, as these panels send them: whole counts up to 65535. A count is a
    photon, so the variance of a pixel is its mean. All random numbers depend on `seed` and the number of the frame
    only: the same numbers give the same bytes, with the same version of NumPy. Defects do not change the noise of other
    pixels.

    The model is simplified. The sample neither absorbs nor fluoresces, and does not shadow the air. There is no
    texture and no graininess. Compton scattering has no recoil and is polarized like the other scattering. The
    response is flat, without parallax, lag or glare. A pixel has the intensity at its centre. The beamstop has a sharp
    edge. Peaks have the same width all around.
    """

    shape: tuple[int, int] = (2048, 2048)  # pixels, (slow, fast)
    pixel: tuple[float, float] = (200e-6, 200e-6)  # m, (slow, fast)
    dist: float = 0.25  # m
    poni: tuple[float, float] = (0.504, 0.493)  # point of normal incidence as a fraction of the detector
    rot: tuple[float, float, float] = (0.006, -0.004, 0.0)  # rad
    wavelength: float = 0.1665e-10  # m (74.5 keV)
    polarization: float = 0.99  # pyFAI's factor: 1 is horizontal

    lattice: float = 3.5238  # angstrom, at 300 K
    b_iso: float = 0.4  # angstrom^2, at 300 K
    fwhm: float = 0.085  # 1/angstrom, width of a peak at small q: beam, sample and pixel size
    broadening: float = 0.004  # times q, added in quadrature to the width: strain, bandwidth
    counts: float = 20_000.0  # at the top of the strongest ring, at 300 K
    air: float = 0.02  # scattering of the air at q = 0, as a fraction of `counts`
    dark: float = 0.0  # counts, mean of every pixel without beam

    dead: float = 2e-4  # fraction of pixels that read 0
    hot: float = 1e-4  # fraction of pixels with a steady current of their own
    lines: int = 2  # columns whose upper or lower half reads 0
    zingers: float = 1e-5  # hits by cosmic rays, per pixel and frame
    beamstop: float = 3.5e-3  # m, radius of its shadow at `dist`; its arm goes to the first row
    seed: int = 0

    def clean(self) -> Simulation:
        """Return the same measurement, with the same noise, on a detector without defects and beamstop."""
        return replace(self, dead=0.0, hot=0.0, lines=0, zingers=0.0, beamstop=0.0)

    def reflections(self, q_max: float, temperature: float = ROOM_TEMPERATURE) -> tuple[Floats, NDArray[np.int64]]:
        """Return the positions of all reflections up to `q_max` (1/angstrom), and their multiplicities."""
        step = 2 * np.pi / self._cell(temperature)
        index = np.arange(-int(q_max / step), int(q_max / step) + 1)
        hkl = np.stack(np.meshgrid(index, index, index), axis=-1).reshape(-1, 3)
        # The reflections of an fcc lattice have h, k, l all even or all odd.
        unmixed = hkl[(hkl % 2 == hkl[:, :1] % 2).all(axis=1)]
        squares, multiplicity = np.unique((unmixed**2).sum(axis=1), return_counts=True)
        q = step * np.sqrt(squares)
        in_range = (q > 0) & (q <= q_max)
        return q[in_range], multiplicity[in_range]

    def pattern(self, q: ArrayLike, temperature: float = ROOM_TEMPERATURE) -> Floats:
        """Return the true pattern of the sample.

        Parameters
        ----------
        q
            Positions, 1/angstrom.
        temperature
            Temperature of the sample, K.

        Returns
        -------
        ndarray
            Counts per pixel of frame - air, corrected for solid angle and polarization; the shape of ``q``.
        """
        first, _ = self.reflections(4 * np.pi / self.lattice)  # 111 and 200
        scale = self.counts / self._electron_units(first, ROOM_TEMPERATURE).max()
        return np.asarray(scale * self._electron_units(np.asarray(q, np.float64), temperature))

    def air_pattern(self, q: ArrayLike) -> Floats:
        """Return the true pattern of the air at q (1/angstrom), counts per pixel; it falls smoothly with q."""
        return self.counts * self.air / (1 + (np.asarray(q, np.float64) / 1.5) ** 2)

    def expected(self, temperature: float = ROOM_TEMPERATURE) -> Floats:
        """Return the counts of sample (at a temperature in K), air and dark without noise and defects, (slow, fast)."""
        return self._on_detector(lambda q: self.pattern(q, temperature) + self.air_pattern(q))

    def frame(self, number: int = 0, temperature: float = ROOM_TEMPERATURE) -> NDArray[np.uint16]:
        """Return exposure `number` of the sample (at a temperature in K), with noise and defects."""
        return self._expose(self.expected(temperature), "frame", number)

    def air_frame(self, number: int = 0) -> NDArray[np.uint16]:
        """Return exposure `number` of the air alone, with noise and defects, but without zingers."""
        return self._expose(self._on_detector(self.air_pattern), "air", number)

    def dark_frame(self, number: int = 0) -> NDArray[np.uint16]:
        """Return exposure `number` without beam, with noise and defects, but without zingers."""
        return self._expose(np.full(self.shape, self.dark), "dark", number)

    def truth(self, number: int = 0) -> dict[str, Mask]:
        """Return the bad pixels of a frame.

        Parameters
        ----------
        number
            Number of the frame.

        Returns
        -------
        dict
            Masks by kind, True = bad, (slow, fast); kinds may overlap. dead, hot, line and beamstop are the same in
            all frames, air and dark included; zinger belongs to this frame.
        """
        return {**self._static, "zinger": self._zingers(number) > 0}

    def integrator(self) -> Any:
        """Return the geometry as an AzimuthalIntegrator of pyFAI."""
        from pyFAI.detectors import Detector  # here and below: slow to import
        from pyFAI.integrator.azimuthal import AzimuthalIntegrator

        detector = Detector(*self.pixel, max_shape=self.shape, orientation=3)
        return AzimuthalIntegrator(self.dist, *self._poni, *self.rot, detector=detector, wavelength=self.wavelength)

    def poni_text(self) -> str:
        """Return the geometry as the text of a PONI file of version 2, without a date."""
        config = {"pixel1": self.pixel[0], "pixel2": self.pixel[1], "max_shape": self.shape}
        lines = ["# Simulated by xrdpipe", "poni_version: 2", "Detector: Detector"]
        lines += [f"Detector_config: {json.dumps(config)}", f"Distance: {self.dist}"]
        lines += ["Poni1: {}\nPoni2: {}".format(*self._poni), "Rot1: {}\nRot2: {}\nRot3: {}".format(*self.rot)]
        return "\n".join([*lines, f"Wavelength: {self.wavelength}", ""])

    @property
    def _poni(self) -> tuple[float, ...]:  # m
        return tuple(round(p * n * d, 9) for p, n, d in zip(self.poni, self.shape, self.pixel, strict=True))

    def _cell(self, temperature: float) -> float:
        return self.lattice * (1 + EXPANSION * (temperature - ROOM_TEMPERATURE))

    def _electron_units(self, q: Floats, temperature: float) -> Floats:
        """Return the scattering of one atom in electron units, as in Warren, X-ray Diffraction (1969).

        Bragg scattering is f^2 exp(-2M) times the sum over hkl of m delta(q - q_hkl) 2 pi^2 / (v q^2), with v the
        volume of an atom; 1/q^2 is the Lorentz factor. Thermal diffuse scattering is f^2 (1 - exp(-2M)), for atoms
        that move independently. Compton scattering is Z - f^2/Z. A pseudo-Voigt of unit area, 0.3 Lorentzian, replaces
        delta (Thompson, Cox & Hastings, 1987).
        """

        def atom(q: Floats) -> tuple[Floats, Floats]:
            s2 = (q / (4 * np.pi)) ** 2
            f = sum((a * np.exp(-b * s2) for a, b in NICKEL.items()), start=np.full_like(q, NICKEL_C))
            return f**2, np.exp(-2 * self.b_iso * temperature / ROOM_TEMPERATURE * s2)  # B ~ T: the classical limit

        # The tails of peaks more than 20 1/angstrom beyond the last q are negligible.
        centre, multiplicity = self.reflections(q.max() + 20, temperature)
        f2, bragg = atom(centre)
        area = f2 * bragg * multiplicity * 2 * np.pi**2 / (self._cell(temperature) ** 3 / 4 * centre**2)
        width = np.hypot(self.fwhm, self.broadening * centre)
        f2, bragg = atom(q)
        total = f2 * (1 - bragg) + NICKEL_Z - f2 / NICKEL_Z
        for q0, height, w in zip(centre, area / width, width, strict=True):
            x2 = 4 * ((q - q0) / w) ** 2
            total += height * (0.3 * 2 / np.pi / (1 + x2) + 0.7 * np.sqrt(4 * np.log(2) / np.pi) * 2**-x2)
        return total

    @cached_property
    def _pixels(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Position q (1/angstrom), and polarization times solid angle, of each pixel; (slow, fast)."""
        ai = self.integrator()
        weight = ai.polarization(self.shape, self.polarization) * ai.solidAngleArray(self.shape)
        return ai.array_from_unit(self.shape, unit="q_A^-1").astype(np.float32), weight.astype(np.float32)

    def _on_detector(self, pattern: Callable[[Floats], Floats]) -> Floats:
        q, weight = self._pixels
        grid = np.arange(0.0, q.max() + self.fwhm, self.fwhm / 40)  # interpolates a peak to within 5e-4 of its height
        return np.interp(q, grid, pattern(grid)) * weight + self.dark

    def _rng(self, what: str, number: int = 0) -> np.random.Generator:
        return np.random.default_rng([self.seed, number, *what.encode()])

    @cached_property
    def _static(self) -> dict[str, Mask]:
        line = np.zeros(self.shape, np.bool_)
        half = self.shape[0] // 2  # panels are read out from the middle
        for column, lower in self._rng("line").integers((self.shape[1], 2), size=(self.lines, 2)):
            (line[half:] if lower else line[:half])[:, column] = True
        z, y, x = self.integrator().calc_pos_zyx()  # z along the beam
        radius = self.beamstop / self.dist * z
        return {
            "dead": self._rng("dead").random(self.shape) < self.dead,
            "hot": self._rng("hot").random(self.shape) < self.hot,
            "line": line,
            "beamstop": (np.hypot(x, y) < radius) | ((abs(x) < radius / 4) & (y < 0)),
        }

    def _zingers(self, number: int) -> NDArray[np.int64]:
        """Return the counts that cosmic rays add to a frame, as dots and straight tracks."""
        rng, image = self._rng("zinger", number), np.zeros(self.shape, np.int64)
        for _ in range(rng.poisson(self.zingers * image.size)):
            start, angle, energy = rng.random(2) * self.shape, rng.uniform(0, 2 * np.pi), 500 + rng.exponential(6_000)
            along = np.arange(rng.geometric(0.3))
            slow, fast = (start[:, None] + along * [[np.sin(angle)], [np.cos(angle)]]).astype(np.intp)
            inside = (slow >= 0) & (slow < self.shape[0]) & (fast >= 0) & (fast < self.shape[1])
            image[slow[inside], fast[inside]] += rng.poisson(energy, inside.sum())
        return image

    def _expose(self, expected: Floats, kind: str, number: int) -> NDArray[np.uint16]:
        rng, bad = self._rng(kind, number), self._static
        counts = rng.poisson(expected)  # drawn before any defect, so that good pixels keep their noise
        shadow = bad["beamstop"]  # transmits 2 %
        counts[shadow] = rng.poisson(self.dark + 0.02 * (expected[shadow] - self.dark))
        counts[bad["hot"]] += rng.poisson(self._rng("current").uniform(2_000, 80_000, bad["hot"].sum()))
        if kind == "frame":
            counts += self._zingers(number)
        counts[bad["dead"] | bad["line"]] = 0
        return np.minimum(counts, 65535).astype(np.uint16)
