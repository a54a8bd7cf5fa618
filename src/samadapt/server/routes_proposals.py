"""Routes about proposals on all images: the search for them, and the queue for review."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Query

from samadapt.adapters.tasks import Tasks
from samadapt.data.tiled import TiledImage
from samadapt.errors import SamadaptError, SessionError
from samadapt.models.embedding import ImageEmbedding
from samadapt.proposals.grid import ProposalOptions, propose
from samadapt.proposals.proposal import Proposal
from samadapt.proposals.similar import propose_similar
from samadapt.proposals.windows import propose_in_windows
from samadapt.server.acting import Json, acted, made_before, made_by
from samadapt.server.client_sessions import ClientSession
from samadapt.server.proposing import Find, FindLarge, Found
from samadapt.server.who import Here, ImageId, Me, ObjectId
from samadapt.server.wire import LARGEST_ID
from samadapt.server.wire_answers import object_json, rle_crop
from samadapt.server.wire_review import FixRequest, ProposalsRequest, ProposeRequest
from samadapt.server.workspace import Workspace
from samadapt.store.errors import MissingError
from samadapt.store.events import Label
from samadapt.store.label_names import UNLABELLED
from samadapt.store.proposals import NewProposal, WaitingProposal, similar_source
from samadapt.store.records import StoredImage
from samadapt.store.session_objects import saved_object

router = APIRouter(prefix="/api")

_MOST = 40
"""Most proposals on one image by one run."""
_SECONDS = 10.0


@router.get("/proposals")
def standing(here: Here) -> Json:
    """Return the number of waiting proposals, the tasks to search for, and the run's progress."""
    run = here.proposing.progress.to_json()
    return {
        "waiting": here.gallery.waiting.count(),
        "tasks": here.learning.tasks(),
        "run": {**run, "what": here.proposing.what},
    }


@router.get("/proposals/counts")
def counts(here: Here) -> Json:
    """Return the number of waiting proposals by image; images without any are left out."""
    return {"counts": here.gallery.waiting.counts()}


@router.post("/proposals/run")
def run(wanted: ProposeRequest, here: Here) -> Json:
    """Search all unfinished images for objects, in the background."""
    all_labels = here.project.labels.all()[0]
    if wanted.task is not None:
        if wanted.task not in {task["spec"] for task in here.learning.tasks()}:
            raise MissingError("this project has no such task: choose one that it was taught")
        source = f"task {wanted.task}"
        find, find_large = _by_task(here, wanted.task)
        labels: dict[str, int | None] = {label.name: label.id for label in all_labels}
    else:
        name = _label_name(all_labels, wanted.label)
        source = similar_source(None if wanted.label is None else name)
        if not here.examples.of(wanted.label):
            raise SessionError(f"there is no object to be {source}: accept one first")
        find, find_large = _by_examples(here, wanted.label, name), None
        labels = {name: wanted.label}
    here.proposing.start(source, labels, find, find_large)
    return standing(here)


@router.post("/proposals/stop")
def stop(here: Here) -> Json:
    """Stop the run; the proposals found so far stay in the queue."""
    here.proposing.stop()
    return standing(here)


@router.get("/proposals/next")
def following(here: Here, after: Annotated[int, Query(ge=0, le=LARGEST_ID)] = 0) -> Json:
    """Return the most uncertain proposal, or the one after proposal `after` in that order."""
    while waiting := here.gallery.waiting.by_doubt():
        numbers = [number for _, number in waiting]
        at = numbers.index(after) + 1 if after in numbers else 0
        image, number = waiting[at % len(waiting)]
        with suppress(SamadaptError):  # the reason is shown when the image is opened
            here.looked_at(image)
        if waiting == here.gallery.waiting.by_doubt():  # else the file was replaced: look again
            return {"next": {"id": number, "image": image}, "waiting": len(waiting)}
    return {"next": None, "waiting": 0}


@router.get("/images/{image_id}/proposals")
def waiting(image_id: ImageId, here: Here) -> Json:
    """Return the waiting proposals of an image, the most uncertain first."""
    some = here.gallery.waiting.of_image(image_id)
    some.sort(key=lambda one: (abs(one.proposal.score - 0.5), one.id))
    names = {label.name for label in here.project.labels.all()[0]}
    return {"proposals": [_proposal_json(one, names) for one in some]}


