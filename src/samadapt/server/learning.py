"""`Learning`: the adapters of a project, what they did for it so far, and copies of them."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samadapt.adapters.base import Adapter, SessionReport
from samadapt.adapters.files import CONFIG_FILE, shipped_names
from samadapt.adapters.registry import create_adapter, session_methods
from samadapt.errors import AdapterError
from samadapt.models.base import SegmentationModel
from samadapt.store.errors import MissingError
from samadapt.store.projects import Project
from samadapt.store.records import StoredObject

NONE = "none"
ADAPTERS = "samadapt.adapters"
"""Folder of what was learned, beside the project."""

_CURRENT = "current"
_SNAPSHOTS = "snapshots"
_SETTLE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Choice:
    """An adapter to choose: what to call it, and what it is."""

    spec: str
    text: str


class Learning:
    """The adapters that a project uses; those that learn are saved after every object.

    Args:
        project: whose objects tell how it goes.
        model: the base model.
        folder: where adapters are kept; made when first needed.
        specs: what to begin with, as on the command line.
    """

    def __init__(
        self, project: Project, model: SegmentationModel, folder: Path, specs: tuple[str, ...]
    ) -> None:
        self._project, self._model, self.folder = project, model, folder
        self._first_specs = specs
        self._lock = threading.RLock()
        self.notes: list[str] = []
        self.specs: tuple[str, ...] = ()
        self.adapters: tuple[Adapter, ...] = ()
        self.use(specs)

    @property
    def is_learning(self) -> bool:
        """Whether any adapter learns."""
        return any(adapter.learns_in_session for adapter in self.adapters)

    @property
    def is_adapted(self) -> bool:
        """Whether predictions use something learned here."""
        return any(adapter.report().is_adapted for adapter in self.adapters)

    def use(self, specs: tuple[str, ...]) -> None:
        """Use other adapters.

        Raises:
            AdapterError: unknown, damaged, or made for another model; the present ones stay.
        """
        with self._lock:
            fresh = tuple(self._create(spec) for spec in specs if spec != NONE)
            self._close()
            self.specs = tuple(spec for spec in specs if spec != NONE)
            self.adapters = fresh
            for adapter in fresh:
                adapter.resume(self._model, fresh)

    def choose(self, spec: str) -> None:
        """Use one of `choices`.

        Raises:
            MissingError: not among them.
            AdapterError: cannot be loaded.
        """
        if spec not in {choice.spec for choice in self.choices()}:
            raise MissingError(f"there is no adapter {spec!r}: choose one from the list")
        self.use(self._specs_of(spec))

    def choices(self) -> list[Choice]:
        """What can be chosen: nothing, learning here, what ships, and snapshots."""
        found = [Choice(NONE, "none: the model as it is")]
        if not self._model.spec.takes_adapters:
            return found
        for method in session_methods():
            name = method.method
            found.append(Choice(name, f"{name}: {method.about}"))
            texts = method.variant_texts().items()
            found += [Choice(f"{name}:{variant}", f"{name}, {text}") for variant, text in texts]
        found += [Choice(name, f"{name} (shipped)") for name in shipped_names()]
        found += [Choice(f"snapshot:{name}", f"snapshot {name}") for name in self.snapshots()]
        given = "+".join(self._first_specs) or NONE
        if given not in {choice.spec for choice in found}:
            found.append(Choice(given, f"{given} (as started)"))
        return found

    def snapshots(self) -> list[str]:
        """Names of the copies that were made."""
        folder = self.folder / _SNAPSHOTS
        if not folder.is_dir():
            return []
        return sorted(p.name for p in folder.iterdir() if (p / CONFIG_FILE).is_file())

    def snapshot(self, name: str) -> Path:
        """Save a copy of what was learned so far; returns its folder.

        Raises:
            AdapterError: nothing learns, the name is taken, or it cannot be written.
        """
        with self._lock:
            adapter = self._learner()
            if adapter is None:
                raise AdapterError("nothing is learned at present: choose an adapter that learns")
            target = self.folder / _SNAPSHOTS / name
            if target.exists():
                raise AdapterError(f"there is a snapshot {name!r} already: choose another name")
            adapter.wait(_SETTLE_SECONDS)
            adapter.save_pretrained(target)
            return target

    def reset(self) -> None:
        """Forget what was learned; a copy of it stays in the folder.

        Raises:
            AdapterError: it cannot be moved aside.
        """
        with self._lock:
            self._close()
            for spec in self.specs:
                current = self._place(spec)
                if current.exists():
                    self._move_aside(current)
            self.use(self.specs)

    def summary(self) -> dict[str, Any]:
        """What the page shows: how it goes, object by object.

        An object is verified if somebody painted it or corrected it (it took more than one
        prompt), or took it up again and saved it. Of the others nobody said more than that they
        would do. Prompts are compared with the frozen model's only where the object was clicked.
        """
        with self._lock:
            learner = self._learner()
            current = "+".join(self.specs) or NONE
            report = SessionReport() if learner is None else learner.report()
            notes = list(self.notes)
        things = self._project.objects.measured()
        again = self._project.journal.taken_up()
        rows = [
            [
                o.prompts,
                o.frozen_prompts if o.source == "clicks" else None,
                int(o.adapted),
                int(_is_verified(o, again)),
            ]
            for o in things
        ]
        unverified = sum(not row[3] for row in rows) + self._project.objects.count_proposed()
        return {
            "adapter": current,
            "choices": [{"spec": c.spec, "text": c.text} for c in self.choices()],
            "can_learn": self._model.spec.takes_adapters,
            "learning": learner is not None,
            "learned": report.objects,
            "trusted": report.is_trusted,
            "active": report.is_adapted,
            "snapshots": self.snapshots(),
            "objects": rows[-500:],
            "unverified": unverified,
            "notes": notes[-3:],
        }

    def close(self) -> None:
        """Let learning come to an end, and stop it."""
        with self._lock:
            for adapter in self.adapters:
                adapter.wait(_SETTLE_SECONDS)
            self._close()

    # -- private ------------------------------------------------------------------------------

    def _close(self) -> None:
        for adapter in self.adapters:
            adapter.close()
        self.adapters = ()

    def _create(self, spec: str) -> Adapter:
        name = spec.removeprefix("snapshot:")
        source = str(self.folder / _SNAPSHOTS / name) if name != spec else spec
        adapter = create_adapter(source, self._model)
        if not adapter.learns_in_session:
            return adapter
        place = self._place(spec)
        if place.is_file() or (place.is_dir() and any(p.is_file() for p in place.iterdir())):
            try:
                adapter = type(adapter).from_pretrained(place, self._model)
            except AdapterError as error:
                aside = self._move_aside(place)
                self.notes.append(f"{error}. Learning begins anew; the old state is in {aside}")
        return adapter.serving(self._model, place)

    def _learner(self) -> Adapter | None:
        """The first adapter that learns."""
        return next((a for a in self.adapters if a.learns_in_session), None)

    def _place(self, spec: str) -> Path:
        """Where what a spec learns is kept: apart for every model."""
        plain = re.sub(r"[^A-Za-z0-9.-]+", "-", spec).strip("-")
        return self.folder / _CURRENT / f"{plain}-{self._model.identity.weights_hash[:12]}"

    def _move_aside(self, place: Path) -> Path:
        number = 1
        while (aside := place.with_name(f"{place.name}.old-{number}")).exists():
            number += 1
        try:
            place.rename(aside)
        except OSError as error:
            raise AdapterError(
                f"{place} cannot be moved to {aside.name} ({error.strerror}): check the folder"
            ) from None
        return aside

    def _specs_of(self, spec: str) -> tuple[str, ...]:
        given = "+".join(self._first_specs) or NONE
        return self._first_specs if spec == given else (spec,)


def _is_verified(thing: StoredObject, taken_up: set[int]) -> bool:
    was_saved_again = thing.revision > 1 and thing.id in taken_up
    return (thing.prompts or 0) > 1 or thing.source == "brush" or was_saved_again
