"""`samadapt embed`: fill the cache of embeddings in advance."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from samadapt.cli import common
from samadapt.cli.choice import ChosenModelOption, choose
from samadapt.cli.groups import MachineOptions, WorkerOptions, with_groups
from samadapt.cli.options import GigabytesOption, cache_bytes
from samadapt.errors import DataError

_BATCH = 4
"""Images per call of a worker."""


@with_groups
def embed(
    *,
    folder: Annotated[Path, typer.Argument(help="The folder of images.", metavar="FOLDER")],
    model: ChosenModelOption = None,
    cache_gb: GigabytesOption = 10.0,
    machine: MachineOptions,
    where: WorkerOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Encode all images of a folder in advance, so that later commands need not wait.

    Annotating, fitting and benchmarks use the same cache.

    Subfolders are included. Images in the cache are not encoded again; files
    and subfolders that cannot be read are named and left out. On a cluster every machine has
    its own cache, or all of them share the folder in SAMADAPT_CACHE.
    """
    from samadapt.data.images import list_images
    from samadapt.data.stacks.finding import tiff_stack
    from samadapt.distributed.embed import EmbedWork, embed_one
    from samadapt.distributed.engine import in_batches, make_engine
    from samadapt.distributed.worker_model import WorkerModel
    from samadapt.store.adapters_folder import ADAPTERS
    from samadapt.store.embeddings import EmbeddingStore

    if not cache_gb:
        raise DataError("--cache-gb 0: a cache of this size holds nothing, give more than 0")
    store = EmbeddingStore(limit=cache_bytes(cache_gb))
    unreadable: list[str] = []

    def keep(error: OSError) -> None:
        unreadable.append(f"{error.filename} cannot be read ({error.strerror})")

    files = list_images(folder, recursive=True, on_error=keep)
    stacks = {path: tiff_stack(path) for path in files}
    paths = [
        Path(one)
        for path, stack in stacks.items()
        for one in ([str(path)] if stack is None else stack.addresses(str(path)))
    ]
    chosen = choose(
        model, machine.device, machine.dtype, folder=folder, kept=folder.absolute() / ADAPTERS
    )
    loaded = machine.load_named(chosen.spec)
    if not where.is_given:
        found = (embed_one(loaded, store, path) for path in paths)
    else:
        engine = make_engine(where.engine or "local", where.workers, where.gpus, where.address)
        work = EmbedWork(WorkerModel.of(loaded, chosen.spec, machine.device), store)
        batches = in_batches([path.absolute() for path in paths], _BATCH)
        found = (one for batch in engine.run(work, batches) for one in batch)
    outcomes: Counter[str] = Counter()
    with common.progress_bar("encoding") as progress:
        for index, one in enumerate(found, 1):
            outcomes[one.outcome] += 1
            if one.problem is not None:
                unreadable.append(one.problem)
            progress(index, len(paths))
    unreadable.sort()
    encoded, known = outcomes["encoded"], outcomes["known"]
    if not encoded + known:
        raise DataError(f"no image in {folder} can be read: {unreadable[0]}")
    chosen.tell()
    result = {
        "images": len(paths),
        "encoded": encoded,
        "known": known,
        "unreadable": unreadable,
        "cache": str(store.folder),
        "cache_bytes": store.nbytes,
    }
    if as_json:
        typer.echo(json.dumps(result))
        return
    for text in unreadable:
        typer.echo(f"left out: {text}", err=True)
    size = f"{store.nbytes / 1e9:.2f} GB in {store.folder}"
    typer.echo(f"{encoded} images encoded, {known} in the cache already; {size}")
