"""`ClientSessions`: one annotation session for each client and image."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import reduce as fold
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from samadapt.adapters.base import Adapter
from samadapt.data.stacks.address import file_of
from samadapt.errors import ImageError, SamadaptError
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.server.client_masks import ClientMasks, PlainMasks
from samadapt.server.encoder import Encoder
from samadapt.server.gallery import Gallery
from samadapt.server.leases import SharedAdapters
from samadapt.server.tiled_images import TiledImages
from samadapt.server.window_masks import LargeMasks
from samadapt.session.events import Event, ImageReference, Opened
from samadapt.session.options import SessionOptions
from samadapt.session.session import Session
from samadapt.session.state import SessionState, reduce
from samadapt.session.window_session import WindowSession
from samadapt.session.windows import ImageWindows
from samadapt.store.errors import BehindError, ConflictError
from samadapt.store.journal import StoredLog
from samadapt.store.records import ImageFacts, StoredImage
from samadapt.store.session_objects import SessionObjects

if TYPE_CHECKING:
    from samadapt.server.who import Who

MOST_SESSIONS = 64
MOST_BYTES = 1 << 30
"""Most bytes of the embeddings of all open sessions; those on one image share theirs."""

Result = TypeVar("Result")


@dataclass(slots=True, eq=False)
class ClientSession:
    """The session of one client on one image, whose log is stored in the project."""

    client: str
    image: StoredImage
    facts: ImageFacts
    session: Session | WindowSession
    masks: ClientMasks
    log: StoredLog
    objects: SessionObjects
    lock: threading.RLock = field(default_factory=threading.RLock)
    searched: tuple[int, int] = (0, 0)
    """Places that the last search for similar objects has looked at, and places in all."""

    def searching(self, looked: int, places: int) -> None:
        """Note the progress of a search for similar objects."""
        self.searched = looked, places

    @contextmanager
    def request(self, me: Who) -> Iterator[None]:
        """Record all events within the block as this person's, made by this request."""
        self.objects.key, self.objects.person = me.key, me.person
        with self.log.keyed(me.key, me.person, me.request):
            yield

    def has_done(self, me: Who) -> bool:
        """Return True if this request was carried out already, perhaps before a restart.

        Raises:
            ConflictError: its idempotency key was used for another request.
        """
        known = None if me.key is None else self.log.keys.get(me.key)
        if known is not None:
            me.check_same(known)
        return known is not None


