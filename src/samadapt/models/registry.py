"""Names of models: what can be loaded, from where, and whether it is here already.

Importing this module imports neither torch nor transformers, so that a listing is instant.
"""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from samadapt.errors import CheckpointError, ModelError, UnknownModelError

if TYPE_CHECKING:
    import torch

    from samadapt.models.base import SegmentationModel
    from samadapt.models.hf.folder import Placement

NANO = "nano"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_PICKLED = (".pth", ".pt", ".bin", ".ckpt")
_NANO_FORMAT = "samadapt-nano"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One line of the listing of models.

    Attributes:
        name: what `load` takes.
        family: "SAM", "SAM-HQ", "SAM 2", "SAM 2.1", "SAM 3" or "nano".
        parameters: number of weights that clicks need.
        megabytes: size of the weights (10^6 bytes), approximate.
        source: "shipped with samadapt", or the page of the weights.
        offline: whether it can be loaded now without a network.
    """

    name: str
    family: str
    parameters: int
    megabytes: int
    source: str
    offline: bool

    @property
    def shipped(self) -> bool:
        """Whether the weights come with the package, so that nothing is ever downloaded."""
        return self.family == NANO


@dataclass(frozen=True, slots=True)
class _Known:
    """A repository on the Hub; sizes in millions."""

    name: str
    family: str
    parameters: float
    megabytes: int


_KNOWN = (
    _Known("facebook/sam-vit-base", "SAM", 93.7, 375),
    _Known("facebook/sam-vit-large", "SAM", 312.3, 1250),
    _Known("facebook/sam-vit-huge", "SAM", 641.1, 2565),
    _Known("syscv-community/sam-hq-vit-base", "SAM-HQ", 94.8, 379),
    _Known("syscv-community/sam-hq-vit-large", "SAM-HQ", 313.7, 1254),
    _Known("syscv-community/sam-hq-vit-huge", "SAM-HQ", 642.7, 2570),
    _Known("facebook/sam2-hiera-tiny", "SAM 2", 31.4, 156),
    _Known("facebook/sam2-hiera-small", "SAM 2", 38.5, 184),
    _Known("facebook/sam2-hiera-base-plus", "SAM 2", 73.3, 324),
    _Known("facebook/sam2-hiera-large", "SAM 2", 216.9, 898),
    _Known("facebook/sam2.1-hiera-tiny", "SAM 2.1", 31.4, 156),
    _Known("facebook/sam2.1-hiera-small", "SAM 2.1", 38.5, 184),
    _Known("facebook/sam2.1-hiera-base-plus", "SAM 2.1", 73.3, 324),
    _Known("facebook/sam2.1-hiera-large", "SAM 2.1", 216.9, 898),
    _Known("facebook/sam3", "SAM 3", 458.3, 3440),
)


def load(
    name: str | os.PathLike[str],
    device: str | torch.device | None = "auto",
    encoder_dtype: str | torch.dtype = "auto",
    *,
    hq_token_only: bool = False,
) -> SegmentationModel:
    """Load a model of the Segment Anything family, in evaluation mode, its weights frozen.

    Args:
        name: "nano" (ships with samadapt, works offline); a known name such as
            "facebook/sam-vit-base" or, in short, "sam-vit-base"; any other Hub id; a folder in
            Hugging Face format; a segment-anything `.pth` checkpoint (vit_b, vit_l, vit_h); a
            `.safetensors` file of nano weights.
        device: "auto" (CUDA if there is one, else the CPU), "cpu", "cuda", "cuda:1", ...
        encoder_dtype: "auto" (bfloat16 where the device computes it fast, else float32),
            "float32", "bfloat16" or the torch type. Only the image encoder computes in it;
            embeddings and the mask decoder are float32. `model.encoder_dtype` tells the choice.
        hq_token_only: SAM-HQ only: the mask of the high-quality token alone, instead of its sum
            with SAM's mask.

    Raises:
        UnknownModelError: neither a known name nor a path nor a Hub id.
        CheckpointError: a file or folder that is damaged, unsafe or of another architecture.
        ModelError: no such device, or a Hub id that is not here and cannot be downloaded.
    """
    if not isinstance(name, str):
        return _load_path(Path(name), device, encoder_dtype, hq_token_only)
    if name == NANO:
        return _load_nano(None, device, encoder_dtype, hq_token_only)
    full = _full_name(name)
    path = Path(name).expanduser()
    if path.is_file() or (path / "config.json").is_file() or (full is None and path.exists()):
        return _load_path(path, device, encoder_dtype, hq_token_only)
    if full is None and _looks_like_path(name):
        raise CheckpointError(f"{name} does not exist: check the path of the model")
    repo_id = full or name
    if not _HUB_ID.fullmatch(repo_id):
        raise UnknownModelError(_unknown(name))
    from samadapt.models.hf.folder import load_folder
    from samadapt.models.hf.hub import fetch

    nearest = None if full else _nearest(name, cutoff=0.75)
    hint = f'; or did you mean "{nearest}"?' if nearest else ""
    placement = _placement(repo_id, device, encoder_dtype, hq_token_only)
    return load_folder(fetch(repo_id, hint), placement)


def known_models() -> list[ModelInfo]:
    """The models that samadapt knows by name, the shipped one first."""
    from samadapt.models.hf.hub import cached_folder

    listed = [_nano_info()]
    for known in _KNOWN:
        source = f"https://huggingface.co/{known.name}"
        parameters = round(known.parameters * 1e6)
        offline = cached_folder(known.name) is not None
        info = (known.name, known.family, parameters, known.megabytes, source, offline)
        listed.append(ModelInfo(*info))
    return listed


# -- private --------------------------------------------------------------------------------


def _nano_info() -> ModelInfo:
    shipped = "shipped with samadapt"
    for path in sorted((Path(__file__).parent / NANO).rglob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        shapes = [entry["shape"] for name, entry in header.items() if name != "__metadata__"]
        parameters = sum(math.prod(shape) for shape in shapes)
        return ModelInfo(NANO, NANO, parameters, round(path.stat().st_size / 1e6), shipped, True)
    return ModelInfo(NANO, NANO, 0, 0, shipped, False)


def _load_path(
    path: Path,
    device: str | torch.device | None,
    encoder_dtype: str | torch.dtype,
    hq_token_only: bool,
) -> SegmentationModel:
    path = path.expanduser()
    if not path.exists():
        raise CheckpointError(f"{path} does not exist: check the path of the model")
    if path.suffix == ".safetensors" and path.is_file():
        _check_nano(path)
        return _load_nano(path, device, encoder_dtype, hq_token_only)
    name = path.resolve().name if path.is_dir() else path.stem
    placement = _placement(name, device, encoder_dtype, hq_token_only)
    if path.is_dir():
        from samadapt.models.hf.folder import load_folder

        return load_folder(path, placement)
    if path.suffix in _PICKLED:
        from samadapt.models.hf.original import load_original

        return load_original(path, placement)
    raise CheckpointError(
        f"{path} is no model file: give a segment-anything .pth checkpoint, a folder with "
        "config.json and model.safetensors, or nano weights (.safetensors)"
    )


def _load_nano(
    path: Path | None,
    device: str | torch.device | None,
    encoder_dtype: str | torch.dtype,
    hq_token_only: bool,
) -> SegmentationModel:
    from samadapt.models.nano.model import load_nano
    from samadapt.models.precision import resolve_device, resolve_dtype

    if hq_token_only:
        raise ModelError("hq_token_only is an option of SAM-HQ, and nano is none")
    where = resolve_device(device)
    return load_nano(path, device=where, encoder_dtype=resolve_dtype(encoder_dtype, where))


def _placement(
    name: str,
    device: str | torch.device | None,
    encoder_dtype: str | torch.dtype,
    hq_token_only: bool,
) -> Placement:
    from samadapt.models.hf.folder import Placement
    from samadapt.models.precision import resolve_device, resolve_dtype

    where = resolve_device(device)
    return Placement(name, where, resolve_dtype(encoder_dtype, where), hq_token_only)


def _check_nano(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="numpy") as file:
            kind = (file.metadata() or {}).get("format")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} cannot be read as safetensors ({error}): it is damaged or cut off"
        ) from None
    if kind != _NANO_FORMAT:
        raise CheckpointError(
            f"{path} does not hold nano weights: for another model give the folder that holds "
            "this file together with its config.json"
        )


def _full_name(name: str) -> str | None:
    """The Hub id of a known model, given in full or without its organisation."""
    for known in _KNOWN:
        if name in (known.name, known.name.split("/")[1]):
            return known.name
    return None


def _looks_like_path(name: str) -> bool:
    suffix = Path(name).suffix in (*_PICKLED, ".safetensors")
    edges = name.startswith((".", "~", "/", os.sep)) or name.endswith("/")
    return suffix or edges or name.count("/") > 1 or "\\" in name


def _unknown(name: str) -> str:
    if re.sub(r"[^a-z]", "", name.lower()) == "mobilesam":
        return f'model "{name}" is not supported: for a small model use "nano"'
    return (
        f'unknown model "{name}": did you mean "{_nearest(name)}"? Otherwise give a name from '
        '`samadapt models`, a Hub id ("organisation/name"), a folder or a .pth file'
    )


def _nearest(name: str, cutoff: float = 0.0) -> str | None:
    """The known name that is spelled most like `name`, if it is like it at all."""
    spelled = {NANO: NANO}
    for known in _KNOWN:
        spelled |= {known.name: known.name, known.name.split("/")[1]: known.name}
    nearest = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=cutoff)
    return spelled[nearest[0]] if nearest else None
