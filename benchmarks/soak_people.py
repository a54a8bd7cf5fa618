"""People for `soak.py`: they click, accept, paint, delete, relabel, and remember what was said."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from kill_server import TOKEN

from samadapt.server.wire import crop_of

Json = dict[str, Any]
_PAUSE = 0.5
"""Seconds until a person asks a server again that did not answer."""


@dataclass
class Ledger:
    """What servers said was saved, by the object's key.

    Attributes:
        objects: as it was answered last.
        uncertain: keys with a change that was sent and not answered.
        requests: answers by status; 0 for none.
        faults: what no server may ever answer.
    """

    objects: dict[str, Json] = field(default_factory=dict)
    uncertain: set[str] = field(default_factory=set)
    requests: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    accepted: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, answer: httpx.Response | None, what: str) -> None:
        """Count an answer."""
        with self.lock:
            status = 0 if answer is None else answer.status_code
            self.requests[status] += 1
            if answer is not None and status >= 500:
                self.faults.append(f"{what}: {status} {answer.text[:200]}")

    def save(self, thing: Json, *, is_new: bool = False) -> None:
        """An answer named this state of an object."""
        with self.lock:
            self.objects[thing["key"]] = thing
            self.uncertain.discard(thing["key"])
            self.accepted += is_new


class Person:
    """Somebody who works at one server until told to stop, whatever happens to it."""

    def __init__(
        self, name: str, url: Callable[[], str], ledger: Ledger, seed: int, until: float
    ) -> None:
        self._name, self._url, self._ledger, self._until = name, url, ledger, until
        self._chance = random.Random(seed)  # noqa: S311
        self._mine: list[Json] = []
        self._count = 0
        headers = {"authorization": f"Bearer {TOKEN}", "x-samadapt-client": f"client-{name}"}
        self._http = httpx.Client(headers=headers, timeout=60)

    def work(self, most: int = 1_000_000) -> None:
        """Do one thing after the other until time is up."""
        doings = (
            (self._accept, 10),
            (self._paint, 3),
            (self._delete, 2),
            (self._relabel, 3),
            (self._edit_labels, 1),
            (self._mark, 1),
            (self._look, 2),
        )
        actions, weights = zip(*doings, strict=True)
        with self._http:
            for _ in range(most):
                if time.monotonic() > self._until:
                    return
                self._chance.choices(actions, weights)[0]()

    # -- what they do -------------------------------------------------------------------------

    def _accept(self) -> None:
        image = self._image()
        if image is None:
            return
        for _ in range(self._chance.randint(1, 3)):
            x = self._chance.uniform(1, image["width"] - 1)
            y = self._chance.uniform(1, image["height"] - 1)
            self._ask("POST", f"/api/images/{image['id']}/click", {"x": x, "y": y})
        self._save(f"/api/images/{image['id']}/accept", {"label": self._label()})

    def _paint(self) -> None:
        image = self._image()
        if image is None:
            return
        mask = np.zeros((image["height"], image["width"]), np.bool_)
        y, x = (self._chance.randrange(side - 8) for side in mask.shape)
        mask[y : y + 7, x : x + 5] = True
        body = {"label": self._label(), "mask": crop_of(mask)}
        self._save(f"/api/images/{image['id']}/objects", body)

    def _delete(self) -> None:
        if not self._mine:
            return
        thing = self._mine.pop(self._chance.randrange(len(self._mine)))
        revision = {"revision": thing["revision"]}
        changed = self._change(thing, f"/api/objects/{thing['id']}/delete", revision)
        if changed is not None and self._chance.random() < 0.5:
            back = self._change(changed, f"/api/images/{thing['image']}/undo", {})
            if back is not None:
                self._mine.append(back)

    def _relabel(self) -> None:
        if not self._mine:
            return
        index = self._chance.randrange(len(self._mine))
        thing = self._mine[index]
        body = {"label": self._label(), "revision": thing["revision"]}
        changed = self._change(thing, f"/api/objects/{thing['id']}", body)
        if changed is not None:
            self._mine[index] = changed

    def _edit_labels(self) -> None:
        project = self._ask("GET", "/api/project")
        if project is None:
            return
        labels = project["labels"]
        if labels and self._chance.random() < 0.4:
            labels.pop(self._chance.randrange(len(labels)))
        elif len(labels) < 12:
            name = f"{self._name} {self._count}"
            labels.append({"id": 0, "name": name, "colour": "#336699"})
            self._count += 1
        body = {"labels": labels, "revision": project["labels_revision"]}
        self._ask("PUT", "/api/labels", body)

    def _mark(self) -> None:
        image = self._image()
        if image is not None:
            body = {"mark": self._chance.choice(["", "done"]), "revision": image["revision"]}
            self._ask("POST", f"/api/images/{image['id']}/mark", body)

    def _look(self) -> None:
        self._ask("GET", self._chance.choice(["/api/learning", "/api/images", "/api/export"]))

    # -- asking -------------------------------------------------------------------------------

    def _image(self) -> Json | None:
        found = self._ask("GET", "/api/images")
        if not found or not found["images"]:
            return None
        number = self._chance.choice(found["images"])[0]
        return self._ask("POST", f"/api/images/{number}/open", {})

    def _label(self) -> int | None:
        found = self._ask("GET", "/api/project")
        numbers = [label["id"] for label in found["labels"]] if found else []
        return self._chance.choice([None, *numbers])

    def _key(self) -> str:
        self._count += 1
        return f"object-{self._name}-{self._count:06d}"

    def _save(self, path: str, body: Json) -> None:
        """Ask until answered, as the page does: the same key saves nothing twice."""
        key = self._key()
        with self._ledger.lock:
            self._ledger.uncertain.add(key)
        while time.monotonic() < self._until + 60:
            answer = self._send("POST", path, body, key)
            if answer is not None and answer.status_code != 507:
                if answer.status_code == 200:
                    thing = {**answer.json()["object"], "image": int(path.split("/")[3])}
                    self._ledger.save(thing, is_new=True)
                    self._mine.append(thing)
                else:
                    with self._ledger.lock:
                        self._ledger.uncertain.discard(key)
                return
            time.sleep(_PAUSE)

    def _change(self, thing: Json, path: str, body: Json) -> Json | None:
        """Change an object of one's own; without an answer, ask again."""
        key = self._key()
        with self._ledger.lock:
            self._ledger.uncertain.add(thing["key"])
        while time.monotonic() < self._until + 60:
            answer = self._send("POST", path, body, key)
            if answer is None or answer.status_code == 507:
                time.sleep(_PAUSE)
                continue
            if answer.status_code != 200:
                with self._ledger.lock:
                    self._ledger.uncertain.discard(thing["key"])
                return None
            now = answer.json()
            found = now.get("object") or next(o for o in now["saved"] if o["id"] == thing["id"])
            deleted = path.endswith("/delete")
            changed: Json = {**found, "image": thing["image"], "deleted": deleted}
            self._ledger.save(changed)
            return changed
        return None

    def _ask(self, method: str, path: str, body: Json | None = None) -> Json | None:
        answer = self._send(method, path, body)
        if answer is None:
            time.sleep(_PAUSE)
            return None
        found: Json | None = answer.json() if answer.status_code == 200 else None
        return found

    def _send(
        self, method: str, path: str, body: Json | None = None, key: str | None = None
    ) -> httpx.Response | None:
        answer = None
        headers = {} if key is None else {"idempotency-key": key}
        with suppress(httpx.HTTPError):  # the server was killed
            answer = self._http.request(method, self._url() + path, json=body, headers=headers)
        self._ledger.note(answer, f"{method} {path}")
        return answer
