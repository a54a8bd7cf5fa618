"""Checking a project, and repairing it from its copies and readable rows."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from samadapt.store.copies import kept_copies, make_copy
from samadapt.store.database import Database
from samadapt.store.errors import StoreError
from samadapt.store.projects import Project
from samadapt.store.rebuild import differences, read_log, rebuild
from samadapt.store.receipt import Receipt, in_use, read_receipt, receipt_path, write_receipt
from samadapt.store.salvage import Source, join, look_at
from samadapt.store.sqlite_file import PARTS, connected, contents

Status = Literal["ok", "note", "problem"]

_ASIDE = ".before-"


@dataclass(slots=True)
class Diagnosis:
    """Result of a check or repair.

    Attributes:
        lines: (status, text) each.
        recovered: number of recovered changes.
        lost: number of saved changes that are lost.
        is_repaired: whether something was changed.
    """

    lines: list[tuple[Status, str]] = field(default_factory=list)
    recovered: int = 0
    lost: int = 0
    is_repaired: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether no problem was found or remains."""
        return all(status != "problem" for status, _ in self.lines)

    def say(self, status: Status, text: str) -> None:
        """Add a line."""
        self.lines.append((status, " ".join(text.split())))


def examine(where: str, *, repair: bool = True) -> Diagnosis:
    """Check a project's database, and repair it.

    A replaced file is kept beside the new one. On a database server, only the tables are rebuilt
    from the log.

    Args:
        where: the project's file, or the URL of a database.
        repair: whether to repair it.

    Raises:
        StoreError: it should be repaired but is in use, or there is no project.
    """
    found = Diagnosis()
    where = where.removeprefix("sqlite:///")
    if "://" in where:
        _check_tables(where, found, repair)
        return found
    path = Path(where).absolute()
    try:
        with (
            in_use(path, alone=repair),
            tempfile.TemporaryDirectory(
                dir=path.parent if repair else None, prefix=".samadapt-doctor-"
            ) as scratch,
        ):
            _examine_file(path, Path(scratch), found, repair)
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror or error})") from None
    return found


def _examine_file(path: Path, scratch: Path, found: Diagnosis, repair: bool) -> None:
    before = _receipt(path, found)
    main = look_at(path, scratch / "main", is_in_use=not repair)
    places = kept_copies(path)
    if main.contents is None:  # a repair may have been killed
        aside = sorted(path.parent.glob(f"{path.name}{_ASIDE}*"), reverse=True)
        places += [place for place in aside if not place.name.endswith(PARTS[1:])]
    sources = [main, *(look_at(place, scratch / str(k)) for k, place in enumerate(places))]
    if main.contents is None and before is None and len(sources) == 1:
        why = main.problem if path.exists() else "nor a copy of one"
        raise StoreError(
            f"there is no project {path} ({why}): give a folder that was annotated, or its file"
        )
    if main.is_sound:
        found.say("ok", f"{path.name}: {main.contents.events if main.contents else 0} changes")
    else:
        found.say("problem", f"{path.name}: {main.problem}")
    identity = before.identity if before else _first_identity(sources)
    base = _best(sources, identity)
    if base is None:
        found.say("problem", "no copy can be read: nothing could be recovered")
        found.lost = before.events if before else 0
        return
    if base is not main:
        events = base.contents.events if base.contents else 0
        found.say("note", f"{base.origin.name} has {events} changes and is sound")
    result = scratch / "result.sqlite"
    others = [source.path for source in sources if source is not base]
    added, damaged = join(base.path, others, result)
    for line in damaged:
        found.say("problem", f"{line}; left out")
    if added:
        found.say("note", f"{added} changes beyond that could be read elsewhere")
    changed = _check_tables(str(result), found, True)
    events = _events(result)
    had = max([before.events if before else 0, *(_count(s) for s in sources if s.is_sound)])
    found.lost = max(0, had - events)
    stays = base is main and not added and not damaged and not changed
    if stays and _is(main, identity) and not found.lost:
        if identity is not None:  # else it is of an earlier version: opening it brings it up
            _finish(path, Receipt(identity, events), found, repair)
        return
    if base is main and not _is(main, identity):
        found.say("problem", f"another project is in the place of one with {had} changes: it stays")
        _finish(path, Receipt(_identity(result), events), found, repair)
        return
    found.recovered = events - (_count(main) if main.is_sound and _is(main, identity) else 0)
    if found.lost:
        found.say("problem", f"{found.lost} of {had} saved changes cannot be recovered")
    if not repair:
        found.say("problem", f"it can be repaired to {events} changes: run it without --check")
        return
    _put(path, result, found)
    _finish(path, Receipt(_identity(path), events), found, repair)


