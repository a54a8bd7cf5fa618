"""What a peer's result depends on, laid out as for a model."""

from __future__ import annotations

import datetime
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from samadapt.benchmark.environment import (
    PACKAGES,
    cpu_name,
    package_version,
    source_commit,
    usable_cores,
)
from samadapt.benchmark.interactive import hash_files
from samadapt.benchmark.peers.base import Peer
from samadapt.data.coco import CocoDataset
from samadapt.session.robot import ClickProtocol

PEER_PACKAGES = {**PACKAGES, "scikit-image": "scikit-image", "scipy": "scipy"}
"""Packages whose versions can change a peer's result, and the names they are installed under."""


def describe_machine(command: Sequence[str] | None = None) -> dict[str, Any]:
    """Software and machine, as plain JSON values.

    Args:
        command: the arguments of the command line; `sys.argv` when left out.
    """
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": list(sys.argv if command is None else command),
        "commit": source_commit(),
        "python": platform.python_version(),
        **{name: package_version(package) for name, package in PEER_PACKAGES.items()},
        "platform": platform.platform(),
        "cpu": cpu_name(),
        "cores": usable_cores(),
    }


def describe_peer(peer: Peer, command: Sequence[str] | None = None) -> dict[str, Any]:
    """The environment of a peer's result: the peer stands where a model would."""
    return {
        **describe_machine(command),
        "threads": 1,
        "device": "cpu",
        "model": {"name": peer.name, "settings": peer.settings},
        "adapters": [],
    }


def describe_protocol(
    protocol: ClickProtocol, max_objects: int | None, seed: int, working_size: int
) -> dict[str, Any]:
    """Every choice of the protocol, as plain JSON values."""
    return {
        **asdict(protocol),
        "targets": list(protocol.targets),
        "stop_at": protocol.content_at,
        "seed": seed,
        "order": "random",
        "max_objects": max_objects,
        "working_size": working_size,
    }


def describe_dataset(dataset: CocoDataset) -> dict[str, Any]:
    """Which files, with the hash of the masks, as plain JSON values."""
    return {
        "images": None if dataset.folder is None else str(dataset.folder),
        "masks": dataset.source,
        "sha256": hash_files(Path(dataset.source)),
        "image_count": len(dataset.images),
        "annotation_count": len(dataset.annotations),
        "category_count": len(dataset.categories),
    }
