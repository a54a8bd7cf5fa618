from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fakes import FakeModel
from samadapt.adapters.files import find_folder, read_folder, write_folder
from samadapt.errors import AdapterError
from toy_adapter import ToyAdapter

CONFIG: dict[str, Any] = {"method": "toy", "recipe": {"rate": 0.1}}
TENSORS = {"amount": torch.arange(4.0), "count": torch.tensor(3), "half": torch.ones(2).half()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path / "a", CONFIG, TENSORS)
    return tmp_path / "a"


def amount(folder: Path) -> list[float]:
    return list(read_folder(folder)[1]["amount"].tolist())


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_config_and_tensors_come_back(folder: Path) -> None:
    config, tensors = read_folder(folder)
    assert config == CONFIG
    assert set(tensors) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert tensors[name].dtype == tensor.dtype
        assert torch.equal(tensors[name], tensor)


def test_the_files_are_plain(folder: Path) -> None:
    assert list(contents(folder)) == ["adapter_config.json", "adapter_model.safetensors"]
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["method"] == "toy"
    assert torch.equal(load_file(folder / "adapter_model.safetensors")["amount"], TENSORS["amount"])


def test_an_adapter_without_tensors_is_fine(tmp_path: Path) -> None:
    write_folder(tmp_path / "deep" / "er", CONFIG, {})
    assert read_folder(tmp_path / "deep" / "er") == (CONFIG, {})


def test_an_adapter_is_replaced_and_other_files_stay(folder: Path) -> None:
    (folder / "README.md").write_text("mine")
    write_folder(folder, CONFIG | {"metrics": {"iou": 0.5}}, {"amount": torch.ones(4)})
    assert read_folder(folder)[0]["metrics"] == {"iou": 0.5}
    assert amount(folder) == [1, 1, 1, 1]
    assert sorted(contents(folder)) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def stop_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    """Let call number `call` (from 1) of a function raise, as if the disk were full."""
    original, count = getattr(owner, name), [0]

    def stopping(*args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        if count[0] == call:
            raise OSError(28, "No space left on device")
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, stopping)


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [(Path, "mkdir", 2), (os, "fsync", 1), (os, "fsync", 2), (Path, "rename", 1)],
)
def test_a_failed_first_save_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, owner, name, call)
        with pytest.raises(AdapterError, match="No space left") as caught:
            write_folder(tmp_path / "a", CONFIG, TENSORS)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("owner", "name", "call"), [(os, "fsync", 1), (os, "fsync", 2), (Path, "replace", 1)]
)
def test_a_failed_overwrite_leaves_the_earlier_adapter(
    folder: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int
) -> None:
    before = contents(folder)
    with monkeypatch.context() as patch:
        stop_at(patch, owner, name, call)
        with pytest.raises(AdapterError, match="No space left"):
            write_folder(folder, CONFIG, {"amount": torch.ones(4)})
    assert contents(folder) == before


def test_an_overwrite_interrupted_between_its_files_is_a_whole_adapter(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_at(patch, Path, "replace", 2)
        with pytest.raises(AdapterError):
            write_folder(folder, CONFIG | {"recipe": {"rate": 9}}, {"amount": torch.ones(4)})
    config, tensors = read_folder(folder)
    assert config["recipe"] == {"rate": 9}
    assert tensors["amount"].tolist() == [1, 1, 1, 1]


def test_a_note_added_to_the_config_by_hand_counts(folder: Path) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"training_data": {"n": 3}}))
    assert read_folder(folder)[0]["training_data"] == {"n": 3}


Damage = Callable[[Path], object]
WEIGHTS = "adapter_model.safetensors"


def _flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(bytes(data))


def _newer(folder: Path) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 2}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "adapter_config.json").unlink(), "has no adapter_config.json"),
        (lambda f: (f / WEIGHTS).unlink(), f"has no {WEIGHTS}"),
        (lambda f: (f / "adapter_config.json").write_text("{"), "cannot read the adapter"),
        (lambda f: (f / "adapter_config.json").write_text("[]"), "not a JSON object"),
        (lambda f: (f / "adapter_config.json").write_bytes(b"\xff"), "cannot read the adapter"),
        (lambda f: (f / WEIGHTS).write_bytes(b""), "cannot read the adapter"),
        (lambda f: (f / WEIGHTS).write_bytes(pickle.dumps(TENSORS)), "cannot read the adapter"),
        (lambda f: _flip(f / WEIGHTS, -1), "damaged"),
        (lambda f: save_file({"amount": torch.zeros(4)}, f / WEIGHTS), "damaged"),
        (_newer, "install a newer samadapt"),
    ],
)
def test_damaged_folders_are_refused(folder: Path, damage: Damage, words: str) -> None:
    damage(folder)
    with pytest.raises(AdapterError, match=words) as caught:
        read_folder(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_is_no_place_for_an_adapter(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(AdapterError, match="cannot save"):
        write_folder(tmp_path / "a", CONFIG, TENSORS)
    assert (tmp_path / "a").read_text() == "mine"


# -- finding one --------------------------------------------------------------------------


def test_folders_and_shipped_names_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_folder(folder) == folder
    assert find_folder(str(folder)) == folder
    monkeypatch.setattr("samadapt.adapters.files._SHIPPED", folder.parent)
    assert find_folder("a") == folder
    with pytest.raises(AdapterError, match=r"no adapter 'b'.*shipped adapters: a"):
        find_folder("b")
    for path in ("./some/where", "some/deep/place", folder / "none"):
        with pytest.raises(AdapterError, match="no adapter"):
            find_folder(path)


def test_hub_ids_are_fetched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[str]]] = []

    def fetch(repo_id: str, allow_patterns: list[str]) -> str:
        asked.append((repo_id, allow_patterns))
        if repo_id == "me/missing":
            raise OSError("no network\nat all")
        return str(folder)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    assert find_folder("me/cells") == folder
    assert asked == [("me/cells", ["adapter_config.json", WEIGHTS])]
    with pytest.raises(AdapterError, match=r"me/missing.*without a network, copy") as caught:
        find_folder("me/missing")
    assert "\n" not in str(caught.value)


def test_adapters_are_pushed_to_the_hub(
    fake_model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, Any]] = []

    class Api:
        def __init__(self, token: str | None) -> None:
            calls.append(("token", token))

        def create_repo(self, repo_id: str, private: bool, exist_ok: bool) -> None:
            if repo_id == "me/forbidden":
                raise ValueError("403\nnot yours")
            calls.append(("create", (repo_id, private, exist_ok)))

        def upload_folder(
            self, repo_id: str, folder_path: str, commit_message: str
        ) -> SimpleNamespace:
            calls.append(("upload", sorted(p.name for p in Path(folder_path).iterdir())))
            return SimpleNamespace(commit_url="https://hub/commit/1")

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    adapter = ToyAdapter()
    with pytest.raises(AdapterError, match="bound to no model"):
        adapter.push_to_hub("me/cells")
    adapter.bind(fake_model)
    address = adapter.push_to_hub("me/cells", private=True, token="t")  # noqa: S106
    assert address == "https://hub/commit/1"
    assert calls == [
        ("token", "t"),
        ("create", ("me/cells", True, True)),
        ("upload", ["README.md", "adapter_config.json", WEIGHTS]),
    ]
    with pytest.raises(AdapterError, match=r"me/forbidden.*403 not yours"):
        adapter.push_to_hub("me/forbidden")
