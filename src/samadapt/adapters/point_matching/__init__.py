"""Point matching: moves the points of a mask's boundary to where a task expects them."""

from samadapt.adapters.point_matching.adapter import PointMatchingAdapter, PointMatchingConfig

__all__ = ["PointMatchingAdapter", "PointMatchingConfig"]
