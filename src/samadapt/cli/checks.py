"""The checks of `samadapt doctor`. Every check returns a result, even if it fails."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from samadapt.errors import SamadaptError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Status: TypeAlias = Literal["ok", "note", "problem"]

_PYTHON = (3, 11)
_NEEDED = (
    "torch",
    "transformers",
    "safetensors",
    "huggingface_hub",
    "numpy",
    "pillow",
    "opencv-python-headless",
    "pycocotools",
    "scikit-image",
    "matplotlib",
    "jinja2",
    "fastapi",
    "uvicorn",
    "sqlalchemy",
)
_OPTIONAL = {
    "accelerate": "samadapt[train]",
    "ray": "samadapt[ray]",
    "onnxruntime": "samadapt[onnx]",
    "imagecodecs": "samadapt[tiff]",
    "av": "samadapt[video]",
}
_FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16")
_GIB = 1 << 30
_LITTLE_MEMORY, _LITTLE_DISK = 2 * _GIB, 3 * _GIB
_WEIGHTS = "samadapt/models/nano/shipped/nano.safetensors"
_CARD = "card.json"
_NEW_CARD = "run python -m research.nano.card --weights FILE"
_GOOD_IOU = 0.7


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report: "ok", a harmless "note", or a "problem"."""

    name: str
    status: Status
    detail: str


def all_checks() -> list[Check]:
    """Run every check; an unexpected error in a check is reported as a problem."""
    return [
        _safely(name, check)
        for name, check in (
            ("python", check_python),
            ("packages", check_packages),
            ("torch", check_torch),
            ("processor", check_processor),
            ("number format", check_dtype),
            ("memory", check_memory),
            ("disk", check_disk),
            ("Hub", check_hub),
            ("nano weights", check_weights),
            ("nano at work", check_nano),
            ("extras", check_extras),
        )
    ]


def check_python() -> tuple[Status, str]:
    """Whether Python is new enough."""
    found = f"{platform.python_version()} on {platform.platform()}"
    if sys.version_info < _PYTHON:
        return "problem", f"{found}: samadapt needs {_PYTHON[0]}.{_PYTHON[1]} or newer"
    return "ok", found


def check_packages() -> tuple[Status, str]:
    """Whether all required packages are installed, and their versions."""
    found = {name: _version(name) for name in ("samadapt", *_NEEDED)}
    missing = [name for name, version in found.items() if version is None]
    if missing:
        return "problem", f"missing: {', '.join(missing)}; run `pip install samadapt` again"
    return "ok", ", ".join(f"{name} {version}" for name, version in found.items())


