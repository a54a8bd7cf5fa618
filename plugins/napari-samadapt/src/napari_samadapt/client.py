"""`Client`: the requests that the plugin sends to a samadapt server."""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np

from napari_samadapt.errors import SamadaptError, UnreachableError
from napari_samadapt.masks import Mask, write_crop

Json = dict[str, Any]

_SECONDS = 600.0
"""Timeout of a request; on a slow machine a large model takes minutes to encode a large image."""
NOTHING: Json = {
    "mask": None,
    "digest": "",
    "clicks": [],
    "box": None,
    "strokes": 0,
    "edited": None,
}
"""The server's answer about an object under way that has no prompts yet."""
_COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#42d4f4", "#f032e6")


@dataclass(frozen=True)
class Prompts:
    """Clicks (x, y, positive) and a box (x0, y0, x1, y1) for one object, in pixels of the image."""

    clicks: tuple[tuple[float, float, bool], ...] = ()
    box: tuple[float, float, float, float] | None = None

    @classmethod
    def of(cls, current: Json) -> Prompts:
        """Return the prompts in a server's answer about the object under way."""
        clicks = tuple((float(x), float(y), bool(positive)) for x, y, positive in current["clicks"])
        box = current["box"]
        return cls(clicks, None if box is None else tuple(map(float, box)))

    def go_on_from(self, known: Prompts) -> bool:
        """Return True if these prompts can be reached from `known` by adding clicks or a box.

        A box replaces an earlier box.
        """
        return (
            len(known.clicks) <= len(self.clicks)
            and all(
                np.allclose(one, other)
                for one, other in zip(known.clicks, self.clicks, strict=False)
            )
            and (known.box is None or self.box is not None)
        )


