"""`Sittings`: who is clicking on which image, each with a session of its own."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from samadapt.adapters.base import Adapter
from samadapt.errors import SamadaptError
from samadapt.models.embedding import ImageEmbedding
from samadapt.server.annotating import AnnotatorSession
from samadapt.server.encoder import Encoder
from samadapt.server.gallery import Gallery
from samadapt.server.turns import Turns
from samadapt.session.events import ImageReference
from samadapt.store.errors import ConflictError
from samadapt.store.journal import StoredLog
from samadapt.store.records import ImageFacts, StoredImage

MOST_SITTINGS = 64
MOST_BYTES = 1 << 30
"""Of the embeddings of all sittings; those on one image share theirs."""

Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class Sitting:
    """One client at one image: its session, and the object that it improves, if any."""

    client: str
    image: StoredImage
    facts: ImageFacts
    embedding: ImageEmbedding
    session: AnnotatorSession
    log: StoredLog
    edited: tuple[int, int] | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)
    searched: tuple[int, int] = (0, 0)
    """How many of how many places the last search for similar objects has looked at."""

    def searching(self, looked: int, places: int) -> None:
        """A search has come so far."""
        self.searched = looked, places


class Sittings:
    """All sittings of a project; the least recently used end when there are too many.

    A sitting that ended is begun again from the log when it is next needed.

    Args:
        gallery: the images.
        encoder: encodes them.
        adapters: those in force now.
    """

    def __init__(
        self, gallery: Gallery, encoder: Encoder, adapters: Callable[[], Sequence[Adapter]]
    ) -> None:
        self.turns = Turns()
        self._gallery, self._encoder, self._adapters = gallery, encoder, adapters
        self._project, self._model = gallery.project, encoder.model
        self._open: OrderedDict[tuple[str, int], Sitting] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, client: str, person: str, image_id: int) -> Sitting:
        """The sitting of a client at an image, begun if there is none; waits for the encoder."""
        key = client, image_id
        with self._lock:
            known = self._open.get(key)
            if known is not None:
                self._open.move_to_end(key)
                return known
        image = self._gallery.looked_at(image_id)
        embedding, facts = self._encoder.get(image_id, self._gallery.path(image), image.facts)
        with self._lock:
            known = self._open.get(key)
            if known is not None:
                return known
            sitting = self._begin(client, person, image, embedding, facts)
            self._open[key] = sitting
            while len(self._open) > 1 and self._is_too_much():
                _, old = self._open.popitem(last=False)
                self.turns.leave(old.session)
            return sitting

    def peek(self, client: str, image_id: int) -> Sitting | None:
        """The sitting of a client at an image if there is one; waits for nobody."""
        with self._lock:
            return self._open.get((client, image_id))

    def act(
        self, client: str, person: str, image_id: int, action: Callable[[Sitting], Result]
    ) -> Result:
        """Do something in a client's session at an image, which is opened if necessary.

        Raises:
            ImageError: unreadable.
            ConflictError: the file was replaced while it was open.
            SamadaptError: what the action raises.
        """
        while True:
            sitting = self.get(client, person, image_id)
            with sitting.lock:
                with self._lock:
                    is_current = self._open.get((client, image_id)) is sitting
                if is_current:  # else it was closed in between: open another
                    self._check_unchanged(sitting)
                    return action(sitting)

    def current(self, client: str, person: str, image_id: int) -> Sitting | None:
        """The sitting of a client at an image if an object is under way, also after a restart."""
        with self._lock:
            known = self._open.get((client, image_id))
        if known is not None and not self._is_unchanged(known):
            self._forget(known)
            known = None
        if known is None and self._project.journal.unfinished(client, image_id) is None:
            return None
        found = known or self.get(client, person, image_id)
        return found if found.session.prediction is not None else None

    @contextmanager
    def all_closed(self) -> Iterator[None]:
        """Nobody clicks within the block; afterwards all sessions begin again from their logs."""
        with self._lock:
            sittings = list(self._open.values())
        with ExitStack() as all_locks:
            for sitting in sittings:
                all_locks.enter_context(sitting.lock)
            try:
                yield
            finally:
                with self._lock:
                    self._open.clear()
                    self.turns = Turns()

    # -- private ------------------------------------------------------------------------------

    def _begin(
        self,
        client: str,
        person: str,
        image: StoredImage,
        embedding: ImageEmbedding,
        facts: ImageFacts,
    ) -> Sitting:
        journal, adapters = self._project.journal, self._adapters()
        reference = ImageReference(
            facts.height,
            facts.width,
            image.name,
            str(self._gallery.path(image)),
            facts.content_hash,
        )
        log = journal.unfinished(client, image.id)
        if log is not None:
            session = AnnotatorSession(self._model, adapters, log, self.turns)
            sitting = Sitting(client, image, facts, embedding, session, log)
            try:
                self._take_up(sitting, reference)
                return sitting
            except SamadaptError:
                pass  # its clicks cannot be done again (another model): begin anew
        log = journal.log(client, image.id, person)
        session = AnnotatorSession(self._model, adapters, log, self.turns)
        session.open_embedding(reference, embedding)
        return Sitting(client, image, facts, embedding, session, log)

    def _take_up(self, sitting: Sitting, reference: ImageReference) -> None:
        """Do the clicks of an unfinished object again."""
        events = [record.event for record in sitting.log]
        ends = [k for k, e in enumerate(events) if e.kind in ("opened", "accepted", "skipped")]
        tail = events[ends[-1] + 1 :] if ends else []
        edited = self._project.journal.edited(sitting.log)
        session = sitting.session
        session.go_on(reference, sitting.embedding)
        session._accepted_count = sum(e.kind == "accepted" for e in events)
        if edited is not None:
            thing = self._project.objects.get(edited.object)
            if thing.revision == edited.revision and not thing.deleted:
                session.begin_from(thing.mask())
                sitting.edited = edited.object, edited.revision
        session.again(tail)

    def _is_too_much(self) -> bool:
        embeddings = {id(s.embedding): s.embedding.nbytes for s in self._open.values()}
        return len(self._open) > MOST_SITTINGS or sum(embeddings.values()) > MOST_BYTES

    def _check_unchanged(self, sitting: Sitting) -> None:
        """Raise `ConflictError` when the file is not the one that was opened any more."""
        if self._is_unchanged(sitting):
            return
        self._forget(sitting)
        raise ConflictError(
            f"{sitting.image.name} was replaced or removed on the disk while it was open: open it "
            "again (accepted objects are saved)"
        )

    def _is_unchanged(self, sitting: Sitting) -> bool:
        try:
            state = self._gallery.path(sitting.image).stat()
        except OSError:
            return False
        facts = sitting.facts
        return (state.st_size, state.st_mtime_ns) == (facts.file_size, facts.modified)

    def _forget(self, sitting: Sitting) -> None:
        with self._lock:
            self._open.pop((sitting.client, sitting.image.id), None)
            self.turns.leave(sitting.session)
