from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from fakes import FakeModel, OracleModel, blobs
from samadapt.clicks import next_click
from samadapt.errors import DataError, SessionError
from samadapt.models.interface import DecoderOutput
from samadapt.prompts import Click
from samadapt.session.events import Accepted, Skipped
from samadapt.session.options import SessionOptions
from samadapt.session.robot import ClickProtocol, ObjectTrace, annotate_object
from samadapt.session.session import Session, SessionStatus
from toy_adapter import ToyAdapter

Mask = NDArray[np.bool_]
OPEN = ClickProtocol(padding=False)


def grid(text: str) -> Mask:
    return np.array([[c == "#" for c in row] for row in text.split()])


def nothing(truth: Mask) -> Mask:
    return np.zeros_like(truth)


# -- where the next click goes ------------------------------------------------------------


def test_the_centre_of_a_disc_is_its_middle() -> None:
    rows, columns = np.mgrid[:41, :61]
    truth = (rows - 17) ** 2 + (columns - 33) ** 2 <= 100
    assert next_click(truth, nothing(truth)) == Click(33.5, 17.5, True)


def test_too_much_gets_a_negative_click() -> None:
    truth = grid("......... ......... ......... ......... ........#")
    mask = grid("......... .###..... .###..... .###..... ........#")
    assert next_click(truth, mask) == Click(2.5, 2.5, False)


def test_the_wider_error_is_first_not_the_larger_one() -> None:
    missing = grid("......... ###...... ###...... ###...... .........")
    extra = grid("......... ......... ......... ......... .........")
    extra[0] = True  # nine pixels too, but thin
    extra[4, 1:] = True
    assert next_click(missing, extra) == Click(1.5, 2.5, True)
    assert next_click(missing, extra, rule=ClickProtocol(larger="area")) == Click(0.5, 0.5, False)


def test_by_area_the_click_goes_into_the_largest_part() -> None:
    truth = np.zeros((9, 12), np.bool_)
    truth[0, :10] = True  # ten pixels, thin: the largest part
    truth[3:6, 3:6] = True  # nine pixels, thick: the widest
    assert next_click(truth, nothing(truth)) == Click(4.5, 4.5)
    by_area = ClickProtocol(larger="area")
    assert next_click(truth, nothing(truth), rule=by_area) == Click(0.5, 0.5)
    every = [Click(x + 0.5, 0.5) for x in range(10)]
    assert next_click(truth, nothing(truth), every, by_area) == Click(4.5, 4.5)


def test_by_area_the_other_error_is_next_when_one_is_used_up() -> None:
    truth, mask = np.zeros((2, 5, 8), np.bool_)
    truth[0, :3] = True
    mask[4, 5:7] = True
    by_area = ClickProtocol(larger="area")
    clicked = [Click(x + 0.5, 0.5) for x in range(3)]
    assert next_click(truth, mask, clicked[:1], by_area) == Click(1.5, 0.5, True)
    assert next_click(truth, mask, clicked, by_area) == Click(5.5, 4.5, False)


@pytest.mark.parametrize(
    ("protocol", "click"),
    [
        (ClickProtocol(), Click(2.5, 2.5)),  # the border is an edge: the middle of 5 x 5
        (OPEN, Click(0.5, 0.5)),  # it is none: the far corner is furthest from the object's edge
    ],
)
def test_an_object_in_the_corner(protocol: ClickProtocol, click: Click) -> None:
    truth = np.zeros((12, 15), np.bool_)
    truth[:5, :5] = True
    assert next_click(truth, nothing(truth), rule=protocol) == click


def test_a_band_along_the_border_without_padding() -> None:
    truth = np.zeros((8, 9), np.bool_)
    truth[:, 6:] = True
    assert next_click(truth, nothing(truth), rule=OPEN) == Click(8.5, 0.5)
    assert next_click(truth, nothing(truth)) == Click(7.5, 1.5)


def test_an_object_that_fills_the_image_has_its_centre_inside() -> None:
    truth = np.ones((5, 7), np.bool_)
    for protocol in (ClickProtocol(), OPEN):
        assert next_click(truth, nothing(truth), rule=protocol) == Click(2.5, 2.5)


