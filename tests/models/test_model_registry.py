"""Names of models: what is known, suggested, fetched from the Hub, or refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import (
    GatedRepoError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)
from safetensors.torch import save_file

from samadapt.errors import CheckpointError, ModelError, UnknownModelError
from samadapt.models.hf import family, hub
from samadapt.models.hf.known import HUB
from samadapt.models.nano import family as nano_family
from samadapt.models.parts.quiet import quiet_transformers
from samadapt.models.registry import ModelInfo, known_models, load


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hub cache of the test's own."""
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids that `load` asks the Hub for; every request fails as without a network."""
    asked: list[str] = []

    def no_network(self: Any, repo_id: str, timeout: float) -> NoReturn:
        asked.append(repo_id)
        assert timeout <= 10
        raise OSError("Name or service not known")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", no_network)
    return asked


def into_cache(cache: Path, repo_id: str, network: Any) -> Path:
    """Lay a network out as a finished download."""
    repo = cache / f"models--{repo_id.replace('/', '--')}"
    folder = repo / "snapshots" / "abc"
    with quiet_transformers():
        network.save_pretrained(folder)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("abc")
    return folder


def message(error: type[Exception], name: Any, **options: Any) -> str:
    with pytest.raises(error) as caught:
        load(name, device="cpu", **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


# -- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("nanno", "nano"),
        ("NANO", "nano"),
        ("sam-vit-bse", "facebook/sam-vit-base"),
        ("sam2.1-hiera-tinny", "facebook/sam2.1-hiera-tiny"),
        ("sam-hq-vit-large!", "syscv-community/sam-hq-vit-large"),
    ],
)
def test_unknown_name_suggests_the_nearest(wrong: str, nearest: str) -> None:
    text = message(UnknownModelError, wrong)
    assert f'"{wrong}"' in text
    assert f'did you mean "{nearest}"?' in text


def test_mobile_sam_however_it_is_spelled() -> None:
    for name in ("MobileSAM", "mobile_sam"):
        assert 'did you mean "mobile-sam"' in message(UnknownModelError, name)


@pytest.mark.parametrize(
    "path",
    ["./none", "../x/none", "none/", "a/b/c", "none.pth", "none.pt", "n.safetensors", "~/none"],
)
def test_paths_that_do_not_exist(path: str, fetched: list[str]) -> None:
    assert "does not exist" in message(CheckpointError, path)
    assert not fetched


def test_path_objects_are_paths(fetched: list[str]) -> None:
    assert "does not exist" in message(CheckpointError, Path("facebook/sam-vit-base"))
    assert not fetched


def test_options_are_checked() -> None:
    assert "encoder_dtype" in message(ModelError, "sam-vit-base", encoder_dtype="half")
    with pytest.raises(ModelError, match="not known"):
        load("sam-vit-base", device="tpu!")
    assert "SAM-HQ" in message(ModelError, "nano", hq_token_only=True)


# -- nano -----------------------------------------------------------------------------------


@pytest.fixture
def nano_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    from samadapt.models.nano import model

    calls: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(model, "load_nano", lambda path, **kw: calls.append((path, kw)))
    return calls


def test_nano(nano_calls: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nano").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("samadapt.models.precision.has_fast_bfloat16", lambda device: True)
    load("nano", device="cpu")
    load("nano", device="cpu", encoder_dtype="float32")
    asked = [(kw["device"].type, kw["encoder_dtype"]) for _, kw in nano_calls]
    assert asked == [("cpu", torch.bfloat16), ("cpu", torch.float32)]


def test_nano_weights_in_a_file(nano_calls: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata={"format": "samadapt-nano"})
    load(path, device="cpu")
    load(str(path), device="cpu")
    assert [call[0] for call in nano_calls] == [path, path]


# -- the Hub --------------------------------------------------------------------------------


def test_cached_repository_needs_no_network(
    cache: Path, networks: dict[str, Any], fetched: list[str]
) -> None:
    into_cache(cache, "facebook/sam-vit-base", networks["sam"])
    for name in ("facebook/sam-vit-base", "sam-vit-base"):
        assert load(name, device="cpu").identity.name == "facebook/sam-vit-base"
    into_cache(cache, "someone/My_SAM.2", networks["sam2"])
    assert load("someone/My_SAM.2", device="cpu").preprocessing == "sam2-squash-64-1"
    assert not fetched


def test_incomplete_cache_is_not_enough(
    cache: Path, networks: dict[str, Any], fetched: list[str]
) -> None:
    folder = into_cache(cache, "facebook/sam-vit-base", networks["sam"])
    (folder / "model.safetensors").unlink()
    message(ModelError, "facebook/sam-vit-base")
    assert fetched == ["facebook/sam-vit-base"]


def test_no_network(cache: Path, fetched: list[str]) -> None:
    text = message(ModelError, "sam-vit-huge")
    assert "facebook/sam-vit-huge" in text
    assert "Name or service not known" in text
    assert "hf download facebook/sam-vit-huge --local-dir sam-vit-huge" in text
    assert "huggingface-cli download" in text
    assert 'did you mean "facebook/sam-vit-base"?' in message(ModelError, "facebok/sam-vit-base")
    assert "did you mean" not in message(ModelError, "someone/else")


def test_a_folder_goes_before_the_hub(
    cache: Path,
    networks: dict[str, Any],
    fetched: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the message above tells people to do must then work."""
    monkeypatch.chdir(tmp_path)
    with quiet_transformers():
        networks["sam"].save_pretrained("sam-vit-huge")
    assert load("sam-vit-huge", device="cpu").identity.name == "sam-vit-huge"
    shutil.rmtree("sam-vit-huge")
    Path("sam-vit-huge").mkdir()
    message(ModelError, "sam-vit-huge")
    assert fetched == ["facebook/sam-vit-huge"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (GatedRepoError, ["licence", "hf auth login"]),
        (RepositoryNotFoundError, ["does not exist", 'did you mean "facebook/sam-vit-base"?']),
        (OfflineModeIsEnabled, ["HF_HUB_OFFLINE is set", "hf download"]),
        (TimeoutError, ["TimeoutError", "hf download"]),
    ],
)
def test_answers_of_the_hub(
    cache: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception], words: list[str]
) -> None:
    def answer(*args: Any, **kwargs: Any) -> NoReturn:
        raise error.__new__(error)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", answer)
    text = message(ModelError, "facebok/sam-vit-base")
    for word in words:
        assert word in text


