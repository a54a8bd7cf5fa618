"""Import of a dataset's objects into a project: new ones are added, others reported."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from samadapt.data.coco import CocoDataset
from samadapt.data.import_issues import ImportIssues, LeftOut
from samadapt.data.matching import ImageNames
from samadapt.data.records import CocoAnnotation
from samadapt.data.rle import Rle
from samadapt.data.tiled.image import shown_size
from samadapt.errors import DataError, ImageError
from samadapt.store.events import Value
from samadapt.store.import_details import (
    Described,
    defined_in,
    import_attributes,
    import_tags,
    said_of,
    tags_of,
)
from samadapt.store.label_names import UNLABELLED, clean_name, usable
from samadapt.store.objects import NewMask
from samadapt.store.projects import Project

Progress = Callable[[int, int], None]
_SAME_OBJECT = 0.5
"""Two masks with at least this IoU show the same object."""


@dataclass(frozen=True, slots=True)
class Imported:
    """Result of an import.

    Attributes:
        added: number of new objects.
        known: number of objects that the project had already, with the same mask and label.
        left_out: unusable records, each with its number of objects.
        differing: objects that the project has with another mask or label.
        crowds: number of objects left out because they are marked as crowds.
        objects: numbers of the added objects.
    """

    added: int
    known: int
    left_out: tuple[LeftOut, ...]
    differing: tuple[LeftOut, ...]
    crowds: int = 0
    objects: tuple[int, ...] = ()

    @property
    def left_out_count(self) -> int:
        """Number of objects that were left out."""
        return sum(one.objects for one in self.left_out)

    def summary(self) -> str:
        """Summary of the import in one line."""
        parts = [f"imported {self.added} objects ({self.known} were there already)"]
        if self.left_out_count:
            parts.append(f"{self.left_out_count} left out")
        if self.differing:
            parts.append(f"{len(self.differing)} differ from what is there")
        if len(parts) == 1 and not self.added and not self.known:
            parts.append("there is no object in the annotations")
        return ", ".join(parts)


def import_dataset(
    project: Project,
    dataset: CocoDataset,
    person: str,
    origin: str,
    *,
    crowds: bool = False,
    progress: Progress = lambda done, images: None,
) -> Imported:
    """Add a dataset's objects to the project's images.

    An object is identified by its image, label and mask: importing the same file again adds
    nothing, and from a changed file only new objects are added. An object that overlaps one of
    the project with the same label, or has the same mask under another label, is not added but
    reported as different. Objects that a file has twice are added twice.

    Args:
        project: receives the objects.
        dataset: with the folder of its images.
        person: the person who imports.
        origin: name of the source in messages.
        crowds: treat crowd masks as objects.
        progress: called with the number of finished images and of all.
    """
    return _Import(project, dataset, person, origin, crowds, progress).run()


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An object of the dataset: its place, its label's name and its mask.

    Attributes:
        earlier: number of objects before it with the same label and mask.
        attributes: of the object.
    """

    where: str
    name: str
    rle: Rle
    earlier: int
    attributes: Mapping[str, Value] = field(default_factory=dict)

    def key(self, image_id: int) -> str:
        """A key computed from the object's content."""
        height, width = self.rle.size
        content = f"{self.name}\n{height} {width} {self.earlier}\n"
        digest = hashlib.sha256(content.encode("utf-8", "replace") + self.rle.counts)
        return f"import:{image_id}:{digest.hexdigest()[:40]}"


