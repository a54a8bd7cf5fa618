"""Which model is used where none is named: the order of preference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from tiny_checkpoints import mobile_sam
from tiny_models import FAMILIES

from samadapt.errors import CheckpointError, ModelError
from samadapt.models import choice
from samadapt.models.choice import candidates, choose_model, matrix_speed
from samadapt.models.mobile_sam import model as mobile_model
from samadapt.models.parts.quiet import quiet_transformers
from samadapt.models.places import MODELS_VARIABLE, find_file, model_folders
from samadapt.models.registry import known_models, load

TINY, HUGE = "facebook/sam2.1-hiera-tiny", "facebook/sam-vit-huge"


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with an empty cache and an empty folder of model files; returns that folder."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv(MODELS_VARIABLE, str(folder))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(mobile_model, "IMAGE_SIZE", 64)
    monkeypatch.setattr(choice, "_LEAST_BYTES", 1000)
    return folder


def chosen(gigaflops: float, folder: Path | None = None) -> tuple[str, str]:
    """The choice on a machine that encodes so many 10^9 operations within a second."""
    rate = gigaflops / choice._SHARE
    found = choose_model("cpu", folder=folder, speed=lambda device, dtype: rate)
    return found.spec, found.why


def into_cache(tmp_path: Path, name: str, network: Any) -> None:
    snapshot = tmp_path / "hub" / f"models--{name.replace('/', '--')}" / "snapshots" / "abc"
    with quiet_transformers():
        network.save_pretrained(snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")


def test_nano_is_always_there() -> None:
    spec, why = chosen(1e9)
    assert spec == "nano"
    assert "no other model is on this machine" in why


def test_the_best_that_is_fast_enough(tmp_path: Path, networks: dict[str, Any]) -> None:
    """The huge model ranks higher; it is taken only where it takes 3 seconds or less."""
    into_cache(tmp_path, TINY, networks["sam2"])
    into_cache(tmp_path, HUGE, networks["sam"])
    costs = {info.name: info.gigaflops for info in known_models()}
    assert chosen(costs[HUGE] / 2.9)[0] == HUGE
    spec, why = chosen(costs[HUGE] / 30)
    assert spec == TINY
    assert "the best of 3 models here" in why
    assert f"{HUGE} would take about 30 s" in why
    spec, why = chosen(costs[TINY] / 3.1)
    assert spec == "nano"
    assert TINY in why
    assert "3 s for an image" in why


def test_files_are_recognised_whatever_they_are_called(
    machine: Path, networks: dict[str, Any]
) -> None:
    path = machine / "what-is-this.pt"
    torch.save(mobile_sam(networks), path)
    (machine / "cut-off.pth").write_bytes(path.read_bytes()[:5000])
    torch.save({"fc": torch.zeros(500)}, machine / "classifier.pth")
    (machine / "notes.txt").write_text("x" * 2000)
    assert chosen(1e3)[0] == str(path)
    assert len(candidates()) == 2


def test_the_projects_folder_goes_first(
    tmp_path: Path, machine: Path, networks: dict[str, Any]
) -> None:
    into_cache(tmp_path, TINY, networks["sam2"])
    project = tmp_path / "images"
    project.mkdir()
    own = project / "fine-tuned.pth"
    torch.save({"state_dict": mobile_sam(networks)}, own)
    assert chosen(1e3)[0] == TINY
    spec, why = chosen(1e3, project)
    assert spec == str(own)
    assert str(project) in why
    assert chosen(1, project)[0] == "nano"


def test_special_models_are_not_taken_unasked(machine: Path, networks: dict[str, Any]) -> None:
    torch.save(mobile_sam(networks), machine / "vit_t_lm.pt")
    assert chosen(1e3)[0] == "nano"
    assert load("vit_t_lm", device="cpu").identity.name == "micro-sam/vit_t_lm"


def test_speed_is_measured() -> None:
    assert 0.1 < matrix_speed(torch.device("cpu"), torch.float32) < 1e6


def test_every_general_model_has_a_cost() -> None:
    """Else it would seem to take no time at all."""
    for info in known_models():
        assert info.shipped or bool(info.rank) <= bool(info.gigaflops), info.name
        assert info.shipped or info.terms, info.name


# -- files that names stand for ------------------------------------------------------------------


def test_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(MODELS_VARIABLE, f"{tmp_path / 'a'}:{tmp_path / 'b'}")
    assert model_folders() == [tmp_path / "a", tmp_path / "b"]
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "x.pt").write_bytes(b"")
    assert find_file(("y.pt", "x.pt")) == tmp_path / "b" / "x.pt"
    monkeypatch.delenv(MODELS_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert model_folders() == [tmp_path / "samadapt" / "models"]


def test_a_name_stands_for_its_file(machine: Path, networks: dict[str, Any]) -> None:
    with pytest.raises(ModelError) as caught:
        load("mobile-sam", device="cpu")
    text = str(caught.value)
    for word in ("mobile_sam.pt", "github.com/ChaoningZhang", str(machine), MODELS_VARIABLE):
        assert word in text
    torch.save(mobile_sam(networks), machine / "mobile_sam.pt")
    assert load("mobile-sam", device="cpu").identity.name == "mobile-sam"
    assert load("mobile_sam.pt", device="cpu").identity.name == "mobile_sam"
    assert {i.name for i in known_models() if i.offline} == {"nano", "mobile-sam"}
    torch.save({"fc": torch.zeros(500)}, machine / "mobile_sam.pt")
    with pytest.raises(CheckpointError, match="looks like MobileSAM but lacks"):
        load("mobile-sam", device="cpu")


def test_an_original_file_stands_for_a_repository(machine: Path, networks: dict[str, Any]) -> None:
    from original_layouts import original

    torch.save(original(networks["sam"]), machine / "sam_vit_b_01ec64.pth")
    model = load("sam-vit-base", device="cpu")
    assert model.identity.name == "facebook/sam-vit-base"
    assert (
        model.identity.weights_hash == FAMILIES["sam"].wrap(networks["sam"]).identity.weights_hash
    )


def test_medsam(machine: Path, networks: dict[str, Any], tmp_path: Path) -> None:
    from original_layouts import original

    path = tmp_path / "mine.pth"
    torch.save({"model": original(networks["sam"])}, path)
    model = load(f"medsam:{path}", device="cpu")
    assert (model.identity.name, model.preprocessing) == ("mine", "medsam-squash-64-1")
    assert load(path, device="cpu").preprocessing == "sam-longest-64-1"
    path.rename(machine / "medsam_vit_b.pth")
    assert load("medsam", device="cpu").preprocessing == "medsam-squash-64-1"
    with pytest.raises(CheckpointError, match="does not exist"):
        load("medsam:nowhere.pth")
    torch.save(mobile_sam(networks), path)
    with pytest.raises(ModelError, match="not a SAM checkpoint"):
        load(f"medsam:{path}", device="cpu")
