"""Stacks of slices and frames: volumes, time series, numbered frames and short videos."""

from samadapt.data.stacks.stack import Stack
from samadapt.data.stacks.voxels import VoxelSize

__all__ = ["Stack", "VoxelSize"]
