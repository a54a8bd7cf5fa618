"""Options that say where work on many images is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from samadapt.benchmark.elsewhere import Elsewhere
    from samadapt.models.base import SegmentationModel

PANEL = "Where the work is done"

EngineOption = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="local|ray",
        rich_help_panel=PANEL,
        help="Processes of this machine, or a Ray cluster (pip install 'samadapt[ray]').",
    ),
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        rich_help_panel=PANEL,
        help="With ray: of a running cluster, or auto; one for this run alone if left out.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        rich_help_panel=PANEL,
        help="Workers of one core each; as many as there are cores (or --gpus) if left out.",
    ),
]
GpusOption = Annotated[
    float,
    typer.Option(
        "--gpus", metavar="G", rich_help_panel=PANEL, help="With ray: GPUs that workers share."
    ),
]


def elsewhere(
    engine: str | None,
    address: str | None,
    workers: int | None,
    gpus: float,
    model: SegmentationModel,
    name: str,
    device: str,
) -> Elsewhere | None:
    """Workers for a benchmark, as options name them.

    If no option asks for any it is None, and the benchmark runs in this process. `model` is loaded
    here, and every worker loads the very same by its `name` on `device`.

    Raises:
        DataError: options that make no sense together, or Ray is not installed.
        WorkerError: there is no cluster at the address.
    """
    if engine is None and workers is None and address is None and not gpus:
        return None
    from samadapt.benchmark.elsewhere import Elsewhere
    from samadapt.distributed.engine import make_engine
    from samadapt.distributed.worker_model import WorkerModel

    where = make_engine(engine or "local", workers, gpus, address)
    return Elsewhere(where, WorkerModel.of(model, name, device))