class _Import:
    def __init__(
        self,
        project: Project,
        dataset: CocoDataset,
        person: str,
        origin: str,
        crowds: bool,
        progress: Progress,
    ) -> None:
        self._progress = progress
        self._project, self._dataset, self._person = project, dataset, person
        self._origin, self._crowds = origin, crowds
        self._labels = {label.id: label.name for label in project.labels.all()[0]}
        self._findings = ImportIssues()
        self._differing: list[LeftOut] = []
        self._new: list[tuple[int, _Candidate]] = []
        self._added: list[int] = []
        self._known = self._stale = 0

    def run(self) -> Imported:
        """Take one image after the other."""
        images = self._dataset.images
        ids = {entry.name: entry.id for entry in self._project.images.entries()}
        names = ImageNames(ids, self._dataset.folder)
        matched = names.match([image.relative_path() for image in images])
        crowded = self._tell_of_unusable()
        taken: dict[str, list[CocoAnnotation]] = {}
        for image, name in zip(images, matched, strict=True):
            things = [a for a in self._dataset.annotations_of(image.id) if self._is_object(a)]
            if name is not None:
                taken.setdefault(name, []).extend(things)
            elif things:
                reason = names.why_not(image.relative_path())
                self._findings.leave_out(f"{self._origin}: {image.file_name}", reason, len(things))
        for done, (name, things) in enumerate(taken.items()):
            self._progress(done, len(taken))
            if things:
                self._take(ids[name], name, self._candidates(things, ids[name], name))
        self._add_new()
        tags = {
            ids[name]: some
            for image, name in zip(images, matched, strict=True)
            if name is not None and (some := tags_of(image.extra))
        }
        import_tags(self._project, tags, self._person, self._findings)
        self._progress(len(taken), len(taken))
        if self._stale:
            self._findings.remark(
                self._origin,
                f"{self._stale} objects that were imported before are not in it: they stay",
            )
        return Imported(
            len(self._added),
            self._known,
            (*self._dataset.left_out, *self._findings.left_out),
            tuple(self._differing),
            crowded,
            tuple(self._added),
        )

    def _is_object(self, annotation: CocoAnnotation) -> bool:
        return annotation.segmentation is not None and (self._crowds or not annotation.iscrowd)

    def _tell_of_unusable(self) -> int:
        """Report objects without masks, and crowds; returns the number of crowds."""
        annotations = self._dataset.annotations
        boxes = sum(a.segmentation is None for a in annotations)
        crowded = sum(a.segmentation is not None and not self._is_object(a) for a in annotations)
        if boxes:
            self._findings.leave_out(
                self._origin,
                f"{boxes} of {len(annotations)} objects have only a box, no mask: draw them with "
                "the box as prompt, or export masks",
                boxes,
            )
        if crowded:
            self._findings.leave_out(
                self._origin,
                f"{crowded} of {len(annotations)} objects are marked as crowds (iscrowd 1), as "
                "CVAT marks brush masks: import again and take crowds (--crowds) if they are "
                "objects",
                crowded,
            )
        return crowded

    def _candidates(
        self, things: Sequence[CocoAnnotation], image_id: int, name: str
    ) -> list[_Candidate]:
        """The objects of an image with undamaged masks of its size."""
        size, where = self._displayed(image_id, name), f"{self._origin}: {name}"
        if size is None:
            reason = f"{name} cannot be read, so that its size is not known"
            self._findings.leave_out(where, reason, len(things))
            return []
        found: list[_Candidate] = []
        seen: Counter[tuple[str, bytes]] = Counter()
        for thing in things:
            here = f"{where}, object {thing.id}"
            label = _clean(self._dataset.category(thing.category_id).name)
            with self._findings.leaving_out(here):
                rle = self._dataset.rle(thing.id)
                if rle.size != size:
                    raise DataError(_wrong_size(rle.size, size))
                if not rle.area:
                    raise DataError("its mask is empty")
                rle = Rle.from_runs(rle.runs(), rle.size)
                earlier = seen[label, rle.counts]
                if earlier:
                    self._findings.remark(here, "an object before it has the same mask and label")
                seen[label, rle.counts] += 1
                said = said_of(thing.extra)
                found.append(_Candidate(here, label, rle, earlier, said))
        return found

    def _take(self, image_id: int, name: str, candidates: Sequence[_Candidate]) -> None:
        """Sort the objects of one image into known, differing and new ones."""
        there = self._objects_of(image_id)
        named = Counter((label, rle.counts) for _, label, rle, _ in there)
        masks = {rle.counts: (number, label) for number, label, rle, _ in there}
        exact = {candidate.rle.counts for candidate in candidates}
        others = [
            (number, label, rle) for number, label, rle, _ in there if rle.counts not in exact
        ]
        self._stale += sum(old and rle.counts not in exact for _, _, rle, old in there)
        for candidate in candidates:
            counts = candidate.rle.counts
            key = candidate.key(image_id)
            if (
                named[candidate.name, counts] > candidate.earlier
                or self._project.objects.find_key(key, image_id) is not None
            ):
                self._known += 1
            elif counts in masks and not named[candidate.name, counts]:
                number, label = masks[counts]
                self._differ(
                    candidate, f"object {number} of {name} has its mask and the label {label!r}"
                )
            elif (near := _nearest(candidate, others)) is not None:
                self._differ(
                    candidate,
                    f"it overlaps object {near[0]} of {name} by {near[1]:.0%}: delete that one "
                    "first if this one is to replace it",
                )
            else:
                self._new.append((image_id, candidate))

    def _objects_of(self, image_id: int) -> list[tuple[int, str, Rle, bool]]:
        """Number, label and mask of existing objects; True for an unchanged import."""
        return [
            (
                thing.id,
                self._labels.get(thing.label_id or 0, UNLABELLED),
                Rle.from_runs(thing.rle.runs(), thing.rle.size),
                thing.source == "import" and thing.revision == 1,
            )
            for thing in self._project.objects.of_image(image_id)
        ]

    def _differ(self, candidate: _Candidate, why: str) -> None:
        findings = ImportIssues()
        findings.leave_out(f"{candidate.where} ({candidate.name})", why)
        self._differing += findings.left_out

    def _add_new(self) -> None:
        """Add new objects, image by image; labels are in the order of the dataset's categories."""
        wanted = {one.name for _, one in self._new}
        names = [_clean(category.name) for category in self._dataset.categories]
        labels = self._project.labels.all()[0]
        good, bad = usable((name for name in names if name in wanted), labels)
        numbers = self._project.labels.named(list(good.values()), self._person) if good else {}
        described: list[Described] = []
        for image_id, group in groupby(self._new, key=itemgetter(0)):
            with self._project.database.write() as tx:
                for _, one in group:
                    if one.name in bad:
                        self._findings.leave_out(one.where, bad[one.name])
                        continue
                    number, key = numbers[good[one.name]], one.key(image_id)
                    mask = NewMask(image_id, one.rle, number, "import", key)
                    added = self._project.objects.add_in(tx, mask, self._person).id
                    self._added.append(added)
                    described.append(Described(added, number, one.where, one.attributes))
        defined = {
            numbers[good[name]]: defined_in(category.extra)
            for name, category in zip(names, self._dataset.categories, strict=True)
            if name in good
        }
        import_attributes(self._project, described, defined, self._person, self._findings)

    def _displayed(self, image_id: int, name: str) -> tuple[int, int] | None:
        """(height, width) of an image; None if unknown."""
        size = None if self._dataset.folder is None else _size(self._dataset.folder / name)
        if size is not None:
            return size
        facts = self._project.images.get(image_id).facts
        return None if facts is None else (facts.height, facts.width)


