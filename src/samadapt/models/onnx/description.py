"""`samadapt_export.json`: describes the two exported graphs beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from samadapt.errors import CheckpointError, first_line
from samadapt.models.embedding import ModelIdentity
from samadapt.models.export_parts import PaddingPoints
from samadapt.models.interface import DecoderSpec
from samadapt.models.parts.preprocessing import Preprocessing

DESCRIPTION = "samadapt_export.json"
ENCODER = "vision_encoder.onnx"
DECODER = "prompt_encoder_mask_decoder.onnx"

POINTS = "input_points"
LABELS = "input_labels"
MASKS = "input_masks"
HAS_MASKS = "has_input_masks"
OWN_DENSE = "own_dense"
SCORES = "iou_scores"
LOGITS = "pred_masks"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DecoderEntry(_Strict):
    """Fields of `DecoderSpec` that a predictor needs."""

    width: int = Field(gt=0)
    logits_per_cell: int = Field(gt=0)
    close_up_side: int = Field(ge=0)
    sequential_clicks: bool
    drops_unclicked_parts: bool
    has_merged_dense: bool


class Description(_Strict):
    """Description of an exported model.

    Attributes:
        format: version of this description.
        samadapt: version of samadapt that wrote it.
        base_model: name and weights of the model that was exported.
        adapters: merged adapters, in order.
        files: SHA-256 of every file beside the description.
        features: names of the encoder's outputs, "image" first; the graphs call that one
            `image_embeddings`.
        preprocessing, padding, decoder: as of the model.
        largest_difference: from the model in torch, measured at export, as a share of the
            largest value.
    """

    format: Literal["samadapt-onnx-1"] = "samadapt-onnx-1"
    samadapt: str
    base_model: ModelIdentity
    adapters: tuple[dict[str, Any], ...]
    files: dict[str, str]
    features: tuple[str, ...] = Field(min_length=1)
    preprocessing: Preprocessing
    padding: PaddingPoints
    decoder: DecoderEntry
    largest_difference: float

    @property
    def spec(self) -> DecoderSpec:
        """The decoder, for the predictor; it takes no adapters."""
        return DecoderSpec(takes_adapters=False, **self.decoder.model_dump())

    @property
    def identity(self) -> ModelIdentity:
        """An identity other than the base model's, since embeddings differ in their last digits."""
        digest = hashlib.sha256(json.dumps(self.files, sort_keys=True).encode())
        return ModelIdentity(f"{self.base_model.name}-onnx", digest.hexdigest())


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of an export except its description, by name."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.name == DESCRIPTION or not path.is_file():
            continue
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def read_description(folder: Path) -> Description:
    """Read the description of an export and check the files that it names.

    Raises:
        CheckpointError: no such description, an unreadable one, or changed files.
    """
    path = folder / DESCRIPTION
    again = "export the model again with `samadapt export-model`"
    try:
        description = Description.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder} holds {ENCODER} but no {DESCRIPTION}, its description: {again}"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise CheckpointError(
            f"{path} is not the description of an export ({where}: {first['msg']}): {again}"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({first_line(error)}): {again}") from None
    _check_files(folder, description.files, again)
    return description


def _check_files(folder: Path, files: Mapping[str, str], again: str) -> None:
    found = hash_files(folder)
    for name in (ENCODER, DECODER, *files):
        if name not in found:
            raise CheckpointError(f"{folder} lacks {name}: copy the whole folder, or {again}")
        if found[name] != files.get(name):
            raise CheckpointError(
                f"{folder}/{name} is not the file that was exported: it is damaged or replaced; "
                f"copy the folder again, or {again}"
            )
