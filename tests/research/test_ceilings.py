"""The best masks that nano's grids can hold."""

from __future__ import annotations

import numpy as np

from research.nano.ceilings import ceilings
from samadapt.models.nano.config import NanoConfig


def test_large_things_pass_and_thin_ones_need_a_finer_grid() -> None:
    square = np.zeros((512, 512), bool)
    square[64:448, 64:448] = True
    found = ceilings(square, NanoConfig())
    assert min(found.values()) > 0.99
    line = np.zeros((512, 512), bool)
    line[100:102] = True  # half of a cell of four, a whole one of two
    found = ceilings(line, NanoConfig())
    assert found["stride4"] < 0.7
    assert found["stride2"] > 0.6
    assert found["close4"] == found["stride4"]  # too long for a close-up


def test_small_things_are_saved_by_the_close_up() -> None:
    ring = np.zeros((512, 512), bool)
    ring[200:220, 200:220] = True
    ring[203:217, 203:217] = False
    found = ceilings(ring, NanoConfig())
    assert found["close4"] > found["stride4"] + 0.03
