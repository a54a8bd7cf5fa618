"""Models that were exported to ONNX, run by onnxruntime."""

from samadapt.models.onnx.family import RUNTIME, load, matches
from samadapt.models.registry import register_family

register_family(matches, load, runtime=RUNTIME)
