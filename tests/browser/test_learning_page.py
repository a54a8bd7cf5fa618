"""What the page says of learning: no more than is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotator import Annotator, Person, sent
from numpy.typing import NDArray
from story import Story

from fakes import FakeModel
from samadapt.adapters.online import OnlineAdapter, OnlineSettings
from samadapt.data.rle import Rle
from samadapt.prompts import Prompt
from samadapt.server.wire import Crop
from samadapt.store.rebuild import differences, read_log

Opener = Callable[..., Any]
Mask = NDArray[np.bool_]

DISC, ENOUGH = (14, 12), 8
SIZE = (80, 112)
SETTINGS = OnlineSettings.from_dict(
    {
        "click": {"steps": 1, "rate": 0.02, "loss": "sparse"},
        "accept": {"steps": ["new.first"], "rate": 0.3, "dice": 1.0, "erosion": 1},
        "guard": {"reject_outliers": False},
    }
)


@pytest.fixture
def learner(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Annotator]:
    """An adapter that learns much from little."""
    monkeypatch.setattr(
        "samadapt.server.learning.create_adapter", lambda *_: OnlineAdapter(settings=SETTINGS)
    )
    running = Annotator(folder, tmp_path / "cache", ("online",), model=FakeModel(side=64))
    yield running.start()
    running.stop()


def learned(person: Person, count: int) -> dict[str, Any]:
    end = time.monotonic() + 60
    while (found := person.get("/api/learning"))["learned"] < count:
        assert time.monotonic() < end, "it was not learned"
        time.sleep(0.05)
    return found


def accept_as(person: Person, image: int, mask: Mask, key: str) -> None:
    """Click, paint until exactly `mask` is there, and accept."""
    crop = person.click(image, *DISC)["mask"]
    now = np.zeros(SIZE, np.bool_) if crop is None else Crop(**crop).mask(SIZE)
    for part, positive in ((mask & ~now, True), (now & ~mask, False)):
        if part.any():
            person.post(f"/api/images/{image}/stroke", mask=sent(part), positive=positive)
    person.accept(image, key)


def test_adapting_is_said_once_something_was_learned_and_fell_back_when_it_did_harm(
    learner: Annotator, open_page: Opener
) -> None:
    image = learner.ids()[0]
    page = open_page(annotator=learner)
    pill = page.locator("#adapting")
    page.wait_for_function("samadapt.state.learning !== null")
    assert pill.inner_text() == "Nothing learned yet"
    model = FakeModel(side=64)
    with learner.workspace.decoder.reading(learner.folder / "1.png") as pixels:
        frozen = model.predict(model.encode(pixels), Prompt([DISC])).masks[0]
    person = learner.person()
    accept_as(person, image, ~frozen, "key-of-nonsense")
    learned(person, 1)
    page.click("[data-tab=learning]")
    page.wait_for_function("document.getElementById('adapting').textContent === 'Adapting · 1'")
    for count in range(2, 8):
        accept_as(person, image, frozen, f"key-of-good-{count}")
        if not learned(person, count)["active"]:
            break
    page.click("[data-tab=objects]")
    page.click("[data-tab=learning]")
    page.wait_for_selector("#adapting[data-state=fallback] >> text=Fell back")
    assert "the frozen model is used" in (pill.get_attribute("title") or "")


def test_only_corrected_objects_are_compared_and_nothing_is_said_before_there_are_enough(
    annotator: Annotator, open_page: Opener
) -> None:
    person, table = annotator.person(), annotator.project.objects
    image = annotator.ids()[0]
    for number in range(3):  # accepted as they came
        person.click(image, *DISC)
        thing = person.accept(image, f"key-of-single-{number}")
    mask = Rle(SIZE, thing["counts"].encode()).mask()
    # A stroke counts as a prompt; so does what is said when an object is taken up again.
    stroke = np.zeros(SIZE, np.bool_)
    stroke[70:75, 100:105] = True
    person.click(image, *DISC)
    person.post(f"/api/images/{image}/stroke", mask=sent(stroke), positive=True)
    stroked = person.accept(image, "key-of-stroke")
    assert stroked["prompts"] == 2
    person.post(f"/api/images/{image}/edit", object=thing["id"], revision=1)
    person.post(f"/api/images/{image}/stroke", mask=sent(stroke), positive=True)
    assert person.accept(image, "key-of-edit")["prompts"] == 2
    assert np.array_equal(table.get(thing["id"]).mask(), mask | stroke)
    assert differences(annotator.project, read_log(annotator.project)) == ""
    for one in table.all():
        table.set_frozen_prompts(one.id, 3, "")
    found = person.get("/api/learning")
    assert [row[3] for row in found["objects"]] == [0, 0, 1, 1]
    assert found["unverified"] == 2
    story = Story(open_page())
    story.page.click("[data-tab=learning]")
    text = story.page.locator("#compared")
    text.wait_for()
    assert "you corrected or checked: 2 so far" in text.inner_text()
    assert "Unverified: 2 objects accepted unchanged" in text.inner_text()
    assert story.page.locator("canvas.plot").count() == 0
    for number in range(ENOUGH - 2):
        person.click(image, *DISC)
        person.click(image, 100, 70, positive=False)
        table.set_frozen_prompts(person.accept(image, f"key-of-two-{number}")["id"], 4, "")
    story.page.click("[data-tab=objects]")
    story.page.click("[data-tab=learning]")
    story.page.wait_for_selector("canvas.plot")
    assert "8 objects that you corrected or checked" in text.inner_text()
    shown = story.page.locator("#learning-panel .big b").all_inner_texts()
    assert shown == ["2.0", "3.8"]  # (2 * 3 + 6 * 4) / 8 = 3.75
    # Cut values are marked, the chart follows the theme, and the adapter is named in full.
    legend = story.page.locator("#learning-panel .legend")
    assert "or more" not in legend.inner_text()
    table.set_frozen_prompts(table.all()[-1].id, 15, "")
    story.page.click("[data-tab=objects]")
    story.page.click("[data-tab=learning]")
    story.page.wait_for_selector("#learning-panel .legend >> text=12 or more")
    drawing = "document.querySelector('canvas.plot').toDataURL()"
    story.until("document.querySelector('canvas.plot').width !== 300")
    before = story.page.evaluate(drawing)
    story.page.click("[data-action=theme]")
    story.until(f"{drawing} !== {before!r} && document.querySelector('canvas.plot').width !== 300")
    assert story.page.inner_text("#chosen-adapter") == "none: the model as it is"
