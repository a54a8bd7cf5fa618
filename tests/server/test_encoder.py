from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from fakes import FakeModel, blobs
from samadapt.errors import ImageError
from samadapt.models.embedding import ImageEmbedding
from samadapt.server.encoder import Encoder
from samadapt.server.pictures import Pictures
from samadapt.store.embeddings import EmbeddingStore
from samadapt.store.records import ImageFacts


class SlowModel(FakeModel):
    """Takes a moment, and knows how many images it encodes at once."""

    at_once = most = 0

    def encode_pixels(self, pixels: NDArray[np.uint8]) -> ImageEmbedding:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        time.sleep(0.05)
        self.at_once -= 1
        return super().encode_pixels(pixels)


class Notes(dict[int, tuple[ImageFacts | None, str | None]]):
    def __call__(self, image: int, facts: ImageFacts | None, problem: str | None) -> None:
        self[image] = facts, problem


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{k}.png" for k in range(4)]
    for shift, path in enumerate(paths):
        Image.fromarray(np.roll(blobs(), shift, axis=1)).save(path)
    return paths


def encoder(tmp_path: Path, model: FakeModel, notes: Notes, limit: int = 1 << 29) -> Encoder:
    return Encoder(model, EmbeddingStore(tmp_path / "cache"), notes, limit)


def test_an_image_is_encoded_once_whoever_asks(tmp_path: Path, pictures: list[Path]) -> None:
    model, notes = SlowModel(), Notes()
    one = encoder(tmp_path, model, notes)
    found: list[ImageEmbedding] = []
    threads = [
        threading.Thread(target=lambda: found.append(one.get(1, pictures[0], None)[0]))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert model.encoded == 1
    assert all(embedding is found[0] for embedding in found)
    # After a restart it comes from the disk, without a look at the pixels.
    again = encoder(tmp_path, model, notes)
    facts = notes[1][0]
    assert again.is_ready(facts)
    embedding, _ = again.get(1, pictures[0], facts)
    assert model.encoded == 1
    assert torch.equal(embedding.image, found[0].image)


def test_images_are_encoded_ahead_one_at_a_time(tmp_path: Path, pictures: list[Path]) -> None:
    model, notes = SlowModel(), Notes()
    one = encoder(tmp_path, model, notes)
    one.look_ahead([(k, path, None) for k, path in enumerate(pictures)])
    one.get(0, pictures[0], None)
    end = time.monotonic() + 10
    while len(notes) < 4 and time.monotonic() < end:
        time.sleep(0.02)
    assert (model.encoded, model.most) == (4, 1)
    assert all(one.is_ready(notes[k][0]) for k in range(4))
    one.close()


def test_a_changed_file_is_encoded_again(tmp_path: Path, pictures: list[Path]) -> None:
    model, notes = FakeModel(), Notes()
    one = encoder(tmp_path, model, notes)
    _, facts = one.get(1, pictures[0], None)
    time.sleep(0.01)
    Image.fromarray(255 - blobs()).save(pictures[0])
    _, changed = one.get(1, pictures[0], facts)
    assert model.encoded == 2
    assert changed.content_hash != facts.content_hash
    # A copy has the same pixels: nothing to encode.
    copy = tmp_path / "copy.png"
    copy.write_bytes(pictures[0].read_bytes())
    one.get(2, copy, None)
    assert model.encoded == 2


def test_memory_is_bounded(tmp_path: Path, pictures: list[Path]) -> None:
    model, notes = FakeModel(), Notes()
    size = model.encode(blobs()).nbytes
    one = encoder(tmp_path, model, notes, limit=2 * size)
    for k, path in enumerate(pictures):
        one.get(k, path, None)
    assert one._bytes <= 2 * size
    assert len(one._memory) == 2


def test_what_cannot_be_read_is_noted_and_the_rest_goes_on(
    tmp_path: Path, pictures: list[Path]
) -> None:
    model, notes = FakeModel(), Notes()
    one = encoder(tmp_path, model, notes)
    pictures[0].write_bytes(b"no image")
    with pytest.raises(ImageError):
        one.get(0, pictures[0], None)
    assert "0.png" in str(notes[0][1])
    one.look_ahead([(0, pictures[0], None), (1, pictures[1], None)])
    end = time.monotonic() + 10
    while 1 not in notes and time.monotonic() < end:
        time.sleep(0.02)
    assert notes[1][1] is None
    one.close()


def test_pictures_in_memory_are_bounded(pictures: list[Path]) -> None:
    kept = Pictures(limit=1)
    first = kept.picture(pictures[0])
    kept.picture(pictures[1])
    assert len(kept._kept) == 1
    assert kept.picture(pictures[0]) == first
