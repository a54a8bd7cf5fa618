"""Registry of models and families.

Every folder beside this file, except for `parts`, is a family; its `__init__` registers it.
Importing this module imports neither torch nor transformers, so that a listing is instant.
"""

from __future__ import annotations

import difflib
import importlib
import os
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from samadapt.errors import CheckpointError, ModelError, UnknownModelError
from samadapt.models.places import find_file

if TYPE_CHECKING:
    import torch

    from samadapt.models.base import SegmentationModel
    from samadapt.models.checkpoint_file import Checkpoint
    from samadapt.models.memory import VideoMemory

SHIPPED = "shipped with samadapt"
"""Source of a model whose weights come with the package."""
TORCH = "torch"
"""Runtime of most families."""
ONNXRUNTIME = "onnxruntime"
"""Runtime of exported models."""
AUTO = "auto"
"""Name of an automatic choice of runtime, device or number format."""
_SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One line of the listing of models.

    Attributes:
        name: argument of `load`.
        family: "SAM", "SAM-HQ", "SAM 2", "SAM 2.1", "SAM 3", "nano", ...
        parameters: number of weights, without parts that clicks do not use.
        megabytes: size of the weights (10^6 bytes), approximate.
        source: `SHIPPED`, or the page of the weights.
        offline: whether it can be loaded now without a network.
        terms: licence of the weights.
        files: names that a file of the original weights has, where there is one.
        gigaflops: cost of encoding an image, in 10^9 floating-point operations; 0 if unknown.
        rank: preference among general models, the highest first; 0 for a model that is never
            chosen by default, such as one for a special domain.
    """

    name: str
    family: str
    parameters: int
    megabytes: int
    source: str
    offline: bool
    terms: str = ""
    files: tuple[str, ...] = ()
    gigaflops: float = 0.0
    rank: int = 0

    @property
    def shipped(self) -> bool:
        """Whether the weights come with the package, so that nothing is ever downloaded."""
        return self.source == SHIPPED


@dataclass(frozen=True, eq=False)
class ModelSource:
    """A model to be loaded by a family.

    Attributes:
        name: as the caller gave it.
        path: the existing file or folder that it stands for; None for a name.
        kind: the known name before the colon of "medsam:FILE", "" otherwise.
    """

    name: str
    path: Path | None = None
    kind: str = ""

    @cached_property
    def checkpoint(self) -> Checkpoint | None:
        """The named tensors of a file; None for a name or a folder.

        Raises:
            CheckpointError: a damaged file, or one that holds more than tensors.
        """
        from samadapt.models.checkpoint_file import read_checkpoint

        return None if self.path is None or self.path.is_dir() else read_checkpoint(self.path)


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Options of loading a model.

    Attributes:
        device: where it runs.
        encoder_dtype: float32 or bfloat16.
        hq_token_only: see `load`; families without such a token refuse it.
        runtime: one of the family's runtimes.
    """

    device: torch.device
    encoder_dtype: torch.dtype
    hq_token_only: bool = False
    runtime: str = TORCH


Matches = Callable[[ModelSource], bool]
Load = Callable[[ModelSource, LoadOptions], "SegmentationModel"]
LoadMemory = Callable[[ModelSource, "torch.device"], "VideoMemory"]
Listing = Callable[[], Sequence[ModelInfo]]
Like = Callable[["Checkpoint"], str | None]


@dataclass(frozen=True, slots=True)
class _Family:
    matches: Matches
    load: Load
    names: tuple[str, ...]
    listing: Listing
    like: Like
    is_reserved: bool
    load_memory: LoadMemory | None
    runtimes: tuple[str, ...]
    is_fallback: bool


_FAMILIES: list[_Family] = []


def register_family(
    matches: Matches,
    load: Load,
    *,
    names: Iterable[str] = (),
    listing: Listing = tuple,
    like: Like = lambda checkpoint: None,
    is_reserved: bool = False,
    load_memory: LoadMemory | None = None,
    runtimes: tuple[str, ...] = (TORCH,),
    is_fallback: bool = False,
) -> None:
    """Make a family of models known to `load` and to the listing.

    The family that was registered last is asked first.

    Args:
        matches: returns True if the family takes a name or a path.
        load: loads the model. Slow imports belong inside.
        names: of its models, for suggestions and to tell names from paths.
        listing: lines for `known_models`.
        like: returns the name, in the listing, of the published model that has the architecture
            of a checkpoint; None for an unpublished size or another family.
        is_reserved: whether its names stand for its models even where files have these names.
        load_memory: loads a model that follows objects through frames; None for a family without.
        runtimes: runtimes of its models, the default first.
        is_fallback: whether it is asked after all others, because it takes any folder.
    """
    known = tuple(names)
    _FAMILIES.append(
        _Family(
            matches, load, known, listing, like, is_reserved, load_memory, runtimes, is_fallback
        )
    )


