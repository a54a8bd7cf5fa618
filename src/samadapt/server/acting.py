"""`acted`: do something in a client's session, and answer with what came of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from samadapt.server.client_sessions import ClientSession
from samadapt.server.who import Here, Me
from samadapt.server.wire import current_json, object_json
from samadapt.session.state import SavedObject

Json = dict[str, Any]


def acted(here: Here, me: Me, image_id: int, action: Callable[[ClientSession], object]) -> Json:
    """Do something in a client's session, once for each idempotency key.

    The answer is the session as it stands then: the object under way, the accepted objects that
    were changed ("saved") or deleted ("removed"), and proposals that wait again ("waiting").
    """

    def whole(found: ClientSession) -> Json:
        if found.has_done(me.key):  # before a restart: everything that this session changed
            before, decided = dict[int, SavedObject](), set[int]()
        else:
            before = dict(found.session.state.objects)
            decided = set(found.session.state.decided)
            with found.request(me.key, me.person):
                action(found)
        after = found.session.state.objects
        changed = [number for number, saved in after.items() if before.get(number) != saved]
        things = [here.project.objects.get(number) for number in changed]
        return {
            **current_json(found.session),
            "saved": [object_json(thing) for thing in things if not thing.deleted],
            "removed": [thing.id for thing in things if thing.deleted],
            "waiting": sorted(decided - found.session.state.decided.keys()),
        }

    return here.act(me.client, me.person, image_id, whole)
