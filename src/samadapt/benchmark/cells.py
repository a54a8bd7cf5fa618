"""`Cells`: the single runs of the adaptation benchmark, kept on the disk once they are finished."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from samadapt.adapters.registry import create_adapter
from samadapt.benchmark.courses import Course
from samadapt.benchmark.interactive import hash_files, plain_session, run_interactive
from samadapt.benchmark.results import InteractiveResult, ObjectResult
from samadapt.benchmark.streams import ONE_IN, CarelessSession
from samadapt.benchmark.summary import intervals, summarise
from samadapt.errors import DataError
from samadapt.models.base import SegmentationModel
from samadapt.models.seams import Seams
from samadapt.session.options import SessionOptions
from samadapt.session.robot import ClickProtocol
from samadapt.session.session import Session

MISTAKES = "wrong_accepts"
"""Where a run's protocol says which accepted masks were bad."""


class Cells:
    """Runs of one model and protocol: by course, adapter and seed.

    Args:
        model: answers the clicks.
        protocol: how the robot clicks.
        adapters: as `create_adapter` takes them, "a+b" for both at once; all are checked here.
        folder: where finished runs are kept; None keeps none.
        progress: told how many objects are done, those of runs that were kept included.

    Raises:
        AdapterError: an unknown adapter, or one made for another model.
        DataError: the folder cannot be made.
    """

    def __init__(
        self,
        model: SegmentationModel,
        protocol: ClickProtocol,
        adapters: Sequence[str],
        folder: str | os.PathLike[str] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._model = model
        self._protocol = protocol
        self._adapters = {spec: _describe(spec, model) for spec in adapters}
        self._folder = None if folder is None else _made(Path(folder))
        self._progress = progress
        self._done = 0
        self._frozen: dict[str, list[InteractiveResult]] = {}
        self._courses: dict[tuple[str, str], Mapping[str, Any]] = {}

    def result(self, course: Course, adapter: str | None, seed: int) -> InteractiveResult:
        """The run of an adapter (None: of the frozen model), read or made.

        Raises:
            DataError: as `run_interactive`, or the run cannot be kept.
        """
        path = self._path(course, adapter, seed)
        found = None if path is None else _read(path)
        if found is None:
            found = self._same_objects(course, seed) if adapter is None else None
            found = found or self._run(course, adapter, seed)
            if path is not None:
                found.save(path)
                # Files have rounded times: the first result is to be that of every later one.
                found = InteractiveResult.load(path)
        if adapter is None:
            self._frozen.setdefault(self._key(course), []).append(found)
        self._done += len(found.objects) + sum(len(s.annotation_ids) for s in found.skipped)
        self._tell(0)
        return found

    # -- running --------------------------------------------------------------------------

    def _run(self, course: Course, adapter: str | None, seed: int) -> InteractiveResult:
        careless: list[CarelessSession] = []

        def make_session(
            model: SegmentationModel, adapters: Sequence[Seams], options: SessionOptions
        ) -> Session:
            if course.kind != "wrong-accepts":
                return plain_session(model, adapters, options)
            careless.append(CarelessSession(model, adapters, options, seed=seed))
            return careless[0]

        result = run_interactive(
            course.dataset(seed),
            self._model,
            self._protocol,
            () if adapter is None else tuple(adapter.split("+")),
            max_objects=course.limit,
            seed=seed,
            order=course.order,
            progress=lambda done, _: self._tell(done),
            make_session=make_session,
        )
        if not careless:
            return result
        made = {"one_in": ONE_IN, "mistakes": list(careless[0].mistakes)}
        return replace(result, protocol={**result.protocol, MISTAKES: made})

    def _same_objects(self, course: Course, seed: int) -> InteractiveResult | None:
        """A frozen run under another seed that visited the same objects, in this seed's order.

        Nothing learns there, so without random clicks the order cannot change a result.
        """
        if self._protocol.ties == "random" or self._protocol.first_click == "random":
            return None
        if course.kind != "sequential":
            return None
        wanted = course.dataset(seed).objects(max_objects=course.limit, seed=seed)
        ids = [ref.annotation_id for ref in wanted]
        for earlier in self._frozen.get(self._key(course), ()):
            rows = {row.annotation_id: row for row in earlier.objects}
            skipped = {key for skip in earlier.skipped for key in skip.annotation_ids}
            if set(ids) == set(rows) | skipped:
                ordered = tuple(rows[key] for key in ids if key in rows)
                return self._reordered(earlier, ordered, seed)
        return None

    def _reordered(
        self, earlier: InteractiveResult, rows: tuple[ObjectResult, ...], seed: int
    ) -> InteractiveResult:
        curves = [row.curve for row in rows]
        limits = self._protocol.max_clicks, self._protocol.content_at
        return replace(
            earlier,
            protocol={**earlier.protocol, "seed": seed},
            summary=summarise(curves, *limits),
            intervals=intervals(curves, *limits, seed=seed),
            objects=rows,
        )

    def _tell(self, more: int) -> None:
        if self._progress is not None:
            self._progress(self._done + more)

    # -- keeping --------------------------------------------------------------------------

    def _path(self, course: Course, adapter: str | None, seed: int) -> Path | None:
        """Named for people, with a digest of all that the run depends on."""
        if self._folder is None:
            return None
        described = {
            "course": self._description(course),
            "adapter": None if adapter is None else self._adapters[adapter],
            "seed": seed,
            "protocol": asdict(self._protocol),
            "model": [
                self._model.identity.weights_hash,
                self._model.preprocessing,
                str(self._model.encoder_dtype),
            ],
        }
        digest = hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()
        parts = (*course.datasets, course.kind, adapter or "frozen")
        name = "_".join(re.sub(r"[^A-Za-z0-9.-]+", "-", part) for part in parts)
        return self._folder / f"{name[:120]}_seed{seed}_{digest[:12]}.json"

    def _key(self, course: Course) -> str:
        return json.dumps(self._description(course), sort_keys=True)

    def _description(self, course: Course) -> Mapping[str, Any]:
        """Kept, because files are hashed for it."""
        key = (course.kind, course.name)
        if key not in self._courses:
            self._courses[key] = course.describe()
        return self._courses[key]


def _describe(spec: str, model: SegmentationModel) -> dict[str, Any]:
    """What an adapter's runs depend on, as plain JSON values."""
    parts = spec.split("+")
    configs = [create_adapter(part, model).config.to_dict() for part in parts]
    files = [hash_files(Path(part)) for part in parts]
    if len(parts) == 1:
        return {"spec": spec, "config": configs[0], "files": files[0]}
    return {"spec": spec, "configs": configs, "files": files}


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"{folder}, where finished runs are kept, cannot be made ({error.strerror or error}): "
            "give another file"
        ) from None
    return folder


def _read(path: Path) -> InteractiveResult | None:
    """A run that was kept; None if there is none, or a damaged one, which is made again."""
    try:
        return InteractiveResult.load(path) if path.is_file() else None
    except DataError:
        return None
