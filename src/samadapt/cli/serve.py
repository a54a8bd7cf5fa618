"""`samadapt serve`: the model for other annotation tools."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from samadapt.cli import common
from samadapt.cli.common import AdapterOption, DeviceOption, DtypeOption, ModelOption, ThreadsOption
from samadapt.cli.options import GigabytesOption, cache_bytes
from samadapt.errors import DataError


def serve(
    label_studio: Annotated[
        bool,
        typer.Option("--label-studio", help="Serve as a machine learning backend of Label Studio."),
    ] = False,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the tasks' images.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Address of Label Studio, to fetch uploaded images from.")
    ] = None,
    api_key: Annotated[
        str | None,
        typer.Option(envvar="LABEL_STUDIO_API_KEY", help="Personal access token of Label Studio."),
    ] = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the learned adapters.")
    ] = Path("samadapt-label-studio"),
    model: ModelOption = "nano",
    adapter: AdapterOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Another host name of this machine for Label Studio (host.docker.internal).",
        ),
    ] = None,
    port: Annotated[int, typer.Option(metavar="N", help="Port.")] = 9090,
    token: Annotated[
        str | None,
        typer.Option(
            envvar="SAMADAPT_TOKEN",
            help="Password; default: a new one. Unlike the option, the environment variable is "
            "hidden from other users who list this machine's processes.",
        ),
    ] = None,
    cache_gb: GigabytesOption = 10.0,
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    threads: ThreadsOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the address as JSON.")] = False,
) -> None:
    """Answer Label Studio's clicks and boxes with masks, and learn from its annotations.

    Add the printed address, which holds the password, in Label Studio under
    Settings, Model, with interactive preannotations and no authentication.
    """
    if not label_studio:
        raise DataError("nothing to serve: give --label-studio")
    if images is not None and not images.is_dir():
        raise DataError(f"--images {images} is not a folder: give the folder of the images")
    if url is not None and not url.startswith(("http://", "https://")):
        raise DataError(f"--url {url}: give an address such as http://localhost:8080")
    common.check_output_folder("--out", out, (images,), keeps_project=True)
    from samadapt.adapters.registry import default_specs
    from samadapt.server import run
    from samadapt.server.label_studio import LabelStudioBackend
    from samadapt.server.label_studio_app import create_label_studio_app
    from samadapt.server.label_studio_images import ImageFinder
    from samadapt.server.learning import Learning
    from samadapt.server.security import Guard
    from samadapt.store.embeddings import EmbeddingStore
    from samadapt.store.projects import PROJECT_FILE, Project

    secret = run.check_token(token, host)
    common.set_threads(threads)
    with run.listen(host, port) as listener:
        bound = int(listener.getsockname()[1])
        loaded = common.load_model(model, device, dtype)
        out.mkdir(parents=True, exist_ok=True)
        with Project.open(out / PROJECT_FILE) as project:
            learning = Learning(
                project, loaded, out.absolute(), tuple(adapter or default_specs(loaded))
            )
            common.tell_untrained(adapter or (), is_session=True)
            store = EmbeddingStore(limit=cache_bytes(cache_gb))
            finder = ImageFinder(images, url, api_key)
            backend = LabelStudioBackend(loaded, learning, store, finder)
            names = (*(() if run.is_local(host) else (host,)), *(allow_host or ()))
            app = create_label_studio_app(backend, Guard(secret, bound, names))
            address = run.address(host, bound)
            known = address.replace("://", f"://samadapt:{secret}@")

            def ready() -> None:
                if as_json:
                    told = {"url": address, "password": secret, "model_url": known}
                    typer.echo(json.dumps(told))
                    return
                typer.echo(f"Label Studio: add the model {known} without authentication (user and")
                typer.echo("password are in the address, for its webhook too). Ctrl-C ends it.")

            run.serve(app, listener, ready)
