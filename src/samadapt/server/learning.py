"""`Learning`: the adapters of a project, what they did for it so far, and copies of them."""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samadapt.adapters.base import Adapter, SessionReport
from samadapt.adapters.files import CONFIG_FILE, shipped_names
from samadapt.adapters.registry import create_adapter, session_methods
from samadapt.errors import AdapterError, BusyError, DataError
from samadapt.models.base import SegmentationModel
from samadapt.store.errors import MissingError
from samadapt.store.learning import LearningChoice
from samadapt.store.projects import Project
from samadapt.store.records import StoredObject

NONE = "none"

_CURRENT = "current"
_SNAPSHOTS = "snapshots"
_TASKS = "tasks"
_SETTLE_SECONDS = 10.0
_PATIENCE_SECONDS, _PAUSE_SECONDS = 20.0, 0.1


@dataclass(frozen=True, slots=True)
class Choice:
    """An adapter to choose: what to call it, and what it is."""

    spec: str
    text: str


class Learning:
    """The adapters that a project uses; those that learn are saved after every object.

    Of all servers of a project one at a time learns. The others answer with what it saved, and
    hand over to it what is accepted at them. When it ends, another one goes on where it was. Which
    adapters are used is the project's choice, the same at all of them.

    Args:
        project: whose objects tell how it goes.
        model: the base model.
        folder: where adapters are kept; made when first needed. The same for all servers.
        specs: what to begin with, as on the command line; the others' choice where there are any.

    Attributes:
        teaches: whether this is the server that learns.

    Raises:
        AdapterError: unknown, damaged, or made for another model.
        DataError: other servers of the project have another model.
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
        self._duty = project.duty("learning")
        self.teaches, self._revision = self._duty.is_mine(), 0
        others = None if self.teaches else project.learning.read()
        if others is None:
            self.use(specs)
        else:
            self._join(others)

    @property
    def is_learning(self) -> bool:
        """Whether any adapter learns."""
        return any(adapter.learns_in_session for adapter in self.adapters)

    @property
    def is_adapted(self) -> bool:
        """Whether predictions use something learned here."""
        return any(adapter.report().is_adapted for adapter in self.adapters)

    def use(self, specs: tuple[str, ...]) -> None:
        """Use other adapters, at all servers.

        Raises:
            AdapterError: unknown, damaged, or made for another model; the present ones stay.
        """
        with self._lock:
            self._load(specs)
            now = self._model.identity
            self._revision = self._project.learning.choose(now.name, now.weights_hash, self.specs)

    # -- with other servers -------------------------------------------------------------------

    def exchange(self) -> bool:
        """Hand over, collect and catch up; whether what was learned elsewhere is in use now."""
        with self._lock:
            if self.teaches:
                for adapter in self.adapters:
                    adapter.collect(self._model, self.adapters)
                return False
            caught_up = [adapter.catch_up() for adapter in self.adapters]
            return any(caught_up)

    def is_behind(self) -> bool:
        """Whether another server chose adapters, or this one is the one that learns now."""
        chosen = self._project.learning.read()
        return self._duty.is_mine() != self.teaches or (
            chosen is not None
            and (
                chosen.revision != self._revision
                or (self.teaches and chosen.resets > chosen.resets_done)
            )
        )

    def follow(self) -> None:
        """Use the adapters that were chosen at any server, and learn if nobody else does.

        Raises:
            AdapterError: they cannot be loaded here.
        """
        with self._lock:
            self.teaches = self._duty.is_mine()
            chosen = self._project.learning.read()
            if chosen is None:
                return
            self._load(chosen.adapters)
            self._revision = chosen.revision
            if self.teaches and chosen.resets > chosen.resets_done:
                self._forget(chosen.resets)

    # -- what the page can do -----------------------------------------------------------------

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
        found += [Choice(one["spec"], f"task {one['name']}") for one in self.tasks()]
        found += [Choice(f"snapshot:{name}", f"snapshot {name}") for name in self.snapshots()]
        given = "+".join(self._first_specs) or NONE
        if given not in {choice.spec for choice in found}:
            found.append(Choice(given, f"{given} (as started)"))
        return found

    @property
    def tasks_folder(self) -> Path:
        """Where adapters are kept that were taught a task here."""
        return self.folder / _TASKS

    def tasks(self) -> list[dict[str, str]]:
        """Tasks that were taught here: what to call each, and the label that it is of."""
        found = []
        for place in sorted(self.tasks_folder.glob("*/" + CONFIG_FILE)):
            try:
                config = json.loads(place.read_text(encoding="utf-8"))
                task = config.get("category") or config.get("recipe", {}).get("category")
            except (OSError, ValueError, AttributeError):
                continue  # a folder that was damaged can be chosen no more
            name = place.parent.name
            found.append({"spec": f"task:{name}", "name": str(task or name)})
        return found

    def load(self, spec: str) -> Adapter:
        """A new adapter of what a spec names, in no session.

        Raises:
            AdapterError: unknown, damaged, or made for another model.
        """
        return create_adapter(self._source(spec), self._model)

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
        """Forget what was learned, at all servers; a copy of it stays in the folder.

        Raises:
            AdapterError: it cannot be moved aside.
            BusyError: the server that learns does not answer.
        """
        with self._lock:
            number = self._project.learning.wish_reset()
            until = time.monotonic() + _PATIENCE_SECONDS
            while not self._duty.is_mine():
                chosen = self._project.learning.read()
                if chosen is not None and chosen.resets_done >= number:
                    self.follow()
                    return
                if time.monotonic() > until:
                    raise BusyError("the server that learns does not answer: try again")
                time.sleep(_PAUSE_SECONDS)
            self.teaches = True
            self._forget(number)

    @property
    def learned(self) -> int:
        """From how many objects the adapter in use has learned."""
        learner = self._learner()
        return 0 if learner is None else learner.report().objects

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
            "lost": report.has_lost,
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
            self._duty.release()

    # -- private ------------------------------------------------------------------------------

    def _join(self, others: LearningChoice) -> None:
        """Do as the servers that are there already."""
        if others.weights != self._model.identity.weights_hash:
            raise DataError(
                f"other servers of this project have the model {others.model}, this one has "
                f"{self._model.identity.name}: start it with --model {others.model}"
            )
        self._load(others.adapters)
        self._revision = others.revision
        if others.adapters != tuple(spec for spec in self._first_specs if spec != NONE):
            chosen = "+".join(others.adapters) or NONE
            self.notes.append(f"the adapter is {chosen}, as at the other servers of this project")

    def _load(self, specs: tuple[str, ...]) -> None:
        fresh = tuple(self._create(spec) for spec in specs if spec != NONE)
        self._close()
        self.specs = tuple(spec for spec in specs if spec != NONE)
        self.adapters = fresh
        for adapter in fresh:
            if self.teaches:
                adapter.resume(self._model, fresh)
            else:
                adapter.catch_up()

    def _forget(self, number: int) -> None:
        """Begin anew with learning, as the wish of this number said."""
        self._close()
        for spec in self.specs:
            current = self._place(spec)
            if current.exists():
                self._move_aside(current)
        self._load(self.specs)
        self._project.learning.reset_is_done(number)
        chosen = self._project.learning.read()
        self._revision = 0 if chosen is None else chosen.revision

    def _close(self) -> None:
        for adapter in self.adapters:
            adapter.close()
        self.adapters = ()

    def _create(self, spec: str) -> Adapter:
        adapter = self.load(spec)
        if not adapter.learns_in_session:
            return adapter
        place = self._place(spec)
        if not self.teaches:
            return adapter.following(self._model, place)
        if place.is_file() or (place.is_dir() and any(p.is_file() for p in place.iterdir())):
            try:
                adapter = type(adapter).from_pretrained(place, self._model)
            except AdapterError as error:
                aside = self._move_aside(place)
                self.notes.append(f"{error}. Learning begins anew; the old state is in {aside}")
        return adapter.serving(self._model, place)

    def _source(self, spec: str) -> str:
        """Folder or name of what a spec stands for."""
        for kind, folder in (("snapshot:", _SNAPSHOTS), ("task:", _TASKS)):
            if spec.startswith(kind):
                return str(self.folder / folder / spec.removeprefix(kind))
        return spec

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
