"""nano's image encoder as a graph for onnxruntime; its weights are those of the network."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from samadapt.errors import ModelError
from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.network import NanoNetwork
from samadapt.models.parts.runtime import Graph

PREFIX = "encoder."
"""Before the names of the encoder's tensors in the graph."""


def graph_file(config: NanoConfig) -> Path:
    """Where the graph of a configuration ships, if it does; `research.nano.graph` writes it."""
    text = json.dumps(asdict(config), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Path(__file__).parent / "shipped" / f"encoder-{digest[:12]}.onnx"


def has_graph(config: NanoConfig) -> bool:
    """Whether a graph of this configuration ships."""
    return graph_file(config).is_file()


def encoder_graph(network: NanoNetwork) -> Graph:
    """The image encoder of a network, on the CPU in float32.

    Raises:
        ModelError: onnxruntime is not installed, or no graph ships for the network's sizes.
    """
    remedy = "load it with the runtime torch"
    if not has_graph(network.config):
        raise ModelError(f"there is no graph for this nano's layers and sizes: {remedy}")
    state = network.encoder.state_dict()
    weights = {f"{PREFIX}{name}": tensor for name, tensor in state.items()}
    return Graph(graph_file(network.config), weights, remedy)
