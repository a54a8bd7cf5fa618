"""The robot annotator: simulated clicks, as in the RITM / SimpleClick line of benchmarks."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from samadapt.clicks import FirstClick, Larger, Ties, as_bool, next_click
from samadapt.errors import DataError, SessionError
from samadapt.metrics import ClicksNeeded, clicks_to_reach, iou
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.seams import Seams
from samadapt.prompts import Click
from samadapt.session.options import Feedback, SessionOptions
from samadapt.session.session import Session, SessionStatus
from samadapt.spelling import did_you_mean

AtFailure = Literal["skip", "accept", "paint"]


@dataclass(frozen=True, slots=True)
class ClickProtocol:
    """Settings of the robot's clicks: every choice that changes a benchmark's numbers.

    Each click goes to the centre of an error region: the pixel with the greatest distance to the
    region's edge (Euclidean, exact), at the pixel's centre (x + 0.5, y + 0.5). Pixels that were
    clicked already are left out. A false negative region gets a positive click, a false positive
    region a negative one. The defaults are RITM's.

    Attributes:
        max_clicks: largest number of clicks per object (30 for FR30, which also gives NoC20).
        targets: IoUs for which the trace records the click that reached them.
        stop_at: IoU at which the robot stops; None for the highest target.
        padding: see `ClickRule`, also for `ties`, `larger` and `first_click`.
        ties: choice among equally good pixels.
        larger: measure of the error that is corrected first.
        mask_prompt: form of the last mask in the next prompt: "logits", "binary" or "none".
        first_click: position of an object's first click.
        multimask_first: predict three candidates at the first click and continue with the one of
            the highest score; False predicts one.
        at_failure: treatment of an object that never reached `stop_at`: "skip" it, "accept" its
            mask, from which adapters then learn, or "paint" its errors with the brush and accept
            the reference, as a person would.

    Raises:
        SessionError: an invalid value.
    """

    max_clicks: int = 20
    targets: tuple[float, ...] = (0.85, 0.90)
    stop_at: float | None = None
    padding: bool = True
    ties: Ties = "first"
    larger: Larger = "distance"
    mask_prompt: Feedback = "logits"
    first_click: FirstClick = "centre"
    multimask_first: bool = False
    at_failure: AtFailure = "skip"

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", tuple(float(t) for t in self.targets))
        if self.max_clicks < 1:
            raise SessionError(f"click protocol: max_clicks={self.max_clicks}, use 1 or more")
        if not self.targets and self.stop_at is None:
            raise SessionError("click protocol: give targets or stop_at")
        for value in (*self.targets, self.content_at):
            if not 0 < value <= 1:
                raise SessionError(f"click protocol: target {value} is no IoU in (0, 1]")
        for name, allowed in (
            ("ties", Ties),
            ("larger", Larger),
            ("mask_prompt", Feedback),
            ("first_click", FirstClick),
            ("at_failure", AtFailure),
        ):
            value, known = getattr(self, name), get_args(allowed)
            if value not in known:
                raise SessionError(
                    f"click protocol: {name}={value!r}{did_you_mean(str(value), known)}, use one "
                    f"of {', '.join(known)}"
                )

    @property
    def content_at(self) -> float:
        """The IoU at which the robot stops."""
        return max(self.targets) if self.stop_at is None else self.stop_at

    @property
    def session_options(self) -> SessionOptions:
        """Options of a session with this protocol; without undo, which the robot never uses."""
        return SessionOptions(
            multimask=self.multimask_first, feedback=self.mask_prompt, undo_limit=0
        )


@dataclass(frozen=True, slots=True, eq=False)
class ObjectTrace:
    """The robot's annotation of one object.

    Attributes:
        clicks: in order.
        ious: IoU with the reference after each click.
        seconds: of each click: prediction, saving of the event and any learning.
        mask: the model's last mask, (H, W) bool.
        logits: its decoder logits, (h, w) float32.
        reached: for each target, the number of clicks and whether it was reached.
    """

    clicks: tuple[Click, ...]
    ious: tuple[float, ...]
    seconds: tuple[float, ...]
    mask: NDArray[np.bool_]
    logits: NDArray[np.float32]
    reached: Mapping[float, ClicksNeeded]


def annotate_object(
    model: SegmentationModel | Session,
    embedding: ImageEmbedding,
    truth: NDArray[Any],
    protocol: ClickProtocol | None = None,
    seed: int | Generator = 0,
    *,
    adapters: Sequence[Seams] = (),
    ignore: NDArray[Any] | None = None,
    label: str | None = None,
) -> ObjectTrace:
    """Click on one object until its mask is good enough, through the session that people use.

    Args:
        model: a model, for a new session, or a session between two objects; in both cases
            adapters keep their learned state from object to object.
        embedding: the image; opened in the session if it is not the open one.
        truth: the reference mask (H, W).
        protocol: of the clicks.
        seed: for random ties and first clicks; same seed, same clicks.
        adapters: with a model; a session has its own.
        ignore: pixels (H, W) that neither get clicks nor count for the IoU.
        label: label of the accepted object.

    Raises:
        DataError: an empty reference, or one of another size than the image.
        SessionError: a session with an unfinished object, or with other options than the
            protocol's.
    """
    protocol = protocol or ClickProtocol()
    truth, ignored = _checked(truth, ignore, embedding.original_size)
    rng = np.random.default_rng(seed)
    session = _session(model, embedding, protocol, adapters)
    mask = np.zeros_like(truth)
    clicks: list[Click] = []
    ious: list[float] = []
    seconds: list[float] = []
    while len(clicks) < protocol.max_clicks:
        click = next_click(truth, mask, clicks, protocol, rng, ignored)
        if click is None:
            break
        start = time.perf_counter()
        mask = session.click(click.x, click.y, click.positive)
        seconds.append(time.perf_counter() - start)
        clicks.append(click)
        ious.append(iou(mask & ~ignored, truth))
        if ious[-1] >= protocol.content_at:
            break
    logits = session.logits
    if logits is None:
        raise SessionError("the robot found nothing to click on")
    failed = ious[-1] < protocol.content_at
    final = mask
    if failed and protocol.at_failure == "paint":
        final = _painted(session, truth, ignored, mask)
    if not final.any() or (failed and protocol.at_failure == "skip"):
        session.skip()
    else:
        session.accept(label)
    reached = {t: clicks_to_reach(ious, t, protocol.max_clicks) for t in protocol.targets}
    return ObjectTrace(
        tuple(clicks),
        tuple(ious),
        tuple(seconds),
        mask.copy(),
        logits.copy(),
        MappingProxyType(reached),
    )


def _painted(
    session: Session, truth: NDArray[np.bool_], ignored: NDArray[np.bool_], mask: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Paint what a mask lacks and erase what it has too much, but for ignored pixels."""
    for stroke, positive in ((truth & ~mask, True), (mask & ~truth & ~ignored, False)):
        if stroke.any():
            mask = session.paint(stroke, positive)
    return mask


