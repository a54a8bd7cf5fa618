"""What was acknowledged and is gone is noticed: before the next acknowledgement, at the start."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from samadapt.data.rle import Rle
from samadapt.store import copies
from samadapt.store.copies import COPIES, RESCUED, Copies, look_into, make_copy
from samadapt.store.errors import ConflictError, LostError, StoreError
from samadapt.store.objects import NewMask
from samadapt.store.projects import Project
from samadapt.store.receipt import in_use, read_receipt, receipt_path
from samadapt.store.sqlite_file import connected, contents

Mask = NDArray[np.bool_]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "p.sqlite"


@pytest.fixture
def project(path: Path, folder: Path, square: Mask) -> Iterator[Project]:
    """A project with an object, in use."""
    with Project.open(path) as opened:
        opened.images.scan(folder)
        add(opened, square)
        yield opened


def add(project: Project, mask: Mask) -> int:
    image = project.images.entries()[0].id
    return project.objects.add(NewMask(image, Rle.from_mask(mask)), "ann").id


def part(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def renamed(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def replaced(path: Path) -> None:
    shutil.copy(path, path.with_name("new"))
    path.with_name("new").replace(path)


def emptied(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(0)


def by_another(path: Path) -> None:
    """Overwritten in place, as `cp` does."""
    with Project.open(path.with_name("other.sqlite")) as other, other.database.write():
        pass
    with path.open("r+b") as file:
        file.write(path.with_name("other.sqlite").read_bytes())
        file.truncate()


LOSSES: list[tuple[str, Callable[[Path], None]]] = [
    ("", Path.unlink),
    ("", renamed),
    ("", replaced),
    ("", emptied),
    ("", by_another),
    ("-wal", Path.unlink),
    ("-wal", replaced),
    ("-wal", emptied),
    ("-shm", Path.unlink),
]


@pytest.mark.parametrize(("suffix", "happens"), LOSSES)
@pytest.mark.parametrize("checkpointed", [False, True])
def test_no_change_is_acknowledged_when_the_files_are_gone(
    project: Project,
    path: Path,
    square: Mask,
    suffix: str,
    happens: Callable[[Path], None],
    checkpointed: bool,
) -> None:
    if checkpointed:
        with sqlite3.connect(path) as other:
            other.execute("PRAGMA wal_checkpoint(PASSIVE)")
        other.close()
        add(project, square)
    happens(part(path, suffix))
    if happens is by_another and not checkpointed:
        # All of the project is in the log still, and the log is as it was: nothing is lost.
        add(project, square)
        project.close()
        with Project.open(path) as again:
            assert len(again.objects.all()) == 2
        return
    for _ in range(2):  # from then on nothing passes any more
        with pytest.raises(LostError, match=r"samadapt doctor"):
            add(project, square)
    assert read_receipt(path).events == (3 if checkpointed else 2)  # type: ignore[union-attr]


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
def test_what_open_files_still_hold_is_rescued(
    project: Project, path: Path, square: Mask, suffix: str
) -> None:
    add(project, square)
    part(path, suffix).unlink()
    with pytest.raises(LostError, match=r"All earlier changes are in p\.sqlite\.rescued"):
        add(project, square)
    found = look_into(part(path, RESCUED))
    assert found is not None
    assert found.events == 3


def test_other_connections_and_checkpoints_raise_no_alarm(
    project: Project, path: Path, square: Mask
) -> None:
    with Project.open(path) as other:
        for turn in range(6):
            add(project if turn % 2 else other, square)
            with sqlite3.connect(path) as raw:
                raw.execute(
                    f"PRAGMA wal_checkpoint({('PASSIVE', 'RESTART', 'TRUNCATE')[turn % 3]})"
                )
            raw.close()
    for _ in range(3):
        add(project, square)
    assert len(project.objects.all()) == 10


def test_a_database_that_cannot_be_looked_into_is_not_called_lost(
    project: Project, path: Path, square: Mask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more_files(*arguments: object) -> None:
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA wal_checkpoint(PASSIVE)")
    raw.close()
    with monkeypatch.context() as patch:
        patch.setattr("samadapt.store.replaced_files.contents", no_more_files)
        add(project, square)
    emptied(path)  # which is noticed as soon as it can be looked into
    with pytest.raises(LostError):
        add(project, square)


def test_others_who_write_meanwhile_raise_no_alarm(path: Path, project: Project) -> None:
    stop = threading.Event()
    alarms: list[Exception] = []

    def look() -> None:
        while not stop.is_set():
            with connected(path) as raw:
                found = contents(raw)
            if found is None or found.rows != found.events:
                alarms.append(ValueError(found))

    looking = threading.Thread(target=look)
    looking.start()
    for number in range(40):
        project.labels.named([f"label {number}"], "ann")
    stop.set()
    looking.join()
    assert alarms == []


# -- between two starts -------------------------------------------------------------------


@pytest.fixture
def closed(path: Path, folder: Path, square: Mask) -> Path:
    """A project with three objects, and a copy of it with two."""
    with Project.open(path) as project:
        project.images.scan(folder)
        add(project, square)
        add(project, square)
        with sqlite3.connect(path) as raw, sqlite3.connect(path.with_name("old")) as old:
            raw.backup(old)
        raw.close()
        old.close()
        add(project, square)
    return path


def test_an_emptied_or_missing_file_is_no_new_project(closed: Path, folder: Path) -> None:
    closed.rename(closed.with_name("aside"))
    for _ in range(2):
        with pytest.raises(LostError, match=r"is gone.*4 saved changes.*samadapt doctor"):
            Project.open(closed)
        assert not closed.exists()
    with pytest.raises(LostError, match="is gone"):
        Project.open(closed, create=False)
    closed.touch()
    with pytest.raises(LostError, match="is empty"):
        Project.open(closed)
    assert closed.stat().st_size == 0
    # Without the receipt, the copies still know.
    receipt_path(closed).unlink()
    with pytest.raises(LostError, match="is empty"):
        Project.open(closed)
    closed.with_name("aside").replace(closed)
    Project.open(closed).close()


def test_an_earlier_copy_or_another_project_is_noticed(closed: Path, folder: Path) -> None:
    now = closed.read_bytes()
    shutil.copy(closed.with_name("old"), closed)
    with pytest.raises(LostError, match="has 3 of 4 saved changes"):
        Project.open(closed)
    with Project.open(closed.with_name("other.sqlite")) as other:
        other.images.scan(folder)
    shutil.copy(closed.with_name("other.sqlite"), closed)
    with pytest.raises(LostError, match="another project"):
        Project.open(closed)
    closed.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    with pytest.raises(LostError, match="is damaged"):
        Project.open(closed)
    closed.write_bytes(now)
    Project.open(closed).close()


def test_a_log_that_was_removed_after_a_kill_is_noticed(
    project: Project, path: Path, tmp_path: Path
) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    for suffix in ("", "-wal", ".receipt"):
        shutil.copy(part(path, suffix), killed)
    (killed / "p.sqlite-wal").rename(killed / "kept")
    with pytest.raises(LostError, match=r"p\.sqlite-wal removed"):
        Project.open(killed / "p.sqlite")
    (killed / "kept").rename(killed / "p.sqlite-wal")
    with Project.open(killed / "p.sqlite") as again:
        assert len(again.objects.all()) == 1


def test_a_log_without_its_file_is_not_played_into_a_new_one(
    project: Project, path: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(part(path, "-wal"), alone)
    with pytest.raises(LostError, match="its log"):
        Project.open(alone / "p.sqlite")


def test_a_project_may_be_moved_with_or_without_its_receipt(closed: Path, tmp_path: Path) -> None:
    for number, names in enumerate([("p.sqlite",), ("p.sqlite", "p.sqlite.receipt")]):
        target = tmp_path / str(number)
        target.mkdir()
        for name in names:
            shutil.copy(closed.with_name(name), target)
        with Project.open(target / "p.sqlite") as project:
            assert len(project.objects.all()) == 3


def test_a_damaged_receipt_is_told(closed: Path) -> None:
    text = receipt_path(closed).read_text()
    receipt_path(closed).write_text(text.replace('"events": 4', '"events": 9'))
    with pytest.raises(StoreError, match="check sum"):
        Project.open(closed)


def test_pipes_and_devices_are_no_projects() -> None:
    with pytest.raises(StoreError, match="a device"):
        Project.open("/dev/null")


def test_a_database_that_was_set_back_is_noticed(where: str, folder: Path, square: Mask) -> None:
    from sqlalchemy import text

    with Project.open(where) as project:
        project.images.scan(folder)
        add(project, square)
        engine = project.database.engine
        with engine.connect() as other, other.begin():
            other.execute(text("DELETE FROM events WHERE number > 1"))
            other.execute(text("UPDATE projects SET events = 1"))
        with pytest.raises(LostError, match="has 1 changes, but 2 were saved"):
            project.labels.named(["a"], "ann")
        assert project.labels.all() == ((), 0)


# -- copies -------------------------------------------------------------------------------


def test_copies_are_made_in_the_background_and_at_the_end(
    path: Path, folder: Path, square: Mask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "_INTERVAL", 0.0)
    with Project.open(path) as project:
        project.images.scan(folder)
        file = project.database._file
        assert file is not None
        file._copies = Copies(path, file._identity, 0.0)
        add(project, square)
        file._copies._work.join()  # type: ignore[union-attr]
        found = look_into(part(path, COPIES[0]))
        assert found is not None
        assert found.events == 2
        add(project, square)
        add(project, square)
    found = look_into(part(path, COPIES[0]))
    assert found is not None
    assert found.events == 4
    names = {p.name for p in path.parent.iterdir() if p.is_file()}
    assert names == {"p.sqlite", "p.sqlite.receipt", "p.sqlite.copy", "p.sqlite.copy-hour"}


def test_copies_grow_old(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latest, hour, day = (part(closed, name) for name in COPIES)
    identity = read_receipt(closed).identity  # type: ignore[union-attr]
    first = latest.stat().st_ino
    make_copy(closed, identity)
    assert (hour.stat().st_ino, day.exists()) == (first, False)
    second = latest.stat().st_ino
    make_copy(closed, identity)
    # The hour's copy is young: the one between is let go. It moves up to the day's first.
    assert (hour.exists(), day.stat().st_ino) == (True, first)
    monkeypatch.setattr(copies.time, "time", lambda: day.stat().st_mtime + 2 * 3600)
    third = latest.stat().st_ino
    make_copy(closed, identity)
    assert (hour.stat().st_ino, day.stat().st_ino) == (third, first)
    assert second != third


def test_a_copy_is_never_replaced_by_something_else(closed: Path) -> None:
    before = part(closed, COPIES[0]).read_bytes()
    with pytest.raises(sqlite3.DatabaseError, match="another project"):
        make_copy(closed, "somebody else's")
    closed.write_bytes(closed.read_bytes()[:9000])
    identity = read_receipt(closed).identity  # type: ignore[union-attr]
    with pytest.raises(sqlite3.DatabaseError):
        make_copy(closed, identity)
    assert part(closed, COPIES[0]).read_bytes() == before
    assert not list(closed.parent.glob("*.part"))


def test_a_project_in_use_is_known_as_such(project: Project, path: Path) -> None:
    with pytest.raises(ConflictError, match="in use"), in_use(path, alone=True):
        pass
