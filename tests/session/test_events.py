from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from samadapt.errors import SessionError
from samadapt.session.events import (
    KINDS,
    Accepted,
    Added,
    Boxed,
    ChangedMask,
    Chosen,
    Clicked,
    Deleted,
    Edited,
    Event,
    Forgotten,
    ImageReference,
    Labelled,
    ObjectVersion,
    Opened,
    Painted,
    Redone,
    Rejected,
    Relabelled,
    Reopened,
    Reset,
    Skipped,
    Undone,
)
from samadapt.session.options import SessionOptions
from samadapt.session.record import Record

OPENED = Opened(
    image=ImageReference(40, 56, "a.png", "/pictures/a.png", "c0ffee"),
    model="nano",
    weights_hash="abc",
    preprocessing="nano-1",
    adapters=("online", "stable"),
    options=SessionOptions(multimask=False, feedback="none", undo_limit=3),
    samadapt_version="0.1.0",
)
finite = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(0, 10**6)
versions = st.builds(ObjectVersion, whole, whole, st.none() | st.text())
events = st.one_of(
    st.just(OPENED),
    st.builds(Clicked, finite, finite, st.booleans()),
    st.builds(Boxed, finite, finite, finite, finite),
    st.builds(Chosen, st.integers(0, 5)),
    st.builds(
        Accepted,
        st.integers(1, 10**9),
        st.none() | st.text(),
        st.integers(1, 9),
        st.integers(1, 9),
        st.text("0123abc"),
    ),
    st.builds(Painted, whole, whole, whole, whole, st.text("0123abc"), st.booleans()),
    st.builds(Labelled, st.none() | st.text()),
    st.builds(Reopened, versions, whole, whole, st.text("0123abc")),
    st.builds(Deleted, st.lists(versions, max_size=3).map(tuple)),
    st.builds(Relabelled, st.lists(versions, max_size=3).map(tuple), st.none() | st.text()),
    st.builds(
        Edited,
        st.text(),
        st.lists(
            st.builds(ChangedMask, versions, whole, whole, st.text("0123"), st.text("0123")),
            max_size=2,
        ).map(tuple),
        st.lists(versions, max_size=2).map(tuple),
        st.lists(
            st.builds(Added, whole, st.none() | st.text(), whole, whole, st.text("0123abc")),
            max_size=2,
        ).map(tuple),
        st.lists(
            st.builds(Painted, whole, whole, whole, whole, st.text("0123abc"), st.booleans()),
            max_size=2,
        ).map(tuple),
    ),
    st.builds(Forgotten, st.booleans()),
    st.builds(Rejected, whole),
    st.sampled_from([Undone(), Redone(), Reset(), Skipped()]),
)


@given(events, st.integers(0, 10**9), st.floats(0, 1e10), st.none() | st.text())
def test_every_event_comes_back_from_json(
    event: Event, sequence: int, time: float, key: str | None
) -> None:
    record = Record(sequence, time, event, key)
    line = record.to_json()
    assert "\n" not in line
    assert Record.from_json(line) == record


def test_the_json_is_plain_to_read() -> None:
    body = json.loads(Record(3, 12.5, Clicked(1.5, 2.5, False)).to_json())
    del body["crc"]
    assert body == {
        "version": 1,
        "sequence": 3,
        "time": 12.5,
        "kind": "clicked",
        "x": 1.5,
        "y": 2.5,
        "positive": False,
    }


def test_kinds_are_known_by_their_own_name() -> None:
    assert set(KINDS) == {
        "opened", "clicked", "boxed", "painted", "trimmed", "labelled", "chosen", "reset",
        "reopened", "deleted", "relabelled", "edited", "accepted", "added", "rejected", "skipped",
        "undone", "redone", "forgotten",
    }  # fmt: skip
    assert all(name == kind.kind for name, kind in KINDS.items())


def test_events_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Clicked(1, 2).x = 3  # type: ignore[misc]


def test_coordinates_that_are_no_numbers_never_reach_a_log() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        Record(0, 0.0, Clicked(math.nan, 1)).to_json()


def line_of(**changes: object) -> str:
    """A click's line with fields changed (None removes one) and a checksum that fits."""
    from samadapt.session.event_json import checksum_of as _checksum

    body = json.loads(Record(0, 1.0, Clicked(1.0, 2.0)).to_json()) | changes
    body = {key: value for key, value in body.items() if value is not None and key != "crc"}
    return json.dumps({**body, "crc": _checksum(body)}, separators=(",", ":"))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", "not a line of JSON"),
        ("{", "not a line of JSON"),
        ("[1]", "not a JSON object"),
        ('{"a":1}', "no version"),
        ('{"version":1,"x":NaN}', "not a line of JSON"),
        (line_of(version=2), "format version 2.*newer samadapt"),
        (line_of(version="1"), "no version"),
        (line_of(kind="sung"), "unknown kind of event.*sung.*newer samadapt"),
        (line_of(kind=["clicked"]), "unknown kind"),
        (line_of(pressure=3), r"unknown fields \['pressure'\]"),
        (line_of(x=None), r"lacks the fields \['x'\]"),
        (line_of(x="1"), "clicked.x: expected float, found '1'"),
        (line_of(positive=1), "clicked.positive: expected bool, found 1"),
        (line_of(sequence=1.5), "sequence: expected int"),
        (line_of().replace('"x":1.0', '"x":9.0'), "checksum"),
        (line_of().replace(',"crc"', ',"src"'), "checksum"),
    ],
)
def test_lines_that_are_no_events_are_refused(line: str, words: str) -> None:
    with pytest.raises(SessionError, match=words) as caught:
        Record.from_json(line)
    assert "\n" not in str(caught.value)


def test_whole_numbers_are_fine_as_coordinates() -> None:
    event = Record.from_json(line_of(x=4)).event
    assert event == Clicked(4.0, 2.0)
    assert isinstance(event, Clicked)
    assert isinstance(event.x, float)


def test_bad_options_in_a_log_are_refused() -> None:
    with pytest.raises(SessionError, match="feedback='loud'"):
        SessionOptions(feedback="loud")  # type: ignore[arg-type]
    with pytest.raises(SessionError, match="undo_limit=-1"):
        SessionOptions(undo_limit=-1)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000))
def test_masks_survive_in_an_event(height: int, width: int, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    event = Accepted.from_mask(7, "cell", mask)
    assert (event.object_id, event.label, event.height, event.width) == (7, "cell", height, width)
    np.testing.assert_array_equal(event.mask(), mask)
    assert event.mask().dtype == np.bool_


def test_the_run_lengths_are_cocos() -> None:
    mask = np.zeros((2, 3), np.bool_)
    mask[0, 1] = True  # column by column: 2 off, 1 on, 3 off
    assert Accepted.from_mask(1, None, mask).counts == "213"


def test_images_have_a_readable_name() -> None:
    assert str(ImageReference(2, 3, "a.png", "/p/a.png")) == "/p/a.png"
    assert str(ImageReference(2, 3, "slide 7")) == "slide 7"
    assert "3 x 2" in str(ImageReference(2, 3))
