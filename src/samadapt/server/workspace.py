"""`Workspace`: a project being annotated, with all operations of the page but without HTTP."""

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

    There is no "current image": every call names client and image. When a call returns, its change
    is saved durably in the project.

    Args:
        project: the project.
        folder: folder of the images.
        model: the model.
        store: cache of embeddings on the disk.
        adapters: folder of the saved adapters.
        specs: adapters to begin with, as on the command line.
        notes: messages that the page shows to everybody.

    Attributes:
        decoder: decodes image files.
        importing: lock that allows one import at a time, as it takes much memory.
        imported: progress of the present import: images done, and images in all.
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
        self.project.claims.release_all()  # those of pages that were closed while no server ran
        self.importing = threading.Lock()
        self.imported: tuple[int, int] = (0, 0)

    @property
    def id(self) -> str:
        """Identifies the project, at any server, so that pages of another project are refused."""
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
        """Return an image as its file is now; see `Gallery.looked_at`.

        Decodes the image if its content hash is needed to notice that it was replaced since its
        objects or proposals were made.

        Raises:
            ImageError: the file is gone, or its size cannot be read.
            MissingError: there is no such image.
        """
        image = self.gallery.looked_at(image_id)
        if image.facts is None or image.facts.content_hash is not None:
            return image
        if image.annotated_hash is not None or self.project.proposals.waiting(image_id):
            with suppress(ImageError):  # raised again when the pixels are read
                self.encoder.note_pixels(image_id, self.gallery.path(image))
        return self.project.images.get(image_id)

    def act(
        self, client: str, person: str, image_id: int, action: Callable[[ClientSession], Result]
    ) -> Result:
        """Run an action in a client's session on an image; see `ClientSessions.act`."""
        self._measure.somebody_clicked()
        return self.sessions.act(client, person, image_id, action)

    def accept(
        self, found: ClientSession, label_id: int | None = None, keep_earlier: bool = False
    ) -> int:
        """Accept the object under way; return the number of the object in the project.

        Args:
            found: the client's session.
            label_id: number of the label; None for the label of the object under way.
            keep_earlier: leave out pixels that other objects of the image have.

        Raises:
            ConflictError: the object that was edited was changed by somebody else.
            MissingError: the label was removed.
            SessionError: the object has no mask.
        """
        session, edited = found.session, found.session.state.object.edited
        strokes = session.state.object.strokes
        is_clicked = bool(session.clicks or session.current_box is not None)
        is_measured = is_clicked or (edited is not None and strokes)
        others = self._others(found) if keep_earlier else ()
        # Prompts of an edited object's earlier version are unknown: the robot annotator gives all.
        task = found.masks.accept(label_text(label_id), others, edited is None)
        number = session.state.last_id if edited is None else edited.object_id
        if task is not None and is_measured and self.learning.is_learning:
            self._measure.add(replace(task, object_id=number))
        return number

    def edit(self, found: ClientSession, object_id: int, revision: int) -> None:
        """Make an accepted object the object under way; accepting it saves a new revision.

        Raises:
            ConflictError: the object was changed meanwhile, or belongs to another image.
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
        """Undo the last step.

        Raises:
            ConflictError: somebody else changed an object of the step meanwhile; the step is
                forgotten, so that the next undo takes the one before.
            SessionError: there is nothing to undo.
        """
        with self._passing_over(found, redo=False):
            found.session.undo()

    def redo(self, found: ClientSession) -> None:
        """Redo the step that was undone last; raises the same errors as `undo`."""
        with self._passing_over(found, redo=True):
            found.session.redo()

    def similar(self, found: ClientSession, wanted: SimilarRequest) -> dict[str, Any]:
        """Propose further objects like those of a label on an image; see `propose_similar`.

        If the image has no object of the label yet, those of other images are the examples.

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
        """Accept proposals of an image as one step of undo; the adapters learn them.

        Proposals that somebody else accepted or rejected meanwhile, and those of tracks that ended
        in an earlier slice, are left out. A label that was removed meanwhile is created again in
        the same step.

        Raises:
            ConflictError: the tracks of all of the proposals ended in earlier slices.
            DataError: such a label has an invalid name, or there are too many labels.
            MissingError: none of the proposals waits any more.
        """
        waiting = {one.id: one for one in self.project.proposals.waiting(found.image.id)}
        some = [waiting[number] for number in dict.fromkeys(numbers) if number in waiting]
        if not some:
            raise MissingError(
                "these proposals were dealt with meanwhile, or their file was replaced: go on to "
                "the next one"
            )
        late = self.carrying.beyond_ends([found.image.id])
        if all(one.id in late for one in some):
            raise ConflictError(
                f"track {late[some[0].id]} ends in an earlier slice: undo its end first, or reject "
                "this proposal"
            )
        some = [one for one in some if one.id not in late]
        there = {label.name for label in self.project.labels.all()[0]}
        names = {one.id: one.proposal.label for one in some}
        found.objects.labels = {k: v for k, v in names.items() if v != UNLABELLED or v in there}
        try:
            self.add(found, [Addition(one.proposal.rle, None, one.id) for one in some], "similar")
        finally:
            found.objects.labels = {}

    def add(self, found: ClientSession, objects: Sequence[Addition], source: Source) -> None:
        """Add objects from masks as one step; the adapters learn those of source "similar"."""
        found.objects.source = source
        try:
            found.session.add_all(objects)
        finally:
            found.objects.source = "brush"
        if source == "similar":
            for one in objects:
                found.masks.teach(one.rle)

    def searched(self, client: str, image_id: int) -> tuple[int, int]:
        """Return a search's progress: places looked at, places in all; (0, 0) without a search."""
        found = self.sessions.peek(client, image_id)
        return (0, 0) if found is None else found.searched

    @contextmanager
    def changing_adapters(self) -> Iterator[Learning]:
        """Lock all sessions while adapters are changed in the block; then they use the new ones."""
        with self.sessions.all_closed():
            yield self.learning

    def _things(self, found: ClientSession) -> list[StoredObject]:
        """Return the objects of an image that have masks of its present size."""
        size = found.session.image_size
        things = self.project.objects.of_image(found.image.id)
        return [thing for thing in things if (thing.height, thing.width) == size]

    def _others(self, found: ClientSession) -> list[StoredObject]:
        """Return the objects of an image without the one being edited."""
        edited = found.session.state.object.edited
        return [o for o in self._things(found) if edited is None or o.id != edited.object_id]

    @contextmanager
    def _passing_over(self, found: ClientSession, *, redo: bool) -> Iterator[None]:
        """Forget a step that fails within the block because somebody else changed its object."""
        session = found.session
        try:
            yield
        except (ConflictError, MissingError):
            stack = session.state.redo if redo else session.state.undo
            if self._is_outdated(session.state, stack[-1]):
                session.forget(redo=redo)
            raise

    def _is_outdated(self, state: SessionState, step: Step) -> bool:
        """Return True if somebody else changed an object of a step, or decided its proposals."""
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