def load(
    name: str | os.PathLike[str],
    device: str | torch.device | None = "auto",
    encoder_dtype: str | torch.dtype = "auto",
    *,
    hq_token_only: bool = False,
    runtime: str = "auto",
) -> SegmentationModel:
    """Load a model of the Segment Anything family, in evaluation mode, its weights frozen.

    Args:
        name: "nano" (ships with samadapt, works offline); a known name such as
            "facebook/sam-vit-base" or, in short, "sam-vit-base"; any other Hub id; a folder in
            Hugging Face format; an original checkpoint of a family that `samadapt models` lists,
            recognised by its tensors; a `.safetensors` file of nano weights; "medsam:FILE" for a
            SAM that expects MedSAM's images; a folder of `samadapt export-model`; or any other
            name of a registered family.
        device: "auto" (CUDA if there is one, else the CPU), "cpu", "cuda", "cuda:1", ...
        encoder_dtype: "auto" (bfloat16 where the device computes it fast, else float32),
            "float32", "bfloat16" or the torch type. The image encoder computes in it, and so does
            the mask decoder where no gradients are recorded; what is learned, embeddings, logits
            and scores are float32. `model.encoder_dtype` is the chosen one.
        hq_token_only: SAM-HQ only: the mask of the high-quality token alone, instead of its sum
            with SAM's mask.
        runtime: "auto", or "torch" or "onnxruntime" to insist on it. Exported models run in
            onnxruntime, all others in torch.

    Raises:
        UnknownModelError: neither a known name nor a path nor a Hub id.
        CheckpointError: a file or folder that is damaged, unsafe or of another architecture.
        ModelError: no such device, or a Hub id that is not here and cannot be downloaded.
    """
    from samadapt.models.precision import resolve_device, resolve_dtype

    source = _source(name)
    for family in _latest_first():
        if source.kind and source.kind not in family.names:
            continue
        if family.matches(source):
            chosen = _runtime(runtime, family, source)
            if chosen == ONNXRUNTIME:  # "auto" is resolved for torch alone
                device = "cpu" if device in (None, AUTO) else device
                encoder_dtype = "float32" if encoder_dtype == AUTO else encoder_dtype
            where = resolve_device(device)
            dtype = resolve_dtype(encoder_dtype, where)
            if chosen == ONNXRUNTIME:
                _check_onnxruntime(source, where, dtype)
            return family.load(source, LoadOptions(where, dtype, hq_token_only, chosen))
    if source.path is None:
        raise UnknownModelError(_unknown(source.name))
    if source.checkpoint is None:
        raise CheckpointError(
            f"{source.path} is no model: give a folder with config.json and model.safetensors"
        )
    from samadapt.models.checkpoint_file import unknown_checkpoint

    raise unknown_checkpoint(source.checkpoint)


def load_memory(
    name: str | os.PathLike[str], device: str | torch.device | None = "auto"
) -> VideoMemory:
    """Load a model that follows objects through frames by its own memory, such as SAM 2's.

    Raises:
        UnknownModelError, CheckpointError, ModelError: as `load`; also a model without a memory.
    """
    from samadapt.models.precision import resolve_device

    source = _source(name)
    for family in _latest_first():
        if family.matches(source):
            if family.load_memory is None:
                raise ModelError(
                    f"{name} has no memory for frames: give a SAM 2 video model such as "
                    "facebook/sam2.1-hiera-tiny, or propagate by prompts instead"
                )
            return family.load_memory(source, resolve_device(device))
    raise UnknownModelError(_unknown(str(name)))


def known_models() -> list[ModelInfo]:
    """The models that samadapt knows by name, the shipped one first."""
    listed = [info for family in _families() for info in family.listing()]
    return sorted(listed, key=lambda info: not info.shipped)


def is_known(name: str) -> bool:
    """Whether a name is in the listing, in full or without its organisation, or may be a Hub id."""
    return name in _known_names()[1] or name.count("/") == 1