class ClientSessions:
    """All open sessions of a project; beyond a limit, the least recently used are closed.

    A closed session is restored from its log when it is next needed.

    Args:
        gallery: the images.
        encoder: encodes them.
        tiled: the images that are larger than memory.
        adapters: returns the adapters in use.
        is_adapted: returns True if predictions use something that was learned.
    """

    def __init__(
        self,
        gallery: Gallery,
        encoder: Encoder,
        tiled: TiledImages,
        adapters: Callable[[], Sequence[Adapter]],
        is_adapted: Callable[[], bool],
    ) -> None:
        self._shared = SharedAdapters()
        self._gallery, self._encoder, self._tiled = gallery, encoder, tiled
        self._adapters, self._is_adapted = adapters, is_adapted
        self._project, self._model = gallery.project, encoder.model
        self._open: OrderedDict[tuple[str, int], ClientSession] = OrderedDict()
        self._lock = threading.RLock()

    def get(self, client: str, person: str, image_id: int) -> ClientSession:
        """Return a client's session on an image; begun, and the image encoded, if necessary."""
        key = client, image_id
        with self._lock:
            known = self._open.get(key)
            if known is not None:
                self._open.move_to_end(key)
                return known
        image = self._gallery.looked_at(image_id)
        path, facts = self._gallery.path(image), image.facts
        pixels: ImageEmbedding | ImageWindows
        if self._tiled.is_tiled(path) and facts is not None:
            pixels = self._windows(image, path)
            frame = self.state(client, image_id).object.frame
            if frame is not None:  # encode its window before the first click
                with suppress(SamadaptError):
                    pixels.embedding(frame)
        else:
            pixels, facts = self._encoder.get(image_id, path, facts)
        with self._lock:
            known = self._open.get(key)
            if known is not None:
                return known
            session = self._begin(client, person, image, pixels, facts)
            self._open[key] = session
            while len(self._open) > 1 and self._is_too_much():
                _, old = self._open.popitem(last=False)
                self._shared.leave(old.session.lease)
            return session

    def _windows(self, image: StoredImage, path: Path) -> ImageWindows:
        """Open a large image; if it cannot be read, the list of images is told why."""
        try:
            found = self._tiled.get(path)
        except ImageError as error:
            self._gallery.note(image.id, image.facts, str(error))
            raise
        if image.problem:
            self._gallery.note(image.id, image.facts, None)
        return found

    def answering(self, embedding: ImageEmbedding) -> Sequence[Seams]:
        """Return the adapters in use as they are now, for predictions outside of sessions."""
        lease = self._shared.lease(self._adapters())
        try:
            return lease.answering(self._model, embedding)
        finally:
            self._shared.leave(lease)

    def peek(self, client: str, image_id: int) -> ClientSession | None:
        """Return a client's session on an image if it is open, else None; never waits."""
        with self._lock:
            return self._open.get((client, image_id))

    def act(
        self, client: str, person: str, image_id: int, action: Callable[[ClientSession], Result]
    ) -> Result:
        """Run an action in a client's session on an image, and return its result.

        The session is opened if necessary, and locked while the action runs.

        Raises:
            ImageError: the image cannot be read.
            ConflictError: the file was replaced while it was open.
            SamadaptError: what the action raises.
        """
        while True:
            session = self.get(client, person, image_id)
            with session.lock:
                with self._lock:
                    is_current = self._open.get((client, image_id)) is session
                if is_current:  # else it was closed in between: open another
                    self._check_unchanged(session)
                    with suppress(BehindError):
                        if self._is_last(session):
                            return action(session)
                    self._forget(session)  # another server continued it: restore from the log

    def state(self, client: str, image_id: int) -> SessionState:
        """Return the state of a client's session on an image, from its log if it is not open."""
        with self._lock:
            known = self._open.get((client, image_id))
        if known is not None:
            if self._is_unchanged(known) and self._is_last(known):
                return known.session.state
            self._forget(known)
        log = self._project.journal.last_log(client, image_id)
        try:
            return (
                SessionState() if log is None else fold(reduce, self._events(log), SessionState())
            )
        except SamadaptError:
            return SessionState()

    def holding(self, client: str) -> set[int]:
        """Return the numbers of the images on which a client has an object under way."""
        images = self._project.journal.maybe_unfinished(client)
        return {image for image in images if not self.state(client, image).object.is_blank}

    def adapters_learned(self) -> None:
        """Call after the adapters took over what another server learned."""
        self._shared.begin_again()

    @contextmanager
    def all_closed(self) -> Iterator[None]:
        """Lock all sessions within the block, and close them after it; they are restored later."""
        with self._lock:
            sessions = list(self._open.values())
        with ExitStack() as all_locks:
            for session in sessions:
                all_locks.enter_context(session.lock)
            try:
                yield
            finally:
                with self._lock:
                    self._open.clear()
                    self._shared = SharedAdapters()

    # -- private ------------------------------------------------------------------------------

    def _begin(
        self,
        client: str,
        person: str,
        image: StoredImage,
        pixels: ImageEmbedding | ImageWindows,
        facts: ImageFacts,
    ) -> ClientSession:
        """Restore a session from the client's last log; begin a new one if that is not possible."""
        reference = ImageReference(
            facts.height,
            facts.width,
            image.name,
            str(self._gallery.path(image)),
            facts.content_hash,
        )
        new = self._project.journal.log(client, image.id, person)
        log = self._project.journal.last_log(client, image.id)
        if log is not None:
            try:
                events = self._events(log)
                options = _options_of(events)
                found = self._client_session(client, image, pixels, facts, log, options)
                if _image_of(events) == (facts.height, facts.width, facts.content_hash):
                    _restore(found.session, events, pixels)
                    return found
            except SamadaptError:
                pass  # its clicks cannot be replayed (another model): begin a new session
        options = SessionOptions.annotator()
        found = self._client_session(client, image, pixels, facts, new, options)
        try:
            if isinstance(found.session, WindowSession):
                found.session.open(reference)
            elif isinstance(pixels, ImageEmbedding):
                found.session.open(embedding=pixels, reference=reference)
        except BehindError:  # another server began it at the same moment: use its log
            self._shared.leave(found.session.lease)
            return self._begin(client, person, image, pixels, facts)
        return found

    def _client_session(
        self,
        client: str,
        image: StoredImage,
        pixels: ImageEmbedding | ImageWindows,
        facts: ImageFacts,
        log: StoredLog,
        options: SessionOptions,
    ) -> ClientSession:
        lease, path = self._shared.lease(self._adapters()), self._gallery.path(image)
        session: Session | WindowSession
        masks: ClientMasks
        if isinstance(pixels, ImageWindows):
            session = WindowSession(self._model, pixels, lease, options=options)
            masks = LargeMasks(self._model, session)
        else:
            session = Session(self._model, lease, options=options)
            masks = PlainMasks(self._model, session, lambda: self._encoder.decoder.reading(path))
        session.log = log
        project, content_hash = self._project, facts.content_hash
        tables = project.objects, project.proposals, project.tracks
        objects = SessionObjects(*tables, image.id, content_hash, self._is_adapted, log.person)
        log.complete = lambda tx, event: objects.complete(tx, session.state, event)
        return ClientSession(client, image, facts, session, masks, log, objects)

    def _events(self, log: StoredLog) -> list[Event]:
        return self._project.journal.session_events(log)

    def _is_too_much(self) -> bool:
        held = dict[int, int]()
        for one in self._open.values():
            session = one.session
            pixels = session.windows if isinstance(session, WindowSession) else session.embedding
            held[id(pixels)] = pixels.nbytes
        return len(self._open) > MOST_SESSIONS or sum(held.values()) > MOST_BYTES

    def _check_unchanged(self, session: ClientSession) -> None:
        """Close a session and raise `ConflictError` if its file has changed since it was opened."""
        if self._is_unchanged(session):
            return
        self._forget(session)
        raise ConflictError(
            f"{session.image.name} was replaced or removed on the disk while it was open: open it "
            "again (accepted objects are saved)"
        )

    def _is_last(self, session: ClientSession) -> bool:
        return self._project.journal.is_last(session.client, session.log)

    def _is_unchanged(self, session: ClientSession) -> bool:
        try:
            state = file_of(self._gallery.path(session.image)).stat()
        except OSError:
            return False
        facts = session.facts
        return (state.st_size, state.st_mtime_ns) == (facts.file_size, facts.modified)

    def _forget(self, session: ClientSession) -> None:
        with self._lock:
            self._open.pop((session.client, session.image.id), None)
            self._shared.leave(session.session.lease)


def _restore(
    session: Session | WindowSession, events: Sequence[Event], pixels: ImageEmbedding | ImageWindows
) -> None:
    if isinstance(session, WindowSession):
        session.restore(events)
    elif isinstance(pixels, ImageEmbedding):
        session.restore(events, pixels)


def _options_of(events: Sequence[Event]) -> SessionOptions:
    """Return the options that a session was begun with, so that its replay gives the same masks."""
    opened = (event.options for event in events if isinstance(event, Opened))
    return next(opened, SessionOptions.annotator())


def _image_of(events: Sequence[Event]) -> tuple[int, int, str | None] | None:
    """Return (height, width, content hash) of the image opened last; None if there is none."""
    opened = [event.image for event in events if isinstance(event, Opened)]
    return (opened[-1].height, opened[-1].width, opened[-1].content_hash) if opened else None
