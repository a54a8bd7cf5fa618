"""The judge of a task: what it pools, what it learns, where it is kept."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from fakes import FakeModel, blobs
from samadapt.adapters.files import WEIGHTS_FILE, write_folder
from samadapt.adapters.registry import create_adapter, load_adapter
from samadapt.adapters.task_prompt import TaskPromptAdapter
from samadapt.adapters.task_prompt.examples import gather
from samadapt.adapters.task_prompt.judge import Judge, pooled_features
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from small_models import NAMES, tiny_model, tiny_nano
from tiny_dataset import label_map, oracle


def examples(count: int, channels: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features that differ in the first number alone: around 1 where it is the task's kind."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, 2 * channels + 2, generator=generator)
    labels = torch.arange(count) % 2 == 0
    features[:, 0] = 0.4 * features[:, 0] + labels * 2 - 1
    return features, labels


def task(model: SegmentationModel | None = None) -> TaskPromptAdapter:
    """An untrained adapter."""
    adapter = create_adapter("task-prompt", model or tiny_nano())
    assert isinstance(adapter, TaskPromptAdapter)
    return adapter


class TestFeatures:
    def embedding(self) -> ImageEmbedding:
        """56 x 40 in a padded square of 32: the grid is 8 x 8, with 6 rows (5.75) of image."""
        model = FakeModel()
        plain = model.encode(blobs())
        image = torch.zeros(1, 8, 8, 8)
        image[:, 0, 1:3, 2:6] = 3.0
        return ImageEmbedding({"image": image}, plain.geometry, plain.model, plain.preprocessing)

    def test_by_hand(self) -> None:
        embedding = self.embedding()
        mask = torch.zeros(1, 16, 16)
        mask[0, 2:6, 4:12] = 1  # cells 1-2, 2-5
        (found,) = pooled_features(mask, embedding)
        assert found[0] == pytest.approx(3.0)
        assert found[8] == pytest.approx(3.0), "the ring shows 0"
        assert not found[1:8].any()
        rows = embedding.geometry.valid((8, 8)).any(1).sum()
        assert found[16] == pytest.approx(math.log(8 / (8 * int(rows))))
        # Two and four cells in a row have variances of 1/4 and 5/4, and a cell of 1/12.
        scale = embedding.geometry.scale[0] / embedding.geometry.scale[1]
        expected = math.log((1 / 4 + 1 / 12) / (5 / 4 + 1 / 12)) / 2 + math.log(scale)
        assert found[17] == pytest.approx(expected, abs=1e-5)

    def test_half_a_cell_counts_half(self) -> None:
        embedding = self.embedding()
        mask = torch.zeros(1, 16, 16)
        mask[0, 2:4, 3:6] = 1  # half of cell 1 (which is 0) and cell 2 (which is 3)
        assert pooled_features(mask, embedding)[0, 0] == pytest.approx(2.0)

    def test_nothing_and_everything_are_finite(self) -> None:
        masks = torch.stack([torch.zeros(16, 16), torch.ones(16, 16)])
        found = pooled_features(masks, self.embedding())
        assert not found[0].any()
        assert found.isfinite().all()
        assert not found[1, 8:16].any(), "without a ring there is no difference"
        assert found[1, 16] == 0

    @pytest.mark.parametrize("name", NAMES)
    def test_every_family(self, name: str) -> None:
        model = tiny_model(name)
        embedding = model.encode(blobs())
        masks = torch.zeros(3, *model.logits_size(embedding))
        masks[1:, :4, :6] = 1
        found = pooled_features(masks, embedding)
        assert found.shape == (3, 2 * model.spec.width + 2)
        assert found[1].equal(found[2])
        assert found.isfinite().all()


class TestLearning:
    def test_it_tells_new_examples_apart(self) -> None:
        judge = Judge(3)
        assert not judge.is_trained
        judge.learn(*examples(60))
        assert judge.is_trained
        features, labels = examples(400, seed=1)
        found = judge(features)
        assert ((found > 0.5) == labels).float().mean() > 0.95

    def test_it_is_the_optimum(self) -> None:
        """An independent descent on the same objective finds nothing better."""
        judge = Judge(3)
        features, labels = examples(30)
        labels[:20] = False
        judge.learn(features, labels)
        x = ((features - judge.mean) / judge.deviation).double()
        y = labels.double()
        counts = torch.where(labels, 15 / y.sum(), 15 / (30 - y.sum()))
        from samadapt.adapters.task_prompt.judge import _VARIANCE

        weight, bias = judge.weight.double().requires_grad_(), judge.bias.double().requires_grad_()
        signs = 2 * y - 1
        loss = (counts * torch.log1p(torch.exp(-signs * (x @ weight + bias)))).sum()
        (loss + weight.square().sum() / (2 * _VARIANCE)).backward()  # type: ignore[no-untyped-call]
        assert weight.grad is not None
        assert bias.grad is not None
        assert weight.grad.abs().max() < 1e-4
        assert bias.grad.abs() < 1e-4

    def test_few_examples_leave_it_less_sure(self) -> None:
        few, many = Judge(3), Judge(3)
        few.learn(*examples(2))
        many.learn(*examples(200))
        features, _ = examples(50, seed=1)
        assert (few(features) - 0.5).abs().mean() < (many(features) - 0.5).abs().mean()

    def test_how_many_there_are_of_each_does_not_shift_it(self) -> None:
        features, labels = examples(20)
        more = torch.cat([features, features[~labels].repeat(9, 1)])
        judge = Judge(3)
        judge.learn(more, torch.cat([labels, labels.new_zeros(90)]))
        assert bool((judge(features[labels]) > 0.5).all())

    @pytest.mark.parametrize("label", [True, False])
    def test_one_kind_alone_teaches_nothing(self, label: bool) -> None:
        judge = Judge(3)
        judge.learn(*examples(10))
        judge.learn(examples(10)[0], torch.full((10,), label))
        assert not judge.is_trained
        judge.learn(torch.zeros(0, 0), torch.zeros(0, dtype=torch.bool))
        assert not judge.is_trained


class TestExamples:
    def test_labels_follow_what_was_answered(self) -> None:
        """The oracle answers with the object under the point; the disc is the task."""
        model, labels = oracle(), label_map()
        image = (model.encode(blobs()), [labels == 1])
        features, found = gather(model, Seams(), [image], 1, 0)
        assert len(found) == 1 + 32 + 8
        assert int(found.sum()) == 1 + 8, "the mask, and the answers inside of it"
        expected = pooled_features(
            model.encode(blobs()).geometry.to_decoder(
                torch.from_numpy(labels == 1)[None, None], model.logits_size(image[0])
            )[:, 0],
            image[0],
        )
        torch.testing.assert_close(features[:1], expected)

    def test_the_seed_decides(self) -> None:
        model = oracle()
        image = (model.encode(blobs()), [label_map() == 1])

        def draw(seed: int) -> Tensor:
            return gather(model, Seams(), [image] * 5, 5, seed)[0]

        assert draw(0).equal(draw(0))
        assert not draw(0).equal(draw(1))

    def test_no_more_points_than_promised(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = oracle()
        embedding, labels = model.encode(blobs()), label_map()
        asked: list[int] = []
        decode = model.decode

        def counted(*args: object, **kwargs: object) -> object:
            asked.append(len(args[1]))  # type: ignore[arg-type]
            return decode(*args, **kwargs)  # type: ignore[arg-type]

        monkeypatch.setattr(model, "decode", counted)
        masks = [labels == 1, labels == 2, labels == 3]
        gather(model, Seams(), [(embedding, masks)] * 20, 20, 0)
        assert sum(asked) == 20 * (8 + 2)

    def test_a_mask_of_everything_has_no_outside(self) -> None:
        model = oracle()
        full = np.ones(label_map().shape, np.bool_)
        _, labels = gather(model, Seams(), [(model.encode(blobs()), [full])], 1, 0)
        assert labels[0]
        assert len(gather(model, Seams(), [], 1, 0)[1]) == 0


class TestInTheAdapter:
    def trained(self, model: SegmentationModel | None = None) -> TaskPromptAdapter:
        adapter = task(model)
        assert adapter.module is not None
        channels = adapter.config.channels
        adapter.module.judge.learn(*examples(20, channels))
        return adapter

    def test_untrained_it_says_nothing(self) -> None:
        model = tiny_nano()
        embedding = model.encode(blobs())
        masks = torch.ones(2, *model.logits_size(embedding))
        assert TaskPromptAdapter().judge(masks, embedding) is None
        assert task(model).judge(masks, embedding) is None

    def test_it_is_saved_and_is_no_parameter(self, tmp_path: Path) -> None:
        model = tiny_nano()
        adapter = self.trained()
        assert adapter.parameter_count == task().parameter_count
        adapter.save_pretrained(tmp_path / "a")
        assert "judge.weight" in load_file(tmp_path / "a" / WEIGHTS_FILE)
        loaded = load_adapter(tmp_path / "a", model)
        assert isinstance(loaded, TaskPromptAdapter)
        embedding = model.encode(blobs())
        masks = torch.ones(2, *model.logits_size(embedding))
        found = loaded.judge(masks, embedding)
        assert found is not None
        assert found.shape == (2,)
        expected = adapter.judge(masks, embedding)
        assert expected is not None
        assert found.equal(expected)

    def test_an_adapter_from_before_there_were_judges_is_untrained(self, tmp_path: Path) -> None:
        adapter = self.trained()
        state = {n: t for n, t in adapter.state_dict().items() if not n.startswith("judge.")}
        write_folder(tmp_path / "old", adapter.config.to_dict(), state)
        loaded = load_adapter(tmp_path / "old", tiny_nano())
        assert isinstance(loaded, TaskPromptAdapter)
        assert loaded.module is not None
        assert not loaded.module.judge.is_trained

    def test_finish_teaches_it_what_the_task_is(self) -> None:
        model, labels = oracle(), label_map()
        adapter = task(model)
        embedding = model.encode(blobs())
        adapter.calibrate(model, iter([(embedding, [labels == 1])]), 1, 0)
        size = model.logits_size(embedding)
        masks = torch.cat(
            [
                embedding.geometry.to_decoder(torch.from_numpy(labels == k)[None, None], size)
                for k in (1, 2, 3, 0)
            ]
        )
        found = adapter.judge(masks[:, 0], embedding)
        assert found is not None
        assert found[0] > 0.8
        assert bool((found[1:] < 0.5).all())
