"""An adapter's folder: `adapter_config.json` and `adapter_model.safetensors`, never pickle.

Two files cannot be replaced in one step. So the weights file carries a copy of its config, and
the config names the hash of its weights: after a save that was interrupted between the two, the
weights and the copy inside them are a complete adapter.

The config of a method that peft can load has peft's fields at the top level, and samadapt's own
under `auto_mapping`, the one field that peft leaves as it is.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from samadapt.adapters.hub import download
from samadapt.data.outputs import check_output
from samadapt.errors import AdapterError
from samadapt.models.hashing import hash_tensors, not_finite
from samadapt.spelling import did_you_mean
from samadapt.version import installed_version

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
FORMAT_VERSION = 1

_VERSION = "format_version"
_HASH = "weights_sha256"
_COPY = "adapter_config"
_BASE = "base_model_name_or_path"
_PEFT_TYPE, _PLACE, _OWN = "peft_type", "auto_mapping", "samadapt"
_LARGEST_SIZE = 4096
_LARGEST_SEED = 2**63 - 1
_SHIPPED = Path(__file__).parent / "shipped"


def write_folder(
    folder: str | os.PathLike[str],
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    peft: Mapping[str, Any] | None = None,
) -> None:
    """Write an adapter; `folder` is complete or untouched afterwards.

    Args:
        folder: new, or of an earlier adapter.
        config: samadapt's own fields.
        tensors: the weights.
        peft: peft's fields, for a method that peft can load.

    Raises:
        AdapterError: the folder cannot be written.
    """
    folder = Path(folder)
    plain = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    base = (config.get("base_model") or {}).get("name")
    own = {_VERSION: FORMAT_VERSION, **config, _HASH: hash_tensors(plain)}
    outer = {_BASE: base} if peft is None else {_BASE: base, **peft, _PLACE: {_OWN: own}}
    document = {**own, **outer} if peft is None else outer
    text = json.dumps(document, indent=2, allow_nan=False)
    metadata = {"format": "pt", "base_model": str(base), "samadapt_version": installed_version()}
    weights = _in_order(save(plain, {**metadata, _COPY: text}))
    try:
        _write_both(folder, text.encode(), weights)
    except OSError as error:
        raise AdapterError(
            f"cannot save the adapter in {folder} ({error.strerror}): choose a folder that you "
            "may write to, with enough space"
        ) from None


def _in_order(data: bytes) -> bytes:
    """The same safetensors file with its metadata sorted by name.

    The library writes them in random order, so that equal adapters would give different files.
    """
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def read_folder(folder: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The config and the tensors of an adapter.

    The config of a folder that peft can load has peft's fields under "peft". For a folder that
    peft itself wrote, the only other field is the method.

    Raises:
        AdapterError: a file is missing, damaged, or of a newer version.
    """
    folder = Path(folder)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise AdapterError(f"{folder} is not an adapter: it has no {name}")
    configs, tensors = _read_both(folder)
    if (broken := not_finite(tensors)) is not None:
        raise AdapterError(
            f"{folder}: the weights have numbers in {broken} that are not finite: train it again"
        )
    found = hash_tensors(tensors)
    for config in map(_unwrapped, configs):
        if config.pop(_HASH, None) == found:
            version = config.pop(_VERSION, 0)
            if version != FORMAT_VERSION:
                raise AdapterError(
                    f"{folder}: adapter of format {str(version)[:40]!r}, this samadapt reads "
                    f"{FORMAT_VERSION}: install a newer samadapt"
                )
            _check_sizes(folder, config, tensors)
            return config, tensors
    if _PEFT_TYPE in configs[0] and _OWN not in (configs[0].get(_PLACE) or {}):
        config = {"method": str(configs[0][_PEFT_TYPE]).lower(), "peft": configs[0]}
        _check_sizes(folder, config, tensors)
        return config, tensors
    raise AdapterError(
        f"{folder}: the hash of the weights is not that in {CONFIG_FILE}, so one of the files is "
        "damaged: copy or download the adapter again"
    )


