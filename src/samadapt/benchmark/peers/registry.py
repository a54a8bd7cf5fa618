"""The peers by name."""

from __future__ import annotations

from collections.abc import Sequence

from samadapt.benchmark.peers.base import Peer
from samadapt.benchmark.peers.grabcut import GrabCut
from samadapt.benchmark.peers.random_walker import RandomWalker
from samadapt.errors import DataError

PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in (GrabCut, RandomWalker)}
"""All peers, in the order in which tables show them."""


def create_peers(names: Sequence[str]) -> list[Peer]:
    """Peers with their usual settings, each once.

    Raises:
        DataError: a name that none has.
    """
    for name in names:
        if name not in PEERS:
            raise DataError(f"no peer {name!r}: use one or more of {', '.join(PEERS)}")
    return [PEERS[name]() for name in dict.fromkeys(names)]
