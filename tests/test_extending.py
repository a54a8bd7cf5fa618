"""A method and a family from outside: fitted, benchmarked and listed like all others."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

import samadapt
from fakes import CHANNELS, FakeModel, blobs
from samadapt.adapters import registry as methods
from samadapt.adapters.base import Adapter, Interaction, SessionReport
from samadapt.adapters.config import AdapterConfig
from samadapt.adapters.fitted import FittedAdapter
from samadapt.adapters.fitting import Fitting, Variant
from samadapt.benchmark.interactive.run import run_interactive
from samadapt.benchmark.options import Selection
from samadapt.benchmark.robustness.run import RobustnessOptions, run_robustness
from samadapt.benchmark.task.options import TaskOptions
from samadapt.benchmark.task.run import run_task
from samadapt.cli import app
from samadapt.errors import AdapterError, UnknownModelError
from samadapt.models import registry as families
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.interface import PromptEmbedding
from samadapt.models.registry import LoadOptions, ModelInfo, ModelSource
from samadapt.session.robot import ClickProtocol
from tiny_dataset import TinyDataset, make_dataset


@dataclass(frozen=True, kw_only=True)
class GainConfig(AdapterConfig):
    method: str = "gain"
    start: float = 0.0


class Gain(nn.Module):
    def __init__(self, start: float) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.full((1, CHANNELS, 1, 1), start))


class GainAdapter(FittedAdapter[Gain]):
    """Adds a learned number to each channel of the dense prompt."""

    about = "one number per channel of the dense prompt"
    variants = {"bold": Variant({"start": 0.5}, "begins with one half")}  # noqa: RUF012
    fitting = Fitting({"steps": 3, "learning_rate": 0.1}, row="gain row")
    config_class: ClassVar[type[GainConfig]] = GainConfig
    config: GainConfig

    def bind(self, model: SegmentationModel) -> None:
        super().bind(model)
        if self.module is None:
            self.module = Gain(self.config.start).requires_grad_(False)

    def prompt(self, embedded: PromptEmbedding, embedding: ImageEmbedding) -> PromptEmbedding:
        if self.module is None:
            return embedded
        amount = self.module.amount
        if not (amount.any() or amount.requires_grad):
            return embedded
        return replace(embedded, dense=embedded.dense + amount)


class CountingAdapter(Adapter):
    """Learns nothing but how many objects were accepted."""

    about = "counts"
    learns_in_session = True

    def __init__(self, config: AdapterConfig | None = None) -> None:
        super().__init__(config)
        self.count = 0

    def on_accept(self, interaction: Interaction, mask: object) -> None:
        self.count += 1

    def report(self) -> SessionReport:
        return SessionReport(self.count, is_trusted=True)


@pytest.fixture(autouse=True)
def outsiders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy methods and the toy family, registered for one test."""
    methods.method_names()
    families.known_models()
    monkeypatch.setattr(methods, "_METHODS", dict(methods._METHODS))
    monkeypatch.setattr(families, "_FAMILIES", list(families._FAMILIES))
    methods.register("gain")(GainAdapter)
    methods.register("counting")(CountingAdapter)
    info = ModelInfo("toy-model", "toy", 70, 1, "a test", True)
    families.register_family(matches, load, names=("toy-model",), listing=lambda: [info])


def matches(source: ModelSource) -> bool:
    return source.name == "toy-model"


def load(source: ModelSource, options: LoadOptions) -> FakeModel:
    assert options.device == torch.device("cpu")
    return FakeModel()


@pytest.fixture
def tiny(tmp_path: Path) -> TinyDataset:
    return make_dataset(tmp_path / "tiny")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_both_are_listed() -> None:
    listed = {row["name"]: row for row in json.loads(run("methods", "--json").stdout)}
    assert listed["gain"] == {
        "name": "gain",
        "about": "one number per channel of the dense prompt",
        "fitted": True,
        "learns_in_session": False,
        "variants": {"bold": "begins with one half"},
    }
    assert listed["counting"]["learns_in_session"]
    assert "gain:bold: begins with one half" in run("methods").stdout
    models = json.loads(run("models", "--json").stdout)
    assert "toy-model" in [model["name"] for model in models]
    with pytest.raises(UnknownModelError, match='did you mean "toy-model"'):
        samadapt.load("toy-modell")
    with pytest.raises(AdapterError, match="no variant 'old': use bold"):
        methods.create_adapter("gain:old")


def test_the_command_line_fits_the_method_on_the_family(tiny: TinyDataset, tmp_path: Path) -> None:
    out = tmp_path / "out"
    data = ("--images", tiny.images, "--masks", tiny.masks)
    cache = ("--cache", tmp_path / "cache", "--device", "cpu")
    result = run("fit", "gain:bold", "--model", "toy-model", *data, "--out", out, *cache)
    assert result.exit_code == 0, result.output
    model = samadapt.load("toy-model", device="cpu")
    adapter = samadapt.load_adapter(out, model)
    assert isinstance(adapter, GainAdapter)
    assert adapter.parameter_count == CHANNELS
    assert adapter.config.recipe["steps"] == 3
    assert adapter.module is not None
    assert (adapter.module.amount[:, 0] != 0.5).all()
    assert (adapter.module.amount[:, 1:] == 0.5).all(), "the fake decoder reads the first alone"


def test_all_benchmarks_take_them(tiny: TinyDataset, tmp_path: Path) -> None:
    model, dataset = samadapt.load("toy-model", device="cpu"), tiny.open()
    protocol = ClickProtocol(max_clicks=2, at_failure="accept")
    done = run_interactive(
        dataset, model, protocol, ["gain:bold", "counting"], Selection(max_objects=2)
    )
    assert [a["method"] for a in done.environment["adapters"]] == ["gain", "counting"]
    robust = run_robustness(
        dataset, model, ["gain:bold"], RobustnessOptions(draws=2, max_objects=1)
    )
    assert [row.name for row in robust.rows] == ["frozen", "gain:bold"]
    options = TaskOptions(
        categories=("disc",),
        shots=(1,),
        methods=("frozen-1p", "gain row", "gain:bold"),
        draws=1,
        max_objects=1,
        max_images=0,
        settings={"steps": 1},
    )
    cache = tmp_path / "cache"
    task = run_task(dataset, dataset, model, options, work=tmp_path / "work", cache=cache)
    assert {key[2] for key in task.cells} == {"frozen-1p", "gain row", "gain:bold"}


def test_a_session_method_is_offered_by_the_server(tmp_path: Path) -> None:
    from samadapt.server.learning import Learning
    from samadapt.store.projects import Project

    with Project.open(tmp_path / "p.sqlite") as project:
        learning = Learning(project, FakeModel(), tmp_path / "adapters", ("counting",))
        assert ("counting", "counting: counts") in [(c.spec, c.text) for c in learning.choices()]
        session = samadapt.Session(FakeModel(), learning.adapters)
        session.open(blobs())
        session.click(14.5, 12.5)
        session.accept("disc")
        summary = learning.summary()
        assert (summary["learning"], summary["learned"], summary["active"]) == (True, 1, True)
        learning.close()


def test_a_method_that_learns_in_secret_is_refused() -> None:
    class Secret(CountingAdapter):
        learns_in_session = False

    with pytest.raises(AdapterError, match="overrides on_accept but does not declare"):
        methods.register("secret")(Secret)
