"""Two servers of one project behind a load balancer: nobody notices which one answers."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import numpy as np
import pytest
from annotator import SIZE, Json, Person, saved
from balanced import NGINX, Balancer, Server
from PIL import Image
from sqlalchemy import create_engine, make_url, text

from fakes import blobs
from samadapt.store.projects import Project
from samadapt.store.rebuild import differences, read_log

POSTGRES = "SAMADAPT_TEST_POSTGRES"
LATER = (425, 429)
"""Statuses that mean: nothing was done, ask again. Those from 500 on do, too."""

pytestmark = [
    pytest.mark.skipif(not NGINX, reason="no nginx: install Debian's package nginx-light"),
    pytest.mark.skipif(
        POSTGRES not in os.environ,
        reason=f"no PostgreSQL server: set {POSTGRES} to the URL of an empty database",
    ),
]


@dataclass
class Pair:
    """Two servers and what stands in front of them."""

    first: Server
    second: Server
    balancer: Balancer
    project: str

    @property
    def images(self) -> list[int]:
        return [row[0] for row in self.first.person().get("/api/images")["images"]]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    place = tmp_path_factory.mktemp("pair")
    folder = place / "images"
    folder.mkdir()
    for shift in range(4):
        Image.fromarray(np.roll(blobs(), shift, axis=1)).save(folder / f"{shift}.png")
    project = emptied_schema(os.environ[POSTGRES])
    servers = [Server(folder, project, place) for _ in range(2)]
    for server in servers:  # at the same time
        server.begin()
    balancer = Balancer([server.wait() for server in servers], place / "nginx").start()
    try:
        yield Pair(*servers, balancer, project)
    finally:
        balancer.stop()
        for server in servers:
            server.end()


def emptied_schema(server: str) -> str:
    """URL of an empty schema for these tests alone."""
    engine = create_engine(make_url(server).set(drivername="postgresql+psycopg"))
    schema = f"samadapt_pair_{os.environ.get('PYTEST_XDIST_WORKER', 'alone')}"
    with engine.connect() as connection, connection.begin():
        connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    engine.dispose()
    url = make_url(server).update_query_dict({"options": f"-csearch_path={schema}"})
    return url.render_as_string(hide_password=False)


def until(wanted: Callable[[], bool], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def test_two_requests_of_one_session_at_the_same_moment_are_both_done(pair: Pair) -> None:
    image = pair.images[1]
    people = [server.person("tab-torn") for server in (pair.first, pair.second)] * 3
    people[0].post(f"/api/images/{image}/open")
    with ThreadPoolExecutor(6) as pool:
        places = [(5.0 + 6 * k, 20.0) for k in range(6)]
        list(pool.map(lambda person, at: person.click(image, *at), people, places))
    current = people[0].post(f"/api/images/{image}/open")["current"]
    assert sorted(click[0] for click in current["clicks"]) == [x for x, _ in places]
    people[0].post(f"/api/images/{image}/skip")


def test_an_address_of_one_server_opens_the_page_at_any_once(pair: Pair) -> None:
    code = pair.first.person().post("/api/code")["code"]
    with httpx.Client(base_url=pair.balancer.url) as browser:
        assert browser.get(f"/?code={code}").status_code == 200
        for _ in range(2):  # once at each server
            assert browser.get("/static/js/main.js").status_code == 200
        entered = browser.post(pair.second.url + "/api/enter", headers={"x-samadapt-code": code})
        key = entered.json()["key"]
        for server in (pair.first, pair.second):
            again = browser.post(server.url + "/api/enter", headers={"x-samadapt-code": code})
            assert again.status_code == 401
            login = {"authorization": f"Bearer {key}"}
            project = browser.get(server.url + "/api/project", headers=login).json()
            page = {**login, "x-samadapt-project": project["id"]}
            assert browser.get("/api/images", headers=page).status_code == 200


def test_a_server_is_killed_under_load_and_nothing_that_was_accepted_is_lost(pair: Pair) -> None:
    images = pair.images
    crowd = Crowd(pair.balancer.url, images)
    with crowd.at_work(4):
        until(lambda: len(crowd.confirmed) >= 16 and len(crowd.answering) == 2, 60)
        before = pair.second.person().get("/api/learning")["learned"]
        # Stopped first, so that it certainly dies with requests in hand.
        pair.first.pause()
        until(lambda: crowd.waiting(seconds=1.5) == 4)
        known = len(crowd.confirmed)
        pair.first.kill()
        until(lambda: len(crowd.confirmed) >= known + 16)
    assert crowd.broken_off > 0
    assert crowd.refused == []
    with Project.open(pair.project) as project:
        things = project.objects.all()
        # The server that is left may be writing down a measurement between the two readings.
        until(lambda: not differences(project, read_log(project)))
    # Everybody asked again until there was an answer: each object is there once, and no other.
    assert sorted(str(thing.key) for thing in things) == sorted(crowd.confirmed)
    for thing in things:
        told = crowd.confirmed[str(thing.key)]
        assert thing.id == told["id"]
        assert np.array_equal(thing.mask(), saved(told))
    # The one that is left learns now, whichever did before.
    survivor, tries = pair.second.person("tab-survivor"), itertools.count()

    def learns_more() -> bool:
        survivor.click(images[0], 14, 12)
        survivor.accept(images[0], f"key-of-the-survivor-{next(tries)}")
        return bool(survivor.get("/api/learning")["learned"] > before)

    until(learns_more, 60)


class Crowd:
    """People who click and accept without a pause, and ask again where no answer came.

    Attributes:
        confirmed: objects that a server said were saved, by the key of the request.
        refused: answers that say no.
        answering: addresses of the servers that saved an object.
        broken_off: number of requests that were not answered.
    """

    def __init__(self, url: str, images: list[int]) -> None:
        self._url, self._images = url, images
        self._stop = threading.Event()
        self._since: dict[str, float] = {}
        self.confirmed: dict[str, Json] = {}
        self.refused: list[str] = []
        self.answering: set[str] = set()
        self.broken_off = 0

    @contextmanager
    def at_work(self, count: int) -> Iterator[None]:
        names = ["x" * number for number in range(1, count + 1)]
        with ThreadPoolExecutor(count) as pool:
            working = [pool.submit(self._work, name) for name in names]
            try:
                yield
            finally:
                self._stop.set()
        for one in working:
            one.result()

    def waiting(self, seconds: float) -> int:
        """Number of people who have waited this long for an answer."""
        now = time.monotonic()
        return sum(now - since > seconds for since in list(self._since.values()))

    def _work(self, name: str) -> None:
        person = Person(self._url, f"tab-{name}", name)
        rng = np.random.default_rng(len(name))
        for count in itertools.count():
            if self._stop.is_set():
                break
            key = f"object-{name}-{count:04d}"
            image = self._images[int(rng.integers(4))]
            place = {"x": float(rng.uniform(1, SIZE[1] - 1)), "y": float(rng.uniform(1, 39))}
            self._ask(name, person.http, f"/api/images/{image}/click", place)
            answer = self._ask(name, person.http, f"/api/images/{image}/accept", {}, key)
            if answer is not None:
                self.confirmed[key] = answer.json()["object"]
                self.answering.add(answer.headers["x-answered-by"])
        person.http.close()

    def _ask(
        self, name: str, http: httpx.Client, path: str, body: Json, key: str | None = None
    ) -> httpx.Response | None:
        """Ask until answered, as the page does; None for a refusal."""
        headers = {"idempotency-key": key} if key else {}
        end = time.monotonic() + 40
        while time.monotonic() < end:
            self._since[name] = time.monotonic()
            try:
                answer = http.post(path, json=body, headers=headers)
            except httpx.HTTPError:
                self.broken_off += 1
            else:
                if answer.status_code == 200:
                    return answer
                if answer.status_code < 500 and answer.status_code not in LATER:
                    self.refused.append(f"{path}: {answer.text}")
                    return None
                self.broken_off += answer.status_code >= 500
            finally:
                del self._since[name]
            time.sleep(0.05)
        raise AssertionError(f"{path} was not answered")
