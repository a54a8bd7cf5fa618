"""`Annotator`: what a person does in the layers becomes requests, and answers become layers."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from qtpy.QtCore import QTimer

from napari_samadapt.client import Client, Json, Prompts
from napari_samadapt.errors import SamadaptError, UnreachableError
from napari_samadapt.jobs import Jobs
from napari_samadapt.layers import Layers
from napari_samadapt.masks import Mask, read_crop, read_object
from napari_samadapt.planes import Plane, plane_file, shown_plane

_NOTHING: Json = {"mask": None, "clicks": [], "box": None, "can_undo": False, "edited": None}


class Annotator:
    """One image layer being segmented, slice by slice, at a server that learns.

    Args:
        viewer: the viewer.
        image: the image layer.
        client: the server.
        tell: shows a line of text.
        failed: shows an error.
    """

    def __init__(
        self,
        viewer: Any,
        image: Any,
        client: Client,
        tell: Callable[[str], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._viewer, self._client = viewer, client
        self._tell, self._failed = tell, failed
        self.label = ""
        self._name = image.name  # at the server, whatever the layer is called later
        self.plane = shown_plane(viewer, image)
        self.layers = Layers(viewer, image)
        self.jobs = Jobs(self._recover)
        self._numbers: dict[Plane, int] = {}
        self._objects: dict[Plane, dict[int, Json]] = {}
        self._now: dict[Plane, Json] = {}
        self._mask: Mask = np.zeros(self.layers.size, np.bool_)
        self._crops: list[Json] = []
        self._found: list[Mask | None] = []  # as the crops; None for those that were taken
        self._rejected: list[Json] = []
        self._tried: list[Any] = []
        self._there = client.image_names()
        self._later = QTimer()
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.say)
        viewer.dims.events.current_step.connect(self._moved)
        for layer in (self.layers.points, self.layers.boxes):
            layer.events.data.connect(self._changed)
        self._open()

    def close(self) -> None:
        """Stop listening; the layers stay."""
        self._viewer.dims.events.current_step.disconnect(self._moved)
        for layer in (self.layers.points, self.layers.boxes):
            layer.events.data.disconnect(self._changed)
        self._later.stop()
        self.jobs.close()

    def wait(self) -> None:
        """Until everything that was done is answered."""
        if self._later.isActive():
            self._later.stop()
            self.say()
        self.jobs.wait()

    # -- prompts --------------------------------------------------------------------------

    def say(self) -> None:
        """Send the prompts of the shown plane as they are in the layers now."""
        plane, wanted = self.plane, self.layers.prompts(self.plane)
        self._ask(
            plane,
            lambda number: self._client.say(number, wanted, self._now.get(plane)),
            lambda answer: self._show(plane, answer, asked=wanted),
        )

    def undo(self) -> None:
        """Take the last prompt back."""
        plane = self.plane

        def work(number: int) -> Json:
            now = self._now.get(plane, _NOTHING)
            return self._client.undo(number) if now["can_undo"] else now

        self._ask(plane, work, lambda answer: self._show(plane, answer))

    def clear(self) -> None:
        """Give the object under way up."""
        plane = self.plane
        self._ask(plane, self._client.skip, lambda answer: self._show(plane, answer))

    def accept(self) -> None:
        """Accept the object under way under the chosen label; the model learns from it."""
        if self._later.isActive():  # a prompt that was not sent yet
            self._later.stop()
            self.say()
            self.jobs.wait()
        plane, label, key = self.plane, self.label, uuid.uuid4().hex
        painted = self.layers.painted(self._mask)
        if painted is not None and not painted.any():
            raise SamadaptError("the mask is empty: click on the object, or paint it")
        if painted is None and not self._mask.any():
            raise SamadaptError("there is nothing to accept yet: click on the object")

        def work(number: int) -> tuple[Json, Json]:
            thing = self._client.accept(number, self._client.label(label), painted, key)
            self._now[plane] = _NOTHING
            return thing, self._client.learned()

        def done(answer: tuple[Json, Json]) -> None:
            thing, learned = answer
            self._keep(plane, thing)
            self._show(plane, _NOTHING)
            self._tell(f"accepted object {thing['id']}{_learned(learned)}")

        self._ask(plane, work, done)

    # -- accepted objects -----------------------------------------------------------------

    def improve(self) -> None:
        """Take the object under the mouse up again."""
        plane, thing = self.plane, self._under_mouse()
        self._ask(
            plane,
            lambda number: self._client.edit(number, thing["id"], thing["revision"]),
            lambda answer: self._show(plane, answer),
        )

    def delete(self) -> None:
        """Delete the object under the mouse."""
        plane, thing = self.plane, self._under_mouse()

        def done(_: None) -> None:
            self._objects[plane].pop(thing["id"], None)
            self._show_objects(plane)
            self._tell(f"deleted object {thing['id']}")

        self._ask(plane, lambda _: self._client.delete(thing["id"], thing["revision"]), done)

    # -- proposals ------------------------------------------------------------------------

    def find_similar(self) -> None:
        """Propose objects like the accepted ones of the label; again goes on without these."""
        plane, label = self.plane, self.label
        passed_over = zip(self._crops, self._found, strict=True)
        rejected = [*self._rejected, *(crop for crop, mask in passed_over if mask is not None)]
        tried = list(self._tried)

        def work(number: int) -> Json:
            return self._client.similar(number, self._client.label(label), rejected, tried)

        def done(answer: Json) -> None:
            if plane != self.plane:
                return
            self._rejected, self._tried = rejected, answer["tried"]
            self._crops = [proposal["mask"] for proposal in answer["proposals"]]
            self._found = [read_crop(crop, self.layers.size) for crop in self._crops]
            self._show_found()
            more = "; N looks further" if answer["more"] else ""
            self._tell(f"{len(self._crops)} proposals{more}")

        self._ask(plane, work, done)

    def take(self) -> None:
        """Accept the proposal under the mouse."""
        value = self.layers.under_cursor(self.layers.proposals)
        if not value:
            raise SamadaptError("there is no proposal under the mouse: point at one")
        self._take([value - 1])

    def take_all(self) -> None:
        """Accept all proposals that are shown."""
        self._take([k for k, mask in enumerate(self._found) if mask is not None])

    # -- private --------------------------------------------------------------------------

    def _take(self, places: list[int]) -> None:
        plane, label = self.plane, self.label
        for place in places:
            mask, key = self._found[place], uuid.uuid4().hex

            def work(number: int, mask: Any = mask, key: str = key) -> Json:
                return self._client.add(number, self._client.label(label), mask, key)

            def done(thing: Json, place: int = place, mask: Any = mask) -> None:
                self._keep(plane, thing)
                if place < len(self._found) and self._found[place] is mask:
                    self._found[place] = None
                    self._show_found()

            self._ask(plane, work, done)

    def _moved(self, event: Any = None) -> None:
        """Another slice: show what is known of it, and open it if the server has it."""
        try:
            shown = shown_plane(self._viewer, self.layers.image)
            plane = replace(shown, layer=self._name)
        except SamadaptError as error:
            self._failed(error)
            return
        if plane == self.plane:
            return
        if self._later.isActive():
            self._later.stop()
            self.say()
        self.plane = plane
        self._crops, self._found, self._rejected, self._tried = [], [], [], []
        self._show_found()
        self._show(plane, self._now.get(plane, _NOTHING))
        is_there = {plane.file_name(".png"), plane.file_name(".tif")} & self._there
        if plane not in self._numbers and is_there:
            self._open()

    def _changed(self, event: Any) -> None:
        """Points or boxes were added, moved or removed."""
        if not self.layers.is_quiet and str(event.action).endswith("ed"):
            self._later.start(0)  # once, however many events belong to one action

    def _open(self) -> None:
        self._ask(self.plane, lambda number: None, lambda _: None)

    def _ask(self, plane: Plane, work: Callable[[int], Any], done: Callable[[Any], None]) -> None:
        """Do something at the server about a plane, which is handed over before if need be."""
        image = self.layers.image

        def whole() -> tuple[Json | None, Any]:
            opened = None
            if plane not in self._numbers:
                number = self._client.upload(*plane_file(image, plane))
                opened = self._client.open(number)
                self._numbers[plane] = number
                self._now[plane] = opened["current"] or _NOTHING
            answer = work(self._numbers[plane])
            if isinstance(answer, dict) and "clicks" in answer:
                self._now[plane] = answer  # the next job goes on from it
            return opened, answer

        def told(both: tuple[Json | None, Any]) -> None:
            opened, answer = both
            if opened is not None:
                self._objects[plane] = {thing["id"]: thing for thing in opened["objects"]}
                self._show_objects(plane)
                for warning in opened["warnings"]:
                    self._tell(warning)
                if opened["current"] is not None:
                    self._show(plane, opened["current"])
            done(answer)

        self.jobs.run(whole, told)

    def _show(self, plane: Plane, answer: Json, asked: Prompts | None = None) -> None:
        """Show the object under way; prompts only if the layers did not change meanwhile."""
        if plane != self.plane:
            return
        is_newer = asked is not None and self.layers.prompts(plane) != asked
        if not is_newer and not self._later.isActive():
            self.layers.show_prompts(plane, Prompts.of(answer))
        self._mask = read_crop(answer["mask"], self.layers.size)
        self.layers.show_current(self._mask)

    def _keep(self, plane: Plane, thing: Json) -> None:
        self._objects.setdefault(plane, {})[thing["id"]] = thing
        self._show_objects(plane)

    def _show_objects(self, plane: Plane) -> None:
        things = self._objects.get(plane, {})
        self.layers.show_objects(plane, [(n, read_object(t)) for n, t in things.items()])

    def _show_found(self) -> None:
        empty = np.zeros(self.layers.size, np.bool_)
        self.layers.show_proposals([empty if mask is None else mask for mask in self._found])

    def _under_mouse(self) -> Json:
        number = self.layers.under_cursor(self.layers.objects)
        thing = self._objects.get(self.plane, {}).get(number)
        if thing is None:
            raise SamadaptError("there is no accepted object under the mouse: point at one")
        return thing

    def _recover(self, error: Exception) -> None:
        """Tell what did not work, and show what the server has."""
        self._failed(error)
        plane = self.plane
        if plane not in self._numbers or isinstance(error, UnreachableError):
            return

        def work() -> Json:
            opened = self._client.open(self._numbers[plane])
            self._now[plane] = opened["current"] or _NOTHING
            return opened

        def done(opened: Json) -> None:
            self._objects[plane] = {thing["id"]: thing for thing in opened["objects"]}
            self._show_objects(plane)
            self._show(plane, opened["current"] or _NOTHING)

        self.jobs.run(work, done)


def _learned(summary: Json) -> str:
    """What the server says of its learning, in a few words."""
    if not summary["learning"]:
        return ""
    return f"; learned from {summary['learned']} so far"
