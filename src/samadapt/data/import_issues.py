"""`ImportIssues`: the records that a reader of annotations had to leave out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from samadapt.errors import DataError, ImageError

_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A part of a file that was left out.

    Attributes:
        where: the file and the place in it.
        why: the error and the remedy.
        objects: number of objects lost with it; 0 for a remark.
    """

    where: str
    why: str
    objects: int = 1

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


class ImportIssues:
    """Collects the records that a reader leaves out; if strict, raises for the first one."""

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self._left_out: list[LeftOut] = []

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """All records that were left out, in the order of the file."""
        return tuple(self._left_out)

    def leave_out(self, where: str, why: str, objects: int = 1) -> None:
        """Record a part that is left out.

        Raises:
            DataError: the same message, when strict.
        """
        if self.strict:
            raise DataError(f"{where}: {why}")
        self._add(where, why, objects)

    def remark(self, where: str, why: str) -> None:
        """Record a remark about a file from which nothing is lost; never raises."""
        self._add(where, why, 0)

    @contextmanager
    def leaving_out(self, where: str, objects: int = 1) -> Iterator[None]:
        """Leave out a record if its block raises `DataError` or `ImageError`.

        Raises:
            DataError, ImageError: the block's error, when strict.
        """
        try:
            yield
        except (DataError, ImageError) as error:
            if self.strict:
                raise
            self._add(where, str(error), objects)

    def _add(self, where: str, why: str, objects: int) -> None:
        self._left_out.append(LeftOut(_printable(where), _printable(why), objects))


def _printable(text: str) -> str:
    """A one-line text that is valid in any terminal and in JSON."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: 2 * _LONGEST])
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
