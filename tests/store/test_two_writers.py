"""Two servers that write the same row for the first time at the same moment."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sqlalchemy import Connection

from samadapt.data.rle import Rle
from samadapt.store.projects import Project
from samadapt.store.proposals import NewProposal

MASK = Rle.from_mask(np.ones((40, 56), np.bool_))
OBJECT = NewProposal("wheel", MASK, 0.9, (3.0, 4.0))


def choose(project: Project) -> object:
    return project.learning.choose("nano", "abc", ("online",))


def claim(project: Project) -> object:
    return project.claims.take("one-tab", next(iter(project.images.all())), "ann")


def propose(project: Project) -> object:
    return project.proposals.put("nano", {next(iter(project.images.all())): [OBJECT]})


@pytest.mark.parametrize("write", [choose, claim, propose])
def test_the_second_of_two_writers_waits_for_the_first(
    project: Project,
    where: str,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Project], object],
) -> None:
    with Project.open(where) as other, ThreadPoolExecutor(2) as pool:
        holds, goes_on = threading.Event(), threading.Event()
        lock = other.database.lock

        def held(tx: Connection, project_id: int) -> None:
            lock(tx, project_id)
            holds.set()
            assert goes_on.wait(30)

        monkeypatch.setattr(other.database, "lock", held)
        first = pool.submit(write, other)
        assert holds.wait(30)
        second = pool.submit(write, project)
        with pytest.raises(TimeoutError):
            second.result(0.3)
        goes_on.set()
        first.result(30)
        second.result(30)
    image = next(iter(project.images.all()))
    chosen = project.learning.read()
    counts = (
        chosen.revision if chosen else 0,
        len(project.claims.all()),
        len(project.proposals.waiting(image)),
    )
    assert counts == {choose: (2, 0, 0), claim: (0, 1, 0), propose: (0, 0, 1)}[write]
