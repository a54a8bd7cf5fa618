"""`samadapt doctor PROJECT`: what is wrong is found, and as much as possible comes back."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import text
from typer.testing import Result

from samadapt.data.rle import Rle
from samadapt.store.copies import COPIES, kept_copies, make_copy
from samadapt.store.errors import ConflictError, StoreError
from samadapt.store.objects import NewMask
from samadapt.store.projects import PROJECT_FILE, Project
from samadapt.store.receipt import read_receipt, receipt_path
from samadapt.store.recovery import examine

Mask = NDArray[np.bool_]


@pytest.fixture
def path(folder: Path, square: Mask) -> Path:
    """A project of 40 objects with labels, whose copy has the first 30 and the labels."""
    path = folder / PROJECT_FILE
    with Project.open(path) as project:
        project.images.scan(folder)
        label = project.labels.named(["cell"], "ann")["cell"]
        image = project.images.entries()[0].id
        for number in range(40):
            if number == 30:
                make_copy(path, read_receipt(path).identity)  # type: ignore[union-attr]
                kept = copy(path).read_bytes()
            new = NewMask(image, Rle.from_mask(np.roll(square, number)), label, key=f"k{number}")
            project.objects.add(new, "ann")
    copy(path).write_bytes(kept)
    return path


def copy(path: Path) -> Path:
    return path.with_name(path.name + COPIES[0])


def keys(path: Path) -> set[str]:
    with Project.open(path, create=False) as project:
        return {thing.key for thing in project.objects.all()}


def all_keys(count: int) -> set[str]:
    return {f"k{number}" for number in range(count)}


def test_a_sound_project_stays_as_it_is(path: Path) -> None:
    before = path.read_bytes()
    for repair in (False, True):
        found = examine(str(path), repair=repair)
        assert (found.is_whole, found.is_repaired, found.lost) == (True, False, 0)
    assert path.read_bytes() == before
    assert keys(path) == all_keys(40)


def test_a_project_in_use_is_checked_and_not_repaired(path: Path) -> None:
    with Project.open(path) as project:
        label = project.labels.named(["cell"], "ann")["cell"]
        new = NewMask(project.images.entries()[0].id, project.objects.get(1).rle, label, key="k40")
        project.objects.add(new, "ann")  # only in the write-ahead log
        there = sorted(path.parent.iterdir())
        found = examine(str(path), repair=False)
        assert (found.is_whole, found.lost) == (True, 0)
        assert any("41 objects" in line for _, line in found.lines)
        assert sorted(path.parent.iterdir()) == there
        with pytest.raises(ConflictError, match="in use"):
            examine(str(path))
    assert keys(path) == all_keys(41)


@pytest.mark.parametrize("emptied", [True, False])
def test_a_lost_file_comes_back_from_the_copy(path: Path, emptied: bool) -> None:
    path.unlink()
    if emptied:
        path.touch()
    look = examine(str(path), repair=False)
    assert (look.is_whole, look.is_repaired, look.lost) == (False, False, 10)
    found = examine(str(path))
    # 1 scan, 1 list of labels, 30 objects; what came after the copy is gone, and it is said.
    assert (found.is_repaired, found.recovered, found.lost, found.is_whole) == (True, 32, 10, False)
    assert any("10 of 42 saved changes cannot be recovered" in line for _, line in found.lines)
    assert keys(path) == all_keys(30)
    assert examine(str(path)).is_whole


def test_what_a_damaged_file_has_beyond_the_copy_is_taken_over(path: Path) -> None:
    # Damage the pages of the objects' table: the log, which is elsewhere, tells what they were.
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (size,) = raw.execute("PRAGMA page_size").fetchone()
        pages = [
            p for (p,) in raw.execute("SELECT rootpage FROM sqlite_master WHERE name='objects'")
        ]
    raw.close()
    with path.open("r+b") as file:
        for page in pages:
            file.seek((page - 1) * size)
            file.write(b"\xff" * size)
    found = examine(str(path))
    assert (found.is_repaired, found.lost, found.is_whole) == (True, 0, True)
    assert any("10 changes beyond that" in line for _, line in found.lines)
    assert keys(path) == all_keys(40)
    (aside,) = path.parent.glob(f"{PROJECT_FILE}.before-*")
    assert b"\xff" * size in aside.read_bytes()


def test_an_earlier_copy_in_its_place_is_replaced_by_a_later_one(path: Path, square: Mask) -> None:
    now = path.read_bytes()
    shutil.copy(copy(path), path)
    copy(path).write_bytes(now)
    found = examine(str(path))
    assert (found.is_repaired, found.recovered, found.lost, found.is_whole) == (True, 10, 0, True)
    assert keys(path) == all_keys(40)


def test_where_nothing_better_is_there_the_rest_is_usable_again(path: Path) -> None:
    shutil.copy(copy(path), path)
    with pytest.raises(StoreError, match="32 of 42"):
        Project.open(path)
    assert examine(str(path)).lost == 10
    assert keys(path) == all_keys(30)


def test_another_project_in_its_place_is_put_aside(path: Path, folder: Path) -> None:
    other = folder.parent / "other.sqlite"
    with Project.open(other) as project:
        project.images.scan(folder)
    shutil.copy(other, path)
    examine(str(path))
    assert keys(path) == all_keys(30)
    (aside,) = path.parent.glob(f"{PROJECT_FILE}.before-*")
    assert aside.read_bytes() == other.read_bytes()


def test_tables_that_differ_from_the_log_are_made_again(project: Project, square: Mask) -> None:
    image = project.images.entries()[0].id
    thing = project.objects.add(NewMask(image, Rle.from_mask(square)), "ann")
    with project.database.write() as tx:
        tx.execute(text("UPDATE objects SET counts = '0'"))
    where = project.database.engine.url.render_as_string(hide_password=False)
    where = where.replace("+psycopg", "")
    if project.database.path is not None:
        where = str(project.database.path)
        with pytest.raises(ConflictError, match="in use"):
            examine(where)
        project.close()
    look = examine(where, repair=False)
    assert not look.is_whole
    found = examine(where)
    assert found.is_whole
    assert any("rebuilt from the log" in line for _, line in found.lines)
    with Project.open(where) as again:
        assert again.objects.get(thing.id) == thing


def test_an_unreadable_event_is_left_out_and_named(path: Path) -> None:
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE events SET body = '{' WHERE number = 5")
    raw.close()
    found = examine(str(path))
    assert any(line.startswith("event 5 (object added)") for _, line in found.lines)
    assert keys(path) == all_keys(40) - {"k2"}
    assert examine(str(path)).is_whole


def test_a_kill_in_the_middle_of_a_repair_loses_nothing(path: Path) -> None:
    path.rename(path.with_name(f"{PROJECT_FILE}.before-20260101-000000"))
    for kept in kept_copies(path):
        kept.unlink()
    with pytest.raises(StoreError, match="is gone"):
        Project.open(path)
    assert examine(str(path)).is_whole
    assert keys(path) == all_keys(40)


def test_nothing_at_all_is_said_so(path: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no project"):
        examine(str(tmp_path / "none.sqlite"))
    path.unlink()
    for kept in kept_copies(path):
        kept.unlink()
    found = examine(str(path))
    assert (found.is_whole, found.lost, path.exists()) == (False, 42, False)


@pytest.mark.parametrize("name", ["never", "never/a.sqlite", "empty"])
def test_what_never_was_is_not_said_to_be_gone(
    run: Callable[..., Result], tmp_path: Path, name: str
) -> None:
    (tmp_path / "empty").mkdir()
    result = run("doctor", tmp_path / name, "--check")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "there is no project" in line
    assert "give a folder that was annotated" in line
    assert "gone" not in line


def test_the_command_tells_and_exits_accordingly(run: Callable[..., Result], path: Path) -> None:
    folder = path.parent
    assert run("doctor", folder).exit_code == 0
    receipt_path(path).unlink()
    path.unlink()
    result = run("doctor", folder, "--check")
    assert result.exit_code == 1
    assert "it can be repaired to 42 changes" in " ".join(result.stdout.split())
    result = run("doctor", folder, "--json")
    assert result.exit_code == 0
    values = json.loads(result.stdout)
    assert (values["repaired"], values["recovered"], values["lost"]) == (True, 42, 0)
