"""The examples and the notebook run as they stand."""

from __future__ import annotations

import json
import runpy
import sys
import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest

from samadapt.data.coco import CocoDataset

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder, with an empty cache and no window for figures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAMADAPT_CACHE", str(tmp_path / "cache"))
    mpl.use("Agg")
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, name: str, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def run_notebook(path: Path, **parameters: Any) -> dict[str, Any]:
    """Execute the code cells of a notebook in order; return its variables.

    Args:
        path: the notebook.
        **parameters: replace those that the cell tagged "parameters" sets.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    variables: dict[str, Any] = {"__name__": "__main__"}
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == [], "notebooks are kept without outputs"
        exec(compile("".join(cell["source"]), f"{path.name}:{cell['id']}", "exec"), variables)  # noqa: S102
        if "parameters" in cell["metadata"].get("tags", ()):
            assert set(parameters) <= set(variables), "a parameter that the notebook does not have"
            variables.update(parameters)
    return variables


def test_segment_with_clicks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    run(monkeypatch, "segment_with_clicks.py")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["candidate"] * 3 + ["accepted"]
    assert lines[-1].endswith(f"of {303 * 384} pixels")


def test_sample_images_and_teach_a_task(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    run(monkeypatch, "sample_images.py", "samples")
    areas = []
    for split in ("train", "test"):
        dataset = CocoDataset.load(f"samples/{split}.json", "samples/images")
        dataset.check_images()
        areas += [dataset.mask(coin.annotation_id).sum() for coin in dataset.objects()]
    assert len(areas) == 24
    assert min(areas) > 500, "no coin is cut"
    capsys.readouterr()
    run(monkeypatch, "teach_a_task.py", "samples", "1", "1")
    said = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in said if "IoU" in line][-2:] == ["frozen", "taught"]
    assert (tmp_path / "samples" / "coin" / "adapter_config.json").is_file()


def test_the_notebook():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "FigureCanvasAgg is non-interactive")
        variables = run_notebook(EXAMPLES / "adapt_in_a_notebook.ipynb", coins_to_annotate=1)
    assert len(variables["frozen"]) == len(variables["adapting"]) == 1
    assert variables["again"].method == variables["adapter"].method == "online"
