"""Who asks, and for which workspace: what every route gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, Header, HTTPException, Path, Request

from samadapt.server.wire import LARGEST_ID, Client, Key
from samadapt.server.workspace import Workspace
from samadapt.store.texts import LONGEST_PERSON, as_line


@dataclass(frozen=True, slots=True)
class Who:
    """A browser tab, the person's name as they gave it, and the request's idempotency key."""

    client: str
    person: str
    key: str | None = None


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
    x_samadapt_client: Annotated[Client, Header()] = "api",
    x_samadapt_person: Annotated[str, Header(max_length=300)] = "",
    idempotency_key: Annotated[Key | None, Header()] = None,
) -> Who:
    name = as_line(unquote(x_samadapt_person, errors="replace"), LONGEST_PERSON)
    return Who(x_samadapt_client, name, idempotency_key)


Here = Annotated[Workspace, Depends(_workspace)]
Me = Annotated[Who, Depends(_who)]


def _image(image_id: Annotated[int, Path(ge=1, le=LARGEST_ID)], here: Here) -> int:
    """The number of an image of the project; whatever is asked of another one is refused."""
    here.project.images.get(image_id)
    return image_id


ImageId = Annotated[int, Depends(_image)]
ObjectId = Annotated[int, Path(ge=1, le=LARGEST_ID)]
