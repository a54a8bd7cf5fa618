"""Dependencies of the routes: the workspace, the client of a request, and checked numbers."""

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
    """The client of a request, and the identity of the request.

    Attributes:
        client: identifies the client, such as a browser tab.
        person: name of the person, as they entered it.
        key: the request's idempotency key, if any.
        request: digest of the request, to notice that a key is used for another one.
    """

    client: str
    person: str
    key: str | None = None
    request: str | None = None

    def check_same(self, known: Record | None) -> None:
        """Check that an event in the log was recorded by this request.

        Raises:
            ConflictError: there is no event, or its key was used for another request.
        """
        # Logs of earlier versions have no digests of requests.
        if known is None or known.request not in (None, self.request):
            raise ConflictError(USED)


def _workspace(
    request: Request,
    x_samadapt_project: Annotated[str, Header(max_length=64, include_in_schema=False)] = "",
) -> Workspace:
    """Return the workspace; refuse a page that was opened for another project at this address."""
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
    """Return an image's number after checking that the project has it."""
    here.project.images.get(image_id)
    return image_id


ImageId = Annotated[int, Depends(_image)]
ObjectId = Annotated[int, Path(ge=1, le=LARGEST_ID)]
