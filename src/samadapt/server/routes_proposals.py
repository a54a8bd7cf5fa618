"""Routes about proposals on all images: looking for them, and the queue in which they wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter

from samadapt.adapters.tasks import Tasks
from samadapt.data.tiled import TiledImage
from samadapt.errors import SessionError
from samadapt.models.embedding import ImageEmbedding
from samadapt.proposals.grid import ProposalOptions, propose
from samadapt.proposals.similar import propose_similar
from samadapt.proposals.windows import propose_in_windows
from samadapt.server.acting import Json, acted
from samadapt.server.client_sessions import ClientSession
from samadapt.server.proposing import COVERED, Find, FindLarge
from samadapt.server.who import Here, ImageId, Me, ObjectId
from samadapt.server.wire import object_json, rle_crop
from samadapt.server.wire_review import FixRequest, ProposeRequest
from samadapt.server.workspace import Workspace
from samadapt.store.dataset import UNLABELLED
from samadapt.store.errors import MissingError
from samadapt.store.proposals import NewProposal, WaitingProposal
from samadapt.store.records import StoredImage
from samadapt.store.session_objects import saved_object

router = APIRouter(prefix="/api")

_MOST = 40
"""Proposals on one image by one run."""
_SECONDS = 10.0


@router.get("/proposals")
def standing(here: Here) -> Json:
    """How many proposals wait, what tasks can be proposed, and how far the run is."""
    return {
        "waiting": here.project.proposals.count(),
        "tasks": here.learning.tasks(),
        "run": here.proposing.progress.to_json(),
    }


@router.get("/proposals/counts")
def counts(here: Here) -> Json:
    """How many proposals wait on each image; images without any are left out."""
    return {"counts": here.project.proposals.counts()}


@router.post("/proposals/run")
def run(wanted: ProposeRequest, here: Here) -> Json:
    """Look for objects on all unfinished images, behind the work."""
    if wanted.task is not None:
        if wanted.task not in {task["spec"] for task in here.learning.tasks()}:
            raise MissingError("this project has no such task: choose one that it was taught")
        source = f"task {wanted.task}"
        find, find_large = _by_task(here, wanted.task)
    else:
        name = _label_name(here, wanted.label)
        if not here.examples.of(wanted.label):
            raise SessionError(f"there is no object of {name!r} yet: accept some first")
        source = f"similar to {name}"
        find, find_large = _by_examples(here, wanted.label, name), None
    here.proposing.start(source, source, find, find_large)
    return standing(here)


@router.post("/proposals/stop")
def stop(here: Here) -> Json:
    """End the run; what was found waits."""
    here.proposing.stop()
    return standing(here)


@router.get("/proposals/next")
def following(here: Here, after: int = 0) -> Json:
    """The most doubtful proposal, or the one that follows `after` in that order."""
    numbers = here.project.proposals.by_doubt()
    at = numbers.index(after) + 1 if after in numbers else 0
    for number in [*numbers[at:], *numbers[:at]]:
        try:
            waiting = here.project.proposals.get(number)
        except MissingError:
            continue
        if _is_known(here, waiting):
            here.project.proposals.remove([number])
        elif number != after or len(numbers) == 1:
            return {"next": {"id": number, "image": waiting.image_id}, "waiting": len(numbers)}
    return {"next": None, "waiting": 0}


@router.get("/images/{image_id}/proposals")
def waiting(image_id: ImageId, here: Here) -> Json:
    """The proposals of an image, the most doubtful first."""
    some = [one for one in here.project.proposals.waiting(image_id) if not _is_known(here, one)]
    some.sort(key=lambda one: (abs(one.proposal.score - 0.5), one.id))
    return {"proposals": [_proposal_json(one) for one in some]}


@router.post("/proposals/{number}/accept")
def accept(number: ObjectId, wanted: FixRequest, here: Here, me: Me) -> Json:
    """Make a proposal an object, and learn it; with `fix`, clicks improve it next."""
    known = None if me.key is None else here.project.objects.find_key(me.key)
    if known is not None:  # the answer to the first request was lost
        now = acted(here, me, known.image_id, lambda found: None)
        return {"object": object_json(known), **now}
    image_id = here.project.proposals.get(number).image_id
    made: list[int] = []

    def action(found: ClientSession) -> None:
        if wanted.fix and not found.session.state.object.is_blank:
            raise SessionError("finish or skip the present object first")
        made.append(here.accept_proposal(found, number, me.person))
        if wanted.fix:
            found.session.edit(saved_object(here.project.objects.get(made[0])))

    now = acted(here, me, image_id, action)
    return {"object": object_json(here.project.objects.get(made[0])) if made else None, **now}


@router.post("/proposals/{number}/reject")
def reject(number: ObjectId, here: Here) -> Json:
    """Take a proposal out; nothing like it is proposed there again."""
    here.project.proposals.reject(number)
    return {}


def _is_known(here: Workspace, waiting: WaitingProposal) -> bool:
    """Whether most of it lies in an accepted object, or the image has another size now."""
    image = here.project.images.get(waiting.image_id)
    facts, rle = image.facts, waiting.proposal.rle
    if facts is not None and rle.size != (facts.height, facts.width):
        return True
    things = here.project.objects.of_image(waiting.image_id)
    return any(rle.share_in(thing.rle) >= COVERED for thing in things)


def _by_examples(here: Workspace, label_id: int | None, name: str) -> Find:
    def find(image: StoredImage, embedding: ImageEmbedding) -> list[NewProposal]:
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
        return [NewProposal(name, one.rle, one.score, one.point) for one in found.proposals]

    return find


def _by_task(here: Workspace, spec: str) -> tuple[Find, FindLarge]:
    adapters = Tasks(here.model, here.learning.load(spec))
    (name,) = adapters.names
    options = ProposalOptions(most=_MOST, coarse=True)

    def find(image: StoredImage, embedding: ImageEmbedding) -> list[NewProposal]:
        found = propose(here.model, embedding, [adapters[name]], options)
        return [NewProposal(name, one.rle, one.score, one.point) for one in found]

    def find_large(image: TiledImage, check: Callable[[], None]) -> list[NewProposal]:
        found = propose_in_windows(
            here.model, image, [adapters[name]], options, progress=lambda done, total: check()
        )
        return [NewProposal(name, one.rle, one.score, one.point) for one in found]

    return find, find_large


def _label_name(here: Workspace, label_id: int | None) -> str:
    if label_id is None:
        return UNLABELLED
    for label in here.project.labels.all()[0]:
        if label.id == label_id:
            return label.name
    raise MissingError(f"there is no label {label_id} in this project: choose another")


def _proposal_json(waiting: WaitingProposal) -> dict[str, Any]:
    one = waiting.proposal
    return {
        "id": waiting.id,
        "label": one.label,
        "score": round(one.score, 3),
        "mask": rle_crop(one.rle),
    }
