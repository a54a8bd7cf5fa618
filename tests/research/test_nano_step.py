"""What one training step of nano teaches: losses by hand, given clicks, levels, skipped steps."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from research.nano.clicks import ClickSimulator
from research.nano.losses import _balance, candidate_loss, mask_loss, ranking_loss
from research.nano.recipe import Recipe
from research.nano.running_average import update_average
from research.nano.step import Exercise, StepLoss
from research.nano.train import Trainer
from samadapt.errors import CheckpointError, ModelError
from samadapt.models.nano.network import NanoNetwork
from samadapt.models.nano.weights import normalise, read_weights, write_weights
from small_models import TINY_NANO

CPU = torch.device("cpu")


class TestCandidateLoss:
    def test_one_level_teaches_the_best_candidate(self) -> None:
        costs = torch.tensor([[[3.0, 1.0, 2.0]]])
        one = torch.ones(1, 1, dtype=torch.bool)
        assert candidate_loss(costs, one, pull=0.0).tolist() == [1.0]
        assert candidate_loss(costs, one, pull=0.05).item() == pytest.approx(1 + 0.05 * 2)

    def test_every_level_gets_a_candidate_of_its_own(self) -> None:
        # Candidate 0 is the cheapest for both of the first levels; 0 -> B, 1 -> A costs least.
        costs = torch.tensor([[[1.0, 2.0, 9.0], [1.0, 4.0, 9.0], [0.1, 0.1, 0.1]]])
        valid = torch.tensor([[True, True, False]])
        assert candidate_loss(costs, valid, pull=0.0).item() == pytest.approx(2.0 + 1.0)
        both = candidate_loss(costs, valid, pull=0.3).item()
        assert both == pytest.approx(3.0 + 0.3 * (12 / 3 + 14 / 3))

    def test_no_level_teaches_nothing(self) -> None:
        costs = torch.ones(2, 3, 3, requires_grad=True)
        loss = candidate_loss(costs, torch.zeros(2, 3, dtype=torch.bool))
        assert loss.tolist() == [0.0, 0.0]
        loss.sum().backward()
        assert costs.grad is not None
        assert not costs.grad.any()


class TestRankingLoss:
    def test_by_hand(self) -> None:
        scores = torch.tensor([[0.6, 0.5]])
        overlaps = torch.tensor([[0.3, 0.7]])
        # The second is better: p = sigmoid(-4) for the first, predicted sigmoid(1).
        p, q = 1 / (1 + math.exp(4)), 1 / (1 + math.exp(-1))
        expected = -p * math.log(q) - (1 - p) * math.log(1 - q)
        assert ranking_loss(scores, overlaps).item() == pytest.approx(expected, rel=1e-5)

    def test_near_ties_are_left_out(self) -> None:
        assert ranking_loss(torch.tensor([[0.9, 0.1]]), torch.tensor([[0.50, 0.54]])).item() == 0
        mixed = ranking_loss(torch.tensor([[0.9, 0.1, 0.2]]), torch.tensor([[0.5, 0.54, 0.9]]))
        parts = [
            ranking_loss(torch.tensor([[0.9, 0.2]]), torch.tensor([[0.5, 0.9]])),
            ranking_loss(torch.tensor([[0.1, 0.2]]), torch.tensor([[0.54, 0.9]])),
        ]
        assert mixed.item() == pytest.approx(sum(p.item() for p in parts) / 2, rel=1e-5)

    def test_it_agrees_with_the_truth(self) -> None:
        overlaps = torch.tensor([[0.2, 0.5, 0.9]])
        scores = overlaps.clone().requires_grad_()
        ranking_loss(scores, overlaps).backward()
        torch.testing.assert_close(scores.grad, torch.zeros(1, 3), atol=1e-5, rtol=0)


class TestGivenClicks:
    @pytest.fixture
    def masks(self) -> np.ndarray:
        masks = np.zeros((4, 64, 64), np.uint8)
        masks[:, 10:40, 20:60] = 1
        return masks

    def test_they_come_first_where_they_lie_on_the_object(self, masks: np.ndarray) -> None:
        first = np.array([[33.5, 21.25], [np.nan, np.nan], [5, 5], [64, 20]], np.float32)
        clicks = ClickSimulator(masks, np.random.default_rng(0), 2, ThreadPoolExecutor(1), first)
        clicks.start(box_share=0.0)
        assert clicks.started_as_given.tolist() == [True, False, False, False]
        prompts = clicks.prompts(None, CPU)
        assert prompts.labels.tolist() == [[1]] * 4
        assert prompts.points[0, 0].tolist() == [33.5, 21.25]
        for x, y in prompts.points[1:, 0].tolist():
            assert 20 <= x < 60
            assert 10 <= y < 40
        clicks.refine(np.zeros((4, 64, 64), bool))
        assert clicks.prompts(None, CPU).points[0, 0].tolist() == [33.5, 21.25]

    def test_boxes_go_before_them(self, masks: np.ndarray) -> None:
        first = np.full((4, 2), 30, np.float32)
        clicks = ClickSimulator(masks, np.random.default_rng(0), 1, ThreadPoolExecutor(1), first)
        clicks.start(box_share=1.0)
        assert not clicks.started_as_given.any()
        assert (clicks.prompts(None, CPU).labels == -1).all()


def recipe(folder: Path, **options: object) -> Recipe:
    weights = folder / "start.safetensors"
    if not weights.exists():
        torch.manual_seed(0)
        write_weights(NanoNetwork(TINY_NANO), weights, {"steps": 7})
    plain = Recipe(
        data=str(folder), out=str(folder / "run"), init=str(weights), device="cpu", frozen_blocks=0
    )
    return replace(plain, **{"side": 64, "batch": 2, "warmup_steps": 1, "minutes": 9.0, **options})


def batch(with_levels: bool = False) -> dict[str, torch.Tensor]:
    """Two images with two nested squares each, the smaller one to be clicked."""
    rng = np.random.default_rng(0)
    masks = np.zeros((2, 2, 64, 64), np.uint8)
    masks[..., 16:40, 16:40] = 1
    found = {
        "image": torch.from_numpy(rng.integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)),
        "masks": torch.from_numpy(masks),
        "regions": torch.from_numpy(rng.integers(0, 3, (2, 8, 8))),
    }
    if with_levels:
        levels = np.zeros((2, 2, 3, 64, 64), np.uint8)
        levels[:, :, 0, 8:56, 8:56] = 1
        levels[:, :, 1] = masks
        found["levels"] = torch.from_numpy(levels)
        found["level_valid"] = torch.tensor([True, True, False]).expand(2, 2, 3).clone()
        found["click"] = torch.full((2, 2, 2), 20.0)
        found["click"][1] = torch.nan
    return found


class TestLevels:
    @pytest.fixture
    def exercise(self) -> Exercise:
        """Objects 0 and 1 start with the given click, 2 and 3 with one of the simulator's."""
        values = batch(with_levels=True)
        masks = values["masks"].flatten(0, 1)
        clicks = ClickSimulator(
            masks.numpy(),
            np.random.default_rng(0),
            1,
            ThreadPoolExecutor(1),
            values["click"].flatten(0, 1).numpy(),
        )
        clicks.start(box_share=0.0)
        target, levels = masks[:, ::4, ::4].float(), values["levels"].flatten(0, 1)
        return Exercise(
            target,
            levels[..., ::4, ::4].float(),
            values["level_valid"].flatten(0, 1),
            clicks,
            (True,),
            (0.0, 0.0),
        )

    def test_they_count_where_their_click_was_made(self, exercise: Exercise) -> None:
        loss = StepLoss(NanoNetwork(TINY_NANO), Recipe("", ""))
        torch.manual_seed(0)
        candidates = torch.randn(4, 3, 16, 16)
        own = mask_loss(candidates, exercise.target[:, None].expand_as(candidates))
        costs, valid = loss._costs(candidates, own, exercise)
        assert valid.tolist() == [[True, True, False]] * 2 + [[True, False, False]] * 2
        assert exercise.levels is not None
        for row in range(4):
            for k in range(3):
                whole = mask_loss(candidates[row, k], exercise.levels[row, 0])
                first = whole if row < 2 else own[row, k]
                assert costs[row, 0, k].item() == pytest.approx(first.item(), rel=1e-5)
                assert costs[row, 1, k].item() == pytest.approx(own[row, k].item(), rel=1e-5)

    def test_without_levels_the_object_is_all_that_can_be_meant(self, exercise: Exercise) -> None:
        loss = StepLoss(NanoNetwork(TINY_NANO), Recipe("", ""))
        plain = replace(exercise, levels=None, level_valid=None)
        own = torch.rand(4, 3)
        costs, valid = loss._costs(torch.zeros(4, 3, 16, 16), own, plain)
        assert torch.equal(costs, own[:, None])
        assert valid.tolist() == [[True]] * 4

    def test_candidates_learn_to_cover_them(self, tmp_path: Path) -> None:
        clicks_alone = {"boxes": 0.0, "drafts": 0.0, "scattered": 0.0, "silent_rounds": 0}
        trainer = Trainer(recipe(tmp_path, learning_rate=5e-3, objects=2, **clicks_alone))
        values = batch(with_levels=True)
        values["click"][:] = 20.0
        reports = [trainer.train_step(values) for _ in range(50)]
        assert reports[-1]["loss"] < 0.7 * reports[0]["loss"]
        simulator = ClickSimulator(
            values["masks"].flatten(0, 1).numpy(),
            np.random.default_rng(0),
            1,
            trainer.pool,
            values["click"].flatten(0, 1).numpy(),
        )
        simulator.start(box_share=0.0)
        network = trainer.network
        with torch.no_grad():
            features = network(normalise(values["image"]))
            rows = features.rows(torch.tensor([0, 0, 1, 1]))
            logits, _, _ = network.answer(rows, simulator.prompts(None, CPU))
        inside, around = logits[..., 8:20, 8:20], logits[..., 4:28, 4:28]
        covers_part = (inside > 0).float().mean((2, 3))[:, 1:]
        covers_whole = (around > 0).float().mean((2, 3))[:, 1:]
        assert (covers_part.amax(1) > 0.8).all()
        assert (covers_whole.amax(1) > 0.8).all()
        assert (covers_whole.amin(1) < 0.5).all()


