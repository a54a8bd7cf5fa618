"""Groups of options that several commands share, each declared once as a dataclass."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from samadapt.cli import common
from samadapt.cli import engine_options as eng
from samadapt.cli import options as opt

if TYPE_CHECKING:
    from samadapt.benchmark.elsewhere import Elsewhere
    from samadapt.data.coco import CocoDataset
    from samadapt.models.base import SegmentationModel


def with_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Return the command for typer, with each field of a group as a separate option.

    Parameters that are annotated with a dataclass are groups.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {n: kind for n, kind in hints.items() if is_dataclass(kind)}
    parameters: list[Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name in groups:
            parameters += inspect.signature(groups[name], eval_str=True).parameters.values()
        else:
            parameters.append(parameter.replace(annotation=hints[name]))

    def run(**values: Any) -> None:
        for name, kind in groups.items():
            values[name] = kind(**{field.name: values.pop(field.name) for field in fields(kind)})
        command(**values)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    kept = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in parameters]
    run.__signature__ = inspect.Signature(kept)  # type: ignore[attr-defined]
    return run


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """Images with reference masks."""

    images: opt.ImagesOption = None
    masks: opt.MasksOption = None
    dataset: opt.DatasetOption = None
    split: opt.SplitOption = "test"
    crowds: common.CrowdsOption = False

    def paths(self) -> tuple[Path, Path]:
        """Return the image folder and the masks.

        Raises:
            DataError: no data or both kinds of options given, or an unknown dataset.
        """
        return opt.dataset_paths(self.images, self.masks, self.dataset, self.split)

    def open(self) -> CocoDataset:
        """Return the dataset."""
        from samadapt.data.datasets import open_dataset

        return open_dataset(*self.paths(), crowds=self.crowds)


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineOptions:
    """Device, number format and threads."""

    device: common.DeviceOption = "auto"
    dtype: common.DtypeOption = "auto"
    threads: common.ThreadsOption = None

    def load_named(self, model: str) -> SegmentationModel:
        """Limit the threads and load a model."""
        common.set_threads(self.threads)
        return common.load_model(model, self.device, self.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOptions(MachineOptions):
    """The model, its device and number format."""

    model: common.ModelOption = "nano"

    def load(self) -> SegmentationModel:
        """Load the model."""
        return self.load_named(self.model)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """Local processes or a cluster for work on many images."""

    engine: eng.EngineOption = None
    address: eng.AddressOption = None
    workers: eng.WorkersOption = None
    gpus: eng.GpusOption = 0.0

    @property
    def is_given(self) -> bool:
        """True if the command line names an engine, an address, workers or GPUs."""
        return bool(self.engine or self.workers is not None or self.address or self.gpus)

    def elsewhere(self, model: SegmentationModel, run: ModelOptions) -> Elsewhere | None:
        """Return the workers of a benchmark, None if it runs in this process.

        `model` is loaded here; every worker loads the same one.

        Raises:
            DataError: options that contradict each other, or Ray is not installed.
            WorkerError: there is no cluster at the address.
        """
        if not self.is_given:
            return None
        from samadapt.benchmark.elsewhere import Elsewhere
        from samadapt.distributed.engine import make_engine
        from samadapt.distributed.worker_model import WorkerModel

        engine = make_engine(self.engine or "local", self.workers, self.gpus, self.address)
        return Elsewhere(engine, WorkerModel.of(model, run.model, run.device))


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions:
    """The cache of embeddings."""

    cache: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of embeddings; default: the cache that `samadapt embed` fills.",
        ),
    ] = None
    cache_gb: opt.GigabytesOption = 10.0

    @property
    def limit(self) -> int:
        """Its largest size in bytes."""
        return opt.cache_bytes(self.cache_gb)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOptions:
    """Files that a benchmark writes."""

    json_path: opt.JsonOption = None
    html_path: opt.HtmlOption = None

    def check(self, inputs: common.Inputs) -> None:
        """Check that they can be written, before long work begins.

        Raises:
            DataError: see `common.check_outputs`.
        """
        common.check_outputs(("--json", self.json_path), ("--html", self.html_path), inputs=inputs)