def test_one_pixel_objects() -> None:
    for y, x in ((0, 0), (3, 4), (5, 8)):
        truth = np.zeros((6, 9), np.bool_)
        truth[y, x] = True
        for protocol in (ClickProtocol(), OPEN, ClickProtocol(larger="area")):
            assert next_click(truth, nothing(truth), rule=protocol) == Click(x + 0.5, y + 0.5)
    assert next_click(np.ones((1, 1), np.bool_), np.zeros((1, 1), np.bool_)) == Click(0.5, 0.5)


def test_a_perfect_mask_needs_no_click() -> None:
    truth = grid("..... .###. .....")
    assert next_click(truth, truth) is None
    assert next_click(nothing(truth), nothing(truth)) is None


def test_clicked_pixels_are_not_clicked_again() -> None:
    truth = grid("...... .###.. ......")
    clicked: list[Click] = []
    while click := next_click(truth, nothing(truth), clicked):
        clicked.append(click)
    assert [(c.x, c.y) for c in clicked] == [(1.5, 1.5), (2.5, 1.5), (3.5, 1.5)]
    anywhere = [Click(1.01, 1.99), Click(2.0, 1.0)]  # not at centres
    assert next_click(truth, nothing(truth), anywhere) == Click(3.5, 1.5)


def test_a_click_on_the_far_border_belongs_to_the_last_pixel() -> None:
    truth = grid("... ..#")
    assert next_click(truth, nothing(truth), [Click(3, 2)]) is None


def test_equal_errors_too_much_comes_first() -> None:
    truth, mask = grid("##. ... ..."), grid("... ... .##")
    assert next_click(truth, mask) == Click(1.5, 2.5, False)
    assert next_click(truth, mask, rule=ClickProtocol(larger="area")) == Click(1.5, 2.5, False)


@pytest.mark.parametrize("larger", ["distance", "area"])
def test_random_ties_are_fair_and_seeded(larger: Any) -> None:
    truth, mask = grid("##. ... ..."), grid("... ... .##")
    protocol = ClickProtocol(ties="random", larger=larger)

    def draw(seed: int) -> list[Click | None]:
        rng = np.random.default_rng(seed)
        return [next_click(truth, mask, rule=protocol, rng=rng) for _ in range(400)]

    assert draw(1) == draw(1)
    assert draw(1) != draw(2)
    found = draw(3)
    tied = [Click(0.5, 0.5), Click(1.5, 0.5), Click(1.5, 2.5, False), Click(2.5, 2.5, False)]
    assert all(70 <= found.count(click) <= 130 for click in tied)
    assert sum(found.count(click) for click in tied) == 400


def test_the_first_click_can_be_anywhere_on_the_object() -> None:
    truth = grid("..... .###. .#.#. .....")
    protocol = ClickProtocol(first_click="random")
    rng = np.random.default_rng(0)
    found = {next_click(truth, nothing(truth), rule=protocol, rng=rng) for _ in range(200)}
    assert found == {Click(x + 0.5, y + 0.5) for y, x in np.argwhere(truth)}
    later = next_click(truth, nothing(truth), [Click(2.5, 1.5)], protocol, rng)
    assert later == Click(1.5, 1.5)
    with_mask = next_click(truth, grid("..... .##.. ..... ....."), (), protocol, rng)
    assert with_mask == Click(3.5, 1.5)
    assert next_click(nothing(truth), nothing(truth), rule=protocol, rng=rng) is None


def test_ignored_pixels_are_not_clicked() -> None:
    truth = grid("#####. #####. #####. ......")
    ignore = grid("...... .####. ...... ......")
    click = next_click(truth, nothing(truth), ignore=ignore)
    assert click == Click(0.5, 0.5)
    assert next_click(truth, nothing(truth), ignore=truth) is None
    mask = grid("...... ...... ...... ..####")
    assert next_click(nothing(truth), mask, ignore=mask) is None


@pytest.mark.parametrize(
    ("truth", "mask"),
    [
        (np.ones((3, 3), np.bool_), np.ones((3, 4), np.bool_)),
        (np.ones((3, 3), np.float32), np.ones((3, 3), np.bool_)),
        (np.ones(3, np.bool_), np.ones(3, np.bool_)),
    ],
)
def test_masks_must_fit(truth: Any, mask: Any) -> None:
    with pytest.raises(DataError, match="shape"):
        next_click(truth, mask)


