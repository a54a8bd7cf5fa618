from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fakes import FakeModel, blobs
from samadapt.errors import DataError, ModelError
from samadapt.models.embedding import ImageEmbedding, ModelIdentity
from samadapt.models.geometry import InputGeometry

GEOMETRY = InputGeometry((20, 30), (20, 30), (32, 32))
IDENTITY = ModelIdentity("some-model", "abcdef0123456789")


def make(**features: torch.Tensor) -> ImageEmbedding:
    return ImageEmbedding(features, GEOMETRY, IDENTITY, "plain-1")


def test_it_tells_its_sizes() -> None:
    embedding = make(image=torch.zeros(1, 8, 4, 5), high=torch.zeros(1, 2, 16, 20))
    assert embedding.grid == (4, 5)
    assert embedding.original_size == (20, 30)
    assert embedding.nbytes == 4 * (8 * 4 * 5 + 2 * 16 * 20)
    assert str(embedding.model) == "some-model (abcdef012345)"


def test_it_cannot_be_changed_and_carries_no_graph() -> None:
    source = torch.ones(1, 1, 2, 2, requires_grad=True)
    given = {"image": source * 2}
    embedding = ImageEmbedding(given, GEOMETRY, IDENTITY, "plain-1")
    given["image"] = torch.zeros(1)
    assert embedding.image.tolist() == [[[[2, 2], [2, 2]]]]
    assert not embedding.image.requires_grad
    with pytest.raises(TypeError):
        embedding.features["other"] = torch.zeros(1)  # type: ignore[index]


def test_it_needs_an_image_tensor() -> None:
    with pytest.raises(ModelError, match="image"):
        make(high=torch.zeros(1, 1, 1, 1))


def test_save_and_load_give_the_same_masks(tmp_path: Path, fake_model: FakeModel) -> None:
    embedding = fake_model.encode(blobs())
    embedding.save(tmp_path / "a.safetensors")
    loaded = ImageEmbedding.load(tmp_path / "a.safetensors")
    assert set(loaded.features) == set(embedding.features)
    for name, tensor in embedding.features.items():
        assert torch.equal(loaded.features[name], tensor)
    assert loaded.geometry == embedding.geometry
    assert loaded.model == embedding.model
    assert loaded.preprocessing == embedding.preprocessing
    fake_model.check_embedding(loaded)
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_half_precision_on_disk_comes_back_as_float32(tmp_path: Path) -> None:
    values = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    make(image=values).save(tmp_path / "half", dtype=torch.float16)
    make(image=values).save(tmp_path / "full")
    loaded = ImageEmbedding.load(tmp_path / "half").image
    assert loaded.dtype == torch.float32
    assert torch.equal(loaded, values.half().float())
    assert (tmp_path / "half").stat().st_size < (tmp_path / "full").stat().st_size


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    make(image=torch.zeros(1, 1, 2, 2)).save(path)
    before = path.read_bytes()

    def full_disk(*args: object, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("samadapt.models.embedding.save", full_disk)
    with pytest.raises(DataError, match="No space left"):
        make(image=torch.ones(1, 1, 2, 2)).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    good = tmp_path / "good"
    make(image=torch.zeros(1, 1, 2, 2)).save(good)
    cut = tmp_path / "cut"
    cut.write_bytes(good.read_bytes()[:-3])
    foreign = tmp_path / "foreign"
    save_file({"image": torch.zeros(1)}, foreign)
    lacking = tmp_path / "lacking"
    save_file({"image": torch.zeros(1)}, lacking, metadata={"format": "samadapt-embedding-1"})
    for path in (cut, foreign, lacking, tmp_path / "missing"):
        with pytest.raises(ModelError, match=path.name) as caught:
            ImageEmbedding.load(path)
        assert "\n" not in str(caught.value)
