"""Default model: the best model on this machine that encodes images fast enough."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from samadapt.errors import CheckpointError
from samadapt.models.checkpoint_file import read_checkpoint
from samadapt.models.places import model_folders
from samadapt.models.precision import resolve_device, resolve_dtype
from samadapt.models.registry import ModelInfo, known_models, published_like

LONGEST_SECONDS = 3.0
"""A model is chosen by default only if it encodes an image in at most this time."""
_SHARE = 0.4
"""An image encoder's speed as a share of the speed of plain matrix products."""
_SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors")
_LEAST_BYTES = 1_000_000
_SIDE = 768
_MEASURE_SECONDS = 0.15


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model on this machine.

    Attributes:
        spec: argument of `load`.
        info: its line of the listing, or that of the published model of the same architecture.
        place: description of its location.
        is_own: whether it lies in the project's folder, so that somebody chose it for the project.
    """

    spec: str
    info: ModelInfo
    place: str
    is_own: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen model.

    Attributes:
        spec: argument of `load`.
        why: the reason, in one line.
    """

    spec: str
    why: str


def choose_model(
    device: str = "auto",
    dtype: str = "auto",
    folder: Path | None = None,
    speed: Callable[[torch.device, torch.dtype], float] | None = None,
) -> Choice:
    """Choose the model to use where none is named.

    Only models count that encode an image on this machine in about `LONGEST_SECONDS`. A model in
    the project's folder comes first, then the model with the highest rank in the listing. Models
    for special domains are chosen only from the project's folder. The shipped model is always
    there and always fast enough.

    Args:
        device: as for `load`.
        dtype: as for `load`.
        folder: of the project; None for none.
        speed: measures the speed of matrix products in 10^9 operations per second.
    """
    found = candidates(folder)
    shipped = next(one for one in found if one.info.shipped)
    others = [one for one in found if not one.info.shipped]
    if not others:
        return Choice(shipped.spec, "it ships with samadapt, and no other model is on this machine")
    where = resolve_device(device)
    rate = (speed or matrix_speed)(where, resolve_dtype(dtype, where)) * _SHARE
    seconds = {one.spec: one.info.gigaflops / rate for one in others}
    fast = [one for one in others if seconds[one.spec] <= LONGEST_SECONDS]
    if not fast:
        quickest = min(others, key=lambda one: seconds[one.spec])
        return Choice(
            shipped.spec,
            f"even the fastest other model on this machine, {quickest.spec}, would take about "
            f"{seconds[quickest.spec]:.0f} s for an image",
        )
    best = max(fast, key=lambda one: (one.is_own, one.info.rank))
    reason = "it lies there" if best.is_own else f"the best of {len(found)} models here"
    slow = max(others, key=lambda one: one.info.rank)
    more = ""
    if slow not in fast and slow.info.rank > best.info.rank:
        more = f" ({slow.spec} would take about {seconds[slow.spec]:.0f} s)"
    return Choice(
        best.spec,
        f"{best.place}; {reason} that this machine encodes an image with in "
        f"{LONGEST_SECONDS:g} s or less{more}",
    )


def candidates(folder: Path | None = None) -> list[Candidate]:
    """The models on this machine: shipped, in a cache, or as files in the folders of model files.

    Files are recognised by their tensors; damaged files and other files are skipped.

    Args:
        folder: of the project; its files are candidates as well.
    """
    listed = known_models()
    special = {name for info in listed if not info.rank for name in info.files}
    found = [
        Candidate(info.name, info, "on this machine")
        for info in listed
        if info.offline and (info.rank or info.shipped)
    ]
    named = {name for one in found for name in one.info.files}
    for place in model_folders():
        for path in _files(place):
            if path.name not in special | named:
                found += _recognised(path, f"in {place}")
    if folder is not None:
        for path in _files(folder):
            found += _recognised(path, f"in {folder}", is_own=True)
    return found


def matrix_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Speed of matrix products in 10^9 floating-point operations per second, measured briefly."""
    left = torch.ones(_SIDE, _SIDE, device=device, dtype=dtype)
    best, begun = float("inf"), time.perf_counter()
    while time.perf_counter() - begun < _MEASURE_SECONDS or best == float("inf"):
        start = time.perf_counter()
        (left @ left).sum().item()  # waits for the device
        best = min(best, time.perf_counter() - start)
    return 2 * _SIDE**3 / best / 1e9


# -- private --------------------------------------------------------------------------------


def _files(folder: Path) -> Iterator[Path]:
    """The files of a folder that may be checkpoints."""
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return
    for path in paths:
        if path.suffix in _SUFFIXES and path.is_file() and path.stat().st_size >= _LEAST_BYTES:
            yield path


def _recognised(path: Path, place: str, is_own: bool = False) -> list[Candidate]:
    try:
        info = published_like(read_checkpoint(path, mapped=True))
    except CheckpointError:
        return []
    return [] if info is None else [Candidate(str(path), info, place, is_own)]
