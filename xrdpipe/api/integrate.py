"""Frames to patterns, and the static mask of a series, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model.errors import ConfigError
from . import without_log_output

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..execution.result import Run
    from ..model.static_mask import StaticMask


_DEFAULT = object()


@without_log_output()
def integrate(
    poni: str | Path | None = None,
    *images: str | Path | Mapping[str, NDArray[Any]],
    output_dir: str | Path | object | None = _DEFAULT,
    overrides: Sequence[str] = (),
    config_dir: str | Path | None = None,
    quiet: bool = True,
    **groups: Any,
) -> Run:
    """Reduce frames to patterns, as in ``integrate("a.poni", "a.tiff", mask="strict", integ={"unit": "2th_deg"})``.

    Parameters
    ----------
    poni
        Path of the geometry file. None for ``source="demo"``, which makes its own.
    *images
        Paths, globs, ``@lists``, or mappings of names to arrays of counts, shape (slow, fast).
    output_dir
        Results folder; a new one by default. None writes nothing.
    overrides, config_dir
        Further arguments of the command line, such as ``"mask.alpha=2"``; folder of your own configuration files.
    quiet
        Show no progress.
    **groups
        Configuration groups: the name of an option, a mapping of values, or a pair ``(option, values)``.
        Top-level keys such as ``stages`` and ``overwrite`` are accepted as well.

    Returns
    -------
    Run
        ``patterns``, ``masks`` (uint8, 1 = masked, raw orientation), ``frames`` (their records), ``folder``.

    Raises
    ------
    ConfigError
        The configuration is invalid, as on the command line. It is a ValueError.
    """
    from ..execution.run import run

    composed, chosen, arrays = configuration(poni, images, groups, overrides, config_dir)
    composed |= {"quiet": quiet, **_expanded(poni, output_dir)}
    return run(composed, [*chosen, *overrides], arrays=arrays, write=output_dir is not None, keep=True)


@without_log_output()
def static_mask(
    poni: str | Path,
    *images: str | Path | Mapping[str, NDArray[Any]],
    overrides: Sequence[str] = (),
    config_dir: str | Path | None = None,
    quiet: bool = True,
    **groups: Any,
) -> StaticMask:
    """Find what is bad in every frame of a series: ``static_mask("geometry.poni", "data/*.tiff").mask``.

    Parameters
    ----------
    poni, *images, overrides, config_dir, quiet, **groups
        As `integrate` takes them; ``mask="series"`` unless another is given.

    Returns
    -------
    StaticMask
        ``mask`` (uint8, 1 = masked, raw orientation), ``counts`` by reason, and ``doubts``: why not to trust it.

    Raises
    ------
    ConfigError
        The command line would refuse this too. It is a ValueError.
    """
    from ..execution.plan import Plan
    from ..execution.progress import Progress
    from ..execution.static_mask import make_static_mask

    values, _, arrays = configuration(poni, images, {"mask": "series", **groups}, overrides, config_dir)
    plan = Plan.of({**values, "quiet": quiet}, arrays, False, {})
    with Progress(len(plan.images), quiet) as progress:
        return make_static_mask(plan, progress)


def configuration(
    poni: str | Path | None,
    images: Sequence[str | Path | Mapping[str, NDArray[Any]]],
    groups: Mapping[str, Any],
    overrides: Sequence[str],
    config_dir: str | Path | None,
) -> tuple[dict[str, Any], list[str], dict[str, NDArray[Any]]]:
    """Return the configuration, the options that the groups choose, and the arrays among the images."""
    composed, chosen = _composed(groups, overrides, config_dir)
    arrays = _named_arrays([item for item in images if isinstance(item, Mapping)])
    composed["images"] += [str(item) for item in images if not isinstance(item, Mapping)]
    composed |= _expanded(poni, None)
    return composed, chosen, arrays


def _expanded(poni: str | Path | None, output_dir: str | Path | object | None) -> dict[str, str]:
    from ..io.paths import expand_user

    paths = {"poni": poni, "output_dir": None if output_dir is _DEFAULT else output_dir}
    return {key: expand_user(str(path)) for key, path in paths.items() if path is not None}


def _named_arrays(mappings: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    arrays = {str(name): array for mapping in mappings for name, array in mapping.items()}
    if len(arrays) < sum(map(len, mappings)):
        raise ConfigError("images: two arrays of one name")
    return arrays


def _composed(
    groups: Mapping[str, Any], overrides: Sequence[str], config_dir: str | Path | None
) -> tuple[dict[str, Any], list[str]]:
    """Return the configuration with a list of images, and the options that the groups choose."""
    from ..config import arguments
    from ..config.loader import Loader, force_overrides, to_builtin
    from ..config.settings import as_list, expand_paths, merge

    chosen, values = [], {}
    for group, value in groups.items():
        option, content = value if isinstance(value, tuple) else (value, {})
        if isinstance(option, Mapping):
            option, content = None, option
        if isinstance(option, str):
            chosen.append(f"{group}={option}")
        elif option is not None:
            values[group] = option
        elif not content:
            raise ConfigError(f"{group}=None: an option's name, values, or (option, values) expected")
        if content:
            values[group] = dict(content)
    try:
        typed, bare = arguments.translate(list(overrides))
    except arguments.UsageError as error:
        raise ConfigError(str(error)) from error
    composed = to_builtin(Loader(str(config_dir) if config_dir else None).compose([*chosen, *force_overrides(typed)]))
    merge(composed, values)
    expand_paths(composed)
    composed["images"] = [*as_list(composed.get("images")), *bare]
    return composed, chosen
