"""Creation of new results folders."""

from __future__ import annotations

from pathlib import Path

from ..model.errors import ConfigError


def new_folder(kind: str = "") -> Path:
    """Create a new folder ``outputs/[kind/]<date>/<time>``.

    Parameters
    ----------
    kind
        Additional level of the path.

    Raises
    ------
    ConfigError
        The folder cannot be created.
    """
    from datetime import datetime

    now = datetime.now().astimezone()
    base = Path("outputs", kind, f"{now:%Y-%m-%d}")
    names = (f"{now:%H-%M-%S}{suffix}" for suffix in ("", *(f"_{number}" for number in range(2, 10_000))))
    for name in names:
        try:
            (base / name).mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise ConfigError(f"{base / name}: cannot be made ({error.strerror}); name an output_dir") from error
        return base / name
    raise ConfigError(f"{base}: no free name")