def naive(region: Mask, padding: bool) -> NDArray[np.float64]:
    """Distance to the nearest pixel outside, by looking at every pair of pixels."""
    framed = np.pad(region, 1) if padding or region.all() else region
    outside = np.argwhere(~framed) - (1 if framed.shape != region.shape else 0)
    distance = np.zeros(region.shape)
    for y, x in np.argwhere(region):
        distance[y, x] = np.sqrt(((outside - (y, x)) ** 2).sum(1).min())
    return distance


masks = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: st.tuples(arrays(np.bool_, shape), arrays(np.bool_, shape))
)


@settings(max_examples=60)
@given(masks, st.booleans(), st.integers(0, 4))
def test_the_click_is_where_a_slow_search_finds_it(
    pair: tuple[Mask, Mask], padding: bool, count: int
) -> None:
    truth, mask = pair
    clicked: list[Click] = []
    for _ in range(count):
        if click := next_click(truth, mask, clicked, ClickProtocol(padding=padding)):
            clicked.append(click)
    best: tuple[float, Click | None] = (0.0, None)
    for region, positive in ((mask & ~truth, False), (truth & ~mask, True)):
        distance = naive(region, padding)
        for c in clicked:
            distance[int(c.y), int(c.x)] = 0
        for y, x in np.ndindex(*region.shape):
            if distance[y, x] > best[0] + 1e-6:
                best = (float(distance[y, x]), Click(x + 0.5, y + 0.5, positive))
    assert next_click(truth, mask, clicked, ClickProtocol(padding=padding)) == best[1]


@given(masks, st.sampled_from(["first", "random"]), st.sampled_from(["distance", "area"]))
def test_every_click_is_on_an_error_and_says_which(
    pair: tuple[Mask, Mask], ties: Any, larger: Any
) -> None:
    truth, mask = pair
    clicked: list[Click] = []
    protocol, rng = ClickProtocol(ties=ties, larger=larger), np.random.default_rng(0)
    while click := next_click(truth, mask, clicked, protocol, rng):
        place = int(click.y), int(click.x)
        assert truth[place] != mask[place]
        assert click.positive == truth[place]
        clicked.append(click)
    assert len(clicked) == len(set(clicked)) == (truth != mask).sum()


# -- protocol -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"max_clicks": 0}, "max_clicks=0"),
        ({"targets": ()}, "targets or stop_at"),
        ({"targets": (0.5, 1.5)}, "target 1.5"),
        ({"stop_at": 0.0}, "target 0.0"),
        ({"ties": "last"}, "ties='last', use one of first, random"),
        ({"larger": "area "}, "larger="),
        ({"mask_prompt": "soft"}, "mask_prompt="),
        ({"first_click": "edge"}, "first_click="),
        ({"at_failure": "cry"}, "at_failure="),
    ],
)
def test_bad_protocols_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(SessionError, match=words):
        ClickProtocol(**values)


def test_the_protocol_is_a_plain_value() -> None:
    protocol = ClickProtocol()
    assert dataclasses.asdict(protocol)["targets"] == (0.85, 0.90)
    assert protocol.content_at == 0.90
    assert ClickProtocol(stop_at=0.95).content_at == 0.95
    options = ClickProtocol(mask_prompt="binary", multimask_first=True).session_options
    assert (options.multimask, options.feedback) == (True, "binary")


# -- whole objects ------------------------------------------------------------------------


@pytest.fixture
def labels() -> NDArray[np.int_]:
    labels = np.zeros((24, 31), np.int_)
    labels[3:12, 4:15] = 1
    labels[14:20, 22:31] = 2
    labels[22, 2] = 3
    return labels


@pytest.mark.parametrize("number", [1, 2, 3])
def test_an_oracle_needs_one_click(labels: NDArray[np.int_], number: int) -> None:
    model = OracleModel(labels)
    trace = annotate_object(model, model.encode(blobs(24, 31)), labels == number)
    assert len(trace.clicks) == len(trace.seconds) == 1
    assert trace.ious == (1.0,)
    assert trace.reached == {0.85: (1, True), 0.90: (1, True)}
    np.testing.assert_array_equal(trace.mask, labels == number)
    assert trace.logits.shape == (24, 32)