def _receipt(path: Path, found: Diagnosis) -> Receipt | None:
    try:
        return read_receipt(path)
    except StoreError as error:
        found.say("note", str(error))
        return None


def _first_identity(sources: list[Source]) -> str | None:
    known = [s.contents.identity for s in sources if s.contents and s.contents.identity]
    return known[0] if known else None


def _is(source: Source, identity: str | None) -> bool:
    return source.contents is not None and source.contents.identity == identity


def _count(source: Source) -> int:
    return source.contents.events if source.contents else 0


def _best(sources: list[Source], identity: str | None) -> Source | None:
    """The sound source with most of the project; the earlier in the list of two that are alike.

    Where nothing of the project is left, the sound one that is in its place.
    """
    right = [s for s in sources if s.is_sound and _is(s, identity)]
    if not right and sources[0].is_sound:
        return sources[0]
    return max(right, key=_count, default=None)


def _check_tables(where: str, found: Diagnosis, repair: bool) -> bool:
    """Compare the tables of all projects with their logs; returns whether they were changed."""
    changed = False
    database = Database(where)
    try:
        names = database.project_names()
    finally:
        database.close()
    for name in names:
        with Project.open(where, name, create=False) as project:
            problems: list[str] = []
            reading = read_log(project, problems)
            for line in problems:
                found.say("problem", f"project {name!r}, {line}")
            wrong = differences(project, reading)
            if wrong:
                status: Status = "note" if repair else "problem"
                found.say(status, f"project {name!r}: {wrong}; rebuilt from the log")
            if wrong and repair:
                rebuild(project, reading)
                changed = True
            objects, images = project.objects.all(), project.images.entries()
            text = f"project {name!r}: {len(objects)} objects on {len(images)} images"
            found.say("ok", text)
    return changed


def _put(path: Path, result: Path, found: Diagnosis) -> None:
    """Move a database to its place; a file that is there is kept under another name."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for part in reversed(PARTS):
        old = path.with_name(path.name + part)
        if old.exists():
            old.rename(path.with_name(f"{path.name}{_ASIDE}{stamp}{part}"))
    with connected(result) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    with result.open("rb") as file:
        os.fsync(file.fileno())
    result.replace(path)
    found.is_repaired = True
    # What was wrong is not any more, as far as it could be helped.
    found.lines = [
        ("note" if status == "problem" and text.startswith(path.name) else status, text)
        for status, text in found.lines
    ]
    found.say("ok", f"{path.name} was repaired; the earlier file is {path.name}{_ASIDE}{stamp}")


def _finish(path: Path, receipt: Receipt, found: Diagnosis, repair: bool) -> None:
    """Write the receipt and a copy, or check them."""
    if not repair:
        return
    write_receipt(path, receipt)
    try:
        make_copy(path, receipt.identity)
    except (sqlite3.Error, OSError) as error:
        found.say("problem", f"no copy could be made ({error})")
    found.say("ok", f"{receipt_path(path).name} and a copy have {receipt.events} changes")


def _identity(path: Path) -> str:
    with connected(path) as connection:
        found = contents(connection)
    return "" if found is None else str(found.identity)


def _events(path: Path) -> int:
    with connected(path) as connection:
        found = contents(connection)
    return 0 if found is None else found.events
