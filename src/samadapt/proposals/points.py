"""Points at which an image is searched."""

from __future__ import annotations

import math


def grid_points(size: tuple[int, int], points: int) -> list[tuple[float, float]]:
    """Centres (x, y) of about points x points equal cells of an image of `size` = (H, W).

    Rows and columns follow the image's shape, at least one of each.
    """
    height, width = size
    columns = max(1, round(points * math.sqrt(width / height)))
    rows = max(1, round(points * math.sqrt(height / width)))
    return [
        ((column + 0.5) * width / columns, (row + 0.5) * height / rows)
        for row in range(rows)
        for column in range(columns)
    ]


def coarse_and_fine(
    size: tuple[int, int], points: int
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """The grid's points in every second row and column, and all others, each row by row."""
    grid = grid_points(size, points)
    columns = len({x for x, _ in grid})
    is_first = [(k // columns) % 2 == 0 and (k % columns) % 2 == 0 for k in range(len(grid))]
    first = [point for point, wanted in zip(grid, is_first, strict=True) if wanted]
    return first, [point for point, wanted in zip(grid, is_first, strict=True) if not wanted]