class Slow(OracleModel):
    """Gets it right with the n-th click, sees half of it before."""

    def __init__(self, labels: NDArray[np.int_], right_at: int) -> None:
        super().__init__(labels)
        self.right_at = right_at

    def run_decoder(self, *args: Any) -> DecoderOutput:
        out = super().run_decoder(*args)
        if args[2].tokens.shape[1] < self.right_at:
            out.logits[..., 8:, :] = -10
        return out


def test_success_at_the_last_click_is_success(labels: NDArray[np.int_]) -> None:
    truth = labels == 1
    protocol = ClickProtocol(max_clicks=3, targets=(0.5, 0.9))
    embedding = Slow(labels, 3).encode(blobs(24, 31))
    trace = annotate_object(Slow(labels, 3), embedding, truth, protocol)
    assert [round(v, 6) for v in trace.ious] == [round(5 / 9, 6), round(5 / 9, 6), 1.0]
    assert trace.reached == {0.5: (1, True), 0.9: (3, True)}
    late = annotate_object(Slow(labels, 4), embedding, truth, protocol)
    assert late.reached == {0.5: (1, True), 0.9: (3, False)}
    assert len(late.clicks) == 3


def test_the_robot_stops_when_it_is_content(labels: NDArray[np.int_]) -> None:
    model = Slow(labels, 5)
    embedding = model.encode(blobs(24, 31))
    protocol = ClickProtocol(targets=(0.4, 0.9), stop_at=0.5)
    trace = annotate_object(model, embedding, labels == 1, protocol)
    assert len(trace.clicks) == 1
    assert trace.reached == {0.4: (1, True), 0.9: (20, False)}


def test_the_robot_accepts_what_it_reached_and_skips_the_rest(labels: NDArray[np.int_]) -> None:
    model = Slow(labels, 3)
    embedding = model.encode(blobs(24, 31))
    patient = ClickProtocol(max_clicks=3)
    session = Session(model, options=patient.session_options)
    annotate_object(session, embedding, labels == 1, patient, label="box")
    hasty = ClickProtocol(max_clicks=2)
    annotate_object(session, embedding, labels == 1, hasty)
    annotate_object(
        session, embedding, labels == 1, dataclasses.replace(hasty, at_failure="accept")
    )
    kinds = [r.event.kind for r in session.log]
    assert kinds == [
        "opened",
        *["clicked"] * 3, "accepted",
        *["clicked"] * 2, "skipped",
        *["clicked"] * 2, "accepted",
    ]  # fmt: skip
    assert session.accepted[0].label == "box"
    np.testing.assert_array_equal(session.accepted[0].mask(), labels == 1)
    assert session.status is SessionStatus.READY


def test_the_robot_paints_what_clicks_did_not_reach(labels: NDArray[np.int_]) -> None:
    model = Slow(labels, 3)
    embedding = model.encode(blobs(24, 31))
    protocol = ClickProtocol(max_clicks=2, at_failure="paint")
    session = Session(model, options=protocol.session_options)
    truth, ignored = labels == 1, np.zeros_like(labels, np.bool_)
    trace = annotate_object(session, embedding, truth, protocol)
    assert [r.event.kind for r in session.log][1:] == ["clicked", "clicked", "painted", "accepted"]
    assert trace.reached[0.85] == (2, False)
    np.testing.assert_array_equal(session.accepted[0].mask(), truth)

    wrong = trace.mask & ~truth | ~trace.mask & truth
    ignored[tuple(np.argwhere(wrong)[0])] = True
    again = annotate_object(session, embedding, truth, protocol, ignore=ignored)
    np.testing.assert_array_equal(session.accepted[1].mask()[~ignored], truth[~ignored])
    np.testing.assert_array_equal(session.accepted[1].mask()[ignored], again.mask[ignored])


def test_an_empty_mask_is_skipped_even_if_failures_are_accepted() -> None:
    class Blind(FakeModel):
        def run_decoder(self, *args: Any) -> DecoderOutput:
            out = super().run_decoder(*args)
            return DecoderOutput(out.logits - 1000, out.scores)

    model = Blind()
    protocol = ClickProtocol(max_clicks=4, at_failure="accept")
    session = Session(model, options=protocol.session_options)
    truth = np.zeros((40, 56), np.bool_)
    truth[10:20, 10:20] = True
    trace = annotate_object(session, model.encode(blobs()), truth, protocol)
    assert trace.ious == (0.0,) * 4
    assert len(set(trace.clicks)) == 4
    events = [r.event for r in session.log]
    assert isinstance(events[-1], Skipped)
    assert not any(isinstance(e, Accepted) for e in events)


