"""Fitting adapters: it learns, it tells, it resumes, it refuses."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import samadapt
from fakes import FakeModel
from forked import Program
from samadapt.adapters.base import Adapter
from samadapt.adapters.fitting import Fitting
from samadapt.adapters.stable import StableAdapter, StableConfig
from samadapt.data.images import read_image
from samadapt.errors import AdapterError, CheckpointError, DataError
from samadapt.models.hashing import hash_tensors
from samadapt.models.nano.model import NanoModel
from samadapt.session.images import hash_pixels
from samadapt.store.embeddings import EmbeddingStore
from samadapt.training.fit import FitReport, FitStatus, run_fit
from samadapt.training.fitting import trainer
from samadapt.training.fitting.methods import fit_methods
from samadapt.training.fitting.recipe import FitRecipe
from small_models import tiny_nano
from tiny_dataset import TinyDataset, make_dataset

SETTINGS: dict[str, Any] = {"images_per_step": 1, "prompts_per_object": 1, "seed": 3}


@pytest.fixture
def tiny(tmp_path: Path) -> TinyDataset:
    """Three images of three objects each."""
    return make_dataset(tmp_path / "tiny")


@pytest.fixture(scope="module")
def nano() -> NanoModel:
    return tiny_nano()


@pytest.fixture
def train(tiny: TinyDataset, nano: NanoModel, tmp_path: Path) -> Callable[..., FitReport]:
    """Fit on the tiny dataset into `tmp_path / "out"`."""

    def run(method: str = "stable", out: str = "out", **changes: Any) -> FitReport:
        options = {"model": nano, "progress": False, "cache": tmp_path / "cache"}
        options |= {name: changes.pop(name) for name in [*options] if name in changes}
        known = ("start", "cache_bytes", "on_skip")
        options |= {name: changes.pop(name) for name in known if name in changes}
        datasets = changes.pop("datasets", None) or [tiny.open()]
        settings = SETTINGS | changes
        return run_fit(method, datasets=datasets, out=tmp_path / out, settings=settings, **options)

    return run


def weights(adapter: Adapter) -> str:
    return hash_tensors(dict(adapter.state_dict()))


class TestLearning:
    @pytest.mark.parametrize(
        ("method", "rate", "least"), [("stable", 0.05, 0.002), ("lora", 0.03, 0.02)]
    )
    def test_the_loss_falls_and_the_adapter_comes_back(
        self,
        method: str,
        rate: float,
        least: float,
        train: Callable[..., FitReport],
        nano: NanoModel,
        tmp_path: Path,
    ) -> None:
        """The same three boxes in every epoch; the random decoder leaves little to a mixture."""
        before = hash_tensors(dict(nano.decoder.state_dict()))
        report = train(method, epochs=3, learning_rate=rate, prompts=("box",))
        curve = report.values["curve"]["loss"]
        assert len(curve) == 9
        assert sum(curve[-3:]) < (1 - least) * sum(curve[:3])
        assert hash_tensors(dict(nano.decoder.state_dict())) == before
        loaded = samadapt.load_adapter(tmp_path / "out", nano)
        assert weights(loaded) == weights(report.adapter)
        assert loaded.config == report.adapter.config
        assert not any(p.requires_grad for p in report.adapter.module.parameters())

    def test_the_folder_tells_how_it_was_made(
        self, train: Callable[..., FitReport], tmp_path: Path
    ) -> None:
        report = train()
        config = report.adapter.config
        assert config.recipe["seed"] == 3
        assert config.training_data["images"] == 3
        assert config.training_data["prompts"] == 9
        assert set(config.metrics) == {"training_loss", "training_miou"}
        assert config.parameters == report.adapter.parameter_count > 0
        card = (tmp_path / "out" / "README.md").read_text()
        assert f"{config.parameters:,} learned parameters" in card
        assert "tiny/test.json | 3 | 9" in card
        assert sorted(p.name for p in (tmp_path / "out" / "training").iterdir()) == ["report.json"]

    def test_same_seed_same_weights(self, train: Callable[..., FitReport]) -> None:
        first, second = train(out="a"), train(out="b")
        assert weights(first.adapter) == weights(second.adapter)
        assert weights(first.adapter) != weights(train(out="c", seed=4).adapter)

    def test_it_goes_on_from_an_adapter_and_leaves_that_as_it_was(
        self, train: Callable[..., FitReport]
    ) -> None:
        first = train(out="a").adapter
        before = weights(first)
        assert weights(train(out="b", start=first).adapter) != before
        assert weights(first) == before

    def test_progress_is_told_after_every_step(
        self, train: Callable[..., FitReport], capfd: pytest.CaptureFixture[str]
    ) -> None:
        told: list[FitStatus] = []
        train(progress=told.append)
        assert [(s.step, s.steps) for s in told] == [(0, 3), (1, 3), (2, 3), (3, 3)]
        assert told[0].loss is None
        assert told[-1].loss is not None
        assert 0 <= (told[-1].miou or 0) <= 1
        train(out="other", progress=True)
        assert capfd.readouterr() == ("", ""), "no bar without a terminal"

    def test_the_public_function_gives_the_adapter(
        self, tiny: TinyDataset, nano: NanoModel, tmp_path: Path
    ) -> None:
        adapter = samadapt.fit(
            "stable", nano, tiny.open(), tmp_path / "a", cache=tmp_path / "c", **SETTINGS
        )
        assert isinstance(adapter, StableAdapter)

    def test_a_new_method_is_one_registration(
        self, train: Callable[..., FitReport], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from samadapt.adapters import registry

        monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))

        @registry.register("other")
        class Other(StableAdapter):
            fitting = Fitting({"prompts": ("1p",)})

        assert "other" in [method.name for method in fit_methods()]
        assert train("other").adapter.config.recipe["prompts"] == ["1p"]


def files_of(cache: Path) -> list[Path]:
    """The embeddings in a cache."""
    return sorted(cache.glob("*/*.safetensors"))


class TestEmbeddings:
    def test_what_was_encoded_ahead_is_found(
        self,
        train: Callable[..., FitReport],
        tiny: TinyDataset,
        nano: NanoModel,
        tmp_path: Path,
    ) -> None:
        """As `samadapt embed` does it."""
        store = EmbeddingStore(tmp_path / "cache")
        for path in sorted(tiny.images.iterdir()):
            pixels = read_image(path)
            store.put(nano, hash_pixels(pixels), nano.encode(pixels))
        assert train().values["encoded"] == 0

    def test_every_image_is_encoded_once_over_epochs_and_runs(
        self, train: Callable[..., FitReport]
    ) -> None:
        assert train(epochs=3).values["encoded"] == 3
        assert train(out="again", epochs=2).values["encoded"] == 0

    def test_the_cache_stays_within_its_bound(
        self, train: Callable[..., FitReport], tmp_path: Path
    ) -> None:
        train()
        sizes = [path.stat().st_size for path in files_of(tmp_path / "cache")]
        assert len(sizes) == 3
        bound = sizes[0] + sizes[1] + 5000
        small = train(out="b", epochs=2, cache=tmp_path / "small", cache_bytes=bound)
        assert len(files_of(tmp_path / "small")) == 2
        assert small.values["encoded"] == 4, "two are kept, the third is encoded in every epoch"
        none = train(out="c", cache=tmp_path / "none", cache_bytes=0)
        assert none.values["encoded"] == 3
        assert not (tmp_path / "none").exists()

    def test_what_other_runs_left_makes_room_and_damage_is_repaired(
        self, train: Callable[..., FitReport], tmp_path: Path
    ) -> None:
        train()
        files = files_of(tmp_path / "cache")
        bound = sum(path.stat().st_size for path in files) + 15000
        files[0].write_bytes(b"damaged")
        assert train(out="b").values["encoded"] == 1
        train(out="c", model=tiny_nano(1), cache_bytes=bound)
        names = {path.name for path in files_of(tmp_path / "cache")}
        assert len(names) == 3
        assert not names & {path.name for path in files}


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in the other process: sums in other orders round differently."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


KILLED = """
import os, signal, sys
from pathlib import Path
from samadapt.training.fit import run_fit
from small_models import tiny_nano
from tiny_dataset import TinyDataset

