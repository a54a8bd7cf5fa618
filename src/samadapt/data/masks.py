"""Folders of mask images beside a folder of images, in and out.

Read, for the image `images/a.jpg`:

* a label map `masks/a.png` (8 or 16 bits, grey or palette or colours): 0 (black) is background,
  every other value one object;
* a binary mask `masks/a.png`: the same with a single object;
* a folder `masks/a/` with one image per object, whatever its files are called.

Label maps cannot hold objects that overlap; one image per object can.
"""

from __future__ import annotations

import csv
import io
import os
import unicodedata
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samadapt.data.coco import CocoDataset
from samadapt.data.files import new_folder, visible_files
from samadapt.data.images import image_size, list_images, natural_key, read_values
from samadapt.data.import_issues import ImportIssues
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage
from samadapt.data.rle import Rle
from samadapt.errors import DataError, ImageError

MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
"""File name endings of mask images: formats that keep every value."""

_MOST_LABELS = 65535
_SOFT_VALUES = 8


def load_mask_folder(
    images: str | os.PathLike[str],
    masks: str | os.PathLike[str],
    *,
    category: str = "object",
    ignore: Collection[int] = (),
    split: bool = False,
    findings: ImportIssues | None = None,
) -> CocoDataset:
    """Read masks from a folder; every mask is read once.

    Image ids count from 1 in natural order of the file names, including subfolders; annotation
    ids count from 1 along images and label values (or file names). Images without a mask file
    are images without objects; mask files without an image are ignored.

    Args:
        images: the folder of images.
        masks: the folder of masks, with the same names and subfolders.
        category: the category of all objects.
        ignore: label values that are no objects, such as 255 for "void" in PASCAL VOC.
        split: make each part (8-connected) of a binary mask a separate object.
        findings: receives unusable masks, including masks without an image; without it the first
            one is raised, and masks without an image are ignored.

    Raises:
        DataError: no images, no mask that belongs to an image, two images or masks of the same
            name, a mask that is damaged, soft, or of another size than its image.
    """
    images, masks = Path(images), Path(masks)
    paths = list_images(images, recursive=True)
    if not masks.is_dir():
        raise DataError(f"{masks} is not a folder: give the folder that holds the masks")
    if masks.resolve() == images.resolve():
        raise DataError(f"{masks} holds both images and masks: put the masks into their own folder")
    names = [path.relative_to(images) for path in paths]
    lenient = findings is not None
    findings = findings or ImportIssues(strict=True)
    shared = _shared_stems(names, findings)
    records: list[CocoImage] = []
    annotations: list[CocoAnnotation] = []
    files = _MaskFiles(masks)
    for image_id, (path, name) in enumerate(zip(paths, names, strict=True), 1):
        own = files.take(name.with_suffix(""), findings)
        if name in shared:
            for file, _ in own:
                findings.leave_out(str(file), f"it fits {shared[name]} and {name}: rename one")
            continue
        if lenient and not own:
            continue
        with findings.leaving_out(str(path), len(own)):
            height, width = image_size(path)
            records.append(CocoImage(image_id, name.as_posix(), width, height))
            for file, single in own:
                with findings.leaving_out(str(file)):
                    for rle in _objects_of(file, (height, width), single, ignore, split):
                        identity = len(annotations) + 1
                        annotations.append(CocoAnnotation(identity, image_id, 1, rle))
    if lenient:
        for file in sorted(files.left):
            findings.leave_out(str(file), f"no image in {images} has this name")
    if not files.taken:
        raise DataError(
            f"no mask in {masks} belongs to an image in {images}: name the mask of {names[0]} "
            f"{names[0].with_suffix('.png')} (PNG, TIFF or BMP)"
        )
    return CocoDataset(
        tuple(records), tuple(annotations), (CocoCategory(1, category),), images, str(masks)
    )


def save_label_maps(
    dataset: CocoDataset,
    folder: str | os.PathLike[str],
    overlap: Literal["error", "smaller-on-top"] = "error",
) -> None:
    """Write one 16-bit grey PNG per image: 0 is background, 1, 2, ... its objects in order.

    A table `objects.csv` says which value is which annotation and category. Crowds and objects
    without a mask are left out.

    Args:
        dataset: what to write.
        folder: a new or empty folder; it appears only when everything is written.
        overlap: treatment of overlapping objects, which a label map cannot hold: raise an error,
            or let the smaller object (by area) cover the larger.

    Raises:
        DataError: overlapping objects, more than 65535 objects in an image, a broken mask, a
            folder that is not empty or cannot be written.
    """
    with _mask_writer(dataset, folder) as (target, note):
        for image, name in zip(dataset.images, _names(dataset), strict=True):
            objects, file = _masked(dataset, image), name.with_suffix(".png")
            _write_png(target, file, _label_map(dataset, image, objects, overlap))
            for value, annotation in enumerate(objects, 1):
                note(file, value, annotation)


