"""The results of a run in its folder, read one by one when they are asked for.

Nothing there is trusted: a file counts only if it lies in the folder and is, by its hash, the one that the run
recorded.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..io.formats import FORMATS, Format, find_format, format_names
from ..io.nexus_read import Data, read_frame
from ..model.cake import Cake
from ..model.errors import FrameError
from ..model.identity import content_hash
from ..model.limits import LARGEST_IMAGE
from ..model.pattern import Pattern
from ..model.record import Record
from ..model.series import MERGED
from ..stages.plot.series import AXES
from .records import Records

BEST = ("csv", "xye", "xye_topas", "chi", "fxye", "xy", "chi_fit2d")  # sigma first, then digits
NUMBER = r"(-?\d+(?:\.\d+)?(?:e[-+]\d+)?)"
UNITS = "|".join(map(re.escape, AXES))
PART = re.compile(rf"(.*)_(cake|sector_{NUMBER}_{NUMBER}|{UNITS})", re.DOTALL)  # a file or title of a part of a frame
LARGEST = 16 * LARGEST_IMAGE  # bytes of a file that is read as a whole: two numbers for each pixel
Result = TypeVar("Result")


class StoredResults(Mapping[str, Result]):
    """Results by the name of their frame, each read on access.

    Parameters
    ----------
    records
        Records of the frames; those that are done have a result.
    read
        Returns the result of a frame; None if the run does not save these results.
    absent
        What a user may do where the run does not save them.
    """

    def __init__(self, records: Records, read: Callable[[Record], Result] | None, absent: str = "") -> None:
        self._records, self._read, self._absent = records, read, absent

    def __getitem__(self, name: str) -> Result:
        if self._read is None:
            raise KeyError(f"{name}: {self._absent}")
        record = self._records[name]
        if record.status != "done":
            raise KeyError(f"{name}: {record.status}{f', {record.error}' if record.error else ''}")
        try:
            return self._read(record)
        except (TypeError, AttributeError) as error:
            raise FrameError(f"{name}: its record in run.json is damaged") from error

    def __contains__(self, name: object) -> bool:
        record = self._records.get(name) if self._read is not None and isinstance(name, str) else None
        return record is not None and record.status == "done"

    def __iter__(self) -> Iterator[str]:
        if self._read is not None:
            yield from (record.name for record in self._records.arranged if record.status == "done")

    def __len__(self) -> int:
        return 0 if self._read is None else self._records.arranged.count_of("done")

    def __repr__(self) -> str:
        return f"<results of {len(self)} frames, read on access>"


class StoredRun:
    """Files of a run, and how to read them.

    Parameters
    ----------
    folder
        Folder of the run.
    run
        Content of ``run.json`` without the records.
    records
        Records of the frames, arranged.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any], records: Records) -> None:
        self.folder, self._records = folder.resolve(), records
        self._unit = _configured_unit(run)
        patterns, titles = (_texts(run.get(key)) for key in ("files", "together"))
        names = [*BEST, *(name for name in format_names() if name not in BEST)]
        forms = [FORMATS.get(name) or find_format(name) for name in names]
        self._forms = [form for form in forms if form is not None and f"*{form.suffix}" in patterns]
        self._nexus = _nexus_titles(titles)
        found = [PART.fullmatch(file.removesuffix(form.suffix)) for form in self._forms for file in patterns]
        parts = [*(match[2] for match in found if match), *self._nexus]
        self._sectors = [part for part in dict.fromkeys(parts) if part not in ("", "cake")]
        self._has_cakes = "*_cake.npz" in patterns or "cake" in self._nexus
        self._together = titles
        self._has_masks = "masks/*.npy" in patterns

    @property
    def patterns(self) -> StoredResults[Pattern]:
        """Patterns of the whole frames."""
        has_some = self._forms or "" in self._nexus
        return StoredResults(self._records, self._pattern if has_some else None, "the run saved no patterns")

    @property
    def sectors(self) -> StoredResults[Mapping[str, Pattern]]:
        """Patterns of sectors, or in further units, by the suffix of their files."""
        read = self._sectors_of if self._sectors else None
        return StoredResults(self._records, read, "the run made no sectors; integ=sectors does")

    @property
    def cakes(self) -> StoredResults[Cake]:
        """Cakes."""
        read = self._cake if self._has_cakes else None
        return StoredResults(self._records, read, "the run made no cakes; integ=cake does")

    @property
    def masks(self) -> StoredResults[NDArray[np.uint8]]:
        """Masks in the raw orientation: uint8, 1 = masked."""
        read = self._mask if self._has_masks else None
        return StoredResults(self._records, read, "the run saved no masks; output.mask=true does")

    @property
    def merged(self) -> Pattern | None:
        """Pattern of all frames together; None if the run made none, or it cannot be read."""
        for form in self._forms:
            path = self.folder / f"{MERGED}{form.suffix}"
            if f"{MERGED}{form.suffix}" not in self._together or not path.resolve().is_relative_to(self.folder):
                continue
            with suppress(OSError, FrameError):
                if path.stat().st_size <= LARGEST:
                    found = self._parsed(form, path.name, path.read_bytes())
                    return replace(found, label=AXES.get(found.unit, found.unit))
        return None

    def _sectors_of(self, record: Record) -> dict[str, Pattern]:
        return {part: self._pattern(record, part) for part in self._sectors}

    def _pattern(self, record: Record, part: str = "") -> Pattern:
        match = PART.fullmatch(f"_{part}")
        limits = (float(match[3]), float(match[4])) if match and match[3] else None
        name = f"{record.name}_{part}" if part else record.name
        data = self._in_nexus(record, part)
        if data is not None and data.azimuthal is None:
            found = Pattern(data.radial, data.intensity, data.errors, data.unit, method=data.method)
        else:
            found = self._in_text(record, name)
        unit = part if part in AXES else found.unit  # some formats do not name it
        label = AXES.get(unit, unit)
        return replace(found, unit=unit, label=label, method=found.method or record.method, azimuth_range=limits)

    def _in_nexus(self, record: Record, part: str) -> Data | None:
        titles = self._nexus.get(part, [])
        stack = {title: title.removesuffix(".nxs").removesuffix(f"_{part}") for title in titles}
        for title in sorted(titles, key=lambda each: not record.name.startswith(stack[each])):  # the likely one first
            path = (self.folder / title).resolve()
            if path.parent == self.folder and path.is_file() and (data := read_frame(path, record.name)) is not None:
                return data
        return None

    def _in_text(self, record: Record, name: str) -> Pattern:
        form = next((form for form in self._forms if f"{name}{form.suffix}" in record.outputs), None)
        if form is None:
            raise FrameError(f"{name}: its pattern is in no file of {self.folder}; resume=true makes it again")
        file = f"{name}{form.suffix}"
        return self._parsed(form, file, self._content(record, file))

    def _parsed(self, form: Format, file: str, content: bytes) -> Pattern:
        try:
            unit, table = form.read(content.decode("utf-8", "replace"))
            sigma = table[:, 2] if table.shape[1] > 2 else None
            return Pattern(table[:, 0], table[:, 1], sigma, unit or self._unit)
        except (ValueError, IndexError) as error:
            raise FrameError(f"{self.folder / file}: no pattern ({error})") from error

    def _mask(self, record: Record) -> NDArray[np.uint8]:
        file = f"masks/{record.name}.npy"
        mask = _array(self._content(record, file), file)
        if mask.dtype != np.uint8 or mask.ndim != 2:
            raise FrameError(f"{self.folder / file}: no mask, but {mask.dtype} of shape {mask.shape}")
        return mask

    def _cake(self, record: Record) -> Cake:
        file = f"{record.name}_cake.npz"
        if (data := self._in_nexus(record, "cake")) is not None and data.azimuthal is not None:
            arrays = (data.radial, data.azimuthal, data.intensity, data.errors)
            unit = data.unit
        else:
            with io.BytesIO(self._content(record, file)) as content:
                arrays, unit = _cake_arrays(content, file), self._unit
        return Cake(*arrays, unit, AXES.get(unit, unit), record.method)

    def _content(self, record: Record, file: str) -> bytes:
        """Return the bytes of a file that the run recorded.

        Raises
        ------
        FrameError
            It is not there, not in the folder, too large, or not the one that the run wrote.
        """
        path = self.folder / file
        if file not in record.outputs or "\0" in file:
            raise FrameError(f"{path}: the run did not record it")
        try:
            if not path.resolve().is_relative_to(self.folder):
                raise FrameError(f"{path}: lies outside the folder of the run")
            if (size := path.stat().st_size) > LARGEST:
                raise FrameError(f"{path}: {size} bytes, more than such a file can have")
            content = path.read_bytes()
        except OSError as error:
            raise FrameError(f"{path}: {error.strerror}; resume=true makes it again") from error
        if content_hash(content) != record.outputs[file]:
            raise FrameError(f"{path}: changed since the run wrote it; resume=true makes it again")
        return content


