"""An adapter whose files are damaged is an `AdapterError` in one line, whatever the damage."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from fakes import FakeModel
from samadapt.adapters.files import CONFIG_FILE, WEIGHTS_FILE
from samadapt.adapters.registry import create_adapter, get_method, load_adapter, method_names
from samadapt.errors import AdapterError
from samadapt.models.base import SegmentationModel
from samadapt.server.learning import Learning
from samadapt.store.projects import Project
from small_models import tiny_nano

ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**31, 2**70, 10**400, 1e300, float("nan"), float("inf"), -0.5),
    *("", "x", "\ud800", "x" * 3000, [], [1], [[]], {}, {"a": 1}, {"x": {"y": {}}}),
)
STEP = 7
"""Every seventh of all mutations: a number that shares no factor with those of the values."""


def mutations(config: dict[str, Any]) -> Iterator[str]:
    """Every value replaced by every odd one, or left out."""
    for at in places(config):
        for odd in (*ODD, places):
            changed = copy.deepcopy(config)
            inside: Any = changed
            for key in at[:-1]:
                inside = inside[key]
            if odd is places:
                del inside[at[-1]]
            else:
                inside[at[-1]] = odd
            yield json.dumps(changed)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    inside = value.items() if isinstance(value, dict) else ()
    for key, one in enumerate(value) if isinstance(value, list) else inside:
        yield from places(one, (*at, key))


@pytest.fixture(scope="module")
def models() -> dict[str, SegmentationModel]:
    small = FakeModel()
    return dict.fromkeys(method_names(), small) | {"lora": tiny_nano(0)}


@pytest.mark.parametrize("method", method_names())
def test_any_change_of_a_config_loads_or_is_told(
    method: str, models: dict[str, SegmentationModel], tmp_path: Path
) -> None:
    model, place = models[method], tmp_path / method
    create_adapter(method, model).save_pretrained(place)
    text = (place / CONFIG_FILE).read_text()
    texts = [*mutations(json.loads(text))]
    broken = ["", "null", "[]", "[" * 100_000, text[: len(text) // 2], text + "}", '"\\ud800"']
    refused = 0
    for changed in [*texts[::STEP], *broken]:
        (place / CONFIG_FILE).write_bytes(changed.encode("utf-8", "surrogatepass"))
        began = time.monotonic()
        try:
            get_method(method).from_pretrained(place, model)
        except AdapterError as error:
            told = str(error)
            refused += 1
        else:
            told = ""
        assert "\n" not in told
        assert len(told) < 1000
        assert time.monotonic() - began < 5, changed
    assert refused >= len(broken)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused(tmp_path: Path, value: float) -> None:
    model = FakeModel()
    create_adapter("tokens", model).save_pretrained(tmp_path / "a")
    path = tmp_path / "a" / WEIGHTS_FILE
    tensors = load_file(path)
    name = next(iter(tensors))
    tensors[name].view(-1)[0] = value
    with safe_open(path, "pt") as file:
        save_file(tensors, path, file.metadata())
    with pytest.raises(AdapterError, match=f"numbers in {name} that are not finite"):
        load_adapter(tmp_path / "a", model)


@pytest.mark.parametrize("damage", ["config", "settings", "weights", "no config", "replay", "file"])
def test_a_damaged_adapter_of_a_project_is_moved_aside(tmp_path: Path, damage: str) -> None:
    model = FakeModel()
    with Project.open(tmp_path / "p.sqlite") as project:
        learning = Learning(project, model, tmp_path / "adapters", ("online",))
        (adapter,) = learning.adapters
        adapter.save_pretrained(learning._place("online"))
        learning.close()
        place = learning._place("online")
        config = place / CONFIG_FILE
        if damage == "config":
            config.write_text("[" * 100_000)
        elif damage == "settings":
            values = json.loads(config.read_text())
            values["settings"]["accept"]["steps"] = [None, 3]
            config.write_text(json.dumps(values))
        elif damage == "weights":
            (place / WEIGHTS_FILE).write_bytes(b"\0" * 100)
        elif damage == "no config":
            config.unlink()
        elif damage == "replay":
            (place / "replay").mkdir()
            (place / "replay" / "lesson-00000001.safetensors").write_bytes(b"\xff" * 500)
        else:
            for path in place.iterdir():
                path.unlink()
            place.rmdir()
            place.write_text("a file")
        before = sorted(path.name for path in place.parent.iterdir())
        again = Learning(project, model, tmp_path / "adapters", ("online",))
        assert again.is_learning
        after = sorted(path.name for path in place.parent.iterdir())
        if damage == "replay":  # only lessons are lost
            assert (after, again.notes) == (before, [])
        else:
            assert f"{place.name}.old-1" in after
            assert "Learning begins anew; the old state is in" in again.notes[0]
        again.close()
