"""`ImportIssues`: the records that a reader of annotations had to leave out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from samadapt.errors import DataError, ImageError

_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Something of a file that was not taken.

    Attributes:
        where: the file and the place in it.
        why: what is wrong with it, and what to do.
        objects: how many objects were lost with it; 0 for a remark.
    """

    where: str
    why: str
    objects: int = 1

    def __str__(self) -> str:
        return f"{self.where}: {self.why}"


class ImportIssues:
    """Collects the records that a reader leaves out; a strict one raises for the first.

    Args:
        strict: raise.
    """

    def __init__(self, strict: bool = False) -> None:
        self.strict = strict
        self._left_out: list[LeftOut] = []

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """All records that were left out, in the order of the file."""
        return tuple(self._left_out)

    def leave_out(self, where: str, why: str, objects: int = 1) -> None:
        """Name something that is not taken.

        Raises:
            DataError: the same, when strict.
        """
        if self.strict:
            raise DataError(f"{where}: {why}")
        self._add(where, why, objects)

    def remark(self, where: str, why: str) -> None:
        """Say something about a file of which nothing is lost; never raises."""
        self._add(where, why, 0)

    @contextmanager
    def leaving_out(self, where: str, objects: int = 1) -> Iterator[None]:
        """Leave out a record if its block raises `DataError` or `ImageError`.

        Raises:
            DataError, ImageError: the same, when strict.
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
    """A text that any terminal and any JSON can hold, in one line."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: 2 * _LONGEST])
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}..."