def save_object_masks(dataset: CocoDataset, folder: str | os.PathLike[str]) -> None:
    """Write one 8-bit PNG (0 and 255) per object, in a folder per image; overlaps stay.

    A table `objects.csv` says which file is which annotation and category. Crowds and objects
    without a mask are left out.

    Args:
        dataset: what to write.
        folder: a new or empty folder; it appears only when everything is written.

    Raises:
        DataError: a broken mask, a folder that is not empty or cannot be written.
    """
    with _mask_writer(dataset, folder) as (target, note):
        for image, name in zip(dataset.images, _names(dataset), strict=True):
            for number, annotation in enumerate(_masked(dataset, image), 1):
                file = name.with_suffix("") / f"{number:05d}.png"
                mask = dataset.mask(annotation.id)
                _write_png(target, file, mask.astype(np.uint8) * np.uint8(255))
                note(file, 255, annotation)


# -- reading ------------------------------------------------------------------------------


def _check_stems(names: list[Path]) -> None:
    _shared_stems(names, ImportIssues(strict=True))


def _shared_stems(names: list[Path], findings: ImportIssues) -> dict[Path, Path]:
    """Images that would share their masks with another image, each with the other one."""
    seen: dict[Path, Path] = {}
    shared: dict[Path, Path] = {}
    for name in names:
        other = seen.setdefault(name.with_suffix(""), name)
        if other != name:
            if findings.strict:
                raise DataError(
                    f"the images {other} and {name} would share one mask: rename one of them"
                )
            shared |= {name: other, other: name}
    return shared


class _MaskFiles:
    """The mask images of a folder by the name of their image, with Unicode normalised."""

    def __init__(self, masks: Path) -> None:
        self._masks = masks
        self._single: dict[Path, list[Path]] = {}
        self._parts: dict[Path, list[Path]] = {}
        self.left: set[Path] = set()
        self.taken = 0
        for suffix in MASK_SUFFIXES:
            for file in visible_files(masks, suffix):
                name = _normal(file.relative_to(masks))
                self._single.setdefault(name.with_suffix(""), []).append(file)
                self._parts.setdefault(name.parent, []).append(file)
                self.left.add(file)

    def take(self, stem: Path, findings: ImportIssues) -> list[tuple[Path, bool]]:
        """The mask files of one image, each with whether it shows one object only."""
        stem = _normal(stem)
        files = sorted(self._single.pop(stem, ()))
        parts = sorted(self._parts.pop(stem, ()), key=lambda file: natural_key(file.name))
        self.left.difference_update(files, parts)
        self.taken += len(files) + len(parts)
        if len(files) > 1 or (files and parts):
            both = [files[0], files[1] if len(files) > 1 else self._masks / stem]
            reason = f"{both[0]} and {both[1]} are masks of the same image: keep one of them"
            if findings.strict:
                raise DataError(reason)
            for file in (*files[1:], *parts):
                findings.leave_out(str(file), reason)
            files, parts = files[:1], []
        return [(file, False) for file in files] or [(file, True) for file in parts]


def _normal(path: Path) -> Path:
    return Path(unicodedata.normalize("NFC", path.as_posix()))


def _objects_of(
    file: Path, size: tuple[int, int], single: bool, ignore: Collection[int], split: bool
) -> Iterator[Rle]:
    labels = _read_labels(file)
    if labels.shape != size:
        raise DataError(
            f"the mask {file} is {labels.shape[1]} x {labels.shape[0]} pixels but its image "
            f"{size[1]} x {size[0]} (width x height, as displayed): make them the same size"
        )
    found = label_rles(labels)
    found = {value: rle for value, rle in found.items() if value not in ignore}
    if single and len(found) > 1:
        raise DataError(
            f"the mask {file} has {len(found)} values besides 0 but stands for one object: save "
            "it with 0 for background and one other value, without smoothing"
        )
    _check_not_soft(file, found)
    if split and not single and len(found) == 1:
        found = label_rles(_parts(labels == next(iter(found))))
    yield from found.values()


def _read_labels(file: Path) -> NDArray[Any]:
    try:
        values = read_values(file)
    except ImageError as error:
        raise DataError(f"the mask {error}") from None
    if values.ndim == 3:
        values = values[:, :, :1] if values.shape[2] == 2 else values[:, :, :3]
        # A colour is one number, and grey that was saved as RGB is itself.
        grey = (values == values[:, :, :1]).all()
        weights = np.array([1, 0, 0] if grey else [1 << 16, 1 << 8, 1])[: values.shape[2]]
        values = values.astype(np.int64) @ weights
    if values.dtype.kind == "f":
        whole = np.nan_to_num(values, nan=-1.0, posinf=-1.0, neginf=-1.0)
        if not (whole == np.floor(whole)).all():
            raise DataError(f"the mask {file} holds fractions: save whole numbers, one per object")
        values = whole.astype(np.int64)
    if values.min() < 0:
        raise DataError(f"the mask {file} holds negative numbers or NaN: use 0 for background")
    return values.astype(np.uint8) if values.dtype == np.bool_ else values


