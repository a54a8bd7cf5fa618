"""What several servers of one project share, without a load balancer; see test_two_servers.py."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from annotator import Annotator, Person, shown

from fakes import FakeModel
from samadapt.errors import DataError
from samadapt.server import learning, learning_watch
from samadapt.server.learning import Learning
from samadapt.store.adapters_folder import ADAPTERS
from samadapt.store.journal import StoredLog
from samadapt.store.projects import Project, project_file

DISC, SQUARE = (14, 12), (37, 29)


@pytest.fixture
def pair(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Annotator, Annotator]]:
    """Two servers; the first learns."""
    monkeypatch.setattr(learning_watch, "_SECONDS", 0.05)
    running = [Annotator(folder, tmp_path / "cache", ("online",)).start() for _ in range(2)]
    yield running[0], running[1]
    for server in running:
        if server.thread.is_alive():
            server.stop()


def until(wanted: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def learned(*people: Person) -> list[int]:
    return [person.get("/api/learning")["learned"] for person in people]


def accept(person: Person, image: int, key: str) -> None:
    person.click(image, *DISC)
    person.accept(image, key)


def test_a_session_goes_on_at_the_other_server(pair: tuple[Annotator, Annotator]) -> None:
    image = pair[0].ids()[0]
    here, there = pair[0].person(), pair[1].person()
    one = here.click(image, *DISC)
    opened = there.post(f"/api/images/{image}/open")
    assert opened["current"]["clicks"] == [[*DISC, 1]]
    assert np.array_equal(shown(opened["current"]), shown(one))
    assert len(there.click(image, *SQUARE)["clicks"]) == 2
    assert len(here.click(image, 3, 3, positive=False)["clicks"]) == 3  # it was behind by a click
    thing = there.accept(image, "key-of-both-servers")
    # The answer was lost: the same request at the other server adds nothing.
    assert here.accept(image, "key-of-both-servers") == thing
    assert there.post(f"/api/images/{image}/undo")["removed"] == [thing["id"]]
    assert here.post(f"/api/images/{image}/redo")["saved"][0]["id"] == thing["id"]
    assert len(there.get(f"/api/images/{image}/objects")["objects"]) == 1
    page = [person.get("/api/project")["id"] for person in (here, there)]
    assert page[0] == page[1]


def test_servers_that_begin_a_session_at_the_same_moment_share_it(
    pair: tuple[Annotator, Annotator], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pair[0].ids()[0]
    here, there = pair[0].person(), pair[1].person()
    journal = pair[1].project.journal
    last_log = journal.last_log

    def and_then_the_other_begins(client: str, image_id: int) -> StoredLog | None:
        found = last_log(client, image_id)
        if found is None:
            here.click(image, *DISC)
        return found

    monkeypatch.setattr(journal, "last_log", and_then_the_other_begins)
    assert there.click(image, *SQUARE)["clicks"] == [[*DISC, 1], [*SQUARE, 1]]


def test_claims_and_undo_are_known_at_both(pair: tuple[Annotator, Annotator]) -> None:
    ann, bob = pair[0].person("tab-a", "Ann"), pair[1].person("tab-b", "Bob")
    image = pair[0].ids()[2]
    ann.post(f"/api/images/{image}/open")
    assert bob.post(f"/api/images/{image}/open")["others"] == ["Ann"]
    elsewhere = pair[1].person("tab-a", "Ann")
    ann.click(image, *DISC)
    assert elsewhere.post(f"/api/images/{image}/open")["can_undo"]
    assert elsewhere.post(f"/api/images/{image}/undo")["clicks"] == []
    assert not ann.post(f"/api/images/{image}/open")["can_undo"]
    ann.post("/api/leave")
    assert bob.post(f"/api/here/{image}")["others"] == []


def test_one_server_learns_what_is_accepted_at_any(pair: tuple[Annotator, Annotator]) -> None:
    teacher, follower = pair[0].person("tab-a"), pair[1].person("tab-b")
    first, second, third, _ = pair[0].ids()
    accept(follower, first, "key-one-at-the-follower")
    until(lambda: learned(teacher, follower) == [1, 1])
    accept(teacher, second, "key-two-at-the-teacher")
    until(lambda: learned(teacher, follower) == [2, 2])
    # Both answer with the very same weights.
    masks = [shown(person.click(third, *SQUARE)) for person in (teacher, follower)]
    assert np.array_equal(*masks)
    (current,) = (pair[0].folder / ADAPTERS / "current").iterdir()
    until(lambda: not list((current / "waiting").glob("waiting-*")))
    assert not list(current.glob("handed/*/waiting-*"))


def test_another_server_takes_over(pair: tuple[Annotator, Annotator]) -> None:
    first, second, *_ = pair[0].ids()
    accept(pair[0].person("tab-a"), first, "key-of-the-one-that-ends")
    follower = pair[1].person("tab-b")
    until(lambda: learned(follower) == [1])
    follower.click(second, *DISC)
    pair[0].kill()
    until(lambda: pair[1].workspace.learning.teaches)
    # The object under way is still there, and learned with what came before.
    assert follower.post(f"/api/images/{second}/open")["current"]["clicks"] == [[*DISC, 1]]
    follower.accept(second, "key-of-the-one-that-stays")
    until(lambda: learned(follower) == [2])


def test_choosing_and_forgetting_hold_for_all(pair: tuple[Annotator, Annotator]) -> None:
    teacher, follower = pair[0].person("tab-a"), pair[1].person("tab-b")
    accept(teacher, pair[0].ids()[0], "key-of-something")
    until(lambda: learned(teacher, follower) == [1, 1])
    assert follower.post("/api/learning/snapshot", name="kept")["snapshots"] == ["kept"]
    assert follower.post("/api/learning/reset")["learned"] == 0
    until(lambda: learned(teacher, follower) == [0, 0])
    for adapter, count in (("none", 0), ("snapshot:kept", 1)):
        follower.post("/api/learning/adapter", adapter=adapter)
        until(lambda a=adapter: teacher.get("/api/learning")["adapter"] == a)  # type: ignore[misc]
        until(lambda n=count: learned(teacher, follower) == [n, n])  # type: ignore[misc]


def test_nobody_waits_for_ever_for_a_server_that_hangs(
    pair: tuple[Annotator, Annotator], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair[0].workspace._watch.close()
    monkeypatch.setattr(learning, "_PATIENCE_SECONDS", 0.2)
    status, said = pair[1].person().refused("/api/learning/reset")
    assert (status, said) == (503, "the server that learns does not answer: try again")


def test_who_joins_has_the_others_model_and_adapter(annotator: Annotator) -> None:
    with Project.open(project_file(annotator.folder)) as project:
        place = annotator.folder / ADAPTERS
        with pytest.raises(DataError, match=r"have the model fake, .* start it with --model fake"):
            Learning(project, FakeModel(seed=1), place, ("none",))
        joined = Learning(project, FakeModel(), place, ("online",))
        assert joined.specs == ()
        (note,) = joined.notes
        assert "the adapter is none, as at the other servers" in note
        joined.close()
