"""Descriptions of a result's dependencies: software, machine, model, data and protocol."""

from __future__ import annotations

import datetime
import hashlib
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from samadapt.benchmark.adapters import describe_adapter
from samadapt.data.coco import CocoDataset
from samadapt.models.base import SegmentationModel
from samadapt.models.seams import Seams
from samadapt.session.robot import ClickProtocol
from samadapt.workers import usable_cores

PACKAGES = {
    "samadapt": "samadapt",
    "torch": "torch",
    "transformers": "transformers",
    "numpy": "numpy",
    "opencv": "opencv-python-headless",
}
"""Packages whose versions can change a result, and the names they are installed under."""


def describe_machine(
    command: Sequence[str] | None = None, packages: Mapping[str, str] = PACKAGES
) -> dict[str, Any]:
    """Describe software and machine, as plain JSON values.

    Args:
        command: the arguments of the command line; `sys.argv` when left out.
        packages: packages whose versions are recorded, and the names they are installed under.
    """
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": list(sys.argv if command is None else command),
        "commit": source_commit(),
        "python": platform.python_version(),
        **{name: package_version(package) for name, package in packages.items()},
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": usable_cores(),
    }


def describe_environment(
    model: SegmentationModel,
    adapters: Sequence[tuple[str, Seams]] = (),
    command: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Describe everything needed to repeat a run, as plain JSON values.

    Args:
        model: the model in use.
        adapters: the adapters in use, with their names as given.
        command: the arguments of the command line; `sys.argv` when left out.
    """
    return {
        **describe_machine(command),
        "threads": torch.get_num_threads(),
        "device": device_name(model.device),
        "encoder_dtype": str(model.encoder_dtype).removeprefix("torch."),
        "runtime": model.runtime,
        "model": {
            "name": model.identity.name,
            "weights_hash": model.identity.weights_hash,
            "preprocessing": model.preprocessing,
        },
        "adapters": [describe_adapter(spec, adapter) for spec, adapter in adapters],
    }


def package_version(package: str) -> str | None:
    """Return the installed version of a package, None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def cpu_name() -> str:
    """Return the processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"


def device_name(device: torch.device) -> str:
    """Return a name such as "cpu" or "cuda:0 (NVIDIA A100)"."""
    if device.type != "cuda":
        return str(device)
    return f"{device} ({torch.cuda.get_device_name(device)})"


def source_commit() -> str | None:
    """Return the Git commit of the source tree, followed by "+" when files have changed.

    None for an installed package, without Git, and when the tree cannot be read.
    """
    package = Path(__file__).resolve().parents[1]
    root = package.parents[1]
    if not (root / ".git").exists() or package.parent.name != "src":
        return None
    commit = _git(root, "rev-parse", "HEAD")
    if not commit:
        return None
    return commit + ("+" if _git(root, "status", "--porcelain", "--", "src") else "")


def _git(root: Path, *arguments: str) -> str:
    try:
        found = subprocess.run(  # noqa: S603
            ["git", "-C", str(root), *arguments],  # noqa: S607
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def describe_dataset(dataset: CocoDataset) -> dict[str, Any]:
    """Return the files of a dataset and the hash of its masks, as plain JSON values."""
    return {
        "images": None if dataset.folder is None else str(dataset.folder),
        "masks": dataset.source,
        "sha256": hash_files(Path(dataset.source)),
        "image_count": len(dataset.images),
        "annotation_count": len(dataset.annotations),
        "category_count": len(dataset.categories),
    }


def describe_protocol(protocol: ClickProtocol) -> dict[str, Any]:
    """Return every choice of a click protocol, as plain JSON values."""
    return {
        **asdict(protocol),
        "targets": list(protocol.targets),
        "stop_at": protocol.content_at,
    }


def fingerprint(model: SegmentationModel) -> list[str]:
    """Return the properties of a model that a finished run depends on."""
    encoder_dtype = str(model.encoder_dtype)
    return [model.identity.weights_hash, model.preprocessing, encoder_dtype]


def hash_files(path: Path) -> str | None:
    """Return the SHA-256 of a file, or of names and contents of all files below a folder.

    None when there is no such file or folder.
    """
    if path.is_file():
        return _digest([path], None)
    if path.is_dir():
        return _digest(sorted(file for file in path.rglob("*") if file.is_file()), path)
    return None


def _digest(files: Iterable[Path], root: Path | None) -> str:
    digest = hashlib.sha256()
    for file in files:
        if root is not None:
            digest.update(file.relative_to(root).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