class TestSteps:
    def test_silent_rounds_teach_the_score_head_alone(self) -> None:
        torch.manual_seed(0)
        network = NanoNetwork(TINY_NANO)
        loss = StepLoss(network, Recipe("", ""))
        masks = batch()["masks"].flatten(0, 1).numpy()
        clicks = ClickSimulator(masks, np.random.default_rng(0), 1, ThreadPoolExecutor(1))
        clicks.start()
        features = network(torch.randn(2, 3, 64, 64)).rows(torch.tensor([0, 0, 1, 1]))
        prompts = clicks.prompts(None, CPU)
        logits, scores = loss._answer_silently(features, prompts, (0.0, 0.0))
        expected_logits, expected_scores, _ = network.answer(features, prompts)
        torch.testing.assert_close(logits, expected_logits)
        torch.testing.assert_close(scores, expected_scores)
        assert not logits.requires_grad
        scores.sum().backward()
        taught = {name for name, p in network.named_parameters() if p.grad is not None}
        assert taught == {n for n, _ in network.named_parameters() if ".score_head." in n}

    def test_a_step_that_is_not_finite_changes_nothing(self, tmp_path: Path) -> None:
        trainer = Trainer(recipe(tmp_path))
        trainer.train_step(batch())
        before = {k: v.clone() for k, v in trainer.network.named_parameters()}
        kept = trainer.network.decoder.head.project.register_full_backward_hook(
            lambda module, into, out: tuple(g * torch.nan for g in into)
        )
        trainer.train_step(batch())
        kept.remove()
        for name, value in trainer.network.named_parameters():
            assert torch.equal(value, before[name]), name
        trainer.train_step(batch())
        moved = [not torch.equal(v, before[k]) for k, v in trainer.network.named_parameters()]
        assert sum(moved) > 0.9 * len(moved)
        assert all(v.isfinite().all() for v in trainer.network.parameters())

    def test_the_average_is_one_by_hand(self) -> None:
        average, network = NanoNetwork(TINY_NANO), NanoNetwork(TINY_NANO)
        old, new = average.decoder.prior_gain, network.decoder.prior_gain
        torch.nn.init.constant_(old, 1.0)
        torch.nn.init.constant_(new, 3.0)
        average.requires_grad_(False)
        update_average(average, network, decay=0.75)
        assert average.decoder.prior_gain.tolist() == [1.5] * 4

    def test_rates_follow_minutes_or_steps(self, tmp_path: Path) -> None:
        rates = {"learning_rate": 1.0, "warmup_steps": 4, "decay_share": 0.5, "minutes": 10.0}
        trainer = Trainer(recipe(tmp_path, **rates, max_steps=100))
        for step, minutes, rate in ((0, 0, 0.25), (3, 0, 1.0), (50, 0, 1.0), (75, 0, 0.5)):
            trainer.step, trainer.spent = step, minutes
            assert trainer._learning_rate() == pytest.approx(rate)
        trainer.step, trainer.spent = 10, 8.0
        assert trainer._learning_rate() == pytest.approx(0.4)
        assert not trainer._is_over()
        trainer.step = 100
        assert trainer._is_over()


