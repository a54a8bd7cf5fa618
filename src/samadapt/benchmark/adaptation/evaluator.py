"""`AdaptationEvaluator`: makes single runs of adapters and keeps them on the disk."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from samadapt.adapters.registry import create_adapter
from samadapt.benchmark import finished_runs
from samadapt.benchmark.adaptation.scenarios import Scenario
from samadapt.benchmark.adaptation.streams import ONE_IN, CarelessSession
from samadapt.benchmark.environment import fingerprint, hash_files
from samadapt.benchmark.interactive.result import InteractiveResult
from samadapt.benchmark.interactive.run import plain_session, run_interactive
from samadapt.errors import DataError
from samadapt.models.base import SegmentationModel
from samadapt.models.seams import Seams
from samadapt.session.options import SessionOptions
from samadapt.session.robot import ClickProtocol
from samadapt.session.session import Session
from samadapt.store.embeddings import EmbeddingStore

MISTAKES = "wrong_accepts"
"""Key in a run's protocol for the bad accepted masks."""


class AdaptationEvaluator:
    """Runs one model under one protocol, by scenario, adapter and seed.

    Args:
        model: answers the clicks.
        protocol: of the robot's clicks.
        adapters: arguments of `create_adapter`, "a+b" for both at once; all are checked here.
        folder: for finished runs; None keeps none.
        progress: called with the number of finished objects, including runs read from `folder`.
        store: embeddings on the disk; None encodes every image again.

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
        store: EmbeddingStore | None = None,
    ) -> None:
        self._model = model
        self._protocol = protocol
        self._adapters = {spec: _describe(spec, model) for spec in adapters}
        self._folder = None if folder is None else finished_runs.make_folder(Path(folder))
        self._progress, self._store = progress, store
        self._done = 0
        self._frozen: dict[str, list[InteractiveResult]] = {}
        self._descriptions: dict[tuple[str, str], Mapping[str, Any]] = {}

    def result(self, scenario: Scenario, adapter: str | None, seed: int) -> InteractiveResult:
        """Return the run of an adapter (None for the frozen model), read from the folder or made.

        Raises:
            DataError: as `run_interactive`, or the run cannot be kept.
        """
        path = self._path(scenario, adapter, seed)
        found = None if path is None else _read(path)
        if found is None:
            found = self._same_objects(scenario, seed) if adapter is None else None
            found = found or self._run(scenario, adapter, seed)
            if path is not None:
                found.save(path)
                # Files have rounded times, so read the file for the same result in every call.
                found = InteractiveResult.load(path)
        if adapter is None:
            self._frozen.setdefault(self._key(scenario), []).append(found)
        self._done += len(found.objects) + sum(len(s.annotation_ids) for s in found.skipped)
        self._tell(0)
        return found

    def has(self, scenario: Scenario, adapter: str | None, seed: int) -> bool:
        """Return True if a run is kept already."""
        path = self._path(scenario, adapter, seed)
        return path is not None and _read(path) is not None

    def take(
        self, scenario: Scenario, adapter: str | None, seed: int, run: InteractiveResult
    ) -> None:
        """Keep a run that a worker made.

        Raises:
            DataError: it cannot be kept.
        """
        path = self._path(scenario, adapter, seed)
        if path is not None:
            run.save(path)

    # -- running --------------------------------------------------------------------------

    def _run(self, scenario: Scenario, adapter: str | None, seed: int) -> InteractiveResult:
        careless: list[CarelessSession] = []

        def make_session(
            model: SegmentationModel, adapters: Sequence[Seams], options: SessionOptions
        ) -> Session:
            if scenario.kind != "wrong-accepts":
                return plain_session(model, adapters, options)
            careless.append(CarelessSession(model, adapters, options, seed=seed))
            return careless[0]

        result = run_interactive(
            scenario.dataset(seed),
            self._model,
            self._protocol,
            () if adapter is None else tuple(adapter.split("+")),
            scenario.selection(seed),
            progress=lambda done, _: self._tell(done),
            store=self._store,
            make_session=make_session,
        )
        if not careless:
            return result
        made = {"one_in": ONE_IN, "mistakes": list(careless[0].mistakes)}
        return replace(result, protocol={**result.protocol, MISTAKES: made})

    def _same_objects(self, scenario: Scenario, seed: int) -> InteractiveResult | None:
        """Return a frozen run under another seed of the same objects, in this seed's order.

        The frozen model does not learn, so without random clicks the order cannot change a result.
        """
        if self._protocol.ties == "random" or self._protocol.first_click == "random":
            return None
        if scenario.kind != "sequential":
            return None
        ids = [r.annotation_id for r in scenario.selection(seed).objects(scenario.dataset(seed))]
        for earlier in self._frozen.get(self._key(scenario), ()):
            rows = {row.annotation_id: row for row in earlier.objects}
            skipped = {key for skip in earlier.skipped for key in skip.annotation_ids}
            if set(ids) == set(rows) | skipped:
                return InteractiveResult.of(
                    tuple(rows[key] for key in ids if key in rows),
                    self._protocol,
                    seed,
                    environment=earlier.environment,
                    protocol={**earlier.protocol, "seed": seed},
                    skipped=earlier.skipped,
                    timing=earlier.timing,
                )
        return None

    def _tell(self, more: int) -> None:
        if self._progress is not None:
            self._progress(self._done + more)

    # -- keeping --------------------------------------------------------------------------

    def _path(self, scenario: Scenario, adapter: str | None, seed: int) -> Path | None:
        """Return the path of a kept run."""
        return self._folder and self._folder / self.run_name(scenario, adapter, seed)

    def run_name(self, scenario: Scenario, adapter: str | None, seed: int) -> str:
        """Return a readable name with a digest of everything that the run depends on."""
        digest = finished_runs.digest(
            {
                "course": self._description(scenario),
                "adapter": None if adapter is None else self._adapters[adapter],
                "seed": seed,
                "protocol": asdict(self._protocol),
                "model": fingerprint(self._model),
            }
        )
        name = finished_runs.file_name((*scenario.datasets, scenario.kind, adapter or "frozen"))
        return f"{name.replace('+', '-')[:120]}_seed{seed}_{digest}.json"

    def _key(self, scenario: Scenario) -> str:
        return json.dumps(self._description(scenario), sort_keys=True)

    def _description(self, scenario: Scenario) -> Mapping[str, Any]:
        """Return the description of a scenario; cached, because it hashes files."""
        key = (scenario.kind, scenario.name)
        if key not in self._descriptions:
            self._descriptions[key] = scenario.describe()
        return self._descriptions[key]


def _describe(spec: str, model: SegmentationModel) -> dict[str, Any]:
    """Return the properties of an adapter that its runs depend on, as plain JSON values."""
    parts = spec.split("+")
    configs = [create_adapter(part, model).config.to_dict() for part in parts]
    files = [hash_files(Path(part)) for part in parts]
    if len(parts) == 1:
        return {"spec": spec, "config": configs[0], "files": files[0]}
    return {"spec": spec, "configs": configs, "files": files}


def _read(path: Path) -> InteractiveResult | None:
    """Return a kept run; None if it is missing or damaged, so that it is made again."""
    try:
        return InteractiveResult.load(path) if path.is_file() else None
    except DataError:
        return None
