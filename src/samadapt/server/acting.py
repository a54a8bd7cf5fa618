"""`acted`: run an action in a client's session, and answer with the changes that it made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from samadapt.server.client_sessions import ClientSession
from samadapt.server.idempotency import USED
from samadapt.server.who import Here, Me
from samadapt.server.wire_answers import object_json
from samadapt.session.events import Accepted, Reopened
from samadapt.session.state import SavedObject
from samadapt.store.errors import ConflictError
from samadapt.store.records import StoredObject
from samadapt.store.session_objects import label_number

Json = dict[str, Any]


def acted(here: Here, me: Me, image_id: int, action: Callable[[ClientSession], object]) -> Json:
    """Run an action in a client's session, once for each idempotency key.

    Returns the state of the session afterwards: the object under way, the accepted objects that
    were changed ("saved") or deleted ("removed"), and the numbers of proposals that wait again
    because their decision was undone ("waiting").
    """

    def whole(found: ClientSession) -> Json:
        if found.has_done(me):  # repeated after a restart: return all changes of the session
            before, decided = dict[int, SavedObject](), set[int]()
        else:
            before = dict(found.session.state.objects)
            decided = set(found.session.state.decided)
            with found.request(me):
                action(found)
        after = found.session.state.objects
        changed = [number for number, saved in after.items() if before.get(number) != saved]
        things = [here.project.objects.get(number) for number in changed]
        return {
            **current_json(found),
            "saved": [object_json(thing) for thing in things if not thing.deleted],
            "removed": [thing.id for thing in things if thing.deleted],
            "waiting": sorted(decided - found.session.state.decided.keys()),
        }

    return here.act(me.client, me.person, image_id, whole)


def made_before(here: Here, me: Me, image_id: int) -> StoredObject | None:
    """Return the object that this request made when it was first sent; None if it is new.

    A client repeats a request whose answer was lost, for instance when the server restarted.

    Raises:
        ConflictError: its key was used for another request, or the object was deleted since.
    """
    if me.key is None or here.project.objects.find_key(me.key, image_id) is None:
        return None
    return made_by(here, me, image_id)


def made_by(here: Here, me: Me, image_id: int) -> StoredObject:
    """Return the object that an earlier run of this request made or changed; see `made_before`."""
    record = here.project.journal.find_request(me.client, image_id, me.key or "")
    me.check_same(record)
    event = None if record is None else record.event
    if isinstance(event, Accepted):
        number = event.object_id
    elif isinstance(event, Reopened):  # a proposal that was accepted and opened for editing
        number = event.object.object_id
    else:
        raise ConflictError(USED)
    found = here.project.objects.get(number)
    if found.deleted:
        raise ConflictError(f"object {number}, which this request made, was deleted since")
    return found


def current_json(client: ClientSession) -> Json:
    """Return the object under way as JSON: its mask with strokes, prompts, and undo state."""
    session = client.session
    found, now, box = session.prediction, session.state.object, session.current_box
    edited = now.edited
    mask, shown = client.masks.current()
    return {
        "mask": mask,
        "digest": shown,
        "clicks": [[c.x, c.y, int(c.positive)] for c in session.clicks],
        "box": None if box is None else list(box.as_tuple()),
        "strokes": len(now.strokes),
        "label": label_number(now.label),
        "candidates": 0 if found is None else len(found.masks),
        "scores": [] if found is None else [round(float(s), 3) for s in found.scores],
        "chosen": session.chosen,
        "can_undo": session.can_undo,
        "can_redo": session.can_redo,
        "edited": None if edited is None else {"id": edited.object_id, "revision": edited.revision},
    }
