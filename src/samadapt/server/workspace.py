"""`Workspace`: a project being annotated: everything that the page can do, without HTTP."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from samadapt.data.rle import Rle
from samadapt.errors import SessionError
from samadapt.models.base import SegmentationModel
from samadapt.prompts import Prompt
from samadapt.proposals.similar import SimilarObjects, propose_similar
from samadapt.server.decoding import Decoder
from samadapt.server.encoder import Encoder
from samadapt.server.gallery import Gallery
from samadapt.server.learning import Learning
from samadapt.server.measure import FrozenMeasure, Task
from samadapt.server.pictures import Pictures
from samadapt.server.sittings import Sitting, Sittings
from samadapt.store.embeddings import EmbeddingStore
from samadapt.store.errors import ConflictError
from samadapt.store.events import EditBegan
from samadapt.store.objects import NewMask
from samadapt.store.projects import Project
from samadapt.store.records import StoredObject

Mask = NDArray[np.bool_]
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

    Attributes:
        decoder: decodes image files.
        importing: held while a file is imported, which takes much memory.
    """

    def __init__(
        self,
        project: Project,
        folder: Path,
        model: SegmentationModel,
        store: EmbeddingStore,
        adapters: Path,
        specs: tuple[str, ...] = (),
    ) -> None:
        self.project, self.folder, self.model = project, folder, model
        self.gallery = Gallery(project, folder)
        decoder = Decoder()
        self.decoder, self.pictures = decoder, Pictures(decoder=decoder)
        self.encoder = Encoder(model, store, self.gallery.note, decoder=decoder)
        self.learning = Learning(project, model, adapters, specs)
        self.sittings = Sittings(self.gallery, self.encoder, lambda: self.learning.adapters)
        self._measure = FrozenMeasure(model, self._measured)
        self.importing = threading.Lock()

    @property
    def id(self) -> str:
        """Names project and folder: a page that was opened for others is told so."""
        parts = self.project.database.name, self.project.name, str(self.folder)
        return hashlib.sha256("\n".join(parts).encode(errors="surrogatepass")).hexdigest()[:16]

    def close(self) -> None:
        """Stop all work in the background, and save what was learned."""
        self._measure.close()
        self.encoder.close()
        self.learning.close()

    def act(
        self, client: str, person: str, image_id: int, action: Callable[[Sitting], Result]
    ) -> Result:
        """Do something in a client's session at an image; see `Sittings.act`."""
        self._measure.somebody_clicked()
        return self.sittings.act(client, person, image_id, action)

    def preview(self, client: str, person: str, image_id: int, x: float, y: float) -> Mask | None:
        """What one click there would give; no event, and no learning."""
        sitting = self.sittings.get(client, person, image_id)
        if sitting.session.prediction is not None:
            return None
        prompt = Prompt([(x, y)])
        found = self.model.predict(sitting.embedding, prompt, True, sitting.session.pinned())
        shown: Mask = found.masks[found.best]
        return shown

    def accept(
        self,
        sitting: Sitting,
        key: str,
        label_id: int | None,
        mask: Mask | None,
        edited: tuple[int, int] | None = None,
    ) -> StoredObject:
        """Accept the object under way, or save the improvement of an earlier one.

        The same key again gives back what was saved under it. `edited` is the object and version
        that the page says it improved: after a restart the session may know nothing of it, because
        the improvement was saved and only the answer got lost.

        Raises:
            ConflictError: the improved object was changed by somebody else, or the key belongs
                to another image.
            MissingError: the label was removed.
            SessionError: no mask.
        """
        project, session = self.project, sitting.session
        known = project.objects.find_key(key, sitting.image.id)
        if known is not None:
            return known
        person, given = sitting.log.person, session.prompts_given
        final = session.mask if mask is None else mask
        if final is None or not final.any():
            raise SessionError("the mask is empty: click on the object, or skip it")
        rle = Rle.from_mask(final)
        if edited is not None and sitting.edited != edited:
            if project.objects.get(edited[0]).image_id != sitting.image.id:
                raise ConflictError(f"object {edited[0]} belongs to another image")
            return project.objects.change(*edited, person, label_id, rle)
        task = Task(0, sitting.embedding, session.clicks, session.current_box, final.copy())
        adapted = self.learning.is_adapted and given > 0
        saved: list[StoredObject] = []

        def save(tx: Any) -> None:
            if sitting.edited is not None:
                saved.append(project.objects.change_in(tx, *sitting.edited, person, label_id, rle))
                return
            new = NewMask(
                sitting.image.id,
                rle,
                label_id,
                "clicks",
                key,
                given or None,
                adapted,
                sitting.facts.content_hash,
            )
            saved.append(project.objects.add_in(tx, new, person))

        if session.prediction is None or (sitting.edited is not None and not given):
            # Painted only: no session takes part, and there is nothing that clicks could teach.
            with project.database.write() as tx:
                save(tx)
            if session.prediction is not None:
                session.skip()
        else:
            with sitting.log.alongside(save):
                session.accept_mask(None if label_id is None else str(label_id), mask)
        if given and sitting.edited is None and self.learning.is_learning:
            done = Task(saved[0].id, task.embedding, task.clicks, task.box, task.mask)
            self._measure.add(done)
        sitting.edited = None
        return saved[0]

    def edit(self, sitting: Sitting, object_id: int, revision: int) -> None:
        """Take an object up again: clicks improve its mask, accepting saves a new version.

        Raises:
            ConflictError: it was changed meanwhile, or belongs to another image.
            SessionError: another object is under way.
        """
        thing = self.project.objects.get(object_id)
        if thing.revision != revision or thing.deleted or thing.image_id != sitting.image.id:
            raise ConflictError(
                f"object {object_id} was changed by {thing.person or 'somebody else'} meanwhile: "
                "look at it and do it again"
            )
        sitting.session.begin_from(thing.mask())
        event = EditBegan(object=object_id, revision=revision, stream=sitting.log.stream)
        with self.project.database.write() as tx:
            self.project.journal.add(
                tx, event, person=sitting.log.person, image_id=sitting.image.id
            )
        sitting.edited = object_id, revision

    def skip(self, sitting: Sitting) -> None:
        """Give the object under way up; an object that was to be improved stays as it was."""
        sitting.session.skip()
        sitting.edited = None

    def similar(
        self,
        sitting: Sitting,
        label_id: int | None,
        most: int,
        rejected: Sequence[Rle] = (),
        tried: Sequence[tuple[float, float]] = (),
    ) -> SimilarObjects:
        """Propose further objects like those of a label on this image; see `propose_similar`.

        Raises:
            SessionError: there is no example yet.
        """
        size = sitting.session.image_size
        things = [
            o
            for o in self.project.objects.of_image(sitting.image.id)
            if (o.height, o.width) == size
        ]
        examples = [o.rle for o in things if o.label_id == label_id]
        if not examples:
            raise SessionError("accept an object of this label first: then similar ones are found")
        others = [o.rle for o in things if o.label_id != label_id]
        with self.decoder.reading(self.gallery.path(sitting.image)) as pixels:
            return propose_similar(
                self.model,
                sitting.embedding,
                pixels,
                examples,
                others,
                sitting.session.pinned(),
                most,
                rejected=rejected,
                tried=tried,
                progress=sitting.searching,
            )

    def searched(self, client: str, image_id: int) -> tuple[int, int]:
        """How many of how many places a search has looked at; (0, 0) while there is none."""
        sitting = self.sittings.peek(client, image_id)
        return (0, 0) if sitting is None else sitting.searched

    @contextmanager
    def changing_adapters(self) -> Iterator[Learning]:
        """Within the block adapters may be changed; afterwards all sessions use the new ones."""
        with self.sittings.all_closed():
            yield self.learning

    def _measured(self, object_id: int, prompts: int) -> None:
        self.project.objects.set_frozen_prompts(object_id, prompts, "")
