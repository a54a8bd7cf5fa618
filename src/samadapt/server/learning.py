"""`Learning`: the adapters of a project, how well they do, and snapshots of them."""

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
    """An adapter that can be chosen: its name in requests, and a description."""

    spec: str
    text: str


class Learning:
    """The adapters that a project uses; those that learn are saved after every object.

    When several servers share a project, one of them learns. The others predict with the state that
    it saved, and hand over the objects accepted at them. When that server stops, another one
    continues from the saved state. All servers of a project use the same adapters.

    Args:
        project: stores the choice of adapters, and the objects that the statistics are about.
        model: the base model.
        folder: folder of the saved adapters, shared by all servers; made when first needed.
        specs: adapters to begin with, as on the command line; ignored if another server runs.

    Attributes:
        teaches: whether this is the server that learns.

    Raises:
        AdapterError: an adapter is unknown, damaged, or made for another model.
        DataError: other servers of the project use another model.
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
        """True if any adapter in use learns in sessions."""
        return any(adapter.learns_in_session for adapter in self.adapters)

    @property
    def is_adapted(self) -> bool:
        """Whether predictions use something learned here."""
        return any(adapter.report().is_adapted for adapter in self.adapters)

    def use(self, specs: tuple[str, ...]) -> None:
        """Use other adapters, at all servers of the project.

        Raises:
            AdapterError: one is unknown, damaged, or made for another model; then the present ones
                stay in use.
        """
        with self._lock:
            self._load(specs)
            now = self._model.identity
            self._revision = self._project.learning.choose(now.name, now.weights_hash, self.specs)

    # -- with other servers -------------------------------------------------------------------

    def exchange(self) -> bool:
        """Learn the objects of other servers, or load the state that another server has saved.

        Returns True if a newer state was loaded.
        """
        with self._lock:
            if self.teaches:
                for adapter in self.adapters:
                    adapter.collect(self._model, self.adapters)
                return False
            caught_up = [adapter.catch_up() for adapter in self.adapters]
            return any(caught_up)

    def is_behind(self) -> bool:
        """Return True if `follow` has to act: on a new choice, a reset, or another server's end."""
        chosen = self._project.learning.read()
        return self._duty.is_mine() != self.teaches or (
            chosen is not None
            and (
                chosen.revision != self._revision
                or (self.teaches and chosen.resets > chosen.resets_done)
            )
        )

    def follow(self) -> None:
        """Use the adapters that were chosen at any server, and learn if no other server does.

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
        """Use one of the adapters in `choices`.

        Raises:
            MissingError: there is no such choice.
            AdapterError: the adapter cannot be loaded.
        """
        if spec not in {choice.spec for choice in self.choices()}:
            raise MissingError(f"there is no adapter {spec!r}: choose one from the list")
        self.use(self._specs_of(spec))

    def choices(self) -> list[Choice]:
        """Return the choices: none, methods that learn, shipped adapters, tasks and snapshots."""
        found = [Choice(NONE, "none: the model as it is")]
        if not self._model.spec.takes_adapters:
            return found
        for method in session_methods():
            name = method.method
            found.append(Choice(name, f"{name}: {method.about}"))
            texts = method.variant_texts().items()
            found += [
                Choice(f"{name}:{variant}", f"{name}:{variant}: {text}") for variant, text in texts
            ]
        found += [Choice(name, f"{name} (shipped)") for name in shipped_names()]
        found += [Choice(one["spec"], f"task {one['name']}") for one in self.tasks()]
        found += [Choice(f"snapshot:{name}", f"snapshot {name}") for name in self.snapshots()]
        given = "+".join(self._first_specs) or NONE
        if given not in {choice.spec for choice in found}:
            found.append(Choice(given, f"{given} (as started)"))
        return found

    @property
    def tasks_folder(self) -> Path:
        """Folder of the adapters that were taught a task in this project."""
        return self.folder / _TASKS

    def tasks(self) -> list[dict[str, str]]:
        """Return the tasks taught in this project, each with the adapter's "spec" and a "name"."""
        found = []
        for place in sorted(self.tasks_folder.glob("*/" + CONFIG_FILE)):
            try:
                config = json.loads(place.read_text(encoding="utf-8"))
                task = config.get("category") or config.get("recipe", {}).get("category")
            except (OSError, ValueError, AttributeError):
                continue  # a damaged folder cannot be chosen
            name = place.parent.name
            found.append({"spec": f"task:{name}", "name": str(task or name)})
        return found

    def load(self, spec: str) -> Adapter:
        """Load the adapter that a spec names, for use outside of sessions.

        Raises:
            AdapterError: it is unknown, damaged, or made for another model.
        """
        return create_adapter(self._source(spec), self._model)

    def snapshots(self) -> list[str]:
        """Return the names of the snapshots."""
        folder = self.folder / _SNAPSHOTS
        if not folder.is_dir():
            return []
        return sorted(p.name for p in folder.iterdir() if (p / CONFIG_FILE).is_file())

    def snapshot(self, name: str) -> Path:
        """Save a copy of what was learned so far, and return its folder.

        Raises:
            AdapterError: no adapter learns, the name is taken, or the copy cannot be written.
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
        """Forget what was learned, at all servers; a copy stays in the folder under a new name.

        Raises:
            AdapterError: the saved state cannot be renamed.
            BusyError: the server that learns does not respond.
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
        """Number of objects that the adapter in use has learned."""
        learner = self._learner()
        return 0 if learner is None else learner.report().objects

    def summary(self) -> dict[str, Any]:
        """Return the state of learning as JSON, with the statistics that the page plots.

        "objects" holds [prompts, prompts of the frozen model, adapted, verified] of the last 500
        objects. An object is verified if a person painted it, gave it more than one prompt, or
        edited it later; the others were accepted unchanged. The frozen model's prompts are known
        only for objects that were clicked, else null.
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
        """Wait until everything is learned, stop learning, and let another server take over."""
        with self._lock:
            for adapter in self.adapters:
                adapter.wait(_SETTLE_SECONDS)
            self._close()
            self._duty.release()

    # -- private ------------------------------------------------------------------------------

    def _join(self, others: LearningChoice) -> None:
        """Use the adapters that the other running servers of the project use."""
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
        """Carry out the reset request of this number: move the learned state aside, start anew."""
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
        """Return the folder or the name of the adapter that a spec stands for."""
        for kind, folder in (("snapshot:", _SNAPSHOTS), ("task:", _TASKS)):
            if spec.startswith(kind):
                return str(self.folder / folder / spec.removeprefix(kind))
        return spec

    def _learner(self) -> Adapter | None:
        """Return the first adapter in use that learns, if any."""
        return next((a for a in self.adapters if a.learns_in_session), None)

    def _place(self, spec: str) -> Path:
        """Return the folder of the state that a spec learns; every model has its own."""
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
