"""`VoxelSize`: distances between slices, rows and columns."""

from __future__ import annotations

import math
from dataclasses import dataclass

from samadapt.errors import DataError

_MICROMETRES = {
    "µm": 1.0,
    "μm": 1.0,
    "um": 1.0,
    "micron": 1.0,
    "microns": 1.0,
    "micrometer": 1.0,
    "micrometre": 1.0,
    "\\u00b5m": 1.0,
    "nm": 1e-3,
    "nanometer": 1e-3,
    "å": 1e-4,
    "angstrom": 1e-4,
    "mm": 1e3,
    "millimeter": 1e3,
    "cm": 1e4,
    "centimeter": 1e4,
    "inch": 25400.0,
    "m": 1e6,
    "meter": 1e6,
}
_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "ms": 1e-3, "millisecond": 1e-3, "min": 60.0}
_SECONDS |= {"minute": 60.0, "h": 3600.0, "hour": 3600.0}


@dataclass(frozen=True, slots=True)
class VoxelSize:
    """Distances between neighbouring slices, rows and columns; None where unknown.

    Attributes:
        z: micrometres from slice to slice.
        y: micrometres from row to row.
        x: micrometres from column to column.
        t: seconds from frame to frame.

    Raises:
        DataError: a distance that is not a positive number.
    """

    z: float | None = None
    y: float | None = None
    x: float | None = None
    t: float | None = None

    def __post_init__(self) -> None:
        for name in ("z", "y", "x", "t"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise DataError(f"voxel size {name} = {value}: give a positive number")

    @property
    def zyx(self) -> tuple[float, float, float]:
        """Micrometres along z, y and x; 1 where unknown."""
        return self.z or 1.0, self.y or 1.0, self.x or 1.0

    @property
    def is_known(self) -> bool:
        """Whether any distance in space is known."""
        return any(value is not None for value in (self.z, self.y, self.x))


def micrometres(value: object, unit: str | None) -> float | None:
    """A length in micrometres, or None where number or unit are unusable."""
    return _positive(value, _MICROMETRES.get((unit or "").strip().lower()))


def seconds(value: object, unit: str | None) -> float | None:
    """A time in seconds, or None where number or unit are unusable."""
    return _positive(value, _SECONDS.get((unit or "").strip().lower()))


def _positive(value: object, factor: float | None) -> float | None:
    try:
        number = float(value) * (factor or math.nan)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None
