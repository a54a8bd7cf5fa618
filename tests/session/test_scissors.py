from __future__ import annotations

import numpy as np
import pytest

from samadapt.errors import PromptError
from samadapt.session.scissors import edge_path


def test_a_path_follows_the_edge_around_a_corner() -> None:
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[20:, 30:] = 255  # the edge comes down at x = 30 and turns at (30, 20)
    path = np.array(edge_path(pixels, (30, 55), (70, 20)))
    assert path[0].tolist() == [30.5, 55.5]
    assert path[-1].tolist() == [70.5, 20.5]
    assert np.abs(np.diff(path, axis=0)).max() == 1
    to_edge = np.minimum(np.abs(path[:, 0] - 30), np.abs(path[:, 1] - 20))
    assert to_edge.max() <= 2  # the straight line would be up to 17 pixels away


def test_places_far_from_the_origin_and_at_the_border() -> None:
    pixels = np.full((300, 400, 3), 90, np.uint8)
    path = edge_path(pixels, (390.2, 299.9), (399.9, 290.0))
    assert path[0] == (390.5, 299.5)
    assert path[-1] == (399.5, 290.5)
    assert edge_path(pixels, (5, 5), (5, 5)) == [(5.5, 5.5)]


def test_a_place_outside_is_named() -> None:
    with pytest.raises(PromptError, match=r"\(12, 3\) lies outside the image of 10 x 8"):
        edge_path(np.zeros((8, 10, 3), np.uint8), (1, 1), (12, 3))
