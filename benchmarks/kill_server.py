"""Kill the annotator at random moments, and look whether anything that it confirmed is lost.

    python benchmarks/kill_server.py --rounds 200

Each round starts the server as a process of its own on the same project, lets two people click,
accept and delete objects, and ends it with SIGKILL after a random time; in three of four rounds
that time begins when the first object is confirmed, so that a busy machine does not spend all
rounds on starting. Then the project must open, its log must be whole and add up to its tables,
every confirmed change must be there pixel by pixel, and what was learned must load. Exits with 1
at the first loss.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from samadapt.adapters.files import CONFIG_FILE
from samadapt.adapters.registry import load_adapter
from samadapt.models.registry import load
from samadapt.server import run
from samadapt.server.app import create_app
from samadapt.server.security import Guard
from samadapt.server.workspace import Workspace
from samadapt.store.adapters_folder import ADAPTERS
from samadapt.store.embeddings import EmbeddingStore
from samadapt.store.projects import Project, project_file
from samadapt.store.rebuild import read_log

TOKEN = "to-be-killed"  # noqa: S105
SIZE = (128, 160)
IMAGES = 3


@dataclass
class Confirmed:
    """What the server said was saved: run lengths by key, None for an object that was deleted."""

    objects: dict[str, tuple[int, int, str] | None] = field(default_factory=dict)
    uncertain: set[str] = field(default_factory=set)
    """Keys of changes that were sent but not answered: either outcome is right."""
    count: int = 0
    """Changes that were confirmed, in all rounds."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    news: threading.Event = field(default_factory=threading.Event)


def main() -> None:
    options = _options()
    chance = random.Random(options.seed)  # noqa: S311
    with tempfile.TemporaryDirectory(prefix="samadapt-kill-") as place:
        folder = Path(place) / "images"
        _draw(folder)
        confirmed = Confirmed()
        for number in range(1, options.rounds + 1):
            _one_round(folder, options, confirmed, chance, number)
            count = _check(folder, options, confirmed)
            if number % 10 == 0 or number == options.rounds:
                told = f"{confirmed.count} changes confirmed, {count} objects, nothing lost"
                print(f"{number} rounds: {told}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--model", default="nano")
    parser.add_argument("--adapter", default="online")
    parser.add_argument("--longest", type=float, default=2.5, help="seconds of work per round")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _draw(folder: Path) -> None:
    folder.mkdir()
    for index in range(IMAGES):
        picture(index).save(folder / f"{index}.png")


