"""Routes about teaching a task from the labels of the project."""

from __future__ import annotations

from fastapi import APIRouter

from samadapt.server.acting import Json
from samadapt.server.who import Here
from samadapt.server.wire_review import TeachRequest

router = APIRouter(prefix="/api/teaching")


@router.get("")
def standing(here: Here) -> Json:
    """How far the run is."""
    return here.teaching.progress.to_json()


@router.post("")
def start(wanted: TeachRequest, here: Here) -> Json:
    """Teach the objects of a label, behind the work."""
    here.teaching.start(wanted.label, wanted.steps)
    return standing(here)


@router.post("/stop")
def stop(here: Here) -> Json:
    """Give the run up."""
    here.teaching.stop()
    return standing(here)