def _nearest(
    candidate: _Candidate, others: Sequence[tuple[int, str, Rle]]
) -> tuple[int, float] | None:
    """The object of the candidate's label and size with the largest IoU, and that IoU."""
    from pycocotools import mask as coco

    alike = [o for o in others if o[1] == candidate.name and o[2].size == candidate.rle.size]
    if not alike:
        return None
    shares = coco.iou([candidate.rle.to_coco()], [o[2].to_coco() for o in alike], [0] * len(alike))
    best = int(shares[0].argmax())
    share = float(shares[0][best])
    return (alike[best][0], share) if share >= _SAME_OBJECT else None


def _clean(name: str) -> str:
    """A label's name in its stored form, or unchanged if it is invalid."""
    try:
        return clean_name(name)
    except DataError:
        return name


def _wrong_size(mask: tuple[int, int], image: tuple[int, int]) -> str:
    text = (
        f"its mask is for {mask[1]} x {mask[0]} pixels, the image has {image[1]} x {image[0]} "
        "(width x height)"
    )
    if mask == image[::-1]:
        return (
            f"{text}: it was drawn before the image's EXIF orientation was applied, or written "
            "with width and height the wrong way round"
        )
    return text


def _size(path: Path) -> tuple[int, int] | None:
    try:
        return shown_size(path)
    except ImageError:
        return None
