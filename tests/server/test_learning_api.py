from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pytest
from annotator import Annotator, Person

from fakes import FakeModel, blobs
from samadapt.adapters.registry import load_adapter
from samadapt.prompts import Click, Prompt
from samadapt.server.measure import MOST_PROMPTS, Task, frozen_prompts
from samadapt.store.adapters_folder import ADAPTERS

DISC = (14, 12)


def until(wanted: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def accept_some(person: Person, images: list[int]) -> None:
    for image in images:
        person.click(image, *DISC)
        person.accept(image, f"key-of-{image:04d}")


def test_learning_is_visible_and_survives_a_restart(learner: Annotator) -> None:
    person = learner.person()
    before = person.get("/api/learning")
    assert (before["learning"], before["active"], before["learned"]) == (True, False, 0)
    for count, image in enumerate(learner.ids(), 1):  # one after the other: no race decides
        accept_some(person, [image])
        until(lambda count=count: person.get("/api/learning")["learned"] == count)  # type: ignore[misc]
    until(lambda: all(row[1] for row in person.get("/api/learning")["objects"]))
    rows = person.get("/api/learning")["objects"]
    assert [row[0] for row in rows] == [1, 1, 1, 1]
    (current,) = (learner.folder / ADAPTERS / "current").iterdir()
    until(lambda: (current / "adapter_config.json").is_file())
    learner.stop()
    load_adapter(current, FakeModel())
    learner.start()
    after = learner.person().get("/api/learning")
    assert after["learned"] == 4
    assert after["objects"] == rows
    # What is replayed came back too: the next save would clear away what is not in memory.
    again = learner.person()
    again.click(learner.ids()[0], *DISC)
    again.accept(learner.ids()[0], "key-of-one-more")
    until(lambda: again.get("/api/learning")["learned"] == 5)
    learner.stop()
    assert len(list((current / "replay").glob("lesson-*"))) == 5


def test_snapshot_reset_and_choice(learner: Annotator) -> None:
    person = learner.person()
    accept_some(person, learner.ids()[:2])
    until(lambda: person.get("/api/learning")["learned"] == 2)
    answer = person.post("/api/learning/snapshot", name="first")
    load_adapter(answer["saved"], FakeModel())
    assert person.refused("/api/learning/snapshot", name="first")[0] == 422
    assert person.refused("/api/learning/snapshot", name="../out")[0] == 422
    person.click(learner.ids()[3], *DISC)
    assert person.post("/api/learning/reset")["learned"] == 0
    # What was under way goes on, and the old state is not thrown away.
    opened = person.post(f"/api/images/{learner.ids()[3]}/open")
    assert opened["current"]["clicks"] == [[*DISC, 1]]
    kept = [p.name for p in (learner.folder / ADAPTERS / "current").iterdir()]
    assert any(name.endswith(".old-1") for name in kept)
    found = person.post("/api/learning/adapter", adapter="snapshot:first")
    assert (found["adapter"], found["learned"]) == ("snapshot:first", 2)
    frozen = person.post("/api/learning/adapter", adapter="none")
    assert (frozen["learning"], frozen["active"]) == (False, False)
    assert person.refused("/api/learning/snapshot", name="second")[0] == 422
    assert person.refused("/api/learning/adapter", adapter="/etc/passwd")[0] == 404
    assert person.post("/api/learning/adapter", adapter="online")["learned"] == 0
    assert person.click(learner.ids()[0], *DISC)["mask"]


def test_a_damaged_state_is_told_and_kept_aside(learner: Annotator) -> None:
    person = learner.person()
    accept_some(person, learner.ids()[:1])
    until(lambda: person.get("/api/learning")["learned"] == 1)
    learner.stop()
    (current,) = (learner.folder / ADAPTERS / "current").iterdir()
    weights = current / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:50])
    learner.start()
    person = learner.person()
    (note,) = person.get("/api/project")["notes"]
    assert "Learning begins anew" in note
    assert person.get("/api/learning")["learned"] == 0
    assert person.click(learner.ids()[0], *DISC)["mask"]


def test_other_weights_have_a_state_of_their_own(learner: Annotator) -> None:
    person = learner.person()
    accept_some(person, learner.ids()[:1])
    until(lambda: person.get("/api/learning")["learned"] == 1)
    learner.stop()
    learner.model = FakeModel(seed=1)
    learner.start()
    person = learner.person()
    assert person.get("/api/learning")["learned"] == 0
    assert person.get("/api/project")["notes"] == []
    # Objects made with the other model stay.
    assert len(person.get(f"/api/images/{learner.ids()[0]}/objects")["objects"]) == 1
    learner.stop()
    learner.model = FakeModel()
    learner.start()
    assert learner.person().get("/api/learning")["learned"] == 1


@pytest.fixture
def task() -> Task:
    model = FakeModel()
    embedding = model.encode(blobs())
    rows, columns = np.mgrid[:40, :56]
    disc = (rows - 12) ** 2 + (columns - 14) ** 2 < 81
    return Task(1, embedding, (Click(14, 12),), None, disc)


def test_frozen_prompts_count_the_persons_own_first(task: Task) -> None:
    model = FakeModel()
    first = model.predict(task.embedding, Prompt([(14, 12)]), True)
    same = Task(1, task.embedding, task.clicks, None, first.masks[first.best])
    assert frozen_prompts(model, same) == 1
    # A mask that the model never gives is out of reach.
    odd = np.zeros((40, 56), np.bool_)
    odd[::2, ::2] = True
    assert frozen_prompts(model, Task(1, task.embedding, task.clicks, None, odd)) == (
        MOST_PROMPTS + 1
    )
