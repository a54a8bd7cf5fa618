"""`reduce(state, event) -> state`: the immutable state of a session, computed from its events.

Live sessions, replay, recovery and the server all run this function. The state holds the prompts
but not the model's predictions, which are in `samadapt.session.answers`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from samadapt.data.frames import Frame
from samadapt.data.rle import Rle
from samadapt.errors import SessionError
from samadapt.prompts import Box, Click
from samadapt.session.events import (
    Accepted,
    Added,
    Boxed,
    Chosen,
    Clicked,
    Deleted,
    Edited,
    Event,
    Forgotten,
    Labelled,
    MaskPart,
    ObjectVersion,
    Opened,
    Painted,
    Redone,
    Rejected,
    Relabelled,
    Reopened,
    Reset,
    Skipped,
    Trimmed,
    Undone,
)
from samadapt.session.options import SessionOptions
from samadapt.session.saved_object import SavedObject as SavedObject

_NONE: Mapping[int, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Asked:
    """A prompt for the current object.

    Attributes:
        step: number of the prompt for this object: 1, 2, ..., never reused.
        given: its click or box.
        earlier: (step, candidate) of the last mask, which is part of the prompt; candidate None
            is the best one.
    """

    step: int
    given: Click | Box
    earlier: tuple[int, int | None] | None = None


@dataclass(frozen=True, slots=True)
class CurrentObject:
    """The object in progress, with all its prompts, strokes and its label.

    Attributes:
        number: of the object in the session; distinguishes predictions of different objects.
        last_step: number of the last prompt, including undone ones.
        label: the label that it will get.
        edited: the accepted object of which it is a new version.
        asked: prompts in force, in order; the prediction for the last one is shown.
        chosen: index of the candidate shown; None is the best one.
        strokes: pixels added to or removed from the model's mask, in order, with any tool.
        brush: those of the strokes that were made with the brush.
        frame: on a large image, the part of it on which prompts are decoded.
        base: the mask from earlier frames; the prediction replaces it inside the frame.
        kept: clicks in earlier frames.
    """

    number: int = 0
    last_step: int = 0
    label: str | None = None
    edited: SavedObject | None = None
    asked: tuple[Asked, ...] = ()
    chosen: int | None = None
    strokes: tuple[MaskPart, ...] = ()
    brush: tuple[Painted, ...] = ()
    frame: Frame | None = None
    base: Rle | None = field(default=None, repr=False)
    kept: tuple[Click, ...] = ()

    @property
    def is_blank(self) -> bool:
        """Whether it has no prompt, stroke or earlier version yet."""
        return not (self.asked or self.strokes or self.edited or self.base)

    @property
    def step(self) -> int:
        """Number of the prompt whose prediction is shown; 0 before the first."""
        return self.asked[-1].step if self.asked else 0

    @property
    def clicks(self) -> tuple[Click, ...]:
        """Clicks in force, in order."""
        return (*self.kept, *(a.given for a in self.asked if isinstance(a.given, Click)))

    @property
    def box(self) -> Box | None:
        """The box in force."""
        return next((a.given for a in reversed(self.asked) if isinstance(a.given, Box)), None)


@dataclass(frozen=True, slots=True)
class Step:
    """The part of the state that one step of undo or redo restores.

    Attributes:
        object: the current object.
        saved: changed accepted objects, before the change.
        decided: changed decisions about proposals, before the change; None for no decision.
    """

    object: CurrentObject
    saved: tuple[SavedObject, ...] = ()
    decided: Mapping[int, bool | None] = field(default_factory=lambda: _NONE)


@dataclass(frozen=True, slots=True)
class SessionState:
    """A session after some of its events.

    Attributes:
        options: of the session.
        opened: the open image, None before the first.
        object: the object in progress; blank before its first click, box or stroke.
        label: the label of new objects.
        objects: accepted objects of the open image in this session's events, by number.
        decided: proposals that were accepted (True) or rejected (False), by number.
        undo, redo: steps, the next one last.
        last_id: the highest number of an accepted object so far.
    """

    options: SessionOptions = field(default_factory=SessionOptions)
    opened: Opened | None = None
    object: CurrentObject = CurrentObject()
    label: str | None = None
    objects: Mapping[int, SavedObject] = field(default_factory=lambda: MappingProxyType({}))
    decided: Mapping[int, bool] = field(default_factory=lambda: _NONE)
    undo: tuple[Step, ...] = ()
    redo: tuple[Step, ...] = ()
    last_id: int = 0


def reduce(state: SessionState, event: Event) -> SessionState:
    """The state after one more event.

    Raises:
        SessionError: the event cannot happen in this state.
    """
    if isinstance(event, Opened):
        label, last_id = state.label, state.last_id
        return SessionState(state.options, event, _next_object(state), label, last_id=last_id)
    if state.opened is None:
        raise SessionError("no image is open: call open(image) first")
    now = state.object
    match event:
        case Clicked():
            now = _framed(state, event)
            earlier = (now.step, now.chosen) if now.asked else None
            return _ask(state, now, Click(event.x, event.y, event.positive), earlier)
        case Boxed():
            now = _framed(state, event)
            return _ask(state, now, Box(event.x0, event.y0, event.x1, event.y1), None)
        case Chosen():
            if not now.asked:
                raise SessionError("nothing to choose from: click on the object first")
            return _go_on(state, replace(now, chosen=event.index))
        case Painted():
            _check_inside(state.opened, event)
            now = replace(now, strokes=(*now.strokes, event), brush=(*now.brush, event))
            return _go_on(state, now)
        case Trimmed():
            _check_inside(state.opened, event)
            return replace(state, object=replace(now, strokes=(*now.strokes, event)))
        case Labelled():
            labelled = replace(now, label=event.label)
            if now.edited is None:
                state = replace(state, label=event.label)
            return replace(state, object=labelled) if now.is_blank else _go_on(state, labelled)
        case Reset():
            if not now.asked and not now.strokes and now.base is None:
                raise SessionError("nothing to reset: this object has no click or box yet")
            return _go_on(state, CurrentObject(now.number, now.last_step, now.label, now.edited))
        case Reopened():
            if not now.is_blank:
                raise SessionError("finish or skip the present object first")
            known = event.object
            rle = Rle((event.height, event.width), event.counts.encode())
            saved = SavedObject(known.object_id, known.revision, known.label, rle)
            return _go_on(state, replace(now, label=known.label, edited=saved))
        case Skipped():
            if now.is_blank:  # the next object would have the number of one that redo brings back
                return state
            return _remember(replace(state, object=_next_object(state)), _step(state))
        case Added():
            after, step = _accepting(state, _step(state), event)
            return _save(after, _new(event), now, step)
        case Rejected():
            return _remember(*_deciding(state, _step(state), {event.proposal: False}))
        case Accepted():
            return _accept(state, event)
        case Deleted():
            return _change(state, event.objects, deleted=True)
        case Relabelled():
            return _change(state, event.objects, label=event.label)
        case Edited():
            return _edit(state, event)
        case Undone() | Redone():
            return _step_back(state, is_undo=isinstance(event, Undone))
        case Forgotten():
            if event.redo:
                return replace(state, redo=state.redo[:-1])
            return replace(state, undo=state.undo[:-1])
    raise SessionError(f"unknown kind of event {event.kind!r}: install a newer samadapt")


def _framed(state: SessionState, event: Clicked | Boxed) -> CurrentObject:
    """The current object with the frame of a prompt."""
    now, opened = state.object, state.opened
    if opened is None or event.frame in (None, now.frame):
        return now
    size = opened.image.height, opened.image.width
    base = None if event.base is None else Rle(size, event.base.encode())
    return replace(now, asked=(), chosen=None, frame=event.frame, base=base, kept=now.clicks)


def _ask(
    state: SessionState,
    now: CurrentObject,
    given: Click | Box,
    earlier: tuple[int, int | None] | None,
) -> SessionState:
    step = now.last_step + 1
    asked = (*now.asked, Asked(step, given, earlier))
    return _go_on(state, replace(now, last_step=step, asked=asked, chosen=None))


def _accept(state: SessionState, event: Accepted) -> SessionState:
    now = state.object
    if now.is_blank:
        raise SessionError("nothing to accept: click on the object first")
    saved = _new(event)
    if now.edited is not None:
        saved = replace(saved, object_id=now.edited.object_id, revision=now.edited.revision + 1)
        known = {now.edited.object_id: now.edited}
        state = replace(state, objects=MappingProxyType({**state.objects, **known}))
    return _save(state, saved, _next_object(state), _step(state))


def _step_back(state: SessionState, *, is_undo: bool) -> SessionState:
    stack = state.undo if is_undo else state.redo
    if not stack:
        raise SessionError(f"nothing to {'undo' if is_undo else 'redo'}")
    step, now = stack[-1], state.object
    present = tuple(state.objects[saved.object_id] for saved in step.saved)
    objects = dict(state.objects)
    for saved, before in zip(step.saved, present, strict=True):
        objects[saved.object_id] = replace(saved, revision=before.revision + 1)
    back = step.object
    if back.number == now.number:
        back = replace(back, last_step=now.last_step)
    edited = back.edited
    if edited is not None and edited.object_id in objects:
        back = replace(back, edited=replace(edited, revision=objects[edited.object_id].revision))
    state, step = _deciding(state, step, step.decided)
    other = Step(now, present, step.decided)
    undo = state.undo[:-1] if is_undo else (*state.undo, other)
    redo = (*state.redo, other) if is_undo else state.redo[:-1]
    after = replace(state, object=back, objects=MappingProxyType(objects), undo=undo, redo=redo)
    return after if back.edited is not None else replace(after, label=back.label)


# -- helpers ----------------------------------------------------------------------------------


def _go_on(state: SessionState, now: CurrentObject) -> SessionState:
    """Replace the current object, as one step of undo."""
    return _remember(replace(state, object=now), _step(state))


def _step(state: SessionState, saved: tuple[SavedObject, ...] = ()) -> Step:
    """The step that restores a state."""
    return Step(state.object, saved)


def _deciding(
    state: SessionState, step: Step, decisions: Mapping[int, bool | None]
) -> tuple[SessionState, Step]:
    """Change decisions about proposals, None for no decision; the step records the old ones."""
    known = {number: state.decided.get(number) for number in decisions}
    kept = {number: said for number, said in state.decided.items() if number not in decisions}
    fresh = {number: said for number, said in decisions.items() if said is not None}
    after = replace(state, decided=MappingProxyType({**kept, **fresh}))
    return after, replace(step, decided=MappingProxyType(known))


def _accepting(state: SessionState, step: Step, *added: Added) -> tuple[SessionState, Step]:
    """`_deciding` for proposals that were accepted as objects."""
    return _deciding(state, step, {a.proposal: True for a in added if a.proposal is not None})


def _remember(state: SessionState, step: Step) -> SessionState:
    limit = state.options.undo_limit
    undo = (*state.undo, step)[-limit:] if limit else ()
    return replace(state, undo=undo, redo=())


def _next_object(state: SessionState) -> CurrentObject:
    return CurrentObject(state.object.number + 1, label=state.label)


def _save(state: SessionState, saved: SavedObject, now: CurrentObject, step: Step) -> SessionState:
    """Set an accepted object and the current object, as one step of undo."""
    before = state.objects.get(saved.object_id, replace(saved, deleted=True))
    objects = MappingProxyType({**state.objects, saved.object_id: saved})
    after = replace(state, object=now, objects=objects, last_id=max(state.last_id, saved.object_id))
    return _remember(after, replace(step, saved=(before,)))


def _change(state: SessionState, versions: Sequence[ObjectVersion], **changes: Any) -> SessionState:
    """Change accepted objects, as one step of undo."""
    before = tuple(_known(state, version) for version in versions)
    return _replace(state, before, [_next_version(saved, **changes) for saved in before])


def _edit(state: SessionState, event: Edited) -> SessionState:
    """Change masks, as one step of undo."""
    before, fresh = [], []
    for one in event.changed:
        size = one.height, one.width
        known = replace(_known(state, one.object), rle=Rle(size, one.before.encode()))
        before.append(known)
        fresh.append(_next_version(known, rle=Rle(size, one.counts.encode())))
    for version in event.deleted:
        before.append(_known(state, version))
        fresh.append(_next_version(before[-1], deleted=True))
    for new in event.added:
        fresh.append(_new(new))
        before.append(replace(fresh[-1], deleted=True))
    after = _replace(state, tuple(before), fresh)
    for stroke in event.strokes:
        _check_inside(state.opened, stroke)
    now = replace(after.object, strokes=(*after.object.strokes, *event.strokes))
    last_id = max((state.last_id, *(new.object_id for new in event.added)))
    decided, step = _accepting(after, _step(state, tuple(before)), *event.added)
    return replace(_remember(replace(decided, undo=state.undo), step), object=now, last_id=last_id)


def _next_version(saved: SavedObject, **changes: Any) -> SavedObject:
    return replace(saved, revision=saved.revision + 1, **changes)


def _replace(
    state: SessionState, before: tuple[SavedObject, ...], after: Sequence[SavedObject]
) -> SessionState:
    """Replace accepted objects, as one step of undo."""
    now, fresh = state.object, {saved.object_id: saved for saved in after}
    if len(fresh) < len(after):
        raise SessionError("an object is named twice: name each once")
    changed = replace(state, objects=MappingProxyType({**state.objects, **fresh}))
    if now.edited is not None and now.edited.object_id in fresh:
        if not fresh[now.edited.object_id].deleted:
            number = now.edited.object_id
            raise SessionError(f"object {number} is being edited: accept or skip it first")
        changed = replace(changed, object=_next_object(state))  # nothing is left to be edited
    return _remember(changed, _step(state, before))


def _known(state: SessionState, version: ObjectVersion) -> SavedObject:
    """An accepted object, in the version on which an event is based."""
    known = state.objects.get(version.object_id)
    if known is not None and known.revision == version.revision:
        if known.deleted:
            raise SessionError(f"object {version.object_id} was deleted")
        return known
    return SavedObject(version.object_id, version.revision, version.label)


def _new(event: Accepted) -> SavedObject:
    rle = Rle((event.height, event.width), event.counts.encode())
    return SavedObject(event.object_id, 1, event.label, rle)


def _check_inside(opened: Opened | None, part: MaskPart) -> None:
    image = None if opened is None else opened.image
    if image and (part.x + part.width > image.width or part.y + part.height > image.height):
        size = f"{image.width} x {image.height}"
        raise SessionError(f"a stroke lies outside the image of {size} pixels")
