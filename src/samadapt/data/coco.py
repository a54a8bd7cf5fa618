"""`CocoDataset`: images, categories and objects with masks; COCO files in and out."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from samadapt.data.coco_file import read_coco_file, write_coco_file
from samadapt.data.images import image_size, read_image
from samadapt.data.import_issues import LeftOut
from samadapt.data.matching import existing
from samadapt.data.outlines import Outlines
from samadapt.data.records import (
    CocoAnnotation,
    CocoCategory,
    CocoImage,
    Id,
    NewObject,
    ObjectRef,
    by_id,
    found,
    next_id,
    wrong_size,
)
from samadapt.data.rle import Rle
from samadapt.errors import DataError


@dataclass(frozen=True, repr=False, eq=False)
class CocoDataset:
    """A folder of images with the masks of their objects. Immutable; masks decode on demand.

    Ids and images without objects are kept. Masks belong to the image as displayed, that is with
    its EXIF orientation applied. A file may state an image's width and height before or after
    that rotation if its run lengths (RLE) have the displayed size; polygons have no image size, so
    there the record must state the displayed one.

    Args:
        images: with unique ids.
        annotations: with unique ids, of known images and categories.
        categories: with unique ids.
        folder: of the images; None for a dataset whose images are never opened.
        source: name of the dataset in error messages, usually its file.
        extra: further entries of the file, such as "info" and "licenses".
        left_out: records that a reader could not use.

    Raises:
        DataError: an id that occurs twice, an annotation of an unknown image or category.
    """

    images: tuple[CocoImage, ...]
    annotations: tuple[CocoAnnotation, ...] = ()
    categories: tuple[CocoCategory, ...] = ()
    folder: Path | None = None
    source: str = "the dataset"
    extra: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    _image: dict[Id, CocoImage] = field(init=False)
    _annotation: dict[Id, CocoAnnotation] = field(init=False)
    _category: dict[Id, CocoCategory] = field(init=False)
    _of_image: dict[Id, list[CocoAnnotation]] = field(init=False)
    _size: dict[Id, tuple[int, int]] = field(init=False)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "_image", by_id(self.images, "image", self.source))
        put(self, "_annotation", by_id(self.annotations, "annotation", self.source))
        put(self, "_category", by_id(self.categories, "category", self.source))
        put(self, "_of_image", {image.id: [] for image in self.images})
        for annotation in self.annotations:
            for kind, key, known in (
                ("image", annotation.image_id, self._image),
                ("category", annotation.category_id, self._category),
            ):
                if key not in known:
                    raise DataError(
                        f"{self.source}: annotation {annotation.id!r} belongs to {kind} {key!r}, "
                        "which the file does not have: correct or remove the annotation"
                    )
            self._of_image[annotation.image_id].append(annotation)
        put(self, "_size", {image.id: self._masks_size(image) for image in self.images})

    def __repr__(self) -> str:
        return (
            f"CocoDataset({self.source!r}: {len(self.images)} images, "
            f"{len(self.annotations)} annotations, {len(self.categories)} categories)"
        )

    # -- files ----------------------------------------------------------------------------

    @classmethod
    def load(
        cls,
        json_path: str | os.PathLike[str],
        image_folder: str | os.PathLike[str] | None = None,
    ) -> CocoDataset:
        """Read a COCO file. Masks and images are only read when they are used.

        Args:
            json_path: the file.
            image_folder: the folder that its file names are relative to.

        Raises:
            DataError: missing file, not JSON, not COCO, records that contradict each other, a
                missing folder.
        """
        path = Path(json_path)
        records = read_coco_file(path)
        folder = None if image_folder is None else Path(image_folder)
        if folder is not None and not folder.is_dir():
            raise DataError(f"{folder} is not a folder: give the folder that holds the images")
        return cls(
            records.images,
            records.annotations,
            records.categories,
            folder,
            str(path),
            records.extra,
        )

    def save(
        self,
        path: str | os.PathLike[str],
        segmentation: Literal["rle", "polygons"] = "rle",
        outlines: Outlines | None = None,
    ) -> None:
        """Write a COCO file, completely or not at all.

        Areas are true pixel counts and boxes are tight. Both kinds of segmentation preserve masks
        exactly; more tools read polygons, and run lengths are smaller. As COCO demands, crowds are
        always run lengths; so are empty masks, which have no polygon.

        Args:
            path: the file; its folder must exist.
            segmentation: "rle" (packed) or "polygons".
            outlines: source of the polygons, such as simplified ones; areas and boxes are then
                computed from them.

        Raises:
            DataError: a broken mask, or a file that cannot be written.
        """
        if segmentation not in ("rle", "polygons"):
            raise DataError(f"segmentation {segmentation!r}: choose 'rle' or 'polygons'")
        polygons = segmentation == "polygons"
        document = {
            **self.extra,
            "images": [image.to_json(self.size(image.id)) for image in self.images],
            "annotations": [
                self._record(annotation, (outlines or Outlines(self)) if polygons else None)
                for annotation in self.annotations
            ],
            "categories": [category.to_json() for category in self.categories],
        }
        write_coco_file(path, document)

    # -- records --------------------------------------------------------------------------

    def image(self, image_id: Id) -> CocoImage:
        """The record of an image.

        Raises:
            DataError: unknown id.
        """
        return found(self._image, image_id, "image", self.source)

    def annotation(self, annotation_id: Id) -> CocoAnnotation:
        """The record of an annotation.

        Raises:
            DataError: unknown id.
        """
        return found(self._annotation, annotation_id, "annotation", self.source)

    def category(self, category_id: Id) -> CocoCategory:
        """The record of a category.

        Raises:
            DataError: unknown id.
        """
        return found(self._category, category_id, "category", self.source)

    def annotations_of(self, image_id: Id) -> tuple[CocoAnnotation, ...]:
        """Return the annotations of an image in the file's order.

        Raises:
            DataError: unknown id.
        """
        self.image(image_id)
        return tuple(self._of_image[image_id])

    def size(self, image_id: Id) -> tuple[int, int]:
        """(height, width) of an image and its masks as displayed, without opening the image.

        Raises:
            DataError: unknown id.
        """
        self.image(image_id)
        return self._size[image_id]

    # -- images ---------------------------------------------------------------------------

    def image_path(self, image_id: Id) -> Path:
        """The file of an image.

        Raises:
            DataError: unknown id, no image folder, or no such file in it.
        """
        image = self.image(image_id)
        if self.folder is None:
            raise DataError(f"{self.source}: give the folder of the images to open them")
        path = existing(self.folder, image.relative_path())
        if path is None:
            raise DataError(
                f"{self.source}: image {image_id!r} ({image.file_name}) is not in {self.folder}: "
                "put it there or give the right image folder"
            )
        return path

    def read_image(self, image_id: Id) -> NDArray[np.uint8]:
        """Read an image, (H, W, 3) uint8 RGB as displayed.

        Raises:
            DataError: missing file, or a size that differs from the dataset's.
            ImageError: damaged file.
        """
        pixels = read_image(self.image_path(image_id))
        self._check_size(image_id, (pixels.shape[0], pixels.shape[1]))
        return pixels

    def check_images(self) -> None:
        """Check that every image exists and has the dataset's size.

        Raises:
            DataError: a missing file, or another size.
            ImageError: not an image.
        """
        for image in self.images:
            self._check_size(image.id, image_size(self.image_path(image.id)))

    # -- masks ----------------------------------------------------------------------------

    def rle(self, annotation_id: Id) -> Rle:
        """The mask of an annotation, compressed.

        Raises:
            DataError: unknown id, no mask, a broken one, or one of another size than its image.
        """
        annotation = self.annotation(annotation_id)
        if annotation.segmentation is None:
            raise DataError(f"{self.source}: annotation {annotation_id!r} has no mask, only a box")
        size = self.size(annotation.image_id)
        if isinstance(annotation.segmentation, Rle) and annotation.segmentation.size == size:
            return annotation.segmentation
        try:
            return Rle.from_coco(annotation.segmentation, size)
        except DataError as error:
            name = self.image(annotation.image_id).file_name
            raise DataError(
                f"{self.source}: annotation {annotation_id!r} of {name}: {error}; export it "
                "again or remove it"
            ) from None

    def mask(self, annotation_id: Id) -> NDArray[np.bool_]:
        """The mask of an annotation, (H, W) bool, of the image as displayed.

        Raises:
            DataError: as `rle`.
        """
        return self.rle(annotation_id).mask()

    def check_masks(self) -> None:
        """Check every mask, without keeping any.

        Raises:
            DataError: a broken mask.
        """
        for annotation in self.annotations:
            if annotation.segmentation is not None:
                self.rle(annotation.id)

    # -- objects --------------------------------------------------------------------------

    def objects(
        self,
        *,
        categories: Collection[str] | None = None,
        min_area: int = 1,
        crowd: bool = False,
        max_objects: int | None = None,
        seed: int | None = None,
    ) -> tuple[ObjectRef, ...]:
        """List the objects that have a mask.

        Only as many masks are read as needed, and none is decoded to pixels.

        Args:
            categories: names; None for all.
            min_area: smallest number of object pixels in the mask itself (the file's "area" is
                not trusted); 0 includes empty masks.
            crowd: whether to list crowds (iscrowd = 1) too.
            max_objects: stop after this many.
            seed: visit the objects in a random order that depends on the seed alone; None for
                the file's order.

        Raises:
            DataError: an unknown category, a broken mask.
        """
        if categories is not None:
            self._check_categories(categories)
        if max_objects is not None and max_objects < 1:
            raise DataError(f"max_objects {max_objects}: ask for at least one object")
        chosen: list[ObjectRef] = []
        for annotation in self._ordered(seed):
            if max_objects is not None and len(chosen) == max_objects:
                break
            name = self._category[annotation.category_id].name
            wanted = categories is None or name in categories
            if not wanted or annotation.segmentation is None or (annotation.iscrowd and not crowd):
                continue
            if min_area < 1 or self.rle(annotation.id).area >= min_area:
                chosen.append(ObjectRef(annotation.image_id, annotation.id, name))
        return tuple(chosen)

    def with_objects(self, new: Iterable[NewObject]) -> CocoDataset:
        """Return the dataset with more objects. Their ids follow the highest existing one.

        Missing categories are added.

        Raises:
            DataError: an unknown image, or a mask of another size than its image.
        """
        categories = {category.name: category for category in reversed(self.categories)}
        added = []
        for identity, thing in enumerate(new, next_id(self._annotation)):
            rle = thing.rle()
            if rle.size != self.size(thing.image_id):
                raise DataError(
                    f"a mask of shape {rle.size} for image {thing.image_id!r}, which is "
                    f"{self.size(thing.image_id)}: give the mask at the image's size"
                )
            if thing.category not in categories:
                known = {category.id for category in categories.values()} | set(self._category)
                categories[thing.category] = CocoCategory(next_id(known), thing.category)
            category = categories[thing.category].id
            added.append(
                CocoAnnotation(
                    identity, thing.image_id, category, rle, thing.iscrowd, extra=thing.extra
                )
            )
        fresh = [c for c in categories.values() if c.id not in self._category]
        return replace(
            self,
            annotations=(*self.annotations, *added),
            categories=(*self.categories, *fresh),
        )

    # -- private --------------------------------------------------------------------------

    def _masks_size(self, image: CocoImage) -> tuple[int, int]:
        recorded, turned = (image.height, image.width), (image.width, image.height)
        stated = {annotation.rle_size() for annotation in self._of_image[image.id]}
        return turned if turned in stated and recorded not in stated else recorded

    def _record(self, annotation: CocoAnnotation, outlines: Outlines | None) -> dict[str, Any]:
        if annotation.segmentation is None:
            return annotation.to_json(None)
        rle = self.rle(annotation.id)
        if outlines is None or annotation.iscrowd or not rle.area:
            return annotation.to_json(rle)
        polygons = outlines.polygons(annotation.id)
        return annotation.to_json(outlines.drawn(annotation.id), polygons)

    def _ordered(self, seed: int | None) -> Iterator[CocoAnnotation]:
        if seed is None:
            return iter(self.annotations)
        order = np.random.default_rng(seed).permutation(len(self.annotations))
        return (self.annotations[index] for index in order)

    def _check_categories(self, categories: Collection[str]) -> None:
        if isinstance(categories, str):
            raise DataError(f"categories {categories!r}: give a list of names")
        known = {category.name for category in self.categories}
        for name in categories:
            if name not in known:
                raise DataError(
                    f"{self.source} has no category {name!r}: it has "
                    + (", ".join(sorted(known)) or "none")
                )

    def _check_size(self, image_id: Id, displayed: tuple[int, int]) -> None:
        size = self.size(image_id)
        if displayed == size:
            return
        raise wrong_size(self.source, self.image(image_id), size, displayed)
