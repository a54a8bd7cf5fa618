"""Two servers of one project behind a load balancer: nobody notices which one answers."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import numpy as np
import pytest
from annotator import SIZE, TOKEN, Json, Person, saved
from balanced import NGINX, Balancer, Server
from PIL import Image
from sqlalchemy import create_engine, make_url, text

from fakes import blobs
from samadapt.store.projects import Project
from samadapt.store.rebuild import differences, read_log

POSTGRES = "SAMADAPT_TEST_POSTGRES"

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


def test_a_server_is_killed_and_nothing_that_was_accepted_is_lost(pair: Pair) -> None:
    images, confirmed = pair.images, dict[str, Json]()
    half, stop = threading.Event(), threading.Event()

    def work(name: str) -> None:
        person = Person(pair.balancer.url, f"tab-{name}", name)
        rng = np.random.default_rng(len(name))
        count = 0
        while not stop.is_set():
            key, count = f"object-{name}-{count:04d}", count + 1
            image = images[int(rng.integers(4))]
            place = {"x": float(rng.uniform(1, SIZE[1] - 1)), "y": float(rng.uniform(1, 39))}
            asked(person.http, f"/api/images/{image}/click", place)
            answer = asked(person.http, f"/api/images/{image}/accept", {}, key)
            if answer.status_code == 200:
                confirmed[key] = answer.json()["object"]
                if len(confirmed) >= 16:
                    half.set()
        person.http.close()

    people = [threading.Thread(target=work, args=("x" * k,)) for k in range(1, 5)]
    for person in people:
        person.start()
    assert half.wait(60)
    known, before = len(confirmed), pair.second.person().get("/api/learning")["learned"]
    pair.first.kill()
    until(lambda: len(confirmed) >= known + 16)
    stop.set()
    for person in people:
        person.join(60)
    with Project.open(pair.project) as project:
        stored = {thing.key: thing for thing in project.objects.all()}
        # The server that is left may be writing down a measurement between the two readings.
        until(lambda: not differences(project, read_log(project)))
    for key, thing in confirmed.items():
        assert stored[key].id == thing["id"]
        assert np.array_equal(stored[key].mask(), saved(thing))
    # The one that is left learns now, whichever did before.
    survivor, tries = pair.second.person("tab-survivor"), itertools.count()

    def learns_more() -> bool:
        survivor.click(images[0], 14, 12)
        survivor.accept(images[0], f"key-of-the-survivor-{next(tries)}")
        return bool(survivor.get("/api/learning")["learned"] > before)

    until(learns_more, 60)


def asked(http: httpx.Client, path: str, body: Json, key: str | None = None) -> httpx.Response:
    """Ask until answered, as the page does."""
    headers = {"authorization": f"Bearer {TOKEN}"} | ({"idempotency-key": key} if key else {})
    until_then = time.monotonic() + 40
    while True:
        try:
            answer = http.post(path, json=body, headers=headers)
            if answer.status_code < 500:
                return answer
        except httpx.HTTPError:
            pass
        assert time.monotonic() < until_then, f"{path} was not answered"
        time.sleep(0.05)
