"""Choice of the model when `--model` is left out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from samadapt.errors import AdapterError, DataError

RECORD = "model.json"
"""File beside a project's adapters that names the model of the project."""
_CONFIG = "adapter_config.json"
_ENDINGS = (".pth", ".pt", ".ckpt", ".safetensors")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A model to load.

    Attributes:
        spec: argument of `load`.
        why: the reason; "" for a model that was named.
    """

    spec: str
    why: str = ""

    def tell(self) -> None:
        """Print the model and the reason on stderr, unless it was named."""
        if self.why:
            typer.echo(f"model: {self.spec} ({self.why})", err=True)


ChosenModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Name, Hub id, folder or checkpoint; see `samadapt models`. Default: the model of "
        "the project or of the adapter, or else the best one here that is fast enough.",
    ),
]


def choose(
    model: str | None,
    device: str,
    dtype: str,
    *,
    folder: Path | None = None,
    kept: Path | None = None,
    has_objects: bool = False,
    adapters: Sequence[str] = (),
    otherwise: str | None = None,
) -> Chosen:
    """Choose the model to load.

    The first that exists of: the named model, the project's model, the model that the adapters
    were made for, and the best model on this machine.

    Args:
        model: as named; None if it was not.
        device: as for `load`.
        dtype: as for `load`.
        folder: of the images, which may hold a checkpoint.
        kept: folder of the project's adapters.
        has_objects: whether the project has objects. Earlier versions recorded no model and used
            nano, so nano is chosen for a project with objects and without a record.
        adapters: adapters and tasks that were named.
        otherwise: replaces the best model on this machine, for runs whose choice must not depend
            on the machine's speed.

    Raises:
        DataError: the project's or the adapters' model is not on this machine.
    """
    if model is not None:
        return Chosen(model)
    spec = None if kept is None else (_recorded(kept) or _learned_with(kept))
    why = "the project was annotated with it; --model NAME takes another"
    if spec is None and has_objects:
        spec = "nano"
    if spec is None:
        spec, why = _made_for(adapters), "the adapter was made for it"
    if spec is None and otherwise is not None:
        return Chosen(otherwise)
    if spec is None:
        from samadapt.models.choice import choose_model

        chosen = choose_model(device, dtype, folder)
        spec, why = chosen.spec, chosen.why
    else:
        spec = _here(spec, why)
    return Chosen(spec, why)


def record(kept: Path, spec: str) -> None:
    """Record the model of a project.

    Raises:
        DataError: the folder cannot be written to.
    """
    from samadapt.data.files import replacing

    path = Path(spec).expanduser()
    known = str(path.absolute()) if path.exists() else spec
    if _recorded(kept) == known:
        return
    try:
        kept.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{kept} cannot be made ({error.strerror}): check the folder") from None
    with replacing(kept / RECORD) as file:
        file.write(json.dumps({"model": known}).encode())


# -- private --------------------------------------------------------------------------------


def _recorded(kept: Path) -> str | None:
    found = _read(kept / RECORD).get("model")
    return found if isinstance(found, str) else None


def _learned_with(kept: Path) -> str | None:
    """The base model of the adapter that was saved last, in projects without a record."""
    configs = sorted(kept.glob(f"current/*/{_CONFIG}"), key=lambda path: path.stat().st_mtime)
    return next((name for path in reversed(configs) if (name := _base(path))), None)


def _made_for(adapters: Sequence[str]) -> str | None:
    """The base model of the first adapter that names one."""
    from samadapt.adapters.files import find_folder
    from samadapt.adapters.registry import method_names

    for spec in adapters:
        if spec.partition(":")[0] in method_names() and not Path(spec).is_dir():
            continue
        with suppress(AdapterError):  # reported when the adapters are loaded
            if (name := _base(find_folder(spec) / _CONFIG)) is not None:
                return name
    return None


def _base(config: Path) -> str | None:
    base = _read(config).get("base_model")
    name = base.get("name") if isinstance(base, dict) else None
    return name if isinstance(name, str) else None


def _read(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _here(spec: str, why: str) -> str:
    """The argument of `load`; a file's model may be recorded by its name without the ending."""
    from samadapt.models.places import find_file
    from samadapt.models.registry import is_known

    if is_known(spec) or Path(spec).exists():
        return spec
    file = find_file(tuple(f"{spec}{ending}" for ending in _ENDINGS))
    if file is None:
        raise DataError(
            f"{spec} is not on this machine ({why}): give its file or folder with --model, or "
            "--model nano"
        )
    return str(file)