def picture(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """Bright discs on a dark ground, of (height, width) pixels."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    rng = np.random.default_rng(seed)
    pixels = rng.normal(60, 5, (*size, 3))
    for _ in range(6):
        y, x = rng.uniform(10, size[0] - 10), rng.uniform(10, size[1] - 10)
        pixels[(rows - y) ** 2 + (columns - x) ** 2 < rng.uniform(6, 14) ** 2] += 90
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


# -- the server -----------------------------------------------------------------------------


def serve(
    folder: Path,
    where: str | Path,
    model: str,
    adapter: str,
    adapters: Path,
    told: Connection,
    port: int = 0,
) -> None:
    """Serve a project until killed; tells its port when it answers."""
    with Project.open(where) as project, run.listen("127.0.0.1", port) as listener:
        project.images.scan(folder)
        cache = EmbeddingStore(folder.parent / "cache")
        workspace = Workspace(project, folder, load(model), cache, adapters, (adapter,))
        port = int(listener.getsockname()[1])
        app = create_app(workspace, Guard(TOKEN, port))
        run.serve(app, listener, lambda: told.send(port))


def _one_round(
    folder: Path,
    options: argparse.Namespace,
    confirmed: Confirmed,
    chance: random.Random,
    number: int,
) -> None:
    # Everything is imported already: a forked process is up within moments.
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    where, adapters = project_file(folder), folder / ADAPTERS
    arguments = (folder, where, options.model, options.adapter, adapters, theirs)
    server = context.Process(target=serve, args=arguments)
    server.start()
    if not ours.poll(60):
        sys.exit(f"round {number}: the server did not start")
    url = f"http://127.0.0.1:{ours.recv()}"
    stop = threading.Event()
    people = [
        threading.Thread(
            target=_work, args=(url, f"{number}-{k}", confirmed, stop, chance.random())
        )
        for k in range(2)
    ]
    confirmed.news.clear()
    for person in people:
        person.start()
    if number % 4:
        confirmed.news.wait(60)
    time.sleep(chance.uniform(0.0, options.longest))
    os.kill(server.pid or 0, signal.SIGKILL)
    stop.set()
    server.join()
    for person in people:
        person.join()


# -- people ---------------------------------------------------------------------------------


def _work(url: str, name: str, confirmed: Confirmed, stop: threading.Event, seed: float) -> None:
    chance = random.Random(seed)  # noqa: S311
    headers = {"authorization": f"Bearer {TOKEN}", "x-samadapt-client": f"client-{name}"}
    with httpx.Client(base_url=url, headers=headers, timeout=30) as http:
        mine: list[dict[str, Any]] = []
        count = 0
        while not stop.is_set():
            image = chance.randint(1, IMAGES)
            key = f"object-{name}-{count:04d}"
            count += 1
            try:
                if mine and chance.random() < 0.3:
                    _change(http, mine, confirmed, chance)
                else:
                    _add(http, image, key, mine, confirmed, chance)
            except httpx.HTTPError:
                return


def _add(
    http: httpx.Client,
    image: int,
    key: str,
    mine: list[dict[str, Any]],
    confirmed: Confirmed,
    chance: random.Random,
) -> None:
    for _ in range(chance.randint(1, 3)):
        place = {"x": chance.uniform(1, SIZE[1] - 1), "y": chance.uniform(1, SIZE[0] - 1)}
        http.post(f"/api/images/{image}/click", json=place)
    with confirmed.lock:
        confirmed.uncertain.add(key)
    headers = {"idempotency-key": key}
    answer = http.post(f"/api/images/{image}/accept", json={}, headers=headers)
    with confirmed.lock:
        confirmed.uncertain.discard(key)
        if answer.status_code == 200:
            thing = answer.json()["object"]
            confirmed.objects[key] = (thing["height"], thing["width"], thing["counts"])
            confirmed.count += 1
            confirmed.news.set()
            mine.append(thing)


def _change(
    http: httpx.Client,
    mine: list[dict[str, Any]],
    confirmed: Confirmed,
    chance: random.Random,
) -> None:
    thing = mine.pop(chance.randrange(len(mine)))
    key = thing["key"]
    with confirmed.lock:
        confirmed.uncertain.add(key)
    delete = f"/api/objects/{thing['id']}/delete"
    answer = http.post(delete, json={"revision": thing["revision"]})
    with confirmed.lock:
        confirmed.uncertain.discard(key)
        if answer.status_code == 200:
            confirmed.objects[key] = None
            confirmed.count += 1


# -- the check ------------------------------------------------------------------------------


def _check(folder: Path, options: argparse.Namespace, confirmed: Confirmed) -> int:
    with Project.open(project_file(folder)) as project:
        reading = read_log(project)
        stored = {}
        for entry in project.images.entries():
            for thing in project.objects.of_image(entry.id, deleted=True):
                stored[thing.key] = thing
        if {t.id: t for t in stored.values()} != reading.objects:
            sys.exit("the log does not add up to the tables")
        for key, expected in confirmed.objects.items():
            if key in confirmed.uncertain:
                continue
            found = stored.get(key)
            now = None
            if found is not None and not found.deleted:
                now = (found.height, found.width, found.counts)
            if found is None or now != expected:
                sys.exit(f"{key} was confirmed as {str(expected)[:60]}, now it is {str(now)[:60]}")
    # Whatever happened to what was not answered is known now, and must stay so.
    for key in confirmed.uncertain:
        found = stored.get(key)
        if found is not None:
            lost = found.deleted
            confirmed.objects[key] = None if lost else (found.height, found.width, found.counts)
    confirmed.uncertain.clear()
    current = folder / ADAPTERS / "current"
    for adapter in current.iterdir() if current.is_dir() else ():
        if (adapter / CONFIG_FILE).is_file():
            load_adapter(adapter)
    return sum(not thing.deleted for thing in stored.values())


if __name__ == "__main__":
    main()
