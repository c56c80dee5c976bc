"""The static mask of a series: every frame is read once, in order, and what is bad in all of them is found."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..geometry.geometry import Geometry, shared_geometry
from ..model.cores import available_cores
from ..model.errors import ConfigError, FrameError
from ..model.frame import Frame
from ..model.reference import Reference
from ..model.static_mask import FLICKERING, STUCK, StaticMask
from ..numerics.constants import OUTLIER
from ..numerics.outliers import AUTOMATIC, GROWN
from ..numerics.series_statistics import SeriesStatistics, Summed, spread_outliers
from ..pipeline.recipe import Prepared, Recipe, prepared
from ..stages.background import Background
from ..stages.mask import Mask
from ..stages.stage import Setup
from . import interruption
from .plan import Plan, run_shape
from .progress import Progress

MOST = 0.5  # of the pixels that are no edge and no gap: a static mask that takes more is not to be trusted


Floats = NDArray[np.float32]


class _Passed(NamedTuple):
    """What the first pass needs of a frame, flat."""

    image: Floats
    variance: Floats
    raw: Floats
    mask: NDArray[np.uint8]


def make_static_mask(plan: Plan, progress: Progress) -> StaticMask:
    """Find what is bad in every frame of a run, from all of them.

    Parameters
    ----------
    plan
        The run; its pipeline up to the first stage that is a `Mask` is what frames pass.
    progress
        Counts the frames.

    Returns
    -------
    StaticMask
        The same bytes for any number of jobs.

    Raises
    ------
    ConfigError
        There is no mask stage, or no frame that can be used.
    KeyboardInterrupt
        The user wants no more.
    """
    plan.require_still("a static mask")
    group, mask = mask_stage(plan)
    shape, shape_from, unreadable = run_shape(plan)
    if shape is None:
        raise ConfigError(f"images: no frame can be read ({next(iter(unreadable.values()), 'there is none')})")
    order = list(plan.pipeline.stages)
    order = order[: order.index(group) + 1]
    config = json.dumps(plan.pipeline.config)
    inputs = plan.input_hash
    recipe = Recipe(config, tuple(order), plan.poni, shape, shape_from, None, plan.settings.cache, inputs=inputs)
    statistics = SeriesStatistics(shape[0] * shape[1])
    used, failed = _first_pass(plan, prepared(recipe), statistics, progress)
    sums = _sums(plan, recipe, statistics, used[0])
    geometry = shared_geometry(plan.poni, shape, shape_from, plan.settings.cache)
    reasons, together, doubts = judge_series(mask, geometry, statistics, sums)
    if 2 * len(used) < len(plan.images):
        doubts.append(f"only {len(used)} of {len(plan.images)} frames can be used")
    mean = (sums[0].image / np.float32(statistics.frames * sums[0].scale)).reshape(shape)
    to_raw = plan.pipeline.source.to_raw
    raw = [np.ascontiguousarray(to_raw(each.reshape(shape))) for each in (reasons, mean)]
    return StaticMask(raw[0], raw[1], together, tuple(image.name for image in used), failed, tuple(doubts))


def _first_pass(
    plan: Plan, line: Prepared, statistics: SeriesStatistics, progress: Progress
) -> tuple[list[Reference], dict[str, str]]:
    """Add every frame to the statistics; return those that could be used, and why others could not, by name."""
    used: list[Reference] = []
    failed: dict[str, str] = {}
    for image, passed in _in_order(line, plan.images, plan.settings.parallel.n_jobs):
        if isinstance(passed, str):
            failed[image.name] = passed
        else:
            statistics.add(*passed)
            used.append(image)
        progress.advance(f"{image.location}: {passed}" if isinstance(passed, str) else "")
        if interruption.stop_requested():
            raise KeyboardInterrupt
    if not used:
        raise ConfigError(f"images: no frame can be used ({next(iter(failed.values()))})")
    return used, failed


def _sums(plan: Plan, recipe: Recipe, statistics: SeriesStatistics, first: Reference) -> list[Summed]:
    """Return the sum of all frames, and where a background is subtracted, that of the frames without it."""
    source = plan.pipeline.source
    noise = source.gain, source.readout_noise**2
    subtracted = affine_part(prepared(recipe), first)
    sums = [statistics.summed(subtracted.common, subtracted.slope, *noise)]
    if (bare := _without_background(plan, recipe)) is not None:
        whole = affine_part(prepared(bare), first)
        statistics.shift(whole.image - subtracted.image, whole.common - subtracted.common)
        sums.append(statistics.summed(whole.common, whole.slope, *noise))
    return sums


def mask_stage(plan: Plan) -> tuple[str, Mask]:
    """Return the first stage of a run that masks, with the name of its group; ConfigError where there is none."""
    for group, stage in plan.pipeline.stages.items():
        if isinstance(stage, Mask):
            return group, stage
    raise ConfigError(f"stages={list(plan.pipeline.stages)}: none of them masks; add mask")


class Affine(NamedTuple):
    """What the stages before the mask make of a frame, flat: its ``image``, and ``common + slope * variance``.

    ``common`` is the same error in every frame, that of the background.
    """

    image: Floats
    common: Floats
    slope: Floats


def affine_part(line: Prepared, reference: Reference) -> Affine:
    """Return what the stages before the mask make of one frame, which stands for all."""
    frame = line.read(reference)
    zero = np.zeros(frame.image.shape, np.float32)

    def after(variance: Floats) -> tuple[Floats, Floats]:
        passed = replace(frame, variance=variance)
        for step in list(line.steps.values())[:-1]:
            passed = step(passed)
        return passed.image.ravel(), (zero if passed.variance is None else passed.variance).ravel()

    image, common = after(zero)
    return Affine(image, common, after(zero + 1)[1] - common)


def _without_background(plan: Plan, recipe: Recipe) -> Recipe | None:
    """Return the recipe without the background, whose noise is in all frames; None where there is none.

    Dead pixels and shadows lower what they let through, air included. So the sum of frames shows them that nothing
    was subtracted from, where that of the others is no better than the background.
    """
    groups = [name for name, stage in plan.pipeline.stages.items() if isinstance(stage, Background) and stage.file]
    if not groups or groups[0] not in recipe.order:
        return None
    config = json.loads(recipe.config)
    nothing = dict.fromkeys(("file", "weights", "monitor", "monitor_value", "fit_range"))
    config[groups[0]] = {**config[groups[0]], **nothing, "scale": 1.0}
    return replace(recipe, config=json.dumps(config))


def judge_series(
    stage: Mask, geometry: Geometry, statistics: SeriesStatistics, sums: Sequence[Summed]
) -> tuple[NDArray[np.uint16], int, list[str]]:
    """Return the reasons of every pixel (uint16, flat), how many pixels only the sum of all frames shows, and doubts.

    A pixel is masked where the mask of every frame masks it for the same reason, that of most frames for any reason, or
    the mask ``stage`` in one of the ``sums`` of all frames; or where it varies over the series unlike those beside it.
    """
    bits = statistics.always.copy()
    often = (2 * statistics.good < statistics.frames) & (bits == 0)
    automatic = statistics.ever[often] & (AUTOMATIC | GROWN)
    bits[often] = np.where(automatic, automatic & -automatic, OUTLIER)
    known = np.count_nonzero(bits)
    judge = replace(
        stage, file=None, invert=False, edge=None, detector=False, lower_thresh=None, upper_thresh=None
    )  # these belong to each frame, which they have seen

    def nothing(path: str) -> Floats:
        raise ConfigError(f"{path}: is not read twice")

    setup, shape, doubts = Setup(geometry, nothing, np.asarray), geometry.shape, []
    for summed in sums:
        # Shadows are those of the sum that nothing was subtracted from, the last one: where the sample scatters little,
        # the difference is about 0 without one.
        step = replace(judge, regions=judge.regions and summed is sums[-1]).prepare(setup)
        image, variance = (each.reshape(shape) for each in (summed.image, summed.variance))
        try:
            masked = step(Frame("sum", image, variance=variance, mask=bits.reshape(shape))).mask
            assert masked is not None
            bits = masked.ravel()
        except FrameError as error:
            doubts.append(str(error))
    together = int(np.count_nonzero(bits) - known)
    reasons = bits.astype(np.uint16)
    if stage.alpha is not None:
        stuck, flickering = spread_outliers(sums[0], geometry.arcs, stage.alpha, bits)
        reasons[stuck] |= STUCK
        reasons[flickering] |= FLICKERING
    free = (statistics.always & ~(AUTOMATIC | GROWN)) == 0
    share = float((reasons[free] != 0).mean()) if free.any() else 1.0
    if share > MOST:
        doubts.append(f"it would take {100 * share:.0f} % of the pixels that no file, detector or edge masks")
    return reasons, together, doubts


def _in_order(line: Prepared, images: Sequence[Reference], n_jobs: int) -> Iterator[tuple[Reference, _Passed | str]]:
    """Every frame as it comes out of ``line``, or why it fails, in the given order; few are in memory at a time."""
    jobs = min(available_cores() if n_jobs == -1 else n_jobs, len(images))
    with ThreadPoolExecutor(max(1, jobs)) as threads:
        waiting = iter(images)
        going = deque((image, threads.submit(_pass, line, image)) for image in islice(waiting, jobs + 1))
        while going:
            image, future = going.popleft()
            yield image, future.result()
            going.extend((following, threads.submit(_pass, line, following)) for following in islice(waiting, 1))


def _pass(line: Prepared, image: Reference) -> _Passed | str:
    try:
        frame = line(image)[0]
    except FrameError as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)
    raw = frame.image if frame.info.raw is None else frame.info.raw
    assert frame.mask is not None
    variance = line.pipeline.source.noise(raw) if frame.variance is None else frame.variance
    return _Passed(frame.image.ravel(), variance.ravel(), raw.ravel(), frame.mask.ravel())