folder = Path(sys.argv[1])

def tell(status):
    if status.step == 2:
        os.kill(os.getpid(), signal.SIGKILL)

run_fit(
    "stable", tiny_nano(), [TinyDataset(folder / "tiny/images", folder / "tiny/test.json").open()],
    folder / "out", cache=folder / "cache", progress=tell,
    settings={"images_per_step": 1, "prompts_per_object": 1, "seed": 3, "checkpoint_steps": 1},
)
"""


class TestInterruptions:
    def test_a_killed_run_goes_on_and_ends_where_it_would_have(
        self, train: Callable[..., FitReport], tmp_path: Path, one_thread: None
    ) -> None:
        process = Program(KILLED, str(tmp_path)).ended()
        assert process.exitcode == -signal.SIGKILL, process.stderr
        assert not (tmp_path / "out" / "adapter_config.json").exists()
        resumed = train(checkpoint_steps=1)
        assert resumed.resumed_at == 2
        whole = train(out="whole", checkpoint_steps=1)
        assert whole.resumed_at == 0
        assert weights(resumed.adapter) == weights(whole.adapter)
        assert resumed.values["curve"] == whole.values["curve"]
        assert resumed.values["encoded"] == 1

    def test_slow_steps_are_kept_before_the_number_of_a_checkpoint(
        self,
        train: Callable[..., FitReport],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(trainer, "_SAVE_SECONDS", 0.0)

        def tell(status: FitStatus) -> None:
            if status.step == 1:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(progress=tell)
        assert train().resumed_at == 1

    @pytest.fixture
    def interrupted(self, train: Callable[..., FitReport], tmp_path: Path) -> Path:
        """A run that ended after its first checkpoint; its folder."""

        def tell(status: FitStatus) -> None:
            if status.step == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(progress=tell, checkpoint_steps=1)
        return tmp_path / "out"

    def test_other_settings_are_no_continuation(
        self, interrupted: Path, train: Callable[..., FitReport]
    ) -> None:
        with pytest.raises(CheckpointError, match=r"differs in recipe.epochs \(1 before, 2 now\)"):
            train(checkpoint_steps=1, epochs=2)
        with pytest.raises(CheckpointError, match=r"differs in model.weights_hash"):
            train(checkpoint_steps=1, model=tiny_nano(1))
        assert train(checkpoint_steps=1).resumed_at == 2

    def test_a_damaged_checkpoint_is_named(
        self, interrupted: Path, train: Callable[..., FitReport]
    ) -> None:
        path = interrupted / "training" / "checkpoint.pt"
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(CheckpointError, match=r"checkpoint.pt cannot be resumed"):
            train(checkpoint_steps=1)

    def test_a_finished_run_is_not_done_again(
        self, train: Callable[..., FitReport], tmp_path: Path
    ) -> None:
        first = train()
        told: list[FitStatus] = []
        again = train(progress=told.append)
        assert not told
        assert again.resumed_at == again.values["steps"] == 3
        assert weights(again.adapter) == weights(first.adapter)
        with pytest.raises(DataError, match=r"differs in recipe.seed \(3 before, 5 now\)"):
            train(seed=5)


class TestBadInput:
    def test_an_image_that_breaks_is_skipped_counted_and_reported(
        self, train: Callable[..., FitReport], tiny: TinyDataset
    ) -> None:
        tiny.truncate(2)
        seen: list[str] = []
        report = train(epochs=2, on_skip=lambda skip: seen.append(skip.image))
        assert seen == ["2.png"], "told once, though it comes round twice"
        assert [skip.image for skip in report.skipped] == ["2.png"]
        assert "2.png" in report.skipped[0].reason
        assert report.values["images"] == 4
        assert report.adapter.config.training_data["skipped"] == 1

    def test_no_readable_image_at_all(
        self, train: Callable[..., FitReport], tiny: TinyDataset, tmp_path: Path
    ) -> None:
        for number in (1, 2, 3):
            tiny.truncate(number)
        with pytest.raises(DataError, match="nothing was trained"):
            train()
        assert not (tmp_path / "out" / "adapter_config.json").exists()

    def test_a_missing_image_is_noticed_before_the_work_begins(
        self, train: Callable[..., FitReport], tiny: TinyDataset
    ) -> None:
        (tiny.images / "2.png").unlink()
        with pytest.raises(DataError, match=r"2\.png.* is not in"):
            train()

    def test_masks_that_are_all_empty(
        self, train: Callable[..., FitReport], tiny: TinyDataset
    ) -> None:
        size = {"size": [40, 56], "counts": [40 * 56]}
        tiny.edit(dict.fromkeys(range(1, 10), size))
        with pytest.raises(DataError, match=r"all masks are empty, so nothing would be trained"):
            train()

    def test_objects_that_are_all_too_small(self, train: Callable[..., FitReport]) -> None:
        with pytest.raises(DataError, match=r"no mask has 9000 pixels.*nothing would be trained"):
            train(min_area=9000)

    def test_an_adapter_of_another_model(self, train: Callable[..., FitReport]) -> None:
        other = StableAdapter()
        other.bind(tiny_nano(1))
        with pytest.raises(AdapterError, match=r"made for tiny-nano .*the model is tiny-nano"):
            train(start=other)
        with pytest.raises(AdapterError, match=r"width 32.*width 16"):
            train(start=StableAdapter(StableConfig(channels=32)))
        with pytest.raises(AdapterError, match=r"of method 'stable'"):
            train("lora", start=StableAdapter())

    def test_a_model_without_the_part_that_is_trained(
        self, train: Callable[..., FitReport], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            StableAdapter, "mask_attention", lambda self, features, tokens, grid: features
        )
        with pytest.raises(AdapterError, match="nothing would be trained"):
            train()

    def test_an_adapter_without_parameters(self, train: Callable[..., FitReport]) -> None:
        with pytest.raises(AdapterError, match="no linear layer"):
            train("lora", model=FakeModel())

    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("learning_rate", 0.0),
            ("learning_rate", math.nan),
            ("epochs", 0),
            ("prompts", ()),
            ("prompts", ("2q",)),
            ("box_noise", (0.5, 0.2)),
            ("seed", -1),
            ("objects_per_image", 0),
        ],
    )
    def test_settings_that_make_no_sense(
        self, setting: str, value: Any, train: Callable[..., FitReport]
    ) -> None:
        with pytest.raises(DataError):
            train(**{setting: value})

    def test_misspelt_settings_and_methods_get_a_hint(
        self, train: Callable[..., FitReport]
    ) -> None:
        with pytest.raises(DataError, match="did you mean 'epochs'"):
            train(epoch=2)
        with pytest.raises(AdapterError, match=r"'stabel' cannot be fitted.*'stable'"):
            train("stabel")
        with pytest.raises(AdapterError, match="cannot be fitted"):
            train("online")

    def test_a_folder_that_holds_something_else(
        self, train: Callable[..., FitReport], tmp_path: Path
    ) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "letter.txt").write_text("mine")
        with pytest.raises(DataError, match="not empty"):
            train()
        with pytest.raises(DataError, match="is a file"):
            train(out="tiny/test.json")
        assert (tmp_path / "out" / "letter.txt").read_text() == "mine"


class TestRecipe:
    def test_the_rate_rises_and_falls(self) -> None:
        recipe = FitRecipe(learning_rate=1.0, warmup=0.1)
        rates = [recipe.rate(step, 100) for step in range(100)]
        assert rates[:10] == pytest.approx([(i + 1) / 11 for i in range(10)])
        assert rates[10] == 1.0
        assert rates[55] == pytest.approx(0.5)
        assert rates[-1] == pytest.approx(0.01)
        assert all(rate > 0 for rate in rates)

    def test_objects_get_all_kinds_of_prompts_in_time(self) -> None:
        recipe = FitRecipe(prompts_per_object=2)
        rng = np.random.default_rng(0)
        drawn = [recipe.kinds_of_visit(rng) for _ in range(60)]
        assert all(len(set(kinds)) == 2 for kinds in drawn)
        assert {kind for kinds in drawn for kind in kinds} == set(recipe.prompts)
        everything = FitRecipe(prompts_per_object=None)
        assert everything.kinds_of_visit(rng) == everything.prompts

    def test_noise_is_drawn_from_its_range(self) -> None:
        recipe = FitRecipe(box_noise=(0.2, 0.3))
        rng = np.random.default_rng(0)
        drawn = [recipe.kind("noisy", rng).noise for _ in range(50)]
        assert 0.2 <= min(drawn) < 0.22
        assert 0.28 < max(drawn) <= 0.3

    def test_a_run_is_written_as_json(self, train: Callable[..., FitReport]) -> None:
        values = train().values
        assert json.loads(json.dumps(values, allow_nan=False)) == values
        assert torch.__version__ == values["torch"]
