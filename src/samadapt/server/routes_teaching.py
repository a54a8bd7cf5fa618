"""Routes about teaching a task from the objects of a label."""

from __future__ import annotations

from fastapi import APIRouter

from samadapt.server.acting import Json
from samadapt.server.who import Here
from samadapt.server.wire_review import TeachRequest

router = APIRouter(prefix="/api/teaching")


@router.get("")
def standing(here: Here) -> Json:
    """Return the progress of the run."""
    return here.teaching.progress.to_json()


@router.post("")
def start(wanted: TeachRequest, here: Here) -> Json:
    """Teach a task from the objects of a label, in the background."""
    here.teaching.start(wanted.label, wanted.steps)
    return standing(here)


@router.post("/stop")
def stop(here: Here) -> Json:
    """Stop the run, and discard what it has learned."""
    here.teaching.stop()
    return standing(here)
