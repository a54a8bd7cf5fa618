"""`export_model`: writes a model, with merged adapters, as a folder of ONNX graphs."""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import torch

from samadapt.errors import AdapterError, DataError, ModelError, SamadaptError, first_line
from samadapt.exporting.check import check_export
from samadapt.exporting.graphs import DecoderGraph, Sizes, write_decoder, write_encoder
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.export_parts import ModelParts, PromptTensors
from samadapt.models.onnx.description import (
    DECODER,
    DESCRIPTION,
    ENCODER,
    DecoderEntry,
    Description,
    hash_files,
)
from samadapt.models.parts.runtime import EXTRA
from samadapt.models.registry import TORCH
from samadapt.models.seams import Seams
from samadapt.version import installed_version

_NEEDED = ("onnx", "onnxscript", "onnxruntime")
_LABELS = ((1, 0, -1), (1, 2, 3))
"""Labels of the prompts for recording the decoder: two clicks with padding, a click in a box."""

_FEWEST_CELLS = 8
"""Cells, of the size of which input sides are multiples, along each side of the recorded image."""


@dataclass(frozen=True, slots=True)
class Exported:
    """An export.

    Attributes:
        folder: of the files.
        files: names of the files.
        largest_difference: from the model in torch, as a share of the largest value.
    """

    folder: Path
    files: tuple[str, ...]
    largest_difference: float


def export_model(
    model: SegmentationModel, folder: str | os.PathLike[str], adapters: Sequence[Seams] = ()
) -> Exported:
    """Write a model as ONNX: an image encoder, and a prompt encoder with the mask decoder.

    The files are loaded and compared with the model before the folder appears: encodings and
    logits may differ by 1e-4 of the largest value, and masks not at all. `samadapt.load(folder)`
    then runs the export in onnxruntime.

    Args:
        model: of any family that has parts for it, loaded with `encoder_dtype="float32"`.
        folder: does not exist yet.
        adapters: merged into the graphs, in order.

    Raises:
        DataError: the folder exists or cannot be written.
        ModelError: a package is missing, the model has no parts, or the export differs.
        AdapterError: an adapter of another model, or one that cannot become part of a graph.
    """
    target = Path(folder)
    check_target(target)
    check_packages()
    for seam in adapters:
        seam.check_model(model)
        seam.check_export()
    parts = model.parts()
    if model.encoder_dtype != torch.float32 or model.runtime != TORCH:
        raise ModelError(
            f"{model.identity.name} encodes in {model.runtime} in "
            f"{str(model.encoder_dtype).removeprefix('torch.')}: load it with encoder_dtype float32"
        )
    try:
        staging = Path(
            mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.absolute().parent)
        )
    except OSError as error:
        raise DataError(f"{target} cannot be written ({error.strerror or error})") from None
    try:
        difference = _write(model, parts, tuple(adapters), staging)
        names = tuple(sorted(path.name for path in staging.iterdir()))
        staging.chmod(0o755)
        staging.rename(target)
    except OSError as error:
        raise DataError(f"{target} cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Exported(target, names, difference)


def check_target(folder: Path) -> None:
    """Raise `DataError` when `folder` exists or lies in no folder."""
    if os.path.lexists(folder):
        raise DataError(f"{folder} exists: give a folder that does not, or remove it first")
    parent = folder.absolute().parent
    if not parent.is_dir():
        raise DataError(f"{folder}: the folder {parent} does not exist, make it first")


def check_packages() -> None:
    """Raise `ModelError` when a package that exporting needs is missing."""
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise ModelError(f"exporting needs {', '.join(missing)}: {EXTRA}")


def describe(
    model: SegmentationModel,
    parts: ModelParts,
    adapters: Sequence[Seams],
    files: Mapping[str, str],
    *,
    has_merged_dense: bool,
) -> Description:
    """Return the description that is written beside the graphs.

    Args:
        model: what is exported.
        parts: of the model.
        adapters: merged into it, in order.
        files: hashes by name.
        has_merged_dense: whether the decoder's graph takes `own_dense`.
    """
    merged = ({"method": seam.title, "config": dict(seam.describe())} for seam in adapters)
    return Description(
        samadapt=installed_version(),
        base_model=model.identity,
        adapters=tuple(merged),
        files=dict(files),
        features=parts.features,
        preprocessing=parts.preprocessing,
        padding=parts.padding,
        decoder=DecoderEntry(
            width=model.spec.width,
            logits_per_cell=model.spec.logits_per_cell,
            close_up_side=model.spec.close_up_side,
            sequential_clicks=model.spec.sequential_clicks,
            drops_unclicked_parts=model.spec.drops_unclicked_parts,
            has_merged_dense=has_merged_dense,
        ),
        largest_difference=0.0,
    )


# -- private --------------------------------------------------------------------------------


def _write(
    model: SegmentationModel, parts: ModelParts, adapters: tuple[Seams, ...], staging: Path
) -> float:
    """Write and check everything in `staging`; returns the largest difference."""
    example = _example(model, parts)
    sizes = Sizes(parts.preprocessing.multiple, example.geometry.padded)
    decoder = DecoderGraph(parts, model.decoder, adapters, example)
    try:
        pixels = torch.zeros(1, 3, *sizes.pixels)
        write_encoder(parts, pixels, sizes, staging / ENCODER)
        times = _enlargement(sizes)
        features = {
            name: example.features[name].repeat(1, 1, times, times) for name in parts.features
        }
        height, width = model.logits_size(example)
        prompts = _prompts((height * times, width * times))
        write_decoder(decoder, features, prompts, sizes.enlarged(times), staging / DECODER)
    except (SamadaptError, OSError):
        raise
    except Exception as error:  # torch's exporter has error types of many kinds
        titles = ", ".join(seam.title for seam in adapters)
        text = f"{type(error).__name__}: {first_line(error)[:200]}"
        if adapters:
            raise AdapterError(
                f"{model.identity.name} with {titles} cannot be exported ({text}): export it "
                "without adapters"
            ) from error
        raise ModelError(f"{model.identity.name} cannot be exported ({text})") from error
    files, changes = hash_files(staging), decoder.changes_dense
    description = describe(model, parts, adapters, files, has_merged_dense=changes)
    _describe(description, staging)
    difference = check_export(model, adapters, staging)
    _describe(description.model_copy(update={"largest_difference": difference}), staging)
    return difference


def _example(model: SegmentationModel, parts: ModelParts) -> ImageEmbedding:
    """An embedding whose height and width differ where possible, so that they are not confused."""
    side = parts.preprocessing.side
    shorter = max(1, side * 3 // 4)
    return model.encode(np.full((shorter, side, 3), 128, np.uint8))


def _enlargement(sizes: Sizes) -> int:
    """How many times larger an image the decoder is recorded with than the model encodes.

    torch takes a grid that is pooled to a single cell for one that always is.
    """
    cells = min(sizes.pixels) // sizes.multiple if sizes.multiple else _FEWEST_CELLS
    return -(-_FEWEST_CELLS // cells)


def _prompts(size: tuple[int, int]) -> PromptTensors:
    labels = torch.tensor(_LABELS)
    points = torch.arange(labels.numel() * 2, dtype=torch.float32).view(*labels.shape, 2)
    return PromptTensors(
        points, labels, torch.zeros(len(labels), 1, *size), torch.tensor([True, False])
    )


def _describe(description: Description, folder: Path) -> None:
    text = description.model_dump_json(indent=1)
    (folder / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