class TestStart:
    def test_the_file_tells_the_runs_that_made_it(self, tmp_path: Path) -> None:
        options = recipe(tmp_path)
        trainer = Trainer(options)
        trainer.train_step(batch())
        trainer.save()
        made = Path(options.out) / "nano.safetensors"
        info = read_weights(made).info
        assert info["steps"] == 1
        assert info["runs"][0] == {"steps": 7}
        assert info["runs"][1]["from"] == read_weights(Path(str(options.init))).hash
        assert info["runs"][1]["recipe"]["side"] == 64
        assert str(tmp_path) not in str(info)
        onwards = Trainer(replace(options, init=str(made), out=str(tmp_path / "b")))
        assert [run["steps"] for run in onwards._info()["runs"]] == [7, 1, 0]

    def test_a_damaged_checkpoint_is_named(self, tmp_path: Path) -> None:
        options = recipe(tmp_path)
        file = tmp_path / "run" / "checkpoint.pt"
        file.parent.mkdir()
        file.write_bytes(b"not a checkpoint")
        with pytest.raises(CheckpointError, match=r"checkpoint\.pt cannot be resumed") as caught:
            Trainer(options)
        assert "\n" not in str(caught.value)

    def test_missing_accelerate_is_one_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(__import__("sys").modules, "accelerate", None)
        with pytest.raises(ModelError, match=r"pip install 'samadapt\[train\]'"):
            Trainer(recipe(tmp_path))
        assert not (tmp_path / "run").exists()


def test_small_regions_are_drawn_more_often_than_their_area_says() -> None:
    regions = torch.tensor([[7, 7, 7, 7, 0, 900, 900, 900, 900]])
    found = _balance(regions)
    assert found.tolist() == [[0.5] * 4 + [1.0] + [0.5] * 4]