# -- checks -------------------------------------------------------------------------------


def _session(
    model: SegmentationModel | Session,
    embedding: ImageEmbedding,
    protocol: ClickProtocol,
    adapters: Sequence[Seams],
) -> Session:
    if not isinstance(model, Session):
        session = Session(model, adapters, options=protocol.session_options)
    else:
        session = model
        given, wanted = session.options, protocol.session_options
        if adapters:
            raise SessionError("a session has its own adapters: create the session with them")
        if (given.multimask, given.feedback) != (wanted.multimask, wanted.feedback):
            raise SessionError(
                f"the session's options {given} are not those of the click protocol: create it "
                "with options=protocol.session_options"
            )
        if session.status is SessionStatus.CLICKING:
            raise SessionError("the session has an unfinished object: accept or skip it first")
    if session.status is SessionStatus.NO_IMAGE or session.embedding is not embedding:
        session.open(embedding=embedding)
    return session


def _checked(
    truth: NDArray[Any], ignore: NDArray[Any] | None, size: tuple[int, int]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """The reference without its ignored pixels, and the ignored pixels."""
    wanted = as_bool(truth, "reference mask")
    ignored = np.zeros_like(wanted) if ignore is None else as_bool(ignore, "ignored region")
    for array, what in ((wanted, "reference mask"), (ignored, "ignored region")):
        if array.shape != size:
            raise DataError(f"{what} of shape {array.shape} for an image of size {size}")
    wanted = wanted & ~ignored
    if not wanted.any():
        raise DataError("the reference mask is empty: there is no object to click on")
    return wanted, ignored
