"""What every method must do. Subclass `AdapterContract` in the method's own test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fakes import FakeModel, blobs, state_hash
from samadapt.adapters.base import Adapter
from samadapt.adapters.files import read_folder
from samadapt.adapters.registry import get_method, load_adapter
from samadapt.errors import AdapterError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.prediction import Prediction
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt
from samadapt.session.replay import replay
from samadapt.session.session import Session


def shake(adapter: Adapter, amount: float = 0.1, seed: int = 1) -> None:
    """Move every parameter a little."""
    assert adapter.module is not None
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapter.module.parameters():
            parameter += amount * torch.randn(parameter.shape, generator=generator)


class AdapterContract:
    """Set `method` and implement `make` and `train`; override `models` if the fake ones won't do.

    The method must be registered while the tests run.
    """

    method: str

    def make(self) -> Adapter:
        """A new, untrained adapter."""
        raise NotImplementedError

    def train(self, adapter: Adapter, model: SegmentationModel, embedding: ImageEmbedding) -> None:
        """Change `adapter`, bound to `model`, so that it has an effect."""
        raise NotImplementedError

    def models(self) -> tuple[SegmentationModel, SegmentationModel]:
        """Two models with different weights."""
        return FakeModel(seed=0), FakeModel(seed=1)

    # -- set-up ---------------------------------------------------------------------------

    @pytest.fixture
    def model(self) -> SegmentationModel:
        return self.models()[0]

    @pytest.fixture
    def picture(self) -> NDArray[np.uint8]:
        return blobs()

    @pytest.fixture
    def encoded(self, model: SegmentationModel, picture: NDArray[np.uint8]) -> ImageEmbedding:
        return model.encode(picture)

    @pytest.fixture
    def untrained(self, model: SegmentationModel) -> Adapter:
        adapter = self.make()
        adapter.bind(model)
        return adapter

    @pytest.fixture
    def trained(
        self, model: SegmentationModel, encoded: ImageEmbedding, untrained: Adapter
    ) -> Adapter:
        self.train(untrained, model, encoded)
        return untrained

    # -- the contract ---------------------------------------------------------------------

    def test_it_is_registered(self) -> None:
        assert get_method(self.method) is type(self.make())
        assert self.make().config.method == self.method

    def test_untrained_it_changes_no_bit(
        self, model: SegmentationModel, encoded: ImageEmbedding, untrained: Adapter
    ) -> None:
        assert_equal(outputs(model, encoded, []), outputs(model, encoded, [untrained]))
        assert_equal(outputs(model, encoded, []), outputs(model, encoded, [self.make()]))

    def test_trained_it_has_an_effect(
        self, model: SegmentationModel, encoded: ImageEmbedding, trained: Adapter
    ) -> None:
        plain, adapted = outputs(model, encoded, []), outputs(model, encoded, [trained])
        assert any(
            (a.logits != b.logits).any() or (a.masks != b.masks).any()
            for a, b in zip(plain, adapted, strict=True)
        )

    def test_it_comes_back_from_a_folder(
        self, tmp_path: Path, model: SegmentationModel, encoded: ImageEmbedding, trained: Adapter
    ) -> None:
        expected = outputs(model, encoded, [trained])
        trained.save_pretrained(tmp_path / "a")
        assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [
            "adapter_config.json",
            "adapter_model.safetensors",
        ]
        config = read_folder(tmp_path / "a")[0]
        assert config["method"] == self.method
        assert config["base_model"]["weights_hash"] == model.identity.weights_hash
        with_model = load_adapter(tmp_path / "a", model)
        without_model = type(trained).from_pretrained(tmp_path / "a")
        for loaded in (with_model, without_model):
            assert loaded.config == trained.config
            assert_equal(expected, outputs(model, encoded, [loaded]))

    def test_it_refuses_another_model(
        self, tmp_path: Path, model: SegmentationModel, trained: Adapter
    ) -> None:
        other = self.models()[1]
        trained.save_pretrained(tmp_path / "a")
        both = f"{model.identity.weights_hash[:12]}.*{other.identity.weights_hash[:12]}"
        embedding = other.encode(blobs())
        with pytest.raises(AdapterError, match=both):
            other.predict(embedding, Prompt([(3, 3)]), adapters=[trained])
        with pytest.raises(AdapterError, match=both):
            trained.bind(other)
        with pytest.raises(AdapterError, match=both):
            load_adapter(tmp_path / "a", other)

    def test_the_model_stays_as_it_was(
        self, model: SegmentationModel, picture: NDArray[np.uint8], untrained: Adapter
    ) -> None:
        before = state_hash(model.decoder)
        work(Session(model, [untrained]), picture)
        assert state_hash(model.decoder) == before
        for parameter in model.decoder.parameters():
            assert parameter.grad is None
            assert not parameter.requires_grad
        assert not model.decoder.training

    def test_it_composes(
        self, model: SegmentationModel, encoded: ImageEmbedding, trained: Adapter
    ) -> None:
        alone = outputs(model, encoded, [trained])
        assert_equal(alone, outputs(model, encoded, [Seams(), trained, Seams()]))
        untrained = self.make()
        assert_equal(alone, outputs(model, encoded, [untrained, trained]))
        assert_equal(alone, outputs(model, encoded, [trained, untrained]))

    def test_undo_takes_back_what_clicks_taught(
        self, model: SegmentationModel, picture: NDArray[np.uint8], untrained: Adapter
    ) -> None:
        session = Session(model, [untrained])
        session.open(picture)
        first = session.click(14.5, 12.5)
        second = session.click(38.5, 29.5, positive=False)
        session.undo()
        np.testing.assert_array_equal(session.mask, first)
        np.testing.assert_array_equal(session.click(38.5, 29.5, positive=False), second)
        session.undo()
        session.undo()
        np.testing.assert_array_equal(session.click(14.5, 12.5), first)

    def test_a_replay_learns_the_same(
        self, model: SegmentationModel, encoded: ImageEmbedding, picture: NDArray[np.uint8]
    ) -> None:
        adapter = self.make()
        session = Session(model, [adapter])
        work(session, picture)
        again = self.make()
        replayed = replay(session.log, model, [again], lambda reference: picture)
        assert [a.counts for a in replayed.accepted] == [a.counts for a in session.accepted]
        assert_equal(outputs(model, encoded, [adapter]), outputs(model, encoded, [again]))


def work(session: Session, image: NDArray[np.uint8]) -> None:
    """A bit of everything that people do."""
    session.open(image)
    session.click(14.5, 12.5)
    session.click(38.5, 29.5, positive=False)
    session.undo()
    session.redo()
    session.reset()
    session.click(14.5, 12.5)
    session.choose(1)
    session.click(16.5, 10.5)
    session.accept("disc")
    session.click(2.5, 38.5)
    session.skip()
    session.box(28, 20, 48, 38)
    session.accept("square")


def outputs(
    model: SegmentationModel, embedding: ImageEmbedding, adapters: Sequence[Seams]
) -> list[Prediction]:
    """Predictions for prompts of all kinds."""
    mask = np.zeros(embedding.original_size, np.bool_)
    mask[5:20, 5:25] = True
    prompts = [
        Prompt([(14.5, 12.5)]),
        Prompt([(38.5, 29.5), (3, 3), (42, 7)], [1, 0, 0]),
        Prompt(box=(28, 20, 48, 38)),
        Prompt([(14.5, 12.5)], box=(4, 2, 25, 23), mask=mask),
    ]
    return [
        model.predict(embedding, prompt, multimask, adapters)
        for prompt in prompts
        for multimask in (False, True)
    ]


def assert_equal(expected: Sequence[Prediction], found: Sequence[Prediction]) -> None:
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a.masks, b.masks)
        np.testing.assert_array_equal(a.logits, b.logits)
        np.testing.assert_array_equal(a.scores, b.scores)
