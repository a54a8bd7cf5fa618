"""Replay: run a log's events again, with identical masks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from samadapt.data.rle import Rle
from samadapt.errors import SamadaptError, SessionError
from samadapt.models.base import SegmentationModel
from samadapt.models.seams import Seams
from samadapt.session.events import Accepted, Added, Chosen, Event, Opened
from samadapt.session.images import Images, check_size, find_image
from samadapt.session.lease import AdapterLease
from samadapt.session.log import EventLog
from samadapt.session.options import SessionOptions
from samadapt.session.record import Record
from samadapt.session.session import Session
from samadapt.session.state import reduce
from samadapt.session.steps import SessionSteps
from samadapt.session.window_session import WindowSession
from samadapt.session.windows import ImageWindows

_DIFFERS = (
    "the mask differs from the accepted one ({}): check library versions, hardware and adapters, "
    "or replay with verify=False"
)


def replay(
    log: EventLog,
    model: SegmentationModel,
    adapters: Sequence[Seams] = (),
    images: Images | None = None,
    *,
    verify: bool = True,
) -> Session:
    """Run all events of `log` again; returns a session that continues the same log.

    With the same model and adapters (in their state at the start of the session) on the same
    machine, every mask is identical bit for bit.

    Args:
        log: the events.
        model: the model of the session.
        adapters: the methods of the session, in the same order.
        images: source of the images, by name or from a function (images or embeddings); defaults
            to the paths in the log.
        verify: compare each accepted mask with the one in the log. False keeps the log's.

    Raises:
        SessionError: another model, image or adapters than in the log, an accepted mask that
            differs, or an invalid event.
    """
    records = list(log)
    session = _prepare(records, 0, model, adapters)
    return _finish(session, log, _run(session, records, images, verify))


def replay_windows(
    log: EventLog,
    model: SegmentationModel,
    windows: ImageWindows,
    adapters: Sequence[Seams] = (),
    *,
    verify: bool = True,
) -> WindowSession:
    """Replay the log of a `WindowSession` on one large image; see `replay`.

    Raises:
        SessionError: as `replay`.
    """
    records = list(log)
    lease, options = AdapterLease(adapters), _options_of(records)
    session = WindowSession(model, windows, lease, _NoLog(), options)
    for record in records:
        try:
            _apply_in_windows(session, record.event, verify)
        except SamadaptError as error:
            raise _told(record, error) from error
    session.log = log
    return session


def resume(
    log: EventLog,
    model: SegmentationModel,
    adapters: Sequence[Seams] = (),
    images: Images | None = None,
    *,
    verify: bool = True,
) -> Session:
    """Continue after a crash: run only the events since the last image was opened.

    Equal to `replay` except for adapters that learn: give them in their present state, since
    earlier images are not learned again.

    Raises:
        SessionError: as `replay`.
    """
    records = list(log)
    opened = [i for i, record in enumerate(records) if isinstance(record.event, Opened)]
    start = opened[-1] if opened else 0
    session = _prepare(records, start, model, adapters)
    return _finish(session, log, _run(session, records[start:], images, verify))


def steps(
    log: EventLog,
    model: SegmentationModel,
    adapters: Sequence[Seams] = (),
    images: Images | None = None,
    *,
    verify: bool = True,
) -> Iterator[tuple[Record, Session]]:
    """Replay event by event; yields each record with the session after it.

    Only read the session; to continue it use `replay` or `resume`.

    Raises:
        SessionError: as `replay`.
    """
    records = list(log)
    return _run(_prepare(records, 0, model, adapters), records, images, verify)


def _prepare(
    records: Sequence[Record], start: int, model: SegmentationModel, adapters: Sequence[Seams]
) -> Session:
    """A session in its state before `records[start]`, which saves nothing."""
    session = Session(model, adapters, _NoLog(), _options_of(records[start:]))
    for record in records[:start]:
        session.state = reduce(session.state, record.event)
    return session


def _run(
    session: Session, records: Sequence[Record], images: Images | None, verify: bool
) -> Iterator[tuple[Record, Session]]:
    for record in records:
        try:
            _apply(session, record.event, images, verify)
        except SamadaptError as error:
            raise _told(record, error) from error
        yield record, session


def _told(record: Record, error: SamadaptError) -> SessionError:
    return SessionError(f"cannot replay event {record.sequence} ({record.event.kind}): {error}")


def _options_of(records: Sequence[Record]) -> SessionOptions:
    first = records[0].event if records else None
    return first.options if isinstance(first, Opened) else SessionOptions()


def _finish(session: Session, log: EventLog, running: Iterator[tuple[Record, Session]]) -> Session:
    deque(running, maxlen=0)
    session.log = log
    return session


class _NoLog(EventLog):
    """Ignores events, which are saved already."""

    def append(self, event: Event) -> Record:
        return Record(0, 0.0, event)


def _apply(session: Session, event: Event, images: Images | None, verify: bool) -> None:
    embedding = None
    match event:
        case Opened():
            _check_opened(session, event)
            embedding = find_image(event.image, session.model, images)
        case Chosen():
            session._check_choice(event)
        case Accepted() if verify and not isinstance(event, Added):
            _check_mask(session.mask, event.mask())
    session._take(event, embedding)


def _apply_in_windows(session: WindowSession, event: Event, verify: bool) -> None:
    match event:
        case Opened():
            _check_opened(session, event)
            check_size(event.image, session.image_size)
        case Chosen():
            session._check_choice(event)
        case Accepted() if verify and not isinstance(event, Added):
            logged = Rle((event.height, event.width), event.counts.encode())
            if session.rle != logged:
                different = "all" if session.rle is None else 1 - session.rle.iou(logged)
                raise SessionError(_DIFFERS.format(f"1 - IoU is {different}"))
    session._take(event)


def _check_opened(session: SessionSteps, event: Opened) -> None:
    now = session.opening(event.image)
    if (event.model, event.weights_hash) != (now.model, now.weights_hash):
        raise SessionError(
            f"the log was made with model {event.model} ({event.weights_hash[:12]}), this is "
            f"{now.model} ({now.weights_hash[:12]}): replay it with the same weights"
        )
    for what in ("preprocessing", "adapters", "options"):
        then, found = getattr(event, what), getattr(now, what)
        if then != found:
            raise SessionError(f"the log was made with {what} {then!r}, now it is {found!r}")


def _check_mask(found: NDArray[np.bool_] | None, logged: NDArray[np.bool_]) -> None:
    if found is None or not np.array_equal(found, logged):
        count = "all" if found is None else int((found != logged).sum())
        raise SessionError(_DIFFERS.format(f"{count} of {logged.size} pixels"))