def check_torch() -> tuple[Status, str]:
    """Whether torch can be imported, its threads and devices."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return "problem", f"torch cannot be imported ({error}): install it again"
    devices = "no CUDA device"
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        devices = "CUDA: " + ", ".join(names)
    return "ok", f"{torch.__version__}, {torch.get_num_threads()} threads, {devices}"


def check_processor() -> tuple[Status, str]:
    """Name, cores and instructions that affect speed."""
    from samadapt.benchmark.environment import cpu_name
    from samadapt.workers import usable_cores

    flags = _cpu_flags()
    features = [name for name in _FEATURES if name in flags]
    cores = usable_cores()
    text = f"{cpu_name()}, {cores} core{'s' if cores > 1 else ''} usable"
    return "ok", f"{text}, {' '.join(features) or 'no special instructions known'}"


def check_dtype() -> tuple[Status, str]:
    """Report the number format of large image encoders."""
    from samadapt.models.precision import has_fast_bfloat16, resolve_device, resolve_dtype

    device = resolve_device("auto")
    chosen = str(resolve_dtype("auto", device)).removeprefix("torch.")
    speed = "fast" if has_fast_bfloat16(device) else "not fast"
    return "ok", f"{chosen} on {device} (bfloat16 is {speed} there); change it with --dtype"


def check_memory() -> tuple[Status, str]:
    """Check the total and the free memory."""
    values = {}
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            name, _, rest = line.partition(":")
            values[name] = int(rest.split()[0]) * 1024
    except (OSError, ValueError, IndexError):
        return "note", "unknown on this system"
    total, free = values.get("MemTotal", 0), values.get("MemAvailable", 0)
    text = f"{free / _GIB:.1f} GiB free of {total / _GIB:.1f} GiB"
    if free < _LITTLE_MEMORY:
        return "note", f"{text}: enough for nano, little for large models"
    return "ok", text


def check_disk() -> tuple[Status, str]:
    """Check the free disk space for downloaded models."""
    folder = _hub_cache()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    text = f"{free / _GIB:.1f} GiB free at {folder}"
    if free < _LITTLE_DISK:
        return "note", f"{text}: large models need up to 3 GiB each"
    return "ok", text


def check_hub() -> tuple[Status, str]:
    """List the downloaded models, and report whether downloads are allowed."""
    from huggingface_hub import constants

    from samadapt.models.registry import known_models

    here = [info.name for info in known_models() if info.offline and not info.shipped]
    mode = "offline (HF_HUB_OFFLINE is set)" if constants.HF_HUB_OFFLINE else "downloads allowed"
    return "ok", f"{mode}, cache {_hub_cache()}, models there: {', '.join(here) or 'none'}"


def check_weights() -> tuple[Status, str]:
    """Whether the shipped weights are the installed ones and match their model card."""
    file = _weights_file()
    if not file.is_file():
        return "problem", f"{file} is missing: install samadapt again"
    digest = hashlib.sha256(file.read_bytes())
    text = f"{file.stat().st_size / 1e6:.1f} MB, sha256 {digest.hexdigest()[:12]}"
    recorded = _recorded_hash(_WEIGHTS)
    own = base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode("ascii")
    if recorded not in (None, own):
        return "problem", f"{text} was changed since it was installed: install samadapt again"
    card = file.with_name(_CARD)
    remedy = _NEW_CARD if recorded is None else "install samadapt again"
    try:
        expected = str(json.loads(card.read_bytes())["sha256"])
    except FileNotFoundError:
        return "note", f"{text}, but its model card {card} is missing: {remedy}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return "note", f"{text}, but its model card {card} cannot be read ({error!r}): {remedy}"
    if expected != digest.hexdigest():
        detail = f"{text} is not the file of its model card (sha256 {expected[:12]})"
        return "problem", f"{detail}: {remedy}"
    return "ok", f"{text}, matches its model card"


def check_nano() -> tuple[Status, str]:
    """Encode a small picture and click on it."""
    from samadapt.metrics import iou
    from samadapt.models.registry import load
    from samadapt.prompts import Prompt

    try:
        model = load("nano")
    except SamadaptError as error:
        return "problem", str(error)
    pixels, truth = _picture()
    prompt = Prompt([(96.0, 80.0)])
    embedding = model.encode(pixels)
    model.predict(embedding, prompt)
    encode = _fastest(lambda: model.encode(pixels))
    click = _fastest(lambda: model.predict(embedding, prompt))
    found = iou(model.predict(embedding, prompt).masks[0], truth)
    text = f"encode {encode * 1000:.0f} ms, click {click * 1000:.0f} ms, IoU {found:.2f} on a disc"
    if found < _GOOD_IOU:
        return "note", f"{text}: less than expected"
    return "ok", text


def check_extras() -> tuple[Status, str]:
    """List optional packages."""
    parts = []
    for name, extra in _OPTIONAL.items():
        version = _version(name)
        parts.append(f"{name} {version}" if version else f"no {name} (pip install '{extra}')")
    return "ok", ", ".join(parts)


def _weights_file() -> Path:
    from importlib import resources

    return Path(str(resources.files("samadapt"))).parent / _WEIGHTS


def _safely(name: str, check: Callable[[], tuple[Status, str]]) -> Check:
    try:
        status, detail = check()
    except Exception as error:
        status, detail = "problem", f"{type(error).__name__}: {error}"
    return Check(name, status, " ".join(detail.split()))


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cpu_flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    return {
        flag
        for line in lines
        if line.lower().startswith(("flags", "features"))
        for flag in line.partition(":")[2].split()
    }


def _hub_cache() -> Path:
    from huggingface_hub import constants

    return Path(os.fspath(constants.HF_HUB_CACHE))


def _recorded_hash(name: str) -> str | None:
    """The SHA-256 (base64) that the installer recorded for a file; None if there is none."""
    try:
        files = metadata.files("samadapt") or []
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.as_posix() == name and file.hash is not None:
            return file.hash.value
    return None


def _picture() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A bright disc on a noisy dark ground, (160, 192, 3), and its mask."""
    import numpy as np

    rows, columns = np.mgrid[:160, :192]
    disc = (rows - 80) ** 2 + (columns - 96) ** 2 < 40**2
    noise = np.random.default_rng(0).normal(0, 8, (160, 192, 3))
    pixels = np.where(disc[..., None], 190, 60) + noise
    return pixels.clip(0, 255).astype(np.uint8), disc


def _fastest(work: Callable[[], object], times: int = 3) -> float:
    """Seconds of the fastest of several runs, which was least disturbed by other processes."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        found.append(time.perf_counter() - start)
    return min(found)
