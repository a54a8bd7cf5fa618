"""Requests of the page about reviews, proposals and teaching, as pydantic models."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from samadapt.server.wire import LARGEST_ID, LONGEST_TEXT, Id, Number, Request
from samadapt.store.events import ReviewState


class CommentRequest(Request):
    """Add a comment to a place (x, y) in an image."""

    text: Annotated[str, Field(max_length=LONGEST_TEXT)]
    x: Number
    y: Number


class ResolveRequest(Request):
    """Mark a comment as resolved, or as open."""

    resolved: bool


class ReviewRequest(Request):
    """Set the state of an image's review, with an optional comment."""

    state: ReviewState
    revision: Annotated[int, Field(ge=0, le=LARGEST_ID)]
    comment: CommentRequest | None = None


class AssignRequest(Request):
    """Assign images to a person; an empty name assigns them to nobody."""

    images: Annotated[list[Id], Field(max_length=100_000)]
    assignee: Annotated[str, Field(max_length=LONGEST_TEXT)]


class ProposeRequest(Request):
    """Search all images for objects like those of a label, or for those of a task."""

    label: Id | None = None
    task: Annotated[str, Field(max_length=LONGEST_TEXT)] | None = None


class ProposalsRequest(Request):
    """Accept proposals of an image as one step of undo."""

    proposals: Annotated[list[Id], Field(max_length=LONGEST_TEXT)]


class FixRequest(Request):
    """Accept a proposal; with `fix`, open the object for editing."""

    fix: bool = False


class TeachRequest(Request):
    """Teach a task from the objects of a label; `steps` defaults to the method's own number."""

    label: Annotated[str, Field(max_length=LONGEST_TEXT)]
    steps: Annotated[int, Field(ge=1, le=100_000)] | None = None
