"""`Annotator`: turns changes of the layers into requests, and shows the answers in the layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from qtpy.QtCore import QTimer

from napari_samadapt.client import NOTHING, Client, Json, Prompts
from napari_samadapt.errors import SamadaptError, UnreachableError
from napari_samadapt.jobs import Jobs
from napari_samadapt.layers import Layers
from napari_samadapt.masks import Mask, read_crop, read_object
from napari_samadapt.planes import Plane, plane_file, shown_plane


class Annotator:
    """Segments one image layer, slice by slice, with a server that learns from accepted objects.

    Args:
        viewer: the napari viewer.
        image: the image layer to segment.
        client: the connection to the server.
        tell: called with a line of text to show.
        failed: called with an error to show.

    Attributes:
        label: name of the label for accepted objects; empty for none.
        plane: the plane that is shown.
        layers: the layers of the plugin.
        jobs: the requests that are under way.
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
        """Stop reacting to the viewer and the layers, and end the jobs; the layers stay."""
        self._viewer.dims.events.current_step.disconnect(self._moved)
        for layer in (self.layers.points, self.layers.boxes):
            layer.events.data.disconnect(self._changed)
        self._later.stop()
        self.jobs.close()

    def wait(self) -> None:
        """Send changed prompts, and wait until all requests are answered.

        Raises:
            SamadaptError: the server does not answer in time.
        """
        if self._later.isActive():
            self._later.stop()
            self.say()
        self.jobs.wait()

    # -- prompts --------------------------------------------------------------------------

    def say(self) -> None:
        """Send the prompts that the layers have on the plane that is shown."""
        plane, wanted = self.plane, self.layers.prompts(self.plane)
        self._ask(
            plane,
            lambda number: self._client.say(number, wanted, self._now[plane]),
            lambda answer: self._show(plane, answer, asked=wanted),
        )

    def undo(self) -> None:
        """Undo the last step of the object under way."""
        plane = self.plane
        self._ask(
            plane,
            lambda number: self._client.undo(number, self._now[plane]),
            lambda answer: self._show(plane, answer),
        )

    def clear(self) -> None:
        """Discard the object under way."""
        plane = self.plane
        self._ask(plane, self._client.skip, lambda answer: self._show(plane, answer))

    def accept(self) -> None:
        """Accept the object under way with the chosen label; the model learns from it.

        Raises:
            SamadaptError: the mask is empty, or the server does not answer in time.
        """
        self.wait()  # what was said last belongs to it
        plane, label, shown = self.plane, self.label, self._mask
        wanted = self.layers.painted()
        if not wanted.any():
            nothing = "the mask is empty" if shown.any() else "there is nothing to accept yet"
            raise SamadaptError(f"{nothing}: click on the object")

        def work(number: int) -> tuple[Json, Json]:
            label_id, now = self._client.label(label), self._now[plane]
            self._now[plane] = answer = self._client.accept(number, label_id, now, shown, wanted)
            return answer, self._client.learned()

        def done(both: tuple[Json, Json]) -> None:
            answer, learned = both
            self._keep(plane, answer)
            self._show(plane, answer)
            self._tell(f"accepted object {answer['object']['id']}{_learned(learned)}")

        self._ask(plane, work, done)

    # -- accepted objects -----------------------------------------------------------------

    def improve(self) -> None:
        """Make the accepted object under the mouse the object under way, to improve it.

        Raises:
            SamadaptError: there is no accepted object under the mouse.
        """
        plane, thing = self.plane, self._under_mouse()
        self._ask(
            plane,
            lambda number: self._client.edit(number, thing["id"], thing["revision"]),
            lambda answer: self._show(plane, answer),
        )

    def delete(self) -> None:
        """Delete the accepted object under the mouse.

        Raises:
            SamadaptError: there is no accepted object under the mouse.
        """
        plane, thing = self.plane, self._under_mouse()

        def done(answer: Json) -> None:
            if not np.array_equal(read_crop(answer["mask"], self.layers.size), self._mask):
                self._show(plane, answer)  # it was the one that was being improved
            self._tell(f"deleted object {thing['id']}")

        self._ask(plane, lambda _: self._client.delete(thing["id"], thing["revision"]), done)

    # -- proposals ------------------------------------------------------------------------

    def find_similar(self) -> None:
        """Propose objects like the accepted ones of the label.

        Called again, it leaves out the proposals that were not accepted, and searches further.
        """
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
        """Accept the proposal under the mouse.

        Raises:
            SamadaptError: there is no proposal under the mouse.
        """
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
            mask = self._found[place]

            def work(number: int, mask: Any = mask) -> Json:
                return self._client.add(number, self._client.label(label), mask)

            def done(_: Json, place: int = place, mask: Any = mask) -> None:
                if place < len(self._found) and self._found[place] is mask:
                    self._found[place] = None
                    self._show_found()

            self._ask(plane, work, done)

    def _moved(self, event: Any = None) -> None:
        """Show what is known of the slice that is shown now, and open it if the server has it."""
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
        self._show(plane, self._now.get(plane, NOTHING))
        is_there = {plane.file_name(".png"), plane.file_name(".tif")} & self._there
        if plane not in self._numbers and is_there:
            self._open()

    def _changed(self, event: Any) -> None:
        """Send the prompts after points or boxes were added, moved or removed."""
        if not self.layers.is_quiet and str(event.action).endswith("ed"):
            self._later.start(0)  # once, however many events belong to one action

    def _open(self) -> None:
        self._ask(self.plane, lambda number: None, lambda _: None)

    def _ask(self, plane: Plane, work: Callable[[int], Any], done: Callable[[Any], None]) -> None:
        """Run a request about a plane in the background, after uploading the plane if necessary.

        Args:
            plane: the plane.
            work: sends the request, given the number of the plane's image; returns the answer.
            done: called with the answer in the GUI thread.
        """
        image = self.layers.image

        def whole() -> tuple[Json | None, Any]:
            opened = None
            if plane not in self._numbers:
                number = self._client.upload(*plane_file(image, plane))
                opened = self._client.open(number)
                self._numbers[plane] = number
                self._now[plane] = opened["current"] or NOTHING
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
            if isinstance(answer, dict) and "saved" in answer:
                self._keep(plane, answer)
            done(answer)

        self.jobs.run(whole, told)

    def _show(self, plane: Plane, answer: Json, asked: Prompts | None = None) -> None:
        """Show the object under way of an answer if its plane is still shown.

        Prompts are replaced only if the layers have not changed since `asked` was sent.
        """
        if plane != self.plane:
            return
        is_newer = asked is not None and self.layers.prompts(plane) != asked
        if not is_newer and not self._later.isActive():
            self.layers.show_prompts(plane, Prompts.of(answer))
        self._mask = read_crop(answer["mask"], self.layers.size)
        self.layers.show_current(self._mask)

    def _keep(self, plane: Plane, answer: Json) -> None:
        """Add and remove the accepted objects that an answer names, and show them."""
        things = self._objects.setdefault(plane, {})
        things |= {thing["id"]: thing for thing in answer["saved"]}
        for number in answer["removed"]:
            things.pop(number, None)
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
        """Show an error, and then the state of the plane as the server has it."""
        self._failed(error)
        plane = self.plane
        if plane not in self._numbers or isinstance(error, UnreachableError):
            return

        def work() -> Json:
            opened = self._client.open(self._numbers[plane])
            self._now[plane] = opened["current"] or NOTHING
            return opened

        def done(opened: Json) -> None:
            self._objects[plane] = {thing["id"]: thing for thing in opened["objects"]}
            self._show_objects(plane)
            self._show(plane, opened["current"] or NOTHING)

        self.jobs.run(work, done)


def _learned(summary: Json) -> str:
    """Return how many objects the model has learned from, as the end of a message."""
    if not summary["learning"]:
        return ""
    return f"; learned from {summary['learned']} so far"