def published_like(checkpoint: Checkpoint) -> ModelInfo | None:
    """The listing's line of the published model that has the architecture of a checkpoint.

    Raises:
        CheckpointError: key tensors are missing or do not fit together.
    """
    listed = {info.name: info for info in known_models()}
    for family in reversed(_families()):
        if (name := family.like(checkpoint)) is not None:
            return listed[name]
    return None


def nearest_name(name: str, cutoff: float = 0.0) -> str | None:
    """The known name with the most similar spelling; None if none is similar enough."""
    spelled = {known: known for family in _families() for known in family.names}
    spelled |= {known.rpartition("/")[2]: known for known in spelled}
    nearest = difflib.get_close_matches(name.lower(), spelled, n=1, cutoff=cutoff)
    return spelled[nearest[0]] if nearest else None


def refuse_hq_token_only(options: LoadOptions, name: str) -> None:
    """Raise `ModelError` if `hq_token_only` is set for a model without such a token."""
    if options.hq_token_only:
        raise ModelError(f"hq_token_only is an option of SAM-HQ, which {name} is not: leave it out")


# -- private --------------------------------------------------------------------------------


def _runtime(wanted: str, family: _Family, source: ModelSource) -> str:
    """The runtime that a family uses for a model."""
    known = (AUTO, TORCH, ONNXRUNTIME)
    if wanted not in known:
        raise ModelError(f"runtime {wanted!r}: use {', '.join(known)}")
    if wanted in family.runtimes:
        return wanted
    if wanted == AUTO:
        return family.runtimes[0]
    remedy = "load the model that it was exported from"
    if wanted == ONNXRUNTIME:
        remedy = f"run `samadapt export-model DIR --model {source.name}` and load DIR"
    raise ModelError(f"{source.name} runs in {family.runtimes[0]}, not in {wanted}: {remedy}")


def _check_onnxruntime(source: ModelSource, device: torch.device, dtype: torch.dtype) -> None:
    if str(dtype) != "torch.float32":
        raise ModelError(
            f"{source.name} runs in onnxruntime in float32: use encoder_dtype float32 or auto "
            "(--dtype auto)"
        )
    if device.type != "cpu":
        raise ModelError(f"{source.name} runs in onnxruntime on the CPU: use device cpu")


def _source(name: str | os.PathLike[str]) -> ModelSource:
    """Tell names from paths."""
    path = Path(name).expanduser()
    if isinstance(name, str):
        reserved, known = _known_names()
        if name in reserved:
            return ModelSource(name)
        kind, colon, rest = name.partition(":")
        if colon and kind in known:
            return ModelSource(rest, _existing(rest), kind)
        is_model = path.is_file() or (path / "config.json").is_file()
        if not is_model and (name in known or not (path.exists() or _looks_like_path(name))):
            return ModelSource(name)
    return ModelSource(str(name), _existing(name))


def _existing(name: str | os.PathLike[str]) -> Path:
    """The path itself, or the file of that name in the folders of model files."""
    path = Path(name).expanduser()
    if not path.exists():
        stored = find_file((str(name),)) if path.name == str(name) else None
        if stored is not None:
            return stored
        raise CheckpointError(f"{name} does not exist: check the path of the model")
    return path


def _known_names() -> tuple[set[str], set[str]]:
    """Reserved names; all names, in full and without their organisation."""
    reserved = {name for family in _families() if family.is_reserved for name in family.names}
    known = {name for family in _families() for name in family.names}
    return reserved, known | {name.rpartition("/")[2] for name in known}


def _families() -> list[_Family]:
    """All families; the folders beside this file register when they are imported."""
    package = importlib.import_module("samadapt.models")
    for module in pkgutil.iter_modules(package.__path__):
        if module.ispkg:
            importlib.import_module(f"samadapt.models.{module.name}")
    return list(_FAMILIES)


def _latest_first() -> list[_Family]:
    """All families in the order in which they are asked."""
    return sorted(_families(), key=lambda family: not family.is_fallback)[::-1]


def _looks_like_path(name: str) -> bool:
    edges = name.startswith((".", "~", "/", os.sep)) or name.endswith("/")
    return Path(name).suffix in _SUFFIXES or edges or name.count("/") > 1 or "\\" in name


def _unknown(name: str) -> str:
    return (
        f'unknown model "{name}": did you mean "{nearest_name(name)}"? Otherwise give a name from '
        '`samadapt models`, a Hub id ("organisation/name"), a folder or a checkpoint file'
    )
