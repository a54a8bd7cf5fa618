"""Who asks, and for which workspace: what every route gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Header, HTTPException, Path, Request

from samadapt.server.idempotency import USED
from samadapt.server.wire import LARGEST_ID, Client, Key
from samadapt.server.workspace import Workspace
from samadapt.session.record import Record
from samadapt.store.errors import ConflictError
from samadapt.store.texts import LONGEST_PERSON, as_line


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks, and what tells the request from others.

    Attributes:
        client: a browser tab.
        person: their name as they gave it.
        key: the request's idempotency key.
        request: what tells a request with a key from any other.
    """

    client: str
    person: str
    key: str | None = None
    request: str | None = None

    def check_same(self, known: Record | None) -> None:
        """Check that an event of the log is of this very request; None is of another one.

        Raises:
            ConflictError: its key was used for another request.
        """
        # Logs of earlier versions do not tell requests of one key apart.
        if known is None or known.request not in (None, self.request):
            raise ConflictError(USED)


def _workspace(
    request: Request,
    x_samadapt_project: Annotated[str, Header(max_length=64, include_in_schema=False)] = "",
) -> Workspace:
    """The workspace; a page of another project, left open since then, must not write into it."""
    found: Workspace = request.app.state.workspace
    if x_samadapt_project not in ("", found.id):
        raise HTTPException(
            421, f"this address now belongs to another project ({found.folder.name}): nothing done"
        )
    return found


def _who(
    request: Request,
    x_samadapt_client: Annotated[Client, Header()] = "api",
    x_samadapt_person: Annotated[str, Header(max_length=300)] = "",
    idempotency_key: Annotated[Key | None, Header()] = None,
) -> Who:
    name = as_line(unquote(x_samadapt_person, errors="replace"), LONGEST_PERSON)
    what = getattr(request.state, "request", None)
    return Who(x_samadapt_client, name, idempotency_key, what)


Here = Annotated[Workspace, Depends(_workspace)]
Me = Annotated[Who, Depends(_who)]


def _image(image_id: Annotated[int, Path(ge=1, le=LARGEST_ID)], here: Here) -> int:
    """The number of an image of the project; whatever is asked of another one is refused."""
    here.project.images.get(image_id)
    return image_id


ImageId = Annotated[int, Depends(_image)]
ObjectId = Annotated[int, Path(ge=1, le=LARGEST_ID)]