@router.post("/images/{image_id}/proposals/accept")
def accept_all(image_id: ImageId, wanted: ProposalsRequest, here: Here, me: Me) -> Json:
    """Accept proposals of an image as one step; those that are no longer waiting are left out."""
    found: list[ClientSession] = []

    def action(session: ClientSession) -> None:
        here.accept_proposals(session, wanted.proposals)

    now = acted(here, me, image_id, action)
    here.act(me.client, me.person, image_id, found.append)
    decided = found[0].session.state.decided
    return {"accepted": sum(decided.get(one, False) for one in set(wanted.proposals)), **now}


@router.post("/proposals/{number}/accept")
def accept(number: ObjectId, wanted: FixRequest, here: Here, me: Me) -> Json:
    """Accept a proposal, which the adapter learns; with `fix`, open the object for editing."""
    image_id = here.project.proposals.image_of(number)
    known = made_before(here, me, image_id)
    if known is not None:
        return {"object": object_json(known), **acted(here, me, image_id, lambda found: None)}
    made: list[int] = []

    def action(found: ClientSession) -> None:
        if wanted.fix and not found.session.state.object.is_blank:
            raise SessionError("finish or skip the present object first")
        here.accept_proposals(found, [number])
        made.append(found.session.state.last_id)
        if wanted.fix:
            found.session.edit(saved_object(here.project.objects.get(made[0])))

    now = acted(here, me, image_id, action)
    thing = here.project.objects.get(made[0]) if made else made_by(here, me, image_id)
    return {"object": object_json(thing), **now}


@router.post("/proposals/{number}/reject")
def reject(number: ObjectId, here: Here, me: Me) -> Json:
    """Reject a proposal; unless this is undone, none like it is proposed there again."""

    def action(found: ClientSession) -> None:
        here.project.proposals.get(number)
        found.session.reject(number)

    return acted(here, me, here.project.proposals.image_of(number), action)


def _by_examples(here: Workspace, label_id: int | None, name: str) -> Find:
    def find(image: StoredImage, embedding: ImageEmbedding) -> Found:
        things = here.project.objects.of_image(image.id)
        with here.decoder.reading(here.gallery.path(image)) as pixels:
            found = propose_similar(
                here.model,
                embedding,
                pixels,
                [
                    o.rle
                    for o in things
                    if o.label_id == label_id and o.rle.size == pixels.shape[:2]
                ],
                [
                    o.rle
                    for o in things
                    if o.label_id != label_id and o.rle.size == pixels.shape[:2]
                ],
                here.sessions.answering(embedding),
                _MOST,
                _SECONDS,
                elsewhere=here.examples.of(label_id, image.id),
            )
        return Found([_named(name, one) for one in found.proposals], found.is_unlike)

    return find


def _by_task(here: Workspace, spec: str) -> tuple[Find, FindLarge]:
    adapters = Tasks(here.model, here.learning.load(spec))
    (name,) = adapters.names
    options = ProposalOptions(most=_MOST, coarse=True)

    def find(image: StoredImage, embedding: ImageEmbedding) -> Found:
        found = propose(here.model, embedding, [adapters[name]], options)
        return Found([_named(name, one) for one in found])

    def find_large(image: TiledImage, check: Callable[[], None]) -> Found:
        found = propose_in_windows(
            here.model, image, [adapters[name]], options, progress=lambda done, total: check()
        )
        return Found([_named(name, one) for one in found])

    return find, find_large


def _named(name: str, found: Proposal) -> NewProposal:
    return NewProposal(name, found.rle, found.score, found.point)


def _label_name(labels: Iterable[Label], label_id: int | None) -> str:
    if label_id is None:
        return UNLABELLED
    for label in labels:
        if label.id == label_id:
            return label.name
    raise MissingError(f"there is no label {label_id} in this project: choose another")


def _proposal_json(waiting: WaitingProposal, names: Set[str]) -> dict[str, Any]:
    """Return a proposal as JSON; its label is null if its object will have none."""
    one = waiting.proposal
    is_unlabelled = one.label == UNLABELLED and one.label not in names
    return {
        "id": waiting.id,
        "label": None if is_unlabelled else one.label,
        "score": round(one.score, 3),
        "mask": rle_crop(one.rle),
    }
