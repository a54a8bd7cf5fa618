"""Adapters on a Hub: pushed with their card and fetched again, with the real client."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from adapter_contract import shake
from hub_server import Hub, hub_server
from huggingface_hub import EvalResult, ModelCard
from safetensors import safe_open

import samadapt
from samadapt.adapters.card import card_text
from samadapt.adapters.lora import LoraAdapter
from samadapt.adapters.registry import load_adapter
from small_models import tiny_nano

# The client reads HF_ENDPOINT when it is imported: so this runs in a process of its own.
PROGRAM = """
import sys
from pathlib import Path
from huggingface_hub import EvalResult
from samadapt import AdapterError, load_adapter

folder, out = sys.argv[1:]
adapter = load_adapter(folder)
found = EvalResult("mask-generation", "cells", "cells/test.json", "noc20@85", 4.25)
print(adapter.push_to_hub("me/wheels", private=True, token="hf_good", license="mit",
                          datasets=["me/cells"], results=[found]))
load_adapter("me/wheels").save_pretrained(out)
for ask in (lambda: adapter.push_to_hub("me/wheels", token="hf_bad"),
            lambda: load_adapter("me/nothing")):
    try:
        ask()
    except AdapterError as error:
        print(error)
"""


@pytest.fixture
def hub() -> Hub:
    with hub_server() as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    adapter = LoraAdapter()
    adapter.bind(tiny_nano())
    shake(adapter)
    adapter.save_pretrained(tmp_path / "wheels")
    return tmp_path / "wheels"


def test_an_adapter_goes_to_the_hub_and_comes_back(hub: Hub, folder: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "0",
        "PYTHONPATH": str(Path(samadapt.__file__).parents[1]),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(tmp_path / "back")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    address, refused, missing = done.stdout.splitlines()
    assert address.startswith(f"{hub.url}/me/wheels/commit/")
    assert "cannot upload to 'me/wheels'" in refused
    assert "401" in refused
    assert "hf auth login" in refused
    assert "me/nothing" in missing
    assert hub.private == {"me/wheels"}

    files = hub.repos["me/wheels"]
    assert {"README.md", "adapter_config.json", "adapter_model.safetensors"} <= set(files)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (
            files[name] == (tmp_path / "back" / name).read_bytes() == (folder / name).read_bytes()
        )
    data = ModelCard(files["README.md"].decode()).data
    assert data.base_model == "tiny-nano"
    assert data["base_model_relation"] == "adapter"
    assert data.pipeline_tag == "mask-generation"
    assert data.library_name == "samadapt"
    assert data.license == "mit"
    assert data.datasets == ["me/cells"]
    assert [(r.dataset_type, r.metric_type, r.metric_value) for r in data.eval_results] == [
        ("cells", "noc20@85", 4.25)
    ]


def test_a_base_model_that_is_no_name_of_the_hub_stays_out_of_the_front_matter() -> None:
    model = tiny_nano()
    model.identity = type(model.identity)("my model!", model.identity.weights_hash)
    adapter = LoraAdapter()
    adapter.bind(model)
    text = card_text(adapter, "wheels")
    assert ModelCard(text).data.base_model is None
    assert "for the model `my model!`" in text
    assert "model-index" not in text
    assert "license" not in text


def test_files_say_what_they_belong_to(folder: Path) -> None:
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny-nano"
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == "pt"
    assert metadata["base_model"] == "tiny-nano"
    assert metadata["samadapt_version"] == samadapt.__version__


def test_results_are_those_of_the_card() -> None:
    adapter = LoraAdapter()
    adapter.bind(tiny_nano())
    result = EvalResult("mask-generation", "cells", "cells/test.json", "miou@1p", 0.5)
    text = card_text(adapter, "wheels", results=[result])
    assert "| miou@1p | 0.5 |" in text
    assert load_adapter is not None
