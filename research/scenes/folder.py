"""Generated scenes as a dataset on disk, for trying things out where no data is at hand."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from research.scenes.scene import generate_scene
from samadapt.data.coco import CocoDataset
from samadapt.data.files import new_folder
from samadapt.data.records import CocoImage, NewObject
from samadapt.errors import DataError


def write_scenes(
    folder: str | os.PathLike[str],
    count: int,
    seed: int = 0,
    size: tuple[int, int] = (256, 256),
    kinds: Sequence[str] | None = None,
    min_area: int = 25,
) -> CocoDataset:
    """Write `count` scenes as `folder/images/*.png` and `folder/objects.json` (COCO).

    Objects are listed under the name of their kind of scene; wholes come beside their parts. The
    same arguments give the same files, and a longer run starts like a shorter one.

    Args:
        folder: a new or empty folder; it appears complete or not at all.
        count: how many scenes.
        seed: of all randomness.
        size: (height, width) in pixels.
        kinds: of `SCENE_KINDS`, taken in turn; any kind at random when None.
        min_area: smallest object, in pixels.

    Raises:
        DataError: a folder that is not empty or cannot be written, an unknown kind, no scene.
    """
    if count < 1:
        raise DataError(f"{count} scenes: ask for at least one")
    images: list[CocoImage] = []
    objects: list[NewObject] = []
    with new_folder(folder) as work:
        (work / "images").mkdir()
        for number in range(count):
            kind = kinds[number % len(kinds)] if kinds else None
            scene = generate_scene(np.random.default_rng([seed, number]), size, kind)
            name = f"{number:06d}.png"
            Image.fromarray(scene.image).save(work / "images" / name)
            images.append(CocoImage(number + 1, name, size[1], size[0]))
            objects += [NewObject(number + 1, scene.kind, m) for m in scene.masks(min_area)]
        CocoDataset(tuple(images)).with_objects(objects).save(work / "objects.json")
    return CocoDataset.load(Path(folder) / "objects.json", Path(folder) / "images")