def _check_not_soft(file: Path, found: dict[int, Rle]) -> None:
    """Refuse a smoothed or resized binary mask, which would count as hundreds of thin objects."""
    brightest = max(found, default=0)
    areas = {value: rle.area for value, rle in found.items()}
    if (
        brightest in (255, 65535)
        and len(found) > _SOFT_VALUES
        and areas[brightest] > sum(areas.values()) / 2
    ):
        raise DataError(
            f"the mask {file} has {len(found)} values, most of them a rim around {brightest}: it "
            "looks like a smoothed binary mask; save it with just 0 and 255"
        )


def label_rles(labels: NDArray[Any]) -> dict[int, Rle]:
    """Run lengths of every value but 0 of a label map (H, W), in one pass; sorted by value."""
    height, width = labels.shape
    flat = labels.T.reshape(-1)
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    ends = np.concatenate([starts[1:], [flat.size]])
    values = flat[starts]
    order = np.argsort(values, kind="stable")
    order = order[values[order] != 0]
    cuts = np.flatnonzero(np.diff(values[order])) + 1
    found = {}
    for own in np.split(order, cuts) if order.size else ():
        edges = np.stack([starts[own], ends[own]], axis=1).reshape(-1)
        runs = np.diff(edges, prepend=0, append=flat.size)
        found[int(values[own[0]])] = Rle.from_runs(runs, (height, width))
    return found


def _parts(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    import cv2

    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    return np.asarray(labels, dtype=np.int32)


# -- writing ------------------------------------------------------------------------------


@contextmanager
def _mask_writer(
    dataset: CocoDataset, folder: str | os.PathLike[str]
) -> Iterator[tuple[Path, Callable[[Path, int, CocoAnnotation], None]]]:
    """A folder to write into, and a function that records the annotation of each mask."""
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["mask", "value", "image", "annotation_id", "category"])

    def note(file: Path, value: int, annotation: CocoAnnotation) -> None:
        image = dataset.image(annotation.image_id).file_name
        category = dataset.category(annotation.category_id).name
        writer.writerow([file.as_posix(), value, image, annotation.id, category])

    with new_folder(folder) as target:
        yield target, note
        (target / "objects.csv").write_text(table.getvalue(), encoding="utf-8", newline="")


def _names(dataset: CocoDataset) -> list[Path]:
    names = [Path(image.relative_path()) for image in dataset.images]
    _check_stems(names)
    return names


def _masked(dataset: CocoDataset, image: CocoImage) -> list[CocoAnnotation]:
    annotations = dataset.annotations_of(image.id)
    return [a for a in annotations if a.segmentation is not None and not a.iscrowd]


def _label_map(
    dataset: CocoDataset, image: CocoImage, objects: list[CocoAnnotation], overlap: str
) -> NDArray[np.uint16]:
    if overlap not in ("error", "smaller-on-top"):
        raise DataError(f"overlap {overlap!r}: choose 'error' or 'smaller-on-top'")
    if len(objects) > _MOST_LABELS:
        raise DataError(
            f"{image.file_name} has {len(objects)} objects, more than a 16-bit label map can "
            "number: write one image per object"
        )
    height, width = dataset.size(image.id)
    flat = np.zeros(height * width, np.uint16)
    rles = {value: dataset.rle(a.id) for value, a in enumerate(objects, 1)}
    for value, rle in sorted(rles.items(), key=lambda item: -item[1].area):
        pixels = _pixels(rle)
        hidden = flat[pixels][flat[pixels] > 0]
        if overlap == "error" and hidden.size:
            raise DataError(
                f"{image.file_name}: the annotations {objects[hidden[0] - 1].id!r} and "
                f"{objects[value - 1].id!r} overlap, which a label map cannot hold: write one "
                "image per object, or let the smaller one cover the larger"
            )
        flat[pixels] = value
    return flat.reshape(width, height).T


def _pixels(rle: Rle) -> NDArray[np.int64]:
    """Column-major positions of the object's pixels."""
    runs = rle.runs()
    inside = np.arange(runs.size) % 2 == 1
    return np.flatnonzero(np.repeat(inside, runs))


def _write_png(folder: Path, name: Path, values: NDArray[Any]) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(values)).save(path, format="PNG")
