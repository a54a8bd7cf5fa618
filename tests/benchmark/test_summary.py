from __future__ import annotations

import pytest

from samadapt.benchmark.interactive.summary import (
    KEYS,
    Curve,
    intervals,
    summarise,
)
from samadapt.errors import DataError

QUICK = Curve((0.95,), seconds=0.1, group="a")
STEADY = Curve((0.5, 0.86, 0.91), seconds=0.3, group="a")
HOPELESS = Curve((0.2,) * 30, seconds=3.0, group="b")
LAST_CLICK = Curve((0.1,) * 19 + (0.9,), seconds=2.0, group="b")
LATE = Curve((0.4,) * 24 + (0.93,), seconds=2.5, group="c")


class TestSummarise:
    def test_hand_computed_values(self):
        found = summarise([QUICK, STEADY, HOPELESS], max_clicks=30, stop_at=0.9)
        assert tuple(found) == KEYS
        assert found == pytest.approx(
            {
                "noc20@85": (1 + 2 + 20) / 3,
                "noc20@90": (1 + 3 + 20) / 3,
                "fr20@85": 1 / 3,
                "fr20@90": 1 / 3,
                "fr30@90": 1 / 3,
                "iou@1": (0.95 + 0.5 + 0.2) / 3,
                "iou@3": (0.95 + 0.91 + 0.2) / 3,
                "iou@5": (0.95 + 0.91 + 0.2) / 3,
                "iou@10": (0.95 + 0.91 + 0.2) / 3,
                "seconds_per_click": 3.4 / 34,
                "objects": 3,
            }
        )

    def test_keys_are_those_of_the_file_format(self):
        assert " ".join(KEYS) == (
            "noc20@85 noc20@90 fr20@85 fr20@90 fr30@90 iou@1 iou@3 iou@5 iou@10 "
            "seconds_per_click objects"
        )

    def test_the_last_click_counts_as_success(self):
        found = summarise([LAST_CLICK], 30, 0.9)
        assert (found["noc20@90"], found["fr20@90"]) == (20, 0)

    def test_between_20_and_30_clicks(self):
        found = summarise([LATE], 30, 0.9)
        assert (found["noc20@90"], found["fr20@90"], found["fr30@90"]) == (20, 1, 0)

    def test_what_the_limits_hide_is_none(self):
        found = summarise([STEADY], max_clicks=5, stop_at=0.85)
        hidden = {key for key, value in found.items() if value is None}
        assert hidden == {"noc20@85", "noc20@90", "fr20@85", "fr20@90", "fr30@90", "iou@10"}
        found = summarise([STEADY], max_clicks=20, stop_at=0.85)
        assert {key for key, value in found.items() if value is None} == {
            "noc20@90",
            "fr20@90",
            "fr30@90",
        }

    def test_nothing(self):
        with pytest.raises(DataError, match="no object"):
            summarise([], 30, 0.9)


class TestIntervals:
    def test_keys_and_bounds_hold_the_value(self):
        curves = [QUICK, STEADY, HOPELESS, LAST_CLICK, LATE]
        values = summarise(curves, 30, 0.9)
        found = intervals(curves, 30, 0.9)
        assert tuple(found) == KEYS
        assert found["objects"] is None
        for key, span in found.items():
            if span is not None:
                assert span[0] <= values[key] <= span[1]

    def test_groups_are_drawn_as_a_whole(self):
        """Two images with 2 objects each: a resample holds aa, ab (twice as likely) or bb."""
        curves = [QUICK, STEADY, HOPELESS, LAST_CLICK]
        low, high = intervals(curves, 30, 0.9)["noc20@90"]
        assert (low, high) == pytest.approx(((1 + 3) / 2, (20 + 20) / 2))

    def test_seconds_per_click_is_a_ratio_of_sums(self):
        curves = [Curve((0.5,) * 10, 1.0, "a"), Curve((0.95,), 0.9, "b")]
        low, high = intervals(curves, 30, 0.9)["seconds_per_click"]
        assert (low, high) == pytest.approx((0.1, 0.9))

    def test_one_image_says_nothing_about_others(self):
        assert set(intervals([QUICK, STEADY], 30, 0.9).values()) == {None}

    def test_hidden_numbers_have_none(self):
        assert intervals([QUICK, LATE], 5, 0.9)["fr30@90"] is None

    def test_same_seed_same_interval(self):
        curves = [QUICK, STEADY, HOPELESS, LATE]
        assert intervals(curves, 30, 0.9, seed=3) == intervals(curves, 30, 0.9, seed=3)
