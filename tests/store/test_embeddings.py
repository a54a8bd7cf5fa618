from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fakes import FakeModel, blobs
from samadapt.session.images import hash_pixels
from samadapt.store import embeddings
from samadapt.store.dataset_encoder import DatasetEncoder
from samadapt.store.embeddings import EmbeddingStore
from tiny_dataset import make_dataset


@pytest.fixture
def store(tmp_path: Path) -> EmbeddingStore:
    return EmbeddingStore(tmp_path / "cache")


def test_what_was_put_comes_back_exactly(store: EmbeddingStore, fake_model: FakeModel) -> None:
    embedding = fake_model.encode(blobs())
    assert store.get(fake_model, "abc") is None
    assert store.put(fake_model, "abc", embedding)
    found = store.get(fake_model, "abc")
    assert found is not None
    assert torch.equal(found.image, embedding.image)
    assert found.geometry == embedding.geometry
    fake_model.check_embedding(found)


def test_every_part_of_the_key_counts(store: EmbeddingStore, fake_model: FakeModel) -> None:
    other_weights = FakeModel(seed=1)
    other_input = FakeModel(side=64)
    other_dtype = FakeModel()
    other_dtype.encoder_dtype = torch.bfloat16
    paths = {
        store.path(model, content)
        for model in (fake_model, other_weights, other_input, other_dtype)
        for content in ("a", "b")
    }
    assert len(paths) == 8


def test_a_damaged_file_counts_as_missing_and_is_cleared_away(
    store: EmbeddingStore, fake_model: FakeModel
) -> None:
    store.put(fake_model, "abc", fake_model.encode(blobs()))
    path = store.path(fake_model, "abc")
    path.write_bytes(path.read_bytes()[:100])
    assert store.get(fake_model, "abc") is None
    assert not path.exists()


def test_an_embedding_of_other_weights_under_this_name_is_not_used(
    store: EmbeddingStore, fake_model: FakeModel
) -> None:
    path = store.path(fake_model, "abc")
    path.parent.mkdir(parents=True)
    FakeModel(seed=1).encode(blobs()).save(path)
    assert store.get(fake_model, "abc") is None


def test_the_least_recently_used_go_first(store: EmbeddingStore, fake_model: FakeModel) -> None:
    embedding = fake_model.encode(blobs())
    store.put(fake_model, "0", embedding)
    size = store.nbytes
    store.limit = 4 * size
    for index in range(1, 4):
        store.put(fake_model, str(index), embedding)
    for index in range(4):
        os.utime(store.path(fake_model, str(index)), (index, index))
    assert store.get(fake_model, "0") is not None  # now used last
    store.put(fake_model, "4", embedding)
    kept = [index for index in range(5) if store.has(fake_model, str(index))]
    assert kept == [0, 3, 4]
    assert store.nbytes <= 0.9 * store.limit


def test_the_newest_stays_even_if_it_alone_is_too_large(
    store: EmbeddingStore, fake_model: FakeModel
) -> None:
    store.limit = 10
    store.put(fake_model, "a", fake_model.encode(blobs()))
    assert store.has(fake_model, "a")


def test_abandoned_parts_are_cleared_away_and_fresh_ones_are_not(
    store: EmbeddingStore, fake_model: FakeModel
) -> None:
    store.put(fake_model, "a", fake_model.encode(blobs()))
    path = store.path(fake_model, "a")
    old, fresh = (path.with_name(f".{path.name}.0000000{k}.part") for k in (1, 2))
    old.write_bytes(b"x")
    fresh.write_bytes(b"x")
    os.utime(old, (1, 1))
    assert store.nbytes > 0
    assert (old.exists(), fresh.exists()) == (False, True)


def test_files_of_others_in_the_folder_are_neither_removed_nor_counted(
    tmp_path: Path, fake_model: FakeModel
) -> None:
    store = EmbeddingStore(tmp_path, limit=1)
    mine = tmp_path / "my models"
    mine.mkdir()
    others = [mine / "model.safetensors", mine / "film.mkv.part"]
    for other in others:
        other.write_bytes(b"x" * 1000)
        os.utime(other, (0, 0))
    for content in ("a", "b"):
        store.put(fake_model, content, fake_model.encode(blobs()))
    assert store.nbytes == store.path(fake_model, "b").stat().st_size
    assert not store.path(fake_model, "a").exists()
    assert all(other.read_bytes() == b"x" * 1000 for other in others)


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path, fake_model: FakeModel) -> None:
    (tmp_path / "file").write_text("in the way")
    store = EmbeddingStore(tmp_path / "file" / "cache")
    assert not store.put(fake_model, "a", fake_model.encode(blobs()))
    assert store.get(fake_model, "a") is None


def test_a_cyclic_store_keeps_what_it_has_used(tmp_path: Path, fake_model: FakeModel) -> None:
    embedding = fake_model.encode(blobs())
    earlier = EmbeddingStore(tmp_path / "cache")
    earlier.put(fake_model, "old", embedding)
    limit = 2 * earlier.nbytes + 4096
    store = EmbeddingStore(tmp_path / "cache", limit, is_cyclic=True)
    assert [store.put(fake_model, name, embedding) for name in "abc"] == [True, True, False]
    kept = {name: store.has(fake_model, name) for name in ("old", "a", "b", "c")}
    assert kept == {"old": False, "a": True, "b": True, "c": False}
    assert not store.problem


def test_a_dataset_is_encoded_although_nothing_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    dataset = make_dataset(tmp_path / "data").open()
    encode = DatasetEncoder(FakeModel(), EmbeddingStore(tmp_path / "file" / "cache"))
    with pytest.warns(RuntimeWarning, match="not kept on the disk") as caught:
        found = [encode(dataset, image.id) for image in dataset.images[:2]]
    assert len(caught) == 1
    assert encode.encoded == len(found) == 2


def test_eviction_waits_for_nobody(store: EmbeddingStore, fake_model: FakeModel) -> None:
    """While another process evicts, putting goes on without evicting."""
    store.put(fake_model, "a", fake_model.encode(blobs()))
    code = (
        "import fcntl, os, sys\n"
        f"handle = os.open({str(store.folder / 'lock')!r}, os.O_RDWR | os.O_CREAT)\n"
        "fcntl.flock(handle, fcntl.LOCK_EX)\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        assert other.stdout.readline() == b"locked\n"
        store.limit = 1
        store.put(fake_model, "b", fake_model.encode(blobs()))
        assert store.has(fake_model, "a")
        other.stdin.close()
    store.put(fake_model, "c", fake_model.encode(blobs()))
    assert not store.has(fake_model, "a")


def test_the_folder_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(embeddings.CACHE_VARIABLE, str(tmp_path))
    assert embeddings.cache_folder() == tmp_path
    monkeypatch.delenv(embeddings.CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert embeddings.cache_folder() == Path("/elsewhere/samadapt/embeddings")


def test_hashes_tell_shapes_apart() -> None:
    flat = np.zeros((2, 6, 3), np.uint8)
    assert hash_pixels(flat) != hash_pixels(flat.reshape(3, 4, 3))


def test_a_flipped_bit_counts_as_missing(store: EmbeddingStore, fake_model: FakeModel) -> None:
    embedding = fake_model.encode(blobs())
    assert store.put(fake_model, "content", embedding)
    path = store.path(fake_model, "content")
    data = bytearray(path.read_bytes())
    data[-5] ^= 0x10  # a number among the features: nothing else would notice
    path.write_bytes(data)
    assert store.get(fake_model, "content") is None
    assert not path.exists()
