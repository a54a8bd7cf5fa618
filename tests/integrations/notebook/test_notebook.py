"""The notebook that teaches a task, run by a real kernel as Jupyter would."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).resolve().parents[3] / "examples" / "teach_in_a_notebook.ipynb"

pytestmark = pytest.mark.filterwarnings("ignore")


def test_the_notebook_teaches_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMADAPT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MPLBACKEND", "agg")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert len(notebook.cells) <= 10
    assert all(cell.outputs == [] for cell in notebook.cells if cell.cell_type == "code")
    (parameters,) = (c for c in notebook.cells if "parameters" in c.metadata.get("tags", ()))
    parameters.source += "\ncoins_to_click, epochs = 1, 1"
    last = "import json; json.dumps([len(annotator.masks), task.config.task, len(dataset.images)])"
    notebook.cells.append(nbformat.v4.new_code_cell(last))
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("application/vnd.jupyter.widget-view+json" in o.get("data", {}) for o in outputs)
    told = outputs[-1]["data"]["text/plain"].strip("'")
    assert json.loads(told) == [1, "coin", 1]
    assert (tmp_path / "coin-task" / "adapter_config.json").is_file()
