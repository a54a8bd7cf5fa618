"""Pictures of the papers' claims: what is drawn of which result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from research.sam_shaped import pictures


def write(folder: Path, name: str, values: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(values))


def robustness(name: str, box: float, **extra: Any) -> dict[str, Any]:
    summary = {f"miou@{kind}": box for kind in ("box", "box0.4", "1p", "3p")}
    return {"rows": [{"name": name, "summary": summary}], "objects": [], **extra}


def heights(figure: Any) -> dict[str, list[float]]:
    """Heights of the bars of each series."""
    return {
        str(bars.get_label()): [float(bar.get_height()) for bar in bars]
        for bars in figure.axes[0].containers
    }


def test_bars_are_means_over_the_data_sets(tmp_path: Path) -> None:
    write(tmp_path / "base", "stable-davis", robustness("frozen", 0.5))
    write(tmp_path / "base", "stable-voc", robustness("frozen", 0.7))
    write(tmp_path / "nano", "brittle-voc", robustness("frozen", 0.8))
    drawn = heights(pictures.noise(tmp_path / "base", tmp_path / "nano"))
    assert drawn["base, frozen"] == pytest.approx([60.0] * 4)
    assert drawn["nano, frozen"] == pytest.approx([80.0] * 4)
    assert drawn["SAM, in the paper"] == [79.5, 48.8, 43.3, 78.7]


def test_the_router_is_drawn_against_the_box(tmp_path: Path) -> None:
    one = {
        "box_iou": {"box": [1.0], "box0.4": [0.5, 0.6]},
        "alphas": {"box": [[0.1, 0.9]], "box0.4": [[0.2, 0.8], [0.3, 0.7]], "1p": [[0.4, 0.6]]},
    }
    write(tmp_path, "stable-voc", robustness("stable", 0.5, objects=[one]))
    figure = pictures.router(tmp_path, tmp_path)
    assert figure is not None
    assert figure.axes[0].collections[0].get_offsets().tolist() == [
        [1.0, 0.1],
        [0.5, 0.2],
        [0.6, 0.3],
    ]


def test_clicks_are_drawn_by_domain(tmp_path: Path) -> None:
    def one(dataset: str, adapter: str, before: float, after: float) -> dict[str, Any]:
        noc = [{"noc20@85": {"value": value}} for value in (before, after)]
        return {"dataset": dataset, "adapter": adapter, "frozen": noc[0], "adapted": noc[1]}

    results = [one("fetal", "online", 6, 4), one("polyps", "online", 9, 8)]
    write(tmp_path, "online", {"results": results})
    drawn = heights(pictures.clicks(tmp_path, tmp_path))
    assert drawn == {"frozen": [6, 9], "online": [4, 8]}


def test_tasks_take_the_most_masks(tmp_path: Path) -> None:
    summary = {"4": {"plm": {"miou@1p": 0.2}}, "16": {"plm": {"miou@1p": 0.4}}}
    write(tmp_path, "prompts-left_ear", {"summary": summary})
    figure = pictures.tasks(tmp_path, tmp_path)
    assert heights(figure) == {"plm": [pytest.approx(40)]}
    assert figure is not None
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["left ear\n16 masks"]


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    for draw in pictures.PICTURES.values():
        assert draw(tmp_path, tmp_path) is None
