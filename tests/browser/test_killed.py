"""The server is killed, or its answers get lost, while somebody annotates."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from process import ServerProcess
from story import Story

from samadapt.store.projects import Project, project_file

DISC, SQUARE, BAR = (14, 12), (37, 29), (43, 7)
Masks = dict[int, NDArray[np.bool_]]


@pytest.fixture
def server(folder: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    running = ServerProcess(folder, tmp_path / "cache").start()
    yield running
    running.kill()


@pytest.fixture
def context(chromium: Any) -> Iterator[Any]:
    found = chromium.new_context(viewport={"width": 1280, "height": 720}, bypass_csp=True)
    found.set_default_timeout(20_000)
    errors: list[str] = []
    found.on("weberror", lambda error: errors.append(str(error.error)))
    yield found
    found.close()
    assert errors == []


@pytest.fixture
def story(server: ServerProcess, context: Any) -> Story:
    return opened(context.new_page(), server)


def opened(page: Any, server: ServerProcess) -> Story:
    page.goto(server.url)
    page.wait_for_selector("html[data-ready=true]")
    return Story(page)


def on_disk(folder: Path) -> Masks:
    with Project.open(project_file(folder)) as project:
        return {o.id: o.mask() for o in project.objects.all() if not o.deleted}


def same(one: Masks, other: Masks) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def test_what_was_saved_is_there_and_what_was_not_is_sent(
    server: ServerProcess, story: Story
) -> None:
    for place, moment in ((DISC, 0), (SQUARE, 20), (BAR, 60)):
        # Killed just after Enter: before, while or after it is saved.
        story.click(*place)
        story.press("Enter")
        story.page.wait_for_timeout(moment)
        shown = story.objects()
        server.kill()
        before = on_disk(server.folder)
        assert all(np.array_equal(before[number], mask) for number, mask in shown.items())
        server.start()
        story.until("samadapt.link.kind === 'up' && samadapt.state.unsaved.size === 0")
        story.saved()
        assert same(story.objects(), on_disk(server.folder))
    assert len(story.objects()) == 3


def test_the_page_says_that_the_server_is_away_and_goes_on(
    server: ServerProcess, story: Story
) -> None:
    story.click(*DISC)
    story.accept()
    story.click(*SQUARE)
    mask = story.mask()
    server.kill()
    story.press("Enter")
    story.page.wait_for_selector("#link >> text=does not answer")
    story.page.wait_for_selector("#saved[data-state=failed]")
    story.page.wait_for_selector("#object-list >> text=not saved yet")
    story.page.wait_for_selector("#link >> text=Do not close")
    ys, xs = np.nonzero(mask)
    inside = xs[len(xs) // 2] + 0.5, ys[len(ys) // 2] + 0.5
    assert story.pixel("objects-layer", *inside)[3] > 60  # it stays on the screen
    # Clicks made meanwhile are answered when it is back.
    story.page.mouse.click(*story.place(*BAR))
    story.until("samadapt.current.waiting.length === 1")
    server.start()
    story.until("samadapt.current.clicks.length === 1 && samadapt.current.mask !== null")
    story.page.wait_for_selector("#link", state="hidden")
    story.until("samadapt.state.unsaved.size === 0 && samadapt.state.objects.size === 2")
    assert np.array_equal(list(story.objects().values())[1], mask)
    story.accept()
    assert same(story.objects(), on_disk(server.folder))


def test_a_new_token_opened_in_another_tab_lets_the_first_go_on(
    server: ServerProcess, story: Story
) -> None:
    story.click(*DISC)
    server.kill()
    story.press("Enter")
    server.token = "the-second-token"  # noqa: S105
    server.start()
    story.page.wait_for_selector("#link >> text=started again")
    assert on_disk(server.folder) == {}
    opened(story.page.context.new_page(), server)
    story.until("samadapt.state.objects.size === 1")
    story.page.wait_for_selector("#link", state="hidden")
    assert same(story.objects(), on_disk(server.folder))


def test_a_new_token_opened_in_the_same_tab_sends_what_was_not_saved(
    server: ServerProcess, story: Story
) -> None:
    story.press("b")
    story.drag((20, 40), (60, 40))
    mask = story.mask()
    server.kill()
    story.press("Enter")
    story.page.wait_for_selector("#saved[data-state=failed]")
    server.token = "the-second-token"  # noqa: S105
    server.start()
    asked: list[str] = []
    story.page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    opened(story.page, server)
    assert asked == ["beforeunload"]
    story.until("samadapt.state.objects.size === 1")
    (found,) = on_disk(server.folder).values()
    assert np.array_equal(found, mask)


def test_another_project_at_the_address_gets_nothing(
    server: ServerProcess, story: Story, tmp_path: Path
) -> None:
    other = tmp_path / "others"
    other.mkdir()
    shutil.copy(server.folder / "1.png", other)
    story.click(*DISC)
    server.kill()
    server.start(other)
    story.press("Enter")
    story.page.wait_for_selector("#link >> text=Another project")
    assert on_disk(other) == {}
    server.kill()
    server.start()
    story.until("samadapt.state.objects.size === 1")
    assert same(story.objects(), on_disk(server.folder))


@pytest.fixture(params=["lost", "broken off"])
def lose_next(story: Story, request: pytest.FixtureRequest) -> Callable[[str], list[str]]:
    """The server does the next request of this kind, but its answer gets lost, or half of it."""

    def lose(pattern: str) -> list[str]:
        lost: list[str] = []

        def handle(route: Any) -> None:
            if lost:
                route.continue_()
                return
            lost.append(route.request.url)
            answer = route.fetch()
            if request.param == "lost":
                route.abort()
            else:
                body = answer.body()
                route.fulfill(response=answer, body=body[: len(body) // 2])

        story.page.route(pattern, handle)
        return lost

    return lose


def test_lost_answers_do_nothing_twice(
    server: ServerProcess, story: Story, lose_next: Callable[[str], list[str]]
) -> None:
    lost = [lose_next("**/click")]
    story.click(*DISC)
    assert len(story.current()["clicks"]) == 1
    lost.append(lose_next("**/accept"))
    story.accept()
    (number,) = story.objects()
    story.until("samadapt.current.mask === null && samadapt.current.clicks.length === 0")
    # Improving an object, and saving that.
    lost.append(lose_next("**/edit"))
    story.page.evaluate("id => { samadapt.state.selected = id }", number)
    story.press("i")
    story.until("samadapt.current.edited !== null")
    story.press("b")
    story.drag((60, 60), (90, 60))
    lost.append(lose_next("**/accept"))
    better = story.accept()
    assert same(on_disk(server.folder), {number: better})
    assert same(story.objects(), {number: better})
    # Deleting it, and taking that back.
    story.page.evaluate("id => { samadapt.state.selected = id }", number)
    lost.append(lose_next("**/delete"))
    story.press("Delete")
    story.until("samadapt.state.objects.size === 0")
    story.saved()
    lost.append(lose_next("**/undo"))
    story.press("Control+z")
    story.until("samadapt.state.objects.size === 1")
    story.saved()
    assert same(on_disk(server.folder), {number: better})
    assert story.page.locator(".toast.bad").count() == 0
    assert [len(urls) for urls in lost] == [1] * 6