def _texts(values: Any) -> list[str]:
    return [each for each in values if isinstance(each, str)] if isinstance(values, list) else []


def _configured_unit(run: Mapping[str, Any]) -> str:
    """Return the radial unit of a run, which a file without a header lacks."""
    try:
        return str(run["config"]["integ"]["unit"])
    except (KeyError, TypeError):
        return ""


def _nexus_titles(files: Sequence[str]) -> dict[str, list[str]]:
    """Return the NeXus files by the part of a frame that they hold; "" is the pattern of the whole."""
    parts: dict[str, list[str]] = {}
    for file in files:
        if file.endswith(".nxs") and Path(file).name == file and "\0" not in file:
            match = PART.fullmatch(file.removesuffix(".nxs"))
            part = match[2] if match and f"{match[1]}.nxs" in files else ""
            parts.setdefault(part, []).append(file)
    return parts


def _array(content: bytes, file: str) -> NDArray[Any]:
    """Return the array of an ``.npy`` file, whose header may claim anything; no pickle."""
    try:
        stream = io.BytesIO(content)
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = read(stream)
        if dtype.hasobject:
            raise ValueError("objects")
        flat = np.frombuffer(content, dtype, offset=stream.tell())
        return flat.reshape(shape, order="F" if fortran else "C").copy()
    except (ValueError, KeyError, TypeError) as error:
        raise FrameError(f"{file}: no array ({error})") from error


def _cake_arrays(content: io.BytesIO, file: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], Any]:
    """Return radial and azimuthal axis, intensity, and sigma or None, of the archive of a cake."""
    try:
        with zipfile.ZipFile(content) as archive:
            infos = {info.filename: info for info in archive.infolist()}
            if any(info.compress_type != zipfile.ZIP_STORED for info in infos.values()):
                raise ValueError("compressed")  # we store; a small archive may unpack to any size
            names = ("radial", "azimuthal", "intensity", "sigma")
            found = {name: _array(archive.read(f"{name}.npy"), file) for name in names if f"{name}.npy" in infos}
        shape = found["azimuthal"].shape + found["radial"].shape
        if len(shape) != 2 or any(found[name].shape != shape for name in ("intensity", "sigma") if name in found):
            raise ValueError("its shapes do not fit")
        if any(each.dtype != np.float64 for each in found.values()):
            raise ValueError("not float64")
        return found["radial"], found["azimuthal"], found["intensity"], found.get("sigma")
    except (ValueError, KeyError, OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise FrameError(f"{file}: no cake ({error})") from error
