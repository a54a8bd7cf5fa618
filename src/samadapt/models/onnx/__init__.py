"""Models that were exported to ONNX, run by onnxruntime."""

from samadapt.models.onnx.family import load, matches
from samadapt.models.registry import ONNXRUNTIME, register_family

register_family(matches, load, runtimes=(ONNXRUNTIME,))
