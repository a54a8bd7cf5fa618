"""Point matching: moves points on a mask's boundary to refine it for a task."""

from samadapt.adapters.point_matching.adapter import PointMatchingAdapter, PointMatchingConfig

__all__ = ["PointMatchingAdapter", "PointMatchingConfig"]
