"""Point matching: the mask's boundary, moved point by point to where the task wants it."""

from samadapt.adapters.point_matching.adapter import PointMatchingAdapter, PointMatchingConfig

__all__ = ["PointMatchingAdapter", "PointMatchingConfig"]
