"""Fitting one task: a few masks or many, chosen weights, an early end, a name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import samadapt
from samadapt.adapters.base import Adapter
from samadapt.adapters.fitting import TASK_PROMPTS
from samadapt.adapters.task_prompt import TaskPromptAdapter
from samadapt.data.coco import CocoDataset
from samadapt.data.records import NewObject
from samadapt.data.selection import select
from samadapt.errors import AdapterError, DataError
from samadapt.models.hashing import hash_tensors
from samadapt.models.nano.model import NanoModel
from samadapt.training.fit import FitReport, FitStatus, run_fit
from samadapt.training.fitting.later_phases import FinishedPrediction, LaterStep, learn_later
from samadapt.training.fitting.methods import fit_method
from samadapt.training.fitting.prompts import drawn_prompt, rim
from samadapt.training.fitting.recipe import FitRecipe
from samadapt.training.fitting.step import learn_image
from samadapt.training.fitting.trainer import Trainer
from samadapt.training.fitting.training_data import TrainingData
from samadapt.training.prompt_sampling import PromptSampler
from small_models import tiny_nano
from tiny_dataset import TinyDataset, make_dataset

QUICK: dict[str, Any] = {
    "steps": 4,
    "images_per_step": 1,
    "prompts_per_object": 1,
    "category": "disc",
}
HELD = {"held_out": 0.34, "least": 2, "validate_steps": 1, "checkpoint_steps": 1}
"""One image of the three is held out, and looked at after every step."""


@pytest.fixture
def tiny(tmp_path: Path) -> TinyDataset:
    return make_dataset(tmp_path / "tiny")


@pytest.fixture(scope="module")
def nano() -> NanoModel:
    return tiny_nano()


@pytest.fixture
def train(tiny: TinyDataset, nano: NanoModel, tmp_path: Path) -> Callable[..., FitReport]:
    def run(method: str = "task-prompt", out: str = "out", **changes: Any) -> FitReport:
        progress = changes.pop("progress", False)
        data: CocoDataset = changes.pop("dataset", None) or tiny.open()
        return run_fit(
            method,
            nano,
            [data],
            tmp_path / out,
            cache=tmp_path / "cache",
            progress=progress,
            settings=QUICK | changes,
        )

    return run


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums are added up in the same order in every run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights(adapter: Adapter) -> str:
    return hash_tensors(dict(adapter.state_dict()))


class TestLearning:
    @pytest.mark.parametrize(
        ("method", "rate"),
        [("task-prompt", 0.01), ("task-prompt:no-context", 0.01), ("tokens", 0.1)],
    )
    def test_the_loss_falls_and_the_adapter_comes_back(
        self,
        method: str,
        rate: float,
        train: Callable[..., FitReport],
        nano: NanoModel,
        tmp_path: Path,
    ) -> None:
        report = train(method, steps=16, learning_rate=rate, prompts=("box",), shots=1)
        curve = report.values["curve"]["loss"]
        assert len(curve) == 16, "one mask, visited in every step"
        assert sum(curve[-3:]) < 0.99 * sum(curve[:3])
        loaded = samadapt.load_adapter(tmp_path / "out", nano)
        assert weights(loaded) == weights(report.adapter)
        assert loaded.config == report.adapter.config
        assert loaded.config.category == "disc"
        assert loaded.config.recipe["shots"] == 1
        assert samadapt.Tasks(nano, tmp_path / "out").names == ("disc",)

    def test_only_the_category_is_learned(self, train: Callable[..., FitReport]) -> None:
        report = train(steps=3)
        assert report.values["prompts"] == report.values["images"] == 3
        (data,) = report.values["run"]["data"]
        assert data["objects"] == 3
        assert data["masks"] == "tiny/test.json (disc)"

    def test_it_knows_how_many_masks_it_has_seen(
        self, train: Callable[..., FitReport], nano: NanoModel, tmp_path: Path
    ) -> None:
        for shots in (1, 2, None):
            out = f"of {shots}"
            train(steps=1, shots=shots, out=out)
            found = samadapt.load_adapter(tmp_path / out, nano)
            assert isinstance(found, TaskPromptAdapter)
            assert found.config.training_data["masks"] == (shots or 3)
            assert not any("context" in name for name in found.state_dict()), "too few for that"

    @pytest.mark.parametrize("apart", [0, 8])
    def test_four_masks_teach_what_is_around_if_they_lie_alike(
        self, apart: int, train: Callable[..., FitReport], nano: NanoModel, tiny: TinyDataset
    ) -> None:
        """Squares of 8 pixels in the middle, and as far from it as `apart` says, left or right."""
        things = []
        for number, side in enumerate((1, -1, 1, -1)):
            mask = np.zeros((40, 56), bool)
            mask[16:24, 24 + side * apart : 32 + side * apart] = True
            things.append(NewObject(number % 3 + 1, "thing", mask))
        dataset = tiny.open().with_objects(things)
        report = train(steps=1, shots=4, category="thing", dataset=dataset)
        found = report.adapter
        assert isinstance(found, TaskPromptAdapter)
        spread = found.config.training_data["position_spread"]
        assert spread == report.values["found"]["position_spread"]
        assert spread == pytest.approx(apart / 56, abs=1e-4)
        assert bool(found.config.context) == (apart == 0)
        names = samadapt.load_adapter(report.out, nano).state_dict()
        assert any("context" in name for name in names) == (apart == 0)

    def test_other_methods_learn_a_category_too(
        self, train: Callable[..., FitReport], nano: NanoModel, tmp_path: Path
    ) -> None:
        train("lora", shots=2)
        assert samadapt.Tasks(nano, tmp_path / "out").names == ("disc",)

    def test_the_public_function_takes_chosen_masks(
        self, tiny: TinyDataset, nano: NanoModel, tmp_path: Path
    ) -> None:
        settings = {**QUICK, "category": None, "steps": 1}
        chosen = select(tiny.open(), "bar", 2)
        adapter = samadapt.fit(
            "task-prompt", nano, chosen, tmp_path / "a", cache=tmp_path / "c", **settings
        )
        assert isinstance(adapter, TaskPromptAdapter)
        assert adapter.category == "bar", "there is no other"

    @pytest.mark.parametrize("variant", ["point-matching", "shared-outline"])
    def test_with_point_matching_both_learn(
        self, train: Callable[..., FitReport], nano: NanoModel, tmp_path: Path, variant: str
    ) -> None:
        report = train(f"task-prompt:{variant}", learning_rate=0.01)
        adapter = report.adapter
        assert isinstance(adapter, TaskPromptAdapter)
        plain = TaskPromptAdapter.create(variant).config
        fresh = TaskPromptAdapter(replace(plain, context=0, gain=1.0))
        fresh.bind(nano)
        before, after = fresh.state_dict(), adapter.state_dict()
        moved = {name.split(".")[0] for name in before if not before[name].equal(after[name])}
        assert moved == {"prompt", "dense", "outline", "judge"}
        loaded = samadapt.load_adapter(tmp_path / "out")
        assert weights(loaded) == weights(adapter)
        assert loaded.config == adapter.config

    def test_beside_point_matching_the_prompts_part_learns_what_it_would_alone(
        self, train: Callable[..., FitReport], one_thread: None
    ) -> None:
        learned = [
            train(method, out=str(place), learning_rate=0.01).adapter.state_dict()
            for place, method in enumerate(
                ("task-prompt", "task-prompt:point-matching", "task-prompt:shared-outline")
            )
        ]
        names = [name for name in learned[0] if name.split(".")[0] in ("prompt", "dense")]
        assert all(learned[0][name].equal(learned[1][name]) for name in names)
        assert not all(learned[0][name].equal(learned[2][name]) for name in names)

    def test_point_matching_learns_from_finished_answers(
        self,
        train: Callable[..., FitReport],
        one_thread: None,
    ) -> None:
        """The prompt's part is final when the outline begins, also after a run that was killed."""
        statuses: list[FitStatus] = []
        settings = {"learning_rate": 0.01, "checkpoint_steps": 1, **HELD}
        whole = train("task-prompt:point-matching", progress=statuses.append, **settings)
        values = whole.values
        assert [status.step for status in statuses][-5:] == [4, 5, 6, 7, 8]
        assert statuses[-1].steps == 8
        assert len(values["curve"]["apart"]) == 4
        assert len(values["held_out"]["looks"]) == values["steps"] == 4

        def die(status: FitStatus) -> None:
            if status.step == 6:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train("task-prompt:point-matching", out="again", progress=die, **settings)
        resumed = train("task-prompt:point-matching", out="again", **settings)
        assert resumed.resumed_at == 4
        assert weights(resumed.adapter) == weights(whole.adapter)
        assert resumed.values["curve"] == values["curve"]

    def test_it_keeps_answers_to_all_kinds_of_prompts_but_not_too_many(
        self, train: Callable[..., FitReport], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        kept: list[Sequence[FinishedPrediction]] = []

        def spy(phase: Any, finished: Any, *rest: Any) -> Iterator[LaterStep]:
            kept.append(finished)
            return learn_later(phase, finished, *rest)

        monkeypatch.setattr("samadapt.training.fitting.trainer.learn_later", spy)
        train("task-prompt:point-matching", steps=1)
        monkeypatch.setattr("samadapt.training.fitting.later_phases.MOST_PREDICTIONS", 4)
        train("task-prompt:point-matching", steps=1, out="few")
        assert [len(answers) for answers in kept] == [3 * len(TASK_PROMPTS), 4], (
            "three images, a disc each"
        )
        for answer in kept[0]:
            assert answer.logits.shape == answer.target.shape
            assert not answer.logits.requires_grad

    def test_a_step_that_is_not_finite_is_left_out_and_counted(
        self, train: Callable[..., FitReport], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of two steps the first is spoilt: the run goes on, and its report is valid JSON."""
        factors = iter([math.nan, 1.0])

        def spoil(model: Any, adapters: Any, view: Any, given: Any, phase: Any, weight: Any) -> Any:
            factor = next(factors)
            spoilt = replace(phase, loss=lambda *a: phase.loss(*a) * factor)
            return learn_image(model, adapters, view, given, spoilt, weight)

        monkeypatch.setattr("samadapt.training.fitting.trainer.learn_image", spoil)
        values = train("task-prompt", steps=2).values
        assert values["steps"] == 2
        assert values["spoilt_steps"] == 1
        assert len(values["curve"]["loss"]) == len(values["curve"]["miou"]) == 1
        assert "NaN" not in json.dumps(values)

    def test_steps_of_the_outline_that_are_not_finite_are_left_out_and_counted(
        self, train: Callable[..., FitReport], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of two steps the first is spoilt: the second begins where the outline began."""
        taken: list[LaterStep] = []
        outlines: list[list[Tensor]] = []

        def spoil(phase: Any, *rest: Any) -> Iterator[LaterStep]:
            outlines.append([p.detach().clone() for p in phase.parameters])
            factor = math.nan
            spoilt = replace(phase, loss=lambda *given: phase.loss(*given) * factor)
            for step in learn_later(spoilt, *rest):
                taken.append(step)
                outlines.append([p.detach().clone() for p in phase.parameters])
                factor = 1.0
                yield step

        monkeypatch.setattr("samadapt.training.fitting.trainer.learn_later", spoil)
        report = train("task-prompt:point-matching", steps=2, learning_rate=0.01, warmup=0.0)
        assert [step.taken for step in taken] == [False, True]
        assert report.values["spoilt_steps"] == 1
        assert len(report.values["curve"]["apart"]) == 1
        start, first, second = outlines
        assert all(map(torch.equal, start, first))
        assert not all(map(torch.equal, first, second))

    def test_point_matching_alone(self, train: Callable[..., FitReport]) -> None:
        assert train("point-matching").values["steps"] == 4


class TestBudget:
    @pytest.mark.parametrize("shots", [1, 2, 3, None])
    def test_steps_do_not_depend_on_the_number_of_masks(
        self, shots: int | None, tiny: TinyDataset
    ) -> None:
        recipe = fit_method("task-prompt").recipe.changed(steps=7, images_per_step=4)
        steps = TrainingData([select(tiny.open(), "disc", shots)], recipe).steps()
        assert [len(step) for step in steps] == [4] * 7
        visits = [visit for step in steps for visit in step]
        keys = [(visit.image_id, visit.epoch) for visit in visits]
        assert len(set(keys)) == len(keys), "every visit has prompts of its own"
        counts = [sum(v.image_id == n for v in visits) for n in {v.image_id for v in visits}]
        assert max(counts) - min(counts) <= 1

    def test_who_asks_for_epochs_gets_epochs(self, tiny: TinyDataset) -> None:
        recipe = fit_method("task-prompt").recipe.changed(epochs=2, images_per_step=1)
        assert recipe.steps is None
        assert len(TrainingData([tiny.open()], recipe).steps()) == 6


class TestSpread:
    def test_things_in_the_same_place(self, tiny: TinyDataset) -> None:
        assert TrainingData([select(tiny.open(), "disc")], FitRecipe()).position_spread == 0

    def test_boxes_in_two_places(self, tiny: TinyDataset) -> None:
        """Box centres of the disc and of the square: (14.5, 12.5), (38, 29), on 56 x 40."""
        dataset = tiny.open()
        discs, squares = (select(dataset, name) for name in ("disc", "square"))
        half = math.hypot((38 - 14.5) / 56, (29 - 12.5) / 40) / 2
        assert TrainingData([discs, squares], FitRecipe()).position_spread == pytest.approx(half)

    def test_what_is_held_out_does_not_count(self, tiny: TinyDataset) -> None:
        """Three discs in the left half, and one square, of the image that is held out."""
        dataset = tiny.open()
        recipe = FitRecipe(held_out=0.34, least=1)
        (held,) = TrainingData([dataset], recipe).held_out
        things = [a for a in dataset.annotations if a.category_id == 1]
        things += [a for a in dataset.annotations_of(held.image_id) if a.category_id == 2]
        mixed = replace(dataset, annotations=tuple(things))
        assert TrainingData([mixed], replace(recipe, held_out=0.0)).position_spread > 0.1
        assert TrainingData([mixed], recipe).held_out[0].image_id == held.image_id
        assert TrainingData([mixed], recipe).position_spread == 0


class TestHeldOut:
    def test_images_are_held_out_when_there_are_enough_objects(self, tiny: TinyDataset) -> None:
        def training_data(least: int) -> TrainingData:
            return TrainingData([tiny.open()], FitRecipe(held_out=0.34, least=least))

        assert training_data(10).held_out == ()
        found = training_data(9)
        (visit,) = found.held_out
        assert len(visit.objects) == 3
        trained = {v.image_id for step in found.steps() for v in step}
        assert trained == {1, 2, 3} - {visit.image_id}
        assert found.describe()[0]["held_out"] == 1

    def test_a_single_image_is_not_held_out(self, tiny: TinyDataset) -> None:
        chosen = select(tiny.open(), "disc", 1)
        assert TrainingData([chosen], FitRecipe(held_out=0.9, least=1)).held_out == ()

    def test_the_best_weights_are_kept(
        self, train: Callable[..., FitReport], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[str] = []
        scores = iter([0.1, 0.5, 0.4, 0.3])

        def look(self: Trainer) -> float:
            seen.append(weights(self._adapter))
            return next(scores)

        monkeypatch.setattr(Trainer, "_held_out_overlap", look)
        monkeypatch.setattr(Trainer, "_end", lambda self, tell: None)
        report = train(**HELD)
        assert weights(report.adapter) == seen[1]
        assert len(set(seen)) == 4
        held = report.values["held_out"]
        assert held["looks"] == [[1, 0.1], [2, 0.5], [3, 0.4], [4, 0.3]]
        assert held["best_step"] == 2
        assert not held["stopped_early"]
        assert json.loads(json.dumps(report.values)) == report.values

    def test_it_ends_when_nothing_gets_better(
        self, train: Callable[..., FitReport], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scores = iter([0.5, 0.4, 0.5, 0.9])
        monkeypatch.setattr(Trainer, "_held_out_overlap", lambda self: next(scores))
        values = train(**HELD, patience=2).values
        assert values["steps"] == 3
        assert values["held_out"]["stopped_early"]
        assert values["held_out"]["best_step"] == 1
        again = train(**HELD, patience=2)
        assert again.resumed_at == 3, "it is finished"

    def test_an_interrupted_run_remembers_the_best(
        self, train: Callable[..., FitReport], one_thread: None
    ) -> None:
        def tell(status: FitStatus) -> None:
            if status.step == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(**HELD, progress=tell)
        resumed, whole = train(**HELD), train(out="whole", **HELD)
        assert resumed.resumed_at == 3
        assert whole.resumed_at == 0
        assert resumed.values["held_out"] == whole.values["held_out"]
        assert len(whole.values["held_out"]["looks"]) == 4
        assert weights(resumed.adapter) == weights(whole.adapter)


class TestPrompts:
    def test_near_the_edge(self) -> None:
        mask = np.zeros((40, 60), np.bool_)
        mask[10:30, 20:50] = True
        found = rim(mask)
        # The deepest pixels lie 10 rows deep: a quarter of that is 2.5, so 2 rows are rim.
        inner = np.zeros_like(mask)
        inner[12:28, 22:48] = True
        assert (found == (mask & ~inner)).all()
        rng = np.random.default_rng(0)
        for _ in range(20):
            prompt = drawn_prompt("edge", mask, PromptSampler(mask), FitRecipe(), rng)
            ((x, y),) = prompt.points
            assert found[int(y), int(x)]

    def test_thin_objects_are_all_edge_and_borders_are_edges(self) -> None:
        line = np.zeros((10, 10), np.bool_)
        line[4, 2:8] = True
        assert (rim(line) == line).all()
        assert rim(np.ones((9, 9), np.bool_))[0].all()
        assert not rim(np.ones((9, 9), np.bool_))[4, 4]

    def test_a_recipe_knows_them(self) -> None:
        recipe = FitRecipe(prompts=TASK_PROMPTS, prompts_per_object=None)
        rng = np.random.default_rng(0)
        assert [recipe.kind(name, rng).points for name in TASK_PROMPTS] == [1, 1, 3, 0, 0]


class TestMistakes:
    def test_a_category_that_is_not_there(
        self, train: Callable[..., FitReport], tmp_path: Path
    ) -> None:
        with pytest.raises(DataError, match=r"no category 'disk'.*'disc'.*bar, disc, square"):
            train(category="disk")
        assert not (tmp_path / "out").exists()

    def test_no_category(self, train: Callable[..., FitReport]) -> None:
        with pytest.raises(DataError, match=r"one category.*bar, disc, square: give"):
            train(category=None)
        assert train("tokens", category=None).adapter.config.category is None

    def test_fewer_masks_than_shots(self, train: Callable[..., FitReport]) -> None:
        with pytest.raises(DataError, match=r"has 3 masks of 'disc', but 4 shots"):
            train(shots=4)

    def test_masks_of_one_pixel(self, train: Callable[..., FitReport], tiny: TinyDataset) -> None:
        dot = {"size": [40, 56], "counts": [100, 1, 40 * 56 - 101]}
        tiny.edit({1: dot, 4: dot, 7: dot})
        with pytest.raises(DataError, match=r"'disc' \(3 of less than 2 pixels left out\)"):
            train()

    def test_shots_of_several_datasets(
        self, tiny: TinyDataset, nano: NanoModel, tmp_path: Path
    ) -> None:
        with pytest.raises(DataError, match="2 shots of 2 datasets"):
            samadapt.fit(
                "task-prompt", nano, [tiny.open()] * 2, tmp_path / "a", category="disc", shots=2
            )

    def test_an_adapter_of_another_model(
        self, train: Callable[..., FitReport], tmp_path: Path
    ) -> None:
        train(steps=1)
        with pytest.raises(AdapterError, match="was made for tiny-nano"):
            samadapt.Tasks(tiny_nano(1), tmp_path / "out")

    @pytest.mark.parametrize(
        ("setting", "value"),
        [("steps", 0), ("shots", 0), ("held_out", 1.0), ("patience", 0), ("points_weight", -1.0)],
    )
    def test_settings_that_make_no_sense(self, setting: str, value: Any) -> None:
        with pytest.raises(DataError, match=setting):
            FitRecipe(**{setting: value})


class TestTheEnd:
    def test_it_learns_to_judge_and_an_interrupted_end_is_done_again(
        self,
        train: Callable[..., FitReport],
        monkeypatch: pytest.MonkeyPatch,
        one_thread: None,
    ) -> None:
        calibrate = TaskPromptAdapter.calibrate

        def killed(self: TaskPromptAdapter, *args: Any) -> None:
            calibrate(self, *args)
            raise KeyboardInterrupt

        monkeypatch.setattr(TaskPromptAdapter, "calibrate", killed)
        with pytest.raises(KeyboardInterrupt):
            train(checkpoint_steps=3)
        monkeypatch.undo()
        resumed, whole = train(checkpoint_steps=3), train(out="whole", checkpoint_steps=3)
        assert resumed.resumed_at == 3
        assert isinstance(whole.adapter, TaskPromptAdapter)
        assert whole.adapter.module is not None
        assert whole.adapter.module.judge.is_trained
        assert weights(resumed.adapter) == weights(whole.adapter)

    def test_images_held_out_are_shown_too_and_broken_ones_left_out(
        self,
        train: Callable[..., FitReport],
        tiny: TinyDataset,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        shown: list[tuple[int, int]] = []

        def calibrate(
            self: TaskPromptAdapter, model: NanoModel, images: Any, count: int, seed: int
        ) -> None:
            shown.extend((count, len(masks)) for _, masks in images)

        monkeypatch.setattr(TaskPromptAdapter, "calibrate", calibrate)
        train(**HELD)
        assert shown == [(3, 1)] * 3
        shown.clear()
        tiny.truncate(2)
        train(out="broken")
        assert shown == [(3, 1)] * 2


def test_same_seed_same_weights(train: Callable[..., FitReport]) -> None:
    before = torch.get_rng_state()
    first, second = train(out="a"), train(out="b")
    assert weights(first.adapter) == weights(second.adapter)
    assert weights(first.adapter) != weights(train(out="c", seed=4).adapter)
    assert torch.get_rng_state().equal(before)
