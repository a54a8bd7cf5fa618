"""Registry of methods, and adapters by name, folder or Hub id."""

from __future__ import annotations

import importlib
import os
import pkgutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from samadapt.adapters.base import Adapter
from samadapt.adapters.files import CONFIG_FILE, find_folder, read_folder, shipped_names
from samadapt.errors import AdapterError
from samadapt.models.base import SegmentationModel
from samadapt.models.interface import ModelInterface
from samadapt.spelling import did_you_mean

_METHODS: dict[str, type[Adapter]] = {}

_HOOKS = ("on_open", "on_click", "on_undo", "on_accept", "on_skip")

Method = TypeVar("Method", bound=type[Adapter])


def register(name: str) -> Callable[[Method], Method]:
    """Class decorator that makes an adapter class known as method `name`.

    Raises:
        AdapterError: the name is taken or has a character that adapter specs use, or the class
            learns in sessions without declaring it.
    """
    if not name or not name.replace("-", "").replace("_", "").isalnum():
        raise AdapterError(f"method name {name!r}: use letters, digits, '-' and '_'")

    def add(method: Method) -> Method:
        hooks = [hook for hook in _HOOKS if getattr(method, hook) is not getattr(Adapter, hook)]
        if hooks and not method.learns_in_session:
            raise AdapterError(
                f"method {name!r} overrides {', '.join(hooks)} but does not declare "
                "learns_in_session: servers and benchmarks would treat it as an adapter that never "
                "changes; set it to True"
            )
        if name in _METHODS:
            raise AdapterError(
                f"method {name!r} is already registered by {_METHODS[name].__qualname__}"
            )
        method.method = name
        _METHODS[name] = method
        return method

    return add


def method_names() -> list[str]:
    """Names of all methods."""
    _import_methods()
    return sorted(_METHODS)


def get_method(name: str) -> type[Adapter]:
    """The adapter class of a method.

    Raises:
        AdapterError: unknown; the message lists the known ones.
    """
    if name in method_names():
        return _METHODS[name]
    raise _unknown(name)


def session_methods() -> list[type[Adapter]]:
    """Methods that learn in sessions, by name."""
    found = (get_method(name) for name in method_names())
    return [method for method in found if method.learns_in_session]


def default_specs(model: ModelInterface | None = None) -> tuple[str, ...]:
    """Default adapters of the annotator; none if `model` takes no adapters."""
    if model is not None and not model.spec.takes_adapters:
        return ()
    return tuple(m.method for m in session_methods() if m.is_session_default)


def load_adapter(
    folder_or_name: str | os.PathLike[str], model: SegmentationModel | None = None
) -> Adapter:
    """Load a saved adapter of any method.

    Args:
        folder_or_name: a folder, the name of a shipped adapter, or a Hub id "owner/name".
        model: its base model, checked at once when given.

    Raises:
        AdapterError: missing or damaged files, an unknown method, or another base model.
    """
    folder = _find(folder_or_name)
    values, _ = read_folder(folder)
    try:
        method = get_method(str(values.get("method")))
    except AdapterError as error:
        raise AdapterError(f"{folder}: {error}") from None
    return method.from_pretrained(folder, model)


def create_adapter(spec: str, model: SegmentationModel | None = None) -> Adapter:
    """An adapter by its name on a command line.

    Args:
        spec: "method" or "method:variant" for an untrained one; otherwise an argument of
            `load_adapter` ("./online" for a folder named like a method).
        model: its base model, bound at once when given.

    Raises:
        AdapterError: an unknown method, variant or folder; the message lists the known methods
            and the shipped adapters.
    """
    name, _, variant = spec.partition(":")
    if name not in method_names():
        if "/" in spec or os.sep in spec or Path(spec).exists() or _is_shipped_name(spec):
            return load_adapter(spec, model)
        raise _unknown(name, shipped_names())
    if Path(spec, CONFIG_FILE).is_file():
        warnings.warn(
            f"adapter {spec!r}: this is an untrained adapter of the method of that name; for the "
            f"adapter in the folder {spec!r} write ./{spec}",
            stacklevel=2,
        )
    adapter = get_method(name).create(variant or None)
    if model is not None:
        adapter.bind(model)
    return adapter


def _unknown(name: str, shipped: Sequence[str] = ()) -> AdapterError:
    """The error for an unknown name of a method, or of a method or a shipped adapter."""
    hint = did_you_mean(name, [*method_names(), *shipped])
    known = f"known methods: {', '.join(method_names()) or 'none'}"
    also = f"; shipped adapters: {', '.join(shipped)}" if shipped else ""
    return AdapterError(f"unknown adapter method {name!r}{hint}; {known}{also}")


def _find(name: str | os.PathLike[str]) -> Path:
    """The folder of an adapter; the error for a name like stable-nano says how to train it."""
    text = str(name)
    if not Path(name).is_dir() and _is_shipped_name(text) and text not in shipped_names():
        method, _, model = text.partition("-")
        hint = did_you_mean(text, shipped_names())
        raise AdapterError(
            f"this samadapt ships no adapter {text!r}{hint}: train it with `samadapt fit {method} "
            f"--model {model} --out {text} ...` and give that folder, or install a version "
            "that ships it"
        )
    return find_folder(name)


def _is_shipped_name(name: str) -> bool:
    """Whether a name is that of a shipped adapter, or has the form METHOD-MODEL of one."""
    method, _, model = name.partition("-")
    ships = bool(model) and "/" not in name and os.sep not in name and method in method_names()
    return name in shipped_names() or ships


def _import_methods() -> None:
    """Every folder beside this file is a method; importing it registers it."""
    package = importlib.import_module("samadapt.adapters")
    for module in pkgutil.iter_modules(package.__path__):
        if module.ispkg:
            importlib.import_module(f"samadapt.adapters.{module.name}")
