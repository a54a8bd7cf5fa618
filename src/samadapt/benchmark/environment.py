"""What a result depends on besides its inputs: software, machine, model and adapters."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from samadapt.models.base import SegmentationModel
from samadapt.models.seams import Seams

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
    """Software and machine, as plain JSON values.

    Args:
        command: the arguments of the command line; `sys.argv` when left out.
        packages: packages whose versions to tell, and the names they are installed under.
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
    """Everything that one needs to know to run the same thing again, as plain JSON values.

    Args:
        model: the model in use.
        adapters: the adapters in use, each with what it was called by.
        command: the arguments of the command line; `sys.argv` when left out.
    """
    return {
        **describe_machine(command),
        "threads": torch.get_num_threads(),
        "device": device_name(model.device),
        "encoder_dtype": str(model.encoder_dtype).removeprefix("torch."),
        "model": {
            "name": model.identity.name,
            "weights_hash": model.identity.weights_hash,
            "preprocessing": model.preprocessing,
        },
        "adapters": [_describe(spec, adapter) for spec, adapter in adapters],
    }


def package_version(package: str) -> str | None:
    """The installed version of a package, None if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def cpu_name() -> str:
    """The processor's name, as its maker gives it where the system tells."""
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.lower().startswith(("model name", "hardware")):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def device_name(device: torch.device) -> str:
    """Such as "cpu" or "cuda:0 (NVIDIA A100)"."""
    if device.type != "cuda":
        return str(device)
    return f"{device} ({torch.cuda.get_device_name(device)})"


def source_commit() -> str | None:
    """The Git commit of a samadapt that runs from its source tree, "+" when files have changed.

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


def _describe(spec: str, adapter: Seams) -> dict[str, Any]:
    return {"spec": spec, "method": adapter.title, "config": adapter.describe()}
