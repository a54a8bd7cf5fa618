"""What the page sends about reviews and proposals."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from samadapt.server.wire import LARGEST_ID, LONGEST_TEXT, Id, Number, Request
from samadapt.store.events import ReviewState


class CommentRequest(Request):
    """A comment on a place of an image."""

    text: Annotated[str, Field(max_length=LONGEST_TEXT)]
    x: Number
    y: Number


class ResolveRequest(Request):
    """Whether a comment was dealt with."""

    resolved: bool


class ReviewRequest(Request):
    """Another state of an image's review, perhaps with a comment."""

    state: ReviewState
    revision: Annotated[int, Field(ge=0, le=LARGEST_ID)]
    comment: CommentRequest | None = None


class AssignRequest(Request):
    """Images that become a person's task, or nobody's."""

    images: Annotated[list[Id], Field(max_length=100_000)]
    assignee: Annotated[str, Field(max_length=LONGEST_TEXT)]


class ProposeRequest(Request):
    """Look for objects on all images: those like the ones of a label, or those of a task."""

    label: Id | None = None
    task: Annotated[str, Field(max_length=LONGEST_TEXT)] | None = None


class ProposalsRequest(Request):
    """Accept proposals of an image, as one step."""

    proposals: Annotated[list[Id], Field(max_length=LONGEST_TEXT)]


class FixRequest(Request):
    """Accept a proposal; with `fix`, to improve it next."""

    fix: bool = False


class TeachRequest(Request):
    """Teach the objects of a label; the method's own number of steps if left out."""

    label: Annotated[str, Field(max_length=LONGEST_TEXT)]
    steps: Annotated[int, Field(ge=1, le=100_000)] | None = None
