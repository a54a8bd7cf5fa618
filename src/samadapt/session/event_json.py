"""Conversion of dataclasses to and from plain JSON values, the form of events in a log."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from samadapt.errors import SessionError

DAMAGED = "damaged event ({}): restore the log from a copy"


def plain(value: Any) -> Any:
    """A dataclass as plain JSON values, without fields that have their default None."""
    if is_dataclass(value):
        given = [(f, getattr(value, f.name)) for f in fields(value)]
        return {f.name: plain(v) for f, v in given if v is not None or f.default is not None}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return value


def dump(body: Mapping[str, Any]) -> str:
    """One line of JSON."""
    return json.dumps(body, allow_nan=False, separators=(",", ":"))


def checksum_of(body: Mapping[str, Any]) -> str:
    """CRC-32 of the JSON, in hexadecimal digits."""
    return f"{zlib.crc32(dump(body).encode()):08x}"


def parse(text: str) -> dict[str, Any]:
    """Read a JSON object; `SessionError` for anything else."""
    try:
        body = json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        raise SessionError(DAMAGED.format("not a line of JSON")) from None
    if not isinstance(body, dict):
        raise SessionError(DAMAGED.format("not a JSON object"))
    return body


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def build(kind: Any, body: Any) -> Any:
    """A dataclass of type `kind` from plain JSON values; `SessionError` if they do not fit."""
    name = getattr(kind, "kind", kind.__name__)
    if not isinstance(body, dict):
        raise SessionError(f"event field {name}: expected an object, found {body!r}")
    known = {f.name: f for f in fields(kind)}
    if unknown := sorted(set(body) - set(known)):
        raise SessionError(f"event {name!r} has unknown fields {unknown}: install a newer samadapt")
    missing = [n for n, f in known.items() if n not in body and f.default is MISSING]
    if missing:
        raise SessionError(f"event {name!r} lacks the fields {missing}")
    types = get_type_hints(kind)
    return kind(
        **{key: value_of(types[key], value, f"{name}.{key}") for key, value in body.items()}
    )


def value_of(kind: Any, value: Any, name: str) -> Any:
    """`value` as the annotated type `kind`, or a `SessionError` that names the field."""
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        if value is None and NoneType in get_args(kind):
            return None
        return value_of(next(k for k in get_args(kind) if k is not NoneType), value, name)
    if origin is tuple and isinstance(value, list):
        return tuple(value_of(get_args(kind)[0], item, name) for item in value)
    if origin is Literal and value in get_args(kind):
        return value
    if is_dataclass(kind):
        return build(kind, value)
    if kind is float and type(value) in (int, float):
        return float(value)
    if origin is None and type(value) is kind:
        return value
    wanted = getattr(kind, "__name__", str(kind))
    raise SessionError(f"event field {name}: expected {wanted}, found {value!r}")
