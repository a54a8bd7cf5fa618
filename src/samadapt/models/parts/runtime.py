"""Use of onnxruntime: its sessions, names in graphs, and the error where it is not installed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samadapt.errors import CheckpointError, ModelError, first_line

EXTRA = "pip install 'samadapt[onnx]'"
PIXELS = "pixel_values"
IMAGE = "image_embeddings"
_ERRORS_ONLY = 3


def graph_name(feature: str) -> str:
    """The name of a feature in graphs."""
    return IMAGE if feature == "image" else feature


class Graph:
    """One ONNX file, ready to run on the CPU with as many threads as torch uses.

    Args:
        path: the file.

    Raises:
        ModelError: onnxruntime is not installed.
        CheckpointError: a file that onnxruntime cannot use.
    """

    def __init__(self, path: Path) -> None:
        runtime = _onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        # Threads that spin while idle take the processor from torch, which runs in between.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its own error types have no common base
            raise CheckpointError(
                f"onnxruntime cannot use {path} ({first_line(error)[:200]}): export the model again"
            ) from None
        self.path = path
        self.inputs = frozenset(given.name for given in self._session.get_inputs())
        self._outputs = [output.name for output in self._session.get_outputs()]

    def check(self, inputs: Iterable[str], outputs: Iterable[str]) -> None:
        """Raise `CheckpointError` unless the graph has these inputs and gives these outputs."""
        for what, names, own in (
            ("inputs", set(inputs), self.inputs),
            ("outputs", set(outputs), set(self._outputs)),
        ):
            if names != own:
                raise CheckpointError(
                    f"{self.path} has the {what} {', '.join(sorted(own))}, and its description "
                    f"says {', '.join(sorted(names))}: export the model again"
                )

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by name, on the CPU."""
        given = {name: _array(tensor) for name, tensor in inputs.items()}
        found = self._session.run(self._outputs, given)
        return {
            name: torch.from_numpy(array) for name, array in zip(self._outputs, found, strict=True)
        }


def _array(tensor: Tensor) -> NDArray[Any]:
    return np.ascontiguousarray(tensor.detach().cpu().numpy())


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise ModelError(f"this needs onnxruntime: {EXTRA}") from None
    return onnxruntime
