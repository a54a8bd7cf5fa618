"""nano's model card: figures come from files, and only from those that belong to the weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from research.nano import card
from research.nano.card import build_card, render_card, write_card
from samadapt.errors import CheckpointError, DataError
from samadapt.models.nano.network import NanoNetwork
from samadapt.models.nano.weights import read_weights, write_weights
from small_models import TINY_NANO


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    info = {
        "steps": 5,
        "runs": [
            {"steps": 3},
            {
                "steps": 5,
                "minutes": 1.5,
                "processes": 2,
                "recipe": {"side": 64, "batch": 4, "objects": 2, "learning_rate": 0.001},
            },
        ],
    }
    write_weights(NanoNetwork(TINY_NANO), tmp_path / "n.safetensors", info)
    return tmp_path / "n.safetensors"


def result(weights: Path, **changes: object) -> Path:
    values: dict[str, object] = {
        "format": "samadapt-interactive-1",
        "environment": {
            "date": "2026-01-02T03:04:05+00:00",
            "command": ["samadapt", "benchmark", "/secret/place"],
            "samadapt": "9.9",
            "torch": "8.8",
            "device": "cpu",
            "encoder_dtype": "float32",
            "model": {"name": "nano", "weights_hash": read_weights(weights).hash},
            "adapters": [],
        },
        "protocol": {
            "seed": 4,
            "max_clicks": 20,
            "dataset": {
                "images": "/secret/place/voc/images",
                "masks": "/secret/place/voc/test.json",
                "sha256": "abc",
                "image_count": 3,
                "annotation_count": 7,
                "category_count": 1,
            },
        },
        "summary": {"iou@1": 0.5125, "iou@3": 0.7, "noc20@90": None, "objects": 7},
        "intervals": {"iou@1": [0.4, 0.6249], "iou@3": None, "noc20@90": None, "objects": None},
        **changes,
    }
    file = weights.with_name("result.json")
    file.write_text(json.dumps(values))
    return file


def test_what_identifies_the_weights(weights: Path) -> None:
    written = write_card(weights, [])
    assert [path.name for path in written] == ["card.json", "README.md"]
    values = json.loads(written[0].read_text())
    assert values["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert values["weights_hash"] == read_weights(weights).hash
    assert values["bytes"] == weights.stat().st_size
    assert values["parameters"] == sum(p.numel() for p in NanoNetwork(TINY_NANO).parameters())
    assert values["metrics"] == []
    text = written[1].read_text()
    assert values["sha256"] in text
    assert values["weights_hash"] in text
    assert "None measured yet" in text
    assert text.startswith("---\nlicense: apache-2.0\n")
    assert "| 1 | 3 | ? | ? | ? px | ? x ? | ? |" in text
    assert "| 2 | 5 | 1.5 | 2 | 64 px | 4 x 2 | 0.001 |" in text


def test_metrics_come_from_results(weights: Path) -> None:
    values = build_card(weights, [result(weights)])
    (metrics,) = values["metrics"]
    assert metrics["dataset"] == {
        "name": "voc/test",
        "sha256": "abc",
        "images": 3,
        "annotations": 7,
    }
    assert metrics["summary"]["iou@1"] == 0.5125
    assert "secret" not in json.dumps(values)
    text = render_card(values)
    assert "| voc/test | 7 | 0.51 [0.40, 0.62] | 0.70 | - | - | - | - |" in text
    assert "2026-01-02, samadapt 9.9, torch 8.8, float32 on cpu, seed 4, at most 20" in text
    assert "None measured" not in text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"environment": {"model": {"weights_hash": "no"}, "adapters": []}}, "other weights"),
        ({"format": "else"}, "no result of"),
        ({"protocol": {}}, "damaged"),
        ({"summary": None}, "damaged"),
    ],
)
def test_results_that_do_not_belong_are_refused(
    weights: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        write_card(weights, [result(weights, **changes)])
    assert "result.json" in str(caught.value)
    assert not weights.with_name("card.json").exists()


def test_results_with_adapters_are_refused(weights: Path) -> None:
    values = json.loads(result(weights).read_text())
    values["environment"]["adapters"] = [{"spec": "online"}]
    with pytest.raises(DataError, match="with an adapter"):
        build_card(weights, [result(weights, environment=values["environment"])])


def test_files_that_cannot_be_read_are_named(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="none"):
        build_card(tmp_path / "none", [])
    with pytest.raises(DataError, match="none"):
        build_card(weights, [tmp_path / "none"])
    (tmp_path / "broken").write_text("{")
    with pytest.raises(DataError, match="broken is not a JSON file"):
        build_card(weights, [tmp_path / "broken"])


def test_command_line(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["card", "--weights", str(weights)])
    card.main()
    assert "card.json" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", ["card", "--weights", "none"])
    with pytest.raises(SystemExit) as caught:
        card.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")
