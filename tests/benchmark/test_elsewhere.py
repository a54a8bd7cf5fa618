"""Benchmarks on workers: the very numbers of a benchmark in this process."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from engines import Here, tiny_weights
from samadapt.benchmark.adaptation.run import run_adaptation
from samadapt.benchmark.elsewhere import Elsewhere
from samadapt.benchmark.interactive.compare import run_compared
from samadapt.benchmark.interactive.result import InteractiveResult
from samadapt.benchmark.interactive.run import run_interactive
from samadapt.benchmark.options import Selection
from samadapt.benchmark.robustness.run import RobustnessOptions, run_robustness
from samadapt.benchmark.task.options import TaskOptions
from samadapt.benchmark.task.run import run_task
from samadapt.distributed.worker_model import WorkerModel
from samadapt.errors import DataError
from samadapt.models.base import SegmentationModel
from samadapt.models.seams import Seams
from samadapt.session.robot import ClickProtocol
from samadapt.store.embeddings import EmbeddingStore
from samadapt.training.prompt_sampling import kinds
from tiny_dataset import TinyDataset, make_dataset
from toy_adapter import ToyAdapter

PROTOCOL = ClickProtocol(max_clicks=3, targets=(0.85,))
_CHANGING = ("timing", "environment", "seconds", "encode_seconds")


@pytest.fixture
def tiny(tmp_path: Path) -> TinyDataset:
    return make_dataset(tmp_path / "tiny")


@pytest.fixture
def place(tmp_path: Path) -> WorkerModel:
    return WorkerModel(str(tiny_weights(tmp_path)))


@pytest.fixture
def model(place: WorkerModel) -> SegmentationModel:
    return place.load()


def numbers(value: Any) -> Any:
    """A result without what no two runs have in common: times, and where it was."""
    if isinstance(value, dict):
        return {
            key: numbers(one)
            for key, one in value.items()
            if key not in _CHANGING and "second" not in key and "time" not in key
        }
    return [numbers(one) for one in value] if isinstance(value, list | tuple) else value


def test_interactive_without_learning_and_with_an_image_that_is_broken(
    tiny: TinyDataset, model: SegmentationModel, place: WorkerModel
) -> None:
    tiny.truncate(2)
    chosen = Selection(max_objects=8)
    where = Elsewhere(Here(), place)
    one = run_interactive(tiny.open(), model, PROTOCOL, (), chosen)
    other = run_interactive(tiny.open(), model, PROTOCOL, (), chosen, elsewhere=where)
    assert numbers(one.to_dict()) == numbers(other.to_dict())
    assert [image.image_id for image in other.skipped] == [2]
    assert other.timing["images_encoded"] == one.timing["images_encoded"] == 2


def test_interactive_with_an_adapter_that_learns_is_one_worker_in_order(
    tiny: TinyDataset, model: SegmentationModel, place: WorkerModel
) -> None:
    engine, chosen = Here(), Selection(max_objects=4)

    def compared(elsewhere: Elsewhere | None) -> InteractiveResult:
        def run(adapters: Sequence[str | Seams], _: Any) -> InteractiveResult:
            data = tiny.open()
            return run_interactive(data, model, PROTOCOL, adapters, chosen, elsewhere=elsewhere)

        return run_compared(run, ("online",))

    one, other = compared(None), compared(Elsewhere(engine, place))
    assert numbers(one.to_dict()) == numbers(other.to_dict())
    # All objects in one batch with the adapter; one batch per image without.
    images = len({row.image_id for row in one.objects})
    assert engine.batches == 1 + images


def test_robustness(tiny: TinyDataset, model: SegmentationModel, place: WorkerModel) -> None:
    tiny.truncate(1)
    options = RobustnessOptions(kinds=kinds(["box", "box0.4", "1p"]), draws=2)
    one = run_robustness(tiny.open(), model, ["stable"], options)
    where = Elsewhere(Here(), place)
    other = run_robustness(tiny.open(), model, ["stable"], options, elsewhere=where)
    assert numbers(one.to_dict()) == numbers(other.to_dict())
    with pytest.raises(DataError, match="workers load adapters by name"):
        run_robustness(tiny.open(), model, {"toy": [ToyAdapter()]}, options, elsewhere=where)


def test_adaptation_with_runs_that_are_kept_and_not(
    tiny: TinyDataset, model: SegmentationModel, place: WorkerModel, tmp_path: Path
) -> None:
    def run(elsewhere: Elsewhere | None, runs: Path | None = None) -> Any:
        result = run_adaptation(
            {"tiny": tiny.open()},
            model,
            ["online"],
            (0, 1),
            protocol=PROTOCOL,
            max_objects=3,
            runs=runs,
            elsewhere=elsewhere,
        )
        return numbers(result.to_dict())

    engine = Here()
    assert run(None) == run(Elsewhere(engine, place), tmp_path / "runs")
    assert engine.batches == 4
    assert run(Elsewhere(engine, place), tmp_path / "runs") == run(Elsewhere(Here(), place))
    assert engine.batches == 4


def test_task(
    tiny: TinyDataset, model: SegmentationModel, place: WorkerModel, tmp_path: Path
) -> None:
    options = TaskOptions(
        categories=("disc",),
        shots=(1, 2),
        methods=("frozen-1p", "plm"),
        draws=1,
        max_images=1,
        grid=2,
        settings={"steps": 2},
    )

    def run(elsewhere: Elsewhere | None) -> Any:
        data = tiny.open()
        cache = tmp_path / "cache"
        result = run_task(data, data, model, options, cache=cache, elsewhere=elsewhere)
        return numbers(result.to_dict())

    engine = Here()
    assert run(None) == run(Elsewhere(engine, place))
    assert engine.batches == 2


def test_workers_read_the_embeddings_that_are_there(
    tiny: TinyDataset, model: SegmentationModel, place: WorkerModel, tmp_path: Path
) -> None:
    made = pickle.dumps(EmbeddingStore(tmp_path / "cache", is_cyclic=True))
    store = pickle.loads(made)  # noqa: S301 - as it travels to workers
    where, options = Elsewhere(Here(), place), RobustnessOptions(kinds=kinds(["1p"]), draws=1)
    first = run_robustness(tiny.open(), model, (), options, store=store, elsewhere=where)
    assert first.timing["images_encoded"] == len(tiny.open().images)
    again = run_robustness(tiny.open(), model, (), options, store=store, elsewhere=where)
    clicks = run_interactive(tiny.open(), model, PROTOCOL, store=store, elsewhere=where)
    assert again.timing["images_encoded"] == clicks.timing["images_encoded"] == 0
    assert numbers(first.to_dict()) == numbers(again.to_dict())
