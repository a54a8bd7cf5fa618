"""`samadapt embed`: fill the cache of embeddings ahead."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from samadapt.cli import common
from samadapt.cli.choice import ChosenModelOption, choose
from samadapt.cli.common import DeviceOption, DtypeOption, ThreadsOption
from samadapt.cli.options import GigabytesOption, cache_bytes
from samadapt.errors import DataError


def embed(
    folder: Annotated[Path, typer.Argument(help="The folder of images.", metavar="FOLDER")],
    model: ChosenModelOption = None,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    cache_gb: GigabytesOption = 10.0,
    threads: ThreadsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Encode all images of a folder ahead, so that nothing waits for them later.

    Annotating, fitting and benchmarks read the same cache.

    Subfolders are included. What is in the cache already is not encoded again;
    files that cannot be read are named and left out.
    """
    from samadapt.data.images import list_images, read_image
    from samadapt.errors import ImageError
    from samadapt.server.learning import ADAPTERS
    from samadapt.session.images import hash_pixels
    from samadapt.store.embeddings import EmbeddingStore

    if not cache_gb:
        raise DataError("--cache-gb 0: there would be no cache to fill, give more")
    store = EmbeddingStore(limit=cache_bytes(cache_gb))
    paths = list_images(folder, recursive=True)
    common.set_threads(threads)
    chosen = choose(model, device, dtype, folder=folder, kept=folder.absolute() / ADAPTERS)
    loaded = common.load_model(chosen.spec, device, dtype)
    chosen.tell()
    encoded = known = 0
    unreadable: list[str] = []
    with common.progress_bar("encoding") as progress:
        for index, path in enumerate(paths):
            progress(index, len(paths))
            try:
                pixels = read_image(path)
            except ImageError as error:
                unreadable.append(str(error))
                continue
            content = hash_pixels(pixels)
            if store.has(loaded, content):
                known += 1
                continue
            if not store.put(loaded, content, loaded.encode(pixels)):
                raise DataError(
                    f"{store.folder} cannot be written: free some space, or set SAMADAPT_CACHE to "
                    "another folder"
                )
            encoded += 1
    if len(unreadable) == len(paths):
        raise DataError(f"no image in {folder} can be read: {unreadable[0]}")
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
    typer.echo(f"{encoded} images encoded, {known} were there already; {size}")
