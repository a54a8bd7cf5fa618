"""`Workspace`: a project being annotated: everything that the page can do, without HTTP."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from samadapt.errors import ImageError, SessionError
from samadapt.models.base import SegmentationModel
from samadapt.server.carrying import Carrying
from samadapt.server.client_sessions import ClientSession, ClientSessions
from samadapt.server.decoding import Decoder
from samadapt.server.encoder import Encoder
from samadapt.server.examples import Examples
from samadapt.server.gallery import Gallery
from samadapt.server.learning import Learning
from samadapt.server.learning_watch import LearningWatch
from samadapt.server.measure import FrozenMeasure
from samadapt.server.pictures import Pictures
from samadapt.server.proposing import Proposing
from samadapt.server.teaching import Teaching
from samadapt.server.tiled_images import TiledImages
from samadapt.server.wire import SimilarRequest
from samadapt.session.state import SessionState, Step
from samadapt.session.steps import Addition
from samadapt.store.embeddings import EmbeddingStore
from samadapt.store.errors import ConflictError, MissingError
from samadapt.store.events import Source
from samadapt.store.label_names import UNLABELLED
from samadapt.store.projects import Project
from samadapt.store.records import StoredImage, StoredObject
from samadapt.store.session_objects import label_text, saved_object

Result = TypeVar("Result")


class Workspace:
    """A project, its model and its adapters, for any number of people at once.

    Nothing here knows a "current image": every call names client and image. Every change is in
    the project, durably, when its call returns.

    Args:
        project: the project.
        folder: its images.
        model: the model.
        store: embeddings on the disk.
        adapters: where adapters are kept.
        specs: adapters to begin with.
        notes: what everybody who opens the page is told.

    Attributes:
        decoder: decodes image files.
        importing: held while a file is imported, which takes much memory.
        imported: how many of how many images the present import has dealt with.
    """

    def __init__(
        self,
        project: Project,
        folder: Path,
        model: SegmentationModel,
        store: EmbeddingStore,
        adapters: Path,
        specs: tuple[str, ...] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self.notes = tuple(notes)
        self.project, self.folder, self.model = project, folder, model
        decoder = Decoder()
        self.gallery = Gallery(project, folder, decoder.stacks)
        self.decoder, self.pictures = decoder, Pictures(decoder=decoder)
        self.tiled = TiledImages(model, decoder)
        self.encoder = Encoder(
            model, store, self.gallery.note, decoder=decoder, is_tiled=self.tiled.is_tiled
        )
        self.learning = Learning(project, model, adapters, specs)
        self.sessions = ClientSessions(
            self.gallery,
            self.encoder,
            self.tiled,
            lambda: self.learning.adapters,
            lambda: self.learning.is_adapted,
        )
        self.examples = Examples(self.gallery, self.encoder, decoder)
        self.proposing = Proposing(self.gallery, self.encoder, self.tiled)
        self.carrying = Carrying(self.gallery, self.encoder, self.sessions.answering)
        self.teaching = Teaching(project, folder, model, self.learning.tasks_folder, store.folder)
        self._measure = FrozenMeasure(model, self._measured)
        self._watch = LearningWatch(
            self.learning, self.changing_adapters, self.sessions.adapters_learned
        )
        self.project.claims.release_all()  # of pages that were closed while no server ran
        self.importing = threading.Lock()
        self.imported: tuple[int, int] = (0, 0)

    @property
    def id(self) -> str:
        """Names the project, at any server: a page that was opened for another is told so."""
        parts = self.project.database.identity, self.project.name
        return hashlib.sha256("\n".join(parts).encode(errors="surrogatepass")).hexdigest()[:16]

    def close(self) -> None:
        """Stop all work in the background, and save what was learned."""
        self.proposing.close()
        self.carrying.close()
        self.teaching.close()
        self._watch.close()
        self._measure.close()
        self.encoder.close()
        self.tiled.close()
        self.decoder.stacks.close()
        self.learning.close()

    def looked_at(self, image_id: int) -> StoredImage:
        """An image as its file is now, decoded where objects or proposals are of earlier pixels.

        Raises:
            ImageError: gone, or its size cannot be read.
            MissingError: no such image.
        """
        image = self.gallery.looked_at(image_id)
        if image.facts is None or image.facts.content_hash is not None:
            return image
        if image.annotated_hash is not None or self.project.proposals.waiting(image_id):
            with suppress(ImageError):  # whoever reads the pixels is told
                self.encoder.note_pixels(image_id, self.gallery.path(image))
        return self.project.images.get(image_id)

    def act(
        self, client: str, person: str, image_id: int, action: Callable[[ClientSession], Result]
    ) -> Result:
        """Do something in a client's session at an image; see `ClientSessions.act`."""
        self._measure.somebody_clicked()
        return self.sessions.act(client, person, image_id, action)

    def accept(
        self, found: ClientSession, label_id: int | None = None, keep_earlier: bool = False
    ) -> int:
        """Accept the object under way; returns the number of the object in the project.

        Args:
            found: whose.
            label_id: the label, where it is not that of the object under way.
            keep_earlier: leave pixels of other objects of the image to them.

        Raises:
            ConflictError: the object that was edited was changed by somebody else.
            MissingError: the label was removed.
            SessionError: no mask.
        """
        session, edited = found.session, found.session.state.object.edited
        strokes = session.state.object.strokes
        is_clicked = bool(session.clicks or session.current_box is not None)
        is_measured = is_clicked or (edited is not None and strokes)
        others = self._others(found) if keep_earlier else ()
        # What was said of an earlier version is unknown: the robot annotator says all of it.
        task = found.masks.accept(label_text(label_id), others, edited is None)
        number = session.state.last_id if edited is None else edited.object_id
        if task is not None and is_measured and self.learning.is_learning:
            self._measure.add(replace(task, object_id=number))
        return number

    def edit(self, found: ClientSession, object_id: int, revision: int) -> None:
        """Take an object up again: clicks improve its mask, accepting saves a new version.

        Raises:
            ConflictError: it was changed meanwhile, or belongs to another image.
            SessionError: another object is under way.
        """
        thing = self.project.objects.get(object_id)
        if thing.revision != revision or thing.deleted or thing.image_id != found.image.id:
            raise ConflictError(
                f"object {object_id} was changed by {thing.person or 'somebody else'} meanwhile: "
                "look at it and do it again"
            )
        found.session.edit(saved_object(thing))

    def undo(self, found: ClientSession) -> None:
        """Take the last step back.

        Raises:
            ConflictError: somebody else changed its object meanwhile; it is passed over now.
            SessionError: nothing to undo.
        """
        with self._passing_over(found, redo=False):
            found.session.undo()

    def redo(self, found: ClientSession) -> None:
        """Do the step again that was undone last; errors as in `undo`."""
        with self._passing_over(found, redo=True):
            found.session.redo()

    def similar(self, found: ClientSession, wanted: SimilarRequest) -> dict[str, Any]:
        """Propose further objects like those of a label on this image; see `propose_similar`.

        Where the image has none of the label yet, those of other images are the examples.

        Raises:
            SessionError: there is no example yet.
        """
        things = self._things(found)
        examples = [o.rle for o in things if o.label_id == wanted.label]
        others = [o.rle for o in things if o.label_id != wanted.label]
        elsewhere = [] if examples else self.examples.of(wanted.label, found.image.id)
        if not examples and not elsewhere:
            raise SessionError("Accept an object of this label first: then similar ones are found.")
        return found.masks.similar(wanted, examples, others, elsewhere, found.searching)

    def accept_proposals(self, found: ClientSession, numbers: Sequence[int]) -> None:
        """Make proposals of an image objects, as one step of undo, and learn them.

        Those that somebody else decided about meanwhile are left out, unless that is all of them.
        A label that was removed meanwhile is made again in the same step.

        Raises:
            DataError: a label that cannot be, or one too many.
            MissingError: all were dealt with meanwhile.
        """
        waiting = {one.id: one for one in self.project.proposals.waiting(found.image.id)}
        some = [waiting[number] for number in dict.fromkeys(numbers) if number in waiting]
        if not some:
            raise MissingError(
                "these proposals were dealt with meanwhile, or their file was replaced: go on to "
                "the next one"
            )
        there = {label.name for label in self.project.labels.all()[0]}
        names = {one.id: one.proposal.label for one in some}
        found.objects.labels = {k: v for k, v in names.items() if v != UNLABELLED or v in there}
        try:
            self.add(found, [Addition(one.proposal.rle, None, one.id) for one in some], "similar")
        finally:
            found.objects.labels = {}

    def add(self, found: ClientSession, objects: Sequence[Addition], source: Source) -> None:
        """Add objects that were not clicked, as one step; what was proposed is learned."""
        found.objects.source = source
        try:
            found.session.add_all(objects)
        finally:
            found.objects.source = "brush"
        if source == "similar":
            for one in objects:
                found.masks.teach(one.rle)

    def searched(self, client: str, image_id: int) -> tuple[int, int]:
        """How many of how many places a search has looked at; (0, 0) while there is none."""
        found = self.sessions.peek(client, image_id)
        return (0, 0) if found is None else found.searched

    @contextmanager
    def changing_adapters(self) -> Iterator[Learning]:
        """Within the block adapters may be changed; afterwards all sessions use the new ones."""
        with self.sessions.all_closed():
            yield self.learning

    def _things(self, found: ClientSession) -> list[StoredObject]:
        """The objects of an image that were drawn at its present size."""
        size = found.session.image_size
        things = self.project.objects.of_image(found.image.id)
        return [thing for thing in things if (thing.height, thing.width) == size]

    def _others(self, found: ClientSession) -> list[StoredObject]:
        """All other objects than the one that is edited."""
        edited = found.session.state.object.edited
        return [o for o in self._things(found) if edited is None or o.id != edited.object_id]

    @contextmanager
    def _passing_over(self, found: ClientSession, *, redo: bool) -> Iterator[None]:
        """Forget a step that cannot be taken because somebody else changed its object."""
        session = found.session
        try:
            yield
        except (ConflictError, MissingError):
            stack = session.state.redo if redo else session.state.undo
            if self._is_outdated(session.state, stack[-1]):
                session.forget(redo=redo)
            raise

    def _is_outdated(self, state: SessionState, step: Step) -> bool:
        """Whether somebody else changed an object of a step, or decided about its proposals."""
        for saved in step.saved:
            now, known = self.project.objects.get(saved.object_id), state.objects[saved.object_id]
            if (now.revision, now.deleted) != (known.revision, known.deleted):
                return True
        proposals = {
            number
            for number, said in step.decided.items()
            if said is not None and number not in state.decided
        }
        waiting = {one for some in self.project.proposals.numbers().values() for one in some}
        return not proposals <= waiting

    def _measured(self, object_id: int, prompts: int) -> None:
        self.project.objects.set_frozen_prompts(object_id, prompts, "")
