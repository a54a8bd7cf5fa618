"""A running annotator for tests: real uvicorn, real sockets, a tiny model."""

from __future__ import annotations

import asyncio
import socket
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvicorn.server
from numpy.typing import NDArray

from fakes import FakeModel
from samadapt.data.rle import Rle
from samadapt.models.base import SegmentationModel
from samadapt.server import run
from samadapt.server.app import create_app
from samadapt.server.connections import ConnectionLimits
from samadapt.server.security import Guard
from samadapt.server.wire import Crop
from samadapt.server.wire_answers import crop_of
from samadapt.server.workspace import Workspace
from samadapt.store.adapters_folder import ADAPTERS
from samadapt.store.embeddings import EmbeddingStore
from samadapt.store.projects import Project, project_file

TOKEN = "a-secret-for-tests"  # noqa: S105


class _Impatient:
    """asyncio for uvicorn's server, which looks every 10 ms whether it is to end, not every 100."""

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 10)


uvicorn.server.asyncio = _Impatient()  # type: ignore[attr-defined]

SIZE = (40, 56)

Json = dict[str, Any]
Mask = NDArray[np.bool_]


@dataclass
class Annotator:
    """A server in a thread, over a folder of images."""

    folder: Path
    cache: Path
    specs: tuple[str, ...] = ("none",)
    model: SegmentationModel = field(default_factory=FakeModel)
    people: list[Person] = field(default_factory=list)
    limits: ConnectionLimits = field(default_factory=ConnectionLimits)

    def start(self, port: int = 0) -> Annotator:
        self.project = Project.open(project_file(self.folder))
        self.workspace = Workspace(
            self.project,
            self.folder,
            self.model,
            EmbeddingStore(self.cache),
            self.folder / ADAPTERS,
            self.specs,
        )
        self.listener: socket.socket = run.listen("127.0.0.1", port)
        self.port = int(self.listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.guard = Guard(TOKEN, self.port)
        self.app = create_app(self.workspace, self.guard)
        config = run.configured(self.app, self.limits)
        config.timeout_graceful_shutdown = 5  # of a machine that does much else
        self.server = run.Server(config)
        self.thread = threading.Thread(
            target=self.server.run, kwargs={"sockets": [self.listener]}, daemon=True
        )
        self.thread.start()
        while not self.server.started:
            threading.Event().wait(0.005)
        return self

    def stop(self) -> None:
        for person in self.people:
            person.http.close()
        self.people.clear()
        self.server.should_exit = True
        self.thread.join(timeout=20)
        self.listener.close()
        self.project.close()

    def kill(self) -> None:
        """Break everything off at once, as far as a thread can."""
        self.server.force_exit = True
        self.stop()
        self.workspace._watch.close()  # a killed process has no threads left

    def person(self, client: str = "tab-one", name: str = "Ann") -> Person:
        self.people.append(Person(self.url, client, name))
        return self.people[-1]

    def page(self) -> str:
        """An address that lets one browser in."""
        return run.address("127.0.0.1", self.port, self.guard.access.new_code())

    def ids(self) -> list[int]:
        return [entry.id for entry in self.project.images.entries()]


class Person:
    """Somebody at the page, without the page."""

    def __init__(self, url: str, client: str, name: str, token: str = TOKEN) -> None:
        headers = {
            "authorization": f"Bearer {token}",
            "x-samadapt-client": client,
            "x-samadapt-person": name,
        }
        self.http = httpx.Client(base_url=url, headers=headers, timeout=60)

    def get(self, path: str, **query: Any) -> Json:
        return self._told(self.http.get(path, params=query))

    def post(self, path: str, key: str | None = None, **body: Any) -> Json:
        return self._told(self._sent(path, key, body))

    def refused(self, path: str, key: str | None = None, **body: Any) -> tuple[int, str]:
        """Status and message of a request that must fail."""
        answer = self._sent(path, key, body)
        assert answer.status_code >= 400, answer.text
        return answer.status_code, answer.json()["error"]

    def accept(self, image: int, key: str, **more: Any) -> Json:
        found: Json = self.post(f"/api/images/{image}/accept", key, **more)["object"]
        return found

    def paint(self, image: int, mask: Mask, positive: bool = True) -> Json:
        return self.post(f"/api/images/{image}/stroke", mask=sent(mask), positive=positive)

    def click(self, image: int, x: float, y: float, positive: bool = True) -> Json:
        return self.post(f"/api/images/{image}/click", x=x, y=y, positive=positive)

    def _sent(self, path: str, key: str | None, body: Json) -> httpx.Response:
        headers = {} if key is None else {"idempotency-key": key}
        return self.http.post(path, json=body, headers=headers)

    @staticmethod
    def _told(answer: httpx.Response) -> Json:
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found


def shown(answer: Json) -> Mask:
    """The mask of an answer about the object under way, at the image's size."""
    crop = answer["mask"]
    return np.zeros(SIZE, np.bool_) if crop is None else Crop(**crop).mask(SIZE)


def saved(thing: Json) -> Mask:
    """The mask of an object that the server knows."""
    return Rle((thing["height"], thing["width"]), thing["counts"].encode()).mask()


def sent(mask: Mask) -> Json:
    """A mask as the page sends it."""
    crop = crop_of(mask)
    assert crop is not None
    return crop