def saved_hash(folder: str | os.PathLike[str]) -> str | None:
    """The hash of the weights in an adapter's config; None when there is no such folder."""
    try:
        config = json.loads((Path(folder) / CONFIG_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    found = _unwrapped(config).get(_HASH) if isinstance(config, dict) else None
    return found if isinstance(found, str) else None


def find_folder(name: str | os.PathLike[str]) -> Path:
    """The folder of an adapter: a folder, a shipped adapter's name, or a Hub id "owner/name".

    Raises:
        AdapterError: nothing of that name.
    """
    path = Path(name)
    if path.is_dir():
        return path
    text = str(name)
    if text in shipped_names():
        return _SHIPPED / text
    if isinstance(name, str) and text.count("/") == 1 and text[0] not in "./~":
        return download(text)
    shipped = f" (shipped adapters: {', '.join(shipped_names())})" if shipped_names() else ""
    hint = did_you_mean(text, shipped_names())
    raise AdapterError(f"no adapter {text!r}{hint}: give the folder of a saved adapter{shipped}")


def shipped_names() -> list[str]:
    """Names of the adapters inside the package."""
    if not _SHIPPED.is_dir():
        return []
    return sorted(p.name for p in _SHIPPED.iterdir() if (p / CONFIG_FILE).is_file())


def _write_both(folder: Path, config: bytes, weights: bytes) -> None:
    """Write to a staging folder first, so that a failure leaves the adapter untouched."""
    is_new = not folder.exists()
    parent = folder.parent if is_new else folder
    parent.mkdir(parents=True, exist_ok=True)
    staging = parent / f".{folder.name}.{uuid.uuid4().hex[:8]}.part"
    for name in (WEIGHTS_FILE, CONFIG_FILE):
        check_output(folder / name)
    try:
        staging.mkdir()
        _write_durably(staging / WEIGHTS_FILE, weights)
        _write_durably(staging / CONFIG_FILE, config)
        if is_new:
            staging.rename(folder)
        else:
            for name in (WEIGHTS_FILE, CONFIG_FILE):
                (staging / name).replace(folder / name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _read_both(folder: Path) -> tuple[list[dict[str, Any]], dict[str, Tensor]]:
    """The config file and the copy in the weights file, in this order, and the tensors."""
    try:
        texts = [(folder / CONFIG_FILE).read_text(encoding="utf-8")]
        with safe_open(str(folder / WEIGHTS_FILE), framework="pt") as file:
            texts.append((file.metadata() or {}).get(_COPY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        configs = [json.loads(text) for text in texts]
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise AdapterError(
            f"cannot read the adapter in {folder} ({' '.join(str(error).split())}): copy or "
            "download it again"
        ) from None
    if not all(isinstance(config, dict) for config in configs):
        raise AdapterError(f"{folder}/{CONFIG_FILE} is not a JSON object: download it again")
    return configs, tensors


def _unwrapped(config: Mapping[str, Any]) -> dict[str, Any]:
    """Samadapt's own fields of a config file, with peft's fields, if any, under "peft"."""
    place = config.get(_PLACE) if _PEFT_TYPE in config else None
    own = place.get(_OWN) if isinstance(place, dict) else None
    if isinstance(own, dict):
        return {**own, "peft": {k: v for k, v in config.items() if k != _PLACE}}
    return {name: value for name, value in config.items() if name != _BASE}


def _check_sizes(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Refuse sizes that the weights cannot have, before anything is built from them."""
    most = max(_LARGEST_SIZE, sum(tensor.numel() for tensor in tensors.values()))
    for name, value in {**config.get("peft", {}), **config}.items():
        if isinstance(value, int) and abs(value) > (_LARGEST_SEED if "seed" in name else most):
            raise AdapterError(
                f"{folder}/{CONFIG_FILE}: {name} is too large for the weights beside it: the file "
                "is damaged, copy or download the adapter again"
            )