@pytest.mark.parametrize("safe", [True, False])
def test_download_takes_safetensors_if_there_are_any(
    cache: Path,
    networks: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    safe: bool,
) -> None:
    folder = tmp_path / "snapshot"
    with quiet_transformers():
        networks["sam"].save_pretrained(folder)
    names = ["config.json", "pytorch_model.bin"] + ["model.safetensors"] * safe
    info = SimpleNamespace(siblings=[SimpleNamespace(rfilename=n) for n in names], sha="f00")
    asked: dict[str, Any] = {}

    def download(repo_id: str, **options: Any) -> str:
        asked.update(options, repo_id=repo_id)
        return str(folder)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *a, **k: info)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert load("some/sam", device="cpu").identity.name == "some/sam"
    assert (asked["repo_id"], asked["revision"]) == ("some/sam", "f00")
    assert ("model.safetensors" in asked["allow_patterns"]) is safe
    assert any("pytorch_model" in p for p in asked["allow_patterns"]) is not safe
    assert "config.json" in asked["allow_patterns"]


# -- the listing ----------------------------------------------------------------------------


def test_known_models(cache: Path, networks: dict[str, Any]) -> None:
    into_cache(cache, "facebook/sam2-hiera-tiny", networks["sam2"])
    listed = {model.name: model for model in known_models()}
    assert next(iter(listed)) == "nano"
    assert listed["nano"].source == "shipped with samadapt"
    assert [n for n, m in listed.items() if m.offline and n != "nano"] == [
        "facebook/sam2-hiera-tiny"
    ]
    assert listed["facebook/sam-vit-huge"] == ModelInfo(
        "facebook/sam-vit-huge",
        "SAM",
        641_100_000,
        2565,
        "https://huggingface.co/facebook/sam-vit-huge",
        False,
        "Apache-2.0",
        ("sam_vit_h_4b8939.pth",),
        5961,
        65,
    )
    for model in listed.values():
        # The published files hold float32, four bytes a weight, and nothing a click can do without.
        assert model.name == "nano" or model.megabytes >= 3.9 * model.parameters / 1e6


def test_nano_is_counted_from_its_file(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nano_family, "__file__", str(tmp_path / "nano" / "family.py"))
    assert known_models()[0] == ModelInfo("nano", "nano", 0, 0, "shipped with samadapt", False)
    (tmp_path / "nano" / "weights").mkdir(parents=True)
    tensors = {"a": torch.zeros(1000, 400), "b": torch.zeros(())}
    save_file(tensors, tmp_path / "nano" / "weights" / "x.safetensors", metadata={"c": "d"})
    nano = ModelInfo("nano", "nano", 400_001, 2, "shipped with samadapt", True)
    assert known_models()[0] == nano


def test_every_known_name_is_a_hub_id() -> None:
    for known in HUB:
        assert family._HUB_ID.fullmatch(known.name)
    assert hub._SECONDS <= 10
