"""Pseudo-masks of many photographs: computed once, kept in one file."""

from __future__ import annotations

import multiprocessing
import os
import zipfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from samadapt.data.files import replacing
from samadapt.data.rle import Rle
from samadapt.errors import DataError
from samadapt.training.nano.pseudo import VERSION, pseudo_masks
from samadapt.workers import begin_worker

_FEW = 64
"""So many photographs are not worth starting other processes for."""

Masks = tuple[Rle, ...]


class PseudoStore:
    """Pseudo-masks by photograph; what is missing is computed when it is asked for.

    Args:
        known: masks that are there already, by path.
    """

    def __init__(self, known: Mapping[Path, Masks] | None = None) -> None:
        self._known = dict(known or {})

    def of(self, path: Path, image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
        """Masks (h, w) of 0 and 1 at reduced resolution, of the photograph and its RGB image."""
        if path not in self._known:
            self._known[path] = _encoded(image)
        return [rle.mask().astype(np.uint8) for rle in self._known[path]]


def pseudo_masks_of(
    paths: Iterable[Path], cache: Path, workers: int | None = None
) -> dict[Path, Masks]:
    """Masks of all photographs, from `cache` where it has them; the rest is computed and added.

    A photograph is known by its name, its folder's name, its size in bytes and the version of the
    method, so that a cache serves wherever the data lie.

    Args:
        paths: the photographs.
        cache: file to read, and to replace when something was missing.
        workers: processes to compute with; all cores by default.

    Raises:
        DataError: a photograph or the cache cannot be read.
    """
    keys = {path: _key(path) for path in paths}
    stored = _read(cache) if cache.exists() else {}
    missing = [path for path, key in keys.items() if key not in stored]
    if missing:
        for path, masks in zip(missing, _computed(missing, workers), strict=True):
            stored[keys[path]] = masks
        _write(cache, stored)
    return {path: stored[key] for path, key in keys.items()}


def _computed(paths: list[Path], workers: int | None) -> Iterable[Masks]:
    workers = workers or os.cpu_count() or 1
    if workers == 1 or len(paths) <= _FEW:
        return [_masks_of_file(path) for path in paths]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=begin_worker) as pool:
        return list(pool.map(_masks_of_file, paths, chunksize=16))


def _masks_of_file(path: Path) -> Masks:
    cv2.setNumThreads(1)
    bgr = cv2.imread(str(path))
    if bgr is None:
        raise DataError(f"{path} cannot be read as an image: remove it from the data or repair it")
    return _encoded(np.ascontiguousarray(bgr[..., ::-1]))


def _encoded(image: NDArray[np.uint8]) -> Masks:
    return tuple(Rle.from_mask(found.mask) for found in pseudo_masks(image))


def _key(path: Path) -> str:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror}): is the data complete?"
        ) from None
    return f"{VERSION}/{path.parent.parent.name}/{path.name}/{size}"


def _write(cache: Path, stored: Mapping[str, Masks]) -> None:
    """Three arrays: one row (key, masks) per photograph, one row (size, bytes) per mask, bytes."""
    every = [rle for masks in stored.values() for rle in masks]
    rows = np.array([[*rle.size, len(rle.counts)] for rle in every], np.int32).reshape(-1, 3)
    with replacing(cache) as file:
        np.savez(
            file,
            keys=np.array(list(stored), np.str_),
            counts=np.array([len(masks) for masks in stored.values()], np.int32),
            rows=rows,
            data=np.frombuffer(b"".join(rle.counts for rle in every), np.uint8),
        )


def _read(cache: Path) -> dict[str, Masks]:
    try:
        with np.load(cache, allow_pickle=False) as arrays:
            keys, counts, rows = (arrays[name] for name in ("keys", "counts", "rows"))
            data = arrays["data"].tobytes()
        ends = np.cumsum(rows[:, 2])
        every = [
            Rle((int(height), int(width)), data[end - length : end])
            for (height, width, length), end in zip(rows, ends, strict=True)
        ]
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile, DataError):
        raise DataError(
            f"{cache} is not a file of pseudo-masks: delete it, it will be made anew"
        ) from None
    starts = np.cumsum(counts) - counts
    return {
        str(key): tuple(every[start : start + count])
        for key, start, count in zip(keys, starts, counts, strict=True)
    }
