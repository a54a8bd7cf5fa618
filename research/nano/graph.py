"""Write the graph of nano's image encoder that ships beside its weights, for onnxruntime.

    python -m research.nano.graph

It holds no weights, so it serves all weights of the same configuration; write it again when the
encoder's code or configuration changes (`tests/integrations/onnx` notices). It needs the extra
`onnx`.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import onnx
import torch

import samadapt
from samadapt.data.files import replacing
from samadapt.exporting.graphs import Sizes, write_encoder
from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.graph import PREFIX, graph_file
from samadapt.models.nano.model import NanoModel

_SIZE = (384, 512)


def without_weights(graph: onnx.ModelProto) -> bytes:
    """The graph with the network's tensors named but not held, and without notes for people."""
    for tensor in graph.graph.initializer:
        if tensor.name.startswith(PREFIX):
            length = len(tensor.raw_data)
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", "weights"), ("length", str(length))):
                tensor.external_data.add(key=key, value=value)
    body = graph.graph
    for part in (graph, body, *body.node, *body.input, *body.output, *body.initializer):
        part.doc_string = ""
        del part.metadata_props[:]
    del body.value_info[:]
    data: bytes = graph.SerializeToString(deterministic=True)
    return data


def main() -> None:
    """Write the graph."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, help="vision_encoder.onnx of an export of nano")
    given = parser.parse_args()
    model = samadapt.load("nano", "cpu", "float32", runtime="torch")
    if not isinstance(model, NanoModel):
        raise TypeError("the shipped model is no nano")
    with tempfile.TemporaryDirectory() as place:
        path = given.encoder or Path(place) / "encoder.onnx"
        if given.encoder is None:
            sizes = Sizes(NanoConfig.MULTIPLE, _SIZE)
            write_encoder(model.parts(), torch.zeros(1, 3, *_SIZE), sizes, path)
        graph = onnx.load(path)
    out = graph_file(model.config)
    with replacing(out) as file:
        file.write(without_weights(graph))


if __name__ == "__main__":
    main()
