"""`Gallery`: the images of a project as they are on the disk now."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

from samadapt.data.images import ZARR_SUFFIX
from samadapt.data.pixels import MAX_PIXELS
from samadapt.data.stacks.address import file_of, split_name
from samadapt.data.stacks.kept import OpenStacks, slice_size
from samadapt.data.tiled.fingerprint import fingerprint
from samadapt.data.tiled.image import is_huge, shown_size
from samadapt.errors import ImageError
from samadapt.server.pictures import path_inside
from samadapt.server.slices import Slices
from samadapt.server.waiting import WaitingQueue
from samadapt.store.errors import MissingError
from samadapt.store.projects import Project
from samadapt.store.records import ImageEntry, ImageFacts, Review, StoredImage

Wanted = Literal["any", "unfinished", "review"]
AHEAD = 3
"""Number of images after the open one that are encoded in advance."""


class Gallery:
    """The images of a project in its folder.

    Args:
        project: the project.
        folder: its images.
        stacks: the open stacks, from which slices are read.

    Attributes:
        waiting: the proposals that wait for review.
        slices: which images are slices of which stacks.
    """

    def __init__(self, project: Project, folder: Path, stacks: OpenStacks | None = None) -> None:
        self.project, self.folder = project, folder
        self._stacks = stacks or OpenStacks()
        self.waiting, self.slices = WaitingQueue(project), Slices()
        self._order: list[int] = []
        self._folder_times: dict[str, int] = {}
        self._broken_links: set[int] = set()
        self.scan()

    def path(self, image: StoredImage) -> Path:
        """Return the path of an image's file in the folder; for a slice, its address in a file."""
        file = path_inside(self.folder, split_name(image.name)[0])
        place = self.slices.of(image.id)
        return place.path(file) if place else file.with_name(Path(image.name).name)

    def looked_at(self, image_id: int) -> StoredImage:
        """Return an image, with its size read again if the file has changed; decodes nothing.

        Raises:
            ImageError: the file cannot be read, or is gone.
            MissingError: there is no such image.
        """
        image = self.project.images.get(image_id)
        try:
            path = self.path(image)
        except MissingError as error:
            self.note(image_id, None, str(error))
            raise
        place = self.slices.of(image_id)
        if place and (problem := place.stack.problems.get(place.index)) is not None:
            self.note(image_id, None, problem)
            raise ImageError(problem)
        try:
            state = file_of(path).stat()
        except OSError:
            raise ImageError(f"{image.name} is no longer in {self.folder}: put it back") from None
        facts = image.facts
        if facts is not None and (facts.file_size, facts.modified) == (
            state.st_size,
            state.st_mtime_ns,
        ):
            return image
        try:
            size, content = slice_size(path, self._stacks) or shown_size(path), None
            height, width = size
            if is_huge(path):
                _check_masks(image.name, height, width)
                content = fingerprint(path)
        except ImageError as error:
            self.note(image_id, None, str(error))
            raise
        fresh = ImageFacts(height, width, content, state.st_size, state.st_mtime_ns)
        self.project.images.note(image_id, fresh)
        return self.project.images.get(image_id)

    def warnings(self, image: StoredImage) -> list[str]:
        """Return warnings to show with an image, such as that its file was replaced."""
        found = []
        facts = image.facts
        sizes = {(o.height, o.width) for o in self.project.objects.of_image(image.id)}
        if facts is not None and sizes - {(facts.height, facts.width)}:
            height, width = next(iter(sizes - {(facts.height, facts.width)}))
            found.append(
                f"This file was replaced: its objects were drawn on {width} x {height} pixels, now "
                f"it has {facts.width} x {facts.height}. Put the old file back to see them."
            )
        elif (
            facts is not None
            and None not in (facts.content_hash, image.annotated_hash)
            and facts.content_hash != image.annotated_hash
            and sizes
        ):
            found.append(
                "This file was replaced since its objects were drawn: check them."
                if self.slices.of(image.id) is None
                else "This slice looks other than when its objects were drawn (it was replaced, or "
                "is shown with the contrast of the whole stack now): check them."
            )
        place = self.slices.of(image.id)
        if place and place.index == 0:
            found += place.stack.remarks
        same = self.project.images.same_content(image)
        if same and place is None:  # neighbouring slices may be alike
            found.append(f"The same picture as {same[0].name}: annotate only one of them.")
        return found

    def ahead(self, image_id: int) -> list[tuple[int, Path, ImageFacts | None]]:
        """Return an image and those likely to be opened next, for `Encoder.look_ahead`."""
        ids, slices = self._order, self.slices.of(image_id)
        place = ids.index(image_id) if image_id in ids else len(ids)
        wanted = ids[place : place + 1 + AHEAD] + ids[max(0, place - 1) : place]
        if slices:
            wanted = slices.around()
        found = []
        for image in map(self.project.images.get, wanted):
            try:
                found.append((image.id, self.path(image), image.facts))
            except MissingError as error:  # it is shown when that image is opened
                self.note(image.id, None, str(error))
        return found

    def next_image(
        self, client: str, person: str, after: int, step: int, wanted: Wanted = "any"
    ) -> int | None:
        """Return the number of the next (step 1) or previous (-1) image; None if there is none.

        Args:
            client: the client that asks.
            person: name of the client's person.
            after: number of the image to go on from; 0 to begin with the first (or last) one.
            step: 1 or -1.
            wanted: "any" image; "unfinished" skips images that are done, skipped, unreadable,
                assigned to somebody else, or being annotated by somebody else; "review" finds
                images that wait for review.
        """
        ids = self._order if step > 0 else self._order[::-1]
        stack = self.slices.of(after)
        if stack and wanted == "any":  # all its slices are one item
            rest = set(stack.ids)
            ids = [one for one in ids if one == after or one not in rest]
        start = ids.index(after) + 1 if after in ids else 0
        taken = {c.image_id for c in self.project.claims.all() if c.client != client}
        states = self.project.images.states()
        reviews = {} if wanted == "any" else self.project.reviews.all()
        # A search for unfinished images wraps around at the end; paging through all does not.
        for identity in [*ids[start:], *(ids[: max(0, start - 1)] if wanted != "any" else [])]:
            mark, problem, present = states.get(identity, ("", False, False))
            review = reviews.get(identity, Review())
            is_mine = review.assignee in ("", person)
            is_open = not (mark or problem or identity in taken) and is_mine
            is_wanted = {
                "any": True,
                "unfinished": is_open,
                "review": review.state == "review" and not problem,
            }
            if present and is_wanted[wanted]:
                item = self.slices.of(identity)
                return item.ids[0] if item and wanted == "any" else identity
        return None

    def rows(self, entries: Sequence[ImageEntry], holding: Collection[int]) -> list[list[Any]]:
        """Return the rows of the page's list of images.

        Each is [number, name, state, number of objects, problem, whether the client has an object
        under way there, state of the review, assignee, number of open comments, number of waiting
        proposals].

        Args:
            entries: the images.
            holding: numbers of the images on which the client has an object under way.
        """
        reviews, comments = self.project.reviews.all(), self.project.reviews.open_comments()
        waiting = self.waiting.counts()
        found = []
        for e in entries:
            review = reviews.get(e.id, Review())
            said = review.state, review.assignee, comments.get(e.id, 0), waiting.get(e.id, 0)
            found.append([e.id, e.name, _state(e), e.objects, _problem(e), e.id in holding, *said])
        return found

    def scan(self) -> list[ImageEntry]:
        """Update the images of the project if a folder has changed, and return them in order.

        Raises:
            DataError: the folder has no image any more.
        """
        now = _folder_times(self.folder)
        if now != self._folder_times:
            self.project.images.scan(self.folder)
            self._note_links()
            self.slices = Slices(self.project.images.stacks, self.project.images.entries())
            self._note_slices()
            self._folder_times = now
        entries = self.project.images.entries()
        entries.sort(key=lambda entry: self.slices.key(entry.id, entry.name))
        self._order = [entry.id for entry in entries if entry.present]
        return entries

    def _note_slices(self) -> None:
        """Store why slices cannot be used, as their headers tell; clear problems that are gone."""
        problems = self.slices.problems()
        for image in self.project.images.all().values():
            why = problems.get(image.id)
            is_cleared = image.facts is None and self.slices.of(image.id) is not None
            if image.problem != why and (why is not None or is_cleared):
                self.note(image.id, None, why)

    def _note_links(self) -> None:
        """Mark broken links, and links out of the folder, as unreadable; clear those now mended."""
        for entry in self.project.images.entries():
            name = split_name(entry.name)[0]
            image_path = self.folder / name
            if image_path.is_symlink() or entry.id in self._broken_links:
                try:
                    path_inside(self.folder, name)
                except MissingError as error:
                    self._broken_links.add(entry.id)
                    self.note(entry.id, None, str(error))
                else:
                    if entry.id in self._broken_links:
                        self._broken_links.discard(entry.id)
                        self.note(entry.id, None, None)

    def note(self, image_id: int, facts: ImageFacts | None, problem: str | None) -> None:
        """Store the facts of an image file, or why it cannot be read."""
        self.project.images.note(image_id, facts, problem)