class Client:
    """A connection of one person to one server.

    Args:
        url: address of the server as `samadapt annotate` prints it; its path and query are ignored.
        token: secret of the server (`--token`).
        person: name of the person, which is stored with accepted objects.

    Raises:
        SamadaptError: `url` is no address.
    """

    def __init__(self, url: str, token: str, person: str = "") -> None:
        try:
            home = httpx.URL(url.strip())
        except httpx.InvalidURL:
            home = httpx.URL("")
        if home.scheme not in ("http", "https") or not home.host:
            raise SamadaptError(f"{url!r} is no address: give one such as http://127.0.0.1:8760")
        headers = {
            "authorization": f"Bearer {token.strip()}",
            "x-samadapt-client": f"napari-{uuid.uuid4().hex}",
            "x-samadapt-person": quote(person),
        }
        base = home.copy_with(raw_path=b"/")
        self._http = httpx.Client(base_url=base, headers=headers, timeout=_SECONDS)
        self._url = str(base)

    def close(self) -> None:
        """Release the images, so that others can have them, and close the connection."""
        with suppress(SamadaptError):  # the server is gone, and its claims with it
            self._post("leave")
        self._http.close()

    # -- the project ----------------------------------------------------------------------

    def project(self) -> Json:
        """Return the project's name, model and labels."""
        return self._get("project")

    def image_names(self) -> set[str]:
        """Return the names of all images of the project."""
        return {str(row[1]) for row in self._get("images")["images"]}

    def learned(self) -> Json:
        """Return the state of learning."""
        return self._get("learning")

    def label(self, name: str) -> int | None:
        """Return the number of a label, which is added if it is new; None for an empty name."""
        if not name.strip():
            return None
        project = self.project()
        labels = project["labels"]
        known = {label["name"]: label["id"] for label in labels}
        if name.strip() not in known:
            new = {"id": 0, "name": name.strip(), "colour": _COLOURS[len(labels) % len(_COLOURS)]}
            kept = [{key: label[key] for key in ("id", "name", "colour")} for label in labels]
            body = {"labels": [*kept, new], "revision": project["labels_revision"]}
            answer = self._send("PUT", "labels", json=body)
            known = {label["name"]: label["id"] for label in answer["labels"]}
        return int(known[name.strip()])

    # -- an image -------------------------------------------------------------------------

    def upload(self, name: str, content: bytes) -> int:
        """Upload an image file; returns the number of the image."""
        kind = {"content-type": "application/octet-stream"}
        answer = self._post("images", params={"name": name}, content=content, headers=kind)
        return int(answer["id"])

    def open(self, image: int) -> Json:
        """Open an image; returns its objects and the object under way.

        Raises:
            SamadaptError: the image is larger than memory, so that the server reads it in windows.
        """
        found = self._post(f"images/{image}/open")
        if found.get("tile"):
            raise SamadaptError(
                "this picture is larger than memory: annotate it in the browser with 'samadapt "
                "annotate', or give napari a part of it"
            )
        return found

    # -- the object under way -------------------------------------------------------------

    def say(self, image: int, wanted: Prompts, now: Json) -> Json:
        """Send prompts until the object under way has the wanted ones; returns the last answer.

        If further prompts cannot lead there, the object is started again. Its steps are not undone
        one by one, because the last step may have changed an accepted object.

        Args:
            image: number of the image.
            wanted: all prompts that the object should have.
            now: the last answer about the object.
        """
        if not wanted.go_on_from(Prompts.of(now)):
            now = self._again(image, now)
        said = Prompts.of(now)
        if wanted.box is not None and (said.box is None or not np.allclose(wanted.box, said.box)):
            corners = dict(zip(("x0", "y0", "x1", "y1"), wanted.box, strict=True))
            now = self._post(f"images/{image}/box", json=corners)
        for x, y, positive in wanted.clicks[len(said.clicks) :]:
            body = {"x": x, "y": y, "positive": positive}
            now = self._post(f"images/{image}/click", json=body)
        return now

    def undo(self, image: int, now: Json) -> Json:
        """Undo the last step if the object under way has any prompts or is being edited."""
        if not (now["clicks"] or now["box"] or now["strokes"] or now["edited"]):
            return now
        return self._post(f"images/{image}/undo")

    def skip(self, image: int) -> Json:
        """Discard the object under way."""
        return self._post(f"images/{image}/skip")

    def edit(self, image: int, thing: int, revision: int) -> Json:
        """Make an accepted object the object under way, to improve it."""
        body = {"object": thing, "revision": revision}
        return self._post(f"images/{image}/edit", json=body)

    def accept(self, image: int, label: int | None, now: Json, shown: Mask, wanted: Mask) -> Json:
        """Accept the object under way; the server learns from it.

        Args:
            image: number of the image.
            label: number of the object's label; None keeps the label that it has.
            now: the last answer about the object.
            shown: mask (H, W) that the server answered and the layer showed.
            wanted: mask (H, W) after the person painted over it; differences are sent as strokes.
        """
        for part, positive in ((wanted & ~shown, True), (shown & ~wanted, False)):
            if part.any():
                body = {"mask": _crop(part), "positive": positive}
                now = self._post(f"images/{image}/stroke", json=body)
        body = {"label": label, "shown": now["digest"]}
        return self._post(f"images/{image}/accept", json=body)

    # -- objects --------------------------------------------------------------------------

    def similar(self, image: int, label: int | None, rejected: list[Json], tried: Any) -> Json:
        """Return proposals of further objects like those of a label."""
        body = {"label": label, "rejected": rejected, "tried": tried}
        return self._post(f"images/{image}/similar", json=body)

    def add(self, image: int, label: int | None, mask: Mask) -> Json:
        """Add the mask (H, W) of a proposal as an object."""
        body = {"label": label, "mask": _crop(mask), "source": "similar"}
        return self._post(f"images/{image}/objects", json=body)

    def delete(self, thing: int, revision: int) -> Json:
        """Delete an object."""
        return self._post(f"objects/{thing}/delete", json={"revision": revision})

    # -- private --------------------------------------------------------------------------

    def _again(self, image: int, now: Json) -> Json:
        """Start the object under way again; an accepted one starts from its stored mask."""
        edited = now["edited"]
        empty = self.skip(image)
        return empty if edited is None else self.edit(image, edited["id"], edited["revision"])

    def _get(self, path: str) -> Json:
        return self._send("GET", path)

    def _post(self, path: str, headers: dict[str, str] | None = None, **more: Any) -> Json:
        given = {"idempotency-key": str(uuid.uuid4()), **(headers or {})}
        return self._send("POST", path, headers=given, **more)

    def _send(self, method: str, path: str, **more: Any) -> Json:
        try:
            answer = self._http.request(method, f"api/{path}", **more)
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise UnreachableError(
                f"no samadapt server answers at {self._url} ({reason}): start it again"
            ) from None
        try:
            found = answer.json()
        except ValueError:
            found = None
        if answer.is_success and isinstance(found, dict):
            return found
        told = found.get("error") if isinstance(found, dict) else None
        raise SamadaptError(
            str(told or f"{self._url} answers {answer.status_code}: is it a samadapt server?")
        )


def _crop(mask: Mask) -> Json:
    crop = write_crop(mask)
    if crop is None:
        raise SamadaptError("the mask is empty: click on the object, or paint it")
    return crop
