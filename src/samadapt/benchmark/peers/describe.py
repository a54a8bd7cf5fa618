"""What a peer's result depends on, laid out as for a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from samadapt.benchmark.environment import PACKAGES, describe_machine
from samadapt.benchmark.peers.base import Peer
from samadapt.session.robot import ClickProtocol

PEER_PACKAGES = {**PACKAGES, "scikit-image": "scikit-image", "scipy": "scipy"}
"""Packages whose versions can change a peer's result, and the names they are installed under."""


def describe_peer(peer: Peer, command: Sequence[str] | None = None) -> dict[str, Any]:
    """The environment of a peer's result: the peer stands where a model would."""
    return {
        **describe_machine(command, PEER_PACKAGES),
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