def _check_masks(name: str, height: int, width: int) -> None:
    """Raise `ImageError` if an image has more pixels than a mask may have."""
    if height * width > MAX_PIXELS:
        raise ImageError(
            f"{name} has {width} x {height} pixels: masks can be kept on at most {MAX_PIXELS} "
            "pixels (32,768 x 32,768), cut it into parts"
        )


def _folder_times(folder: Path) -> dict[str, int]:
    """Return the modification time of each folder and subfolder, in nanoseconds, by path."""
    found: dict[str, int] = {}
    pending = [str(folder)]
    while pending:
        place = pending.pop()
        try:
            found[place] = Path(place).stat().st_mtime_ns
            with os.scandir(place) as entries:
                pending += [e.path for e in entries if _is_subfolder(e)]
        except OSError:
            continue
    return found


def _state(entry: ImageEntry) -> str:
    if entry.mark == "skipped":
        return "skipped"
    if _problem(entry):
        return "problem"
    return entry.mark or ("started" if entry.objects else "new")


def _problem(entry: ImageEntry) -> str:
    """Return why an image cannot be shown; empty if it can."""
    return (entry.problem or "") if entry.present else "its file is gone: put it back"


def _is_subfolder(entry: os.DirEntry[str]) -> bool:
    name = entry.name.lower()
    is_passed_over = name.startswith(".") or name.endswith(ZARR_SUFFIX)
    return not is_passed_over and entry.is_dir(follow_symlinks=False)