def test_ignored_pixels_do_not_count(labels: NDArray[np.int_]) -> None:
    model = OracleModel(labels)
    embedding = model.encode(blobs(24, 31))
    truth = labels == 1
    truth[3:6] = False  # the oracle's mask has these rows too
    ignore = np.zeros_like(truth)
    ignore[:6] = True
    assert annotate_object(model, embedding, truth).ious[0] == pytest.approx(6 / 9)
    assert annotate_object(model, embedding, truth, ignore=ignore).ious == (1.0,)
    with pytest.raises(DataError, match="empty"):
        annotate_object(model, embedding, labels == 1, ignore=labels == 1)


def trace_of(seed: int, model: FakeModel | Session, **options: Any) -> ObjectTrace:
    rows, columns = np.mgrid[:40, :56]
    truth = (rows - 12) ** 2 + (columns - 14) ** 2 < 81
    protocol = ClickProtocol(max_clicks=6, stop_at=1.0, **options)
    base = model.model if isinstance(model, Session) else model
    return annotate_object(model, base.encode(blobs()), truth, protocol, seed)


def test_same_seed_same_clicks(fake_model: FakeModel) -> None:
    options = {"first_click": "random", "ties": "random"}
    first, again, other = (trace_of(seed, fake_model, **options) for seed in (5, 5, 6))
    assert first.clicks == again.clicks
    assert first.ious == again.ious
    np.testing.assert_array_equal(first.logits, again.logits)
    assert first.clicks != other.clicks


@pytest.mark.parametrize("mask_prompt", ["logits", "binary", "none"])
@pytest.mark.parametrize("multimask", [False, True])
def test_the_robot_does_what_a_person_would(
    fake_model: FakeModel, mask_prompt: Any, multimask: bool
) -> None:
    trace = trace_of(0, fake_model, mask_prompt=mask_prompt, multimask_first=multimask)
    session = Session(fake_model, options=SessionOptions(multimask, mask_prompt))
    session.open(blobs())
    for click in trace.clicks:
        mask = session.click(click.x, click.y, click.positive)
    np.testing.assert_array_equal(mask, trace.mask)
    np.testing.assert_array_equal(session.logits, trace.logits)


def test_adapters_learn_from_object_to_object(
    fake_model: FakeModel, labels: NDArray[np.int_]
) -> None:
    adapter = ToyAdapter()
    rows, columns = np.mgrid[:40, :56]
    truth = (rows - 12) ** 2 + (columns - 14) ** 2 < 81
    embedding = fake_model.encode(blobs())
    protocol = ClickProtocol(max_clicks=2, at_failure="accept", stop_at=1.0)
    annotate_object(fake_model, embedding, truth, protocol, adapters=[adapter])
    annotate_object(fake_model, embedding, truth, protocol, adapters=[adapter])
    assert adapter.seen.calls == ["open", "click", "click", "accept"] * 2


def test_a_session_that_does_not_fit_is_refused(fake_model: FakeModel) -> None:
    with pytest.raises(SessionError, match=r"options.*protocol\.session_options"):
        trace_of(0, Session(fake_model))
    protocol = ClickProtocol(max_clicks=6, stop_at=1.0)
    session = Session(fake_model, options=protocol.session_options)
    embedding = fake_model.encode(blobs())
    truth = np.ones((40, 56), np.bool_)
    with pytest.raises(SessionError, match="has its own adapters"):
        annotate_object(session, embedding, truth, protocol, adapters=[ToyAdapter()])
    session.open(embedding=embedding)
    session.click(3, 3)
    with pytest.raises(SessionError, match="unfinished object"):
        annotate_object(session, embedding, truth, protocol)


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        (np.zeros((40, 56), np.bool_), "empty"),
        (np.ones((56, 40), np.bool_), r"\(56, 40\).*\(40, 56\)"),
        (np.ones((40, 56), np.float32), "float32"),
    ],
)
def test_bad_references_are_refused(fake_model: FakeModel, truth: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        annotate_object(fake_model, fake_model.encode(blobs()), truth)
