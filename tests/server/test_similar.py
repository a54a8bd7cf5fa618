from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from annotator import Annotator, sent, shown
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from fakes import OracleModel
from samadapt.data.rle import Rle
from samadapt.proposals import likeness, similar
from samadapt.proposals.likeness import ExampleImage, Frame, blurred
from samadapt.proposals.similar import propose_similar

RED, BLUE = (220, 40, 40), (40, 60, 210)
CENTRES = [(8, 8), (8, 28), (8, 48), (30, 14), (30, 40)]


@pytest.fixture
def labels() -> NDArray[np.int_]:
    """Five discs (1 to 5) and a bar (6), (40, 56)."""
    rows, columns = np.mgrid[:40, :56]
    found = np.zeros((40, 56), np.int_)
    for number, (y, x) in enumerate(CENTRES, 1):
        found[(rows - y) ** 2 + (columns - x) ** 2 < 25] = number
    found[18:22, 20:36] = 6
    return found


@pytest.fixture
def pixels(labels: NDArray[np.int_]) -> NDArray[np.uint8]:
    picture = np.full((40, 56, 3), 110, np.uint8)
    picture[(labels > 0) & (labels < 6)] = RED
    picture[labels == 6] = BLUE
    return picture


def test_all_others_of_a_kind_are_found_and_nothing_else(
    labels: NDArray[np.int_], pixels: NDArray[np.uint8]
) -> None:
    model = OracleModel(labels)
    example = Rle.from_mask(labels == 1)
    found = propose_similar(
        model, model.encode(pixels), pixels, [example], [], seconds=60
    ).proposals
    numbers = sorted(int(labels[p.mask].max()) for p in found)
    assert numbers == [2, 3, 4, 5]
    assert all(np.array_equal(p.mask, labels == labels[p.mask].max()) for p in found)


def test_an_image_of_another_kind_than_the_examples_is_told(
    labels: NDArray[np.int_], pixels: NDArray[np.uint8]
) -> None:
    model = OracleModel(labels)
    noise = np.random.default_rng(0).integers(0, 60, pixels.shape, np.uint8)
    example, elsewhere = Rle.from_mask(labels == 1), []
    for shift in range(3):
        seen = np.roll(pixels, shift, axis=1)
        rle = Rle.from_mask(np.roll(labels == 1, shift, axis=1))
        elsewhere.append(ExampleImage(model.encode(seen), seen, [rle]))

    def unlike(picture: NDArray[np.uint8], examples: list[Rle]) -> bool:
        embedding = model.encode(picture)
        found = propose_similar(model, embedding, picture, examples, [], elsewhere=elsewhere)
        return found.is_unlike

    assert unlike(noise, [])
    assert not unlike(np.roll(pixels, 4, axis=1), [])
    assert not unlike(noise, [example])  # it has examples of its own


def test_known_objects_are_not_proposed_again(
    labels: NDArray[np.int_], pixels: NDArray[np.uint8]
) -> None:
    model = OracleModel(labels)
    examples = [Rle.from_mask(labels == k) for k in (1, 2)]
    others = [Rle.from_mask(labels == 3)]
    found = propose_similar(model, model.encode(pixels), pixels, examples, others, seconds=60)
    assert sorted(int(labels[p.mask].max()) for p in found.proposals) == [4, 5]
    few = propose_similar(model, model.encode(pixels), pixels, examples, [], most=1, seconds=60)
    assert len(few.proposals) == 1
    assert few.more


def test_a_search_goes_on_where_time_was_up(
    labels: NDArray[np.int_], pixels: NDArray[np.uint8]
) -> None:
    model = OracleModel(labels)
    embedding, example = model.encode(pixels), Rle.from_mask(labels == 1)
    stopped = propose_similar(model, embedding, pixels, [example], [], seconds=0)
    assert not stopped.proposals
    assert stopped.more
    whole = propose_similar(model, embedding, pixels, [example], [], seconds=60)
    assert not whole.more
    refused = [Rle.from_mask(p.mask) for p in whole.proposals[:2]]
    rest = propose_similar(model, embedding, pixels, [example], [], seconds=60, rejected=refused)
    left = sorted(int(labels[p.mask].max()) for p in whole.proposals[2:])
    assert sorted(int(labels[p.mask].max()) for p in rest.proposals) == left
    # Where a click gave nothing, none is made again.
    tried = [(float(x) + 0.5, float(y) + 0.5) for y, x in CENTRES[1:]]
    nothing = propose_similar(model, embedding, pixels, [example], [], seconds=60, tried=tried)
    assert not nothing.proposals
    assert not nothing.more


def test_an_image_full_of_known_objects_gives_nothing(
    labels: NDArray[np.int_], pixels: NDArray[np.uint8]
) -> None:
    model = OracleModel(labels)
    everything = [Rle.from_mask(np.ones(labels.shape, np.bool_))]
    assert propose_similar(model, model.encode(pixels), pixels, everything, []).proposals == ()


def test_over_http(
    annotator: Annotator, labels: NDArray[np.int_], pixels: NDArray[np.uint8]
) -> None:
    annotator.stop()
    annotator.model = OracleModel(labels)
    annotator.start()
    Image.fromarray(pixels).save(annotator.folder / "discs.png")
    ann = annotator.person()
    image = next(r[0] for r in ann.get("/api/images")["images"] if r[1] == "discs.png")
    path = f"/api/images/{image}"
    assert ann.refused(f"{path}/similar")[0] == 409
    ann.post(f"{path}/objects", key="key-of-example", mask=sent(labels == 1))
    found = ann.post(f"{path}/similar")["proposals"]
    assert sorted(int(labels[shown(p)].max()) for p in found) == [2, 3, 4, 5]
    thing = ann.post(
        f"{path}/objects", key="key-of-second", mask=found[0]["mask"], source="similar"
    )["object"]
    assert thing["source"] == "similar"
    assert len(ann.post(f"{path}/similar")["proposals"]) == 3
    again = ann.post(f"{path}/similar", rejected=[found[1]["mask"]], tried=[[0.5, 0.5]])
    assert len(again["proposals"]) == 2
    assert again["more"] is False
    assert ann.get(f"{path}/similar") == {"looked": again["looked"], "places": again["places"]}
    other = annotator.person("tab-of-somebody-else")
    assert other.get(f"{path}/similar") == {"looked": 0, "places": 0}
    outside = {"x": 50, "y": 0, "width": 40, "height": 4, "counts": found[1]["mask"]["counts"]}
    assert ann.refused(f"{path}/similar", rejected=[outside])[0] == 422


# -- large images -------------------------------------------------------------------------------


@given(st.data(), st.integers(1, 60), st.integers(1, 60), st.integers(4, 30))
def test_masks_are_sampled_without_being_decoded(
    data: st.DataObject, height: int, width: int, side: int
) -> None:
    bits = data.draw(st.binary(min_size=height * width, max_size=height * width))
    mask = (np.frombuffer(bits, np.uint8) > 200).reshape(height, width)
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    mask[:top] = False
    mask[:, :left] = False
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likeness, "SIDE", side)
        frame = likeness.Frame((height, width))
    assert max(frame.shape) <= side
    plain = mask[np.ix_(frame._rows, frame._columns)]
    found = frame.sampled(Rle.from_mask(mask))
    if plain.any() or not mask.any():
        assert np.array_equal(found, plain)
    else:  # too small for the samples: one pixel of it
        ((row, column),) = np.argwhere(found)
        y, x = row * height / frame.shape[0], column * width / frame.shape[1]
        block = mask[int(y) : int(y) + -(-height // frame.shape[0]) + 1]
        assert block[:, int(x) : int(x) + -(-width // frame.shape[1]) + 1].any()


def test_a_large_image_gives_the_same_from_small_maps(
    labels: NDArray[np.int_], pixels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(likeness, "SIDE", 200)
    times = 12  # 480 x 672 pixels, discs of 112
    large = np.kron(labels, np.ones((times, times), np.int_))
    picture = np.repeat(np.repeat(pixels, times, 0), times, 1)
    model = OracleModel(large)
    told: list[tuple[int, int]] = []
    found = propose_similar(
        model,
        model.encode(picture),
        picture,
        [Rle.from_mask(large == 1)],
        [],
        seconds=60,
        progress=lambda looked, places: told.append((looked, places)),
    )
    assert sorted(int(large[p.mask].max()) for p in found.proposals) == [2, 3, 4, 5]
    assert all(np.array_equal(p.mask, large == large[p.mask].max()) for p in found.proposals)
    assert told == sorted(told)
    assert told[-1] == (found.looked, found.places)
    assert found.looked == found.places


@pytest.mark.parametrize("radius", [3.0, 400.0])
def test_the_cost_of_a_map_does_not_grow_with_the_image_or_the_objects(radius: float) -> None:
    size = 4000, 3000
    frame = Frame(size)
    assert frame.shape == (1024, 768)
    rows, columns = np.mgrid[:4000:4, :3000:4]
    disc = np.hypot(rows - 2000, columns - 1500) < max(radius, 8)
    rle = Rle.from_mask(np.kron(disc, np.ones((4, 4), np.bool_)))
    tracemalloc.start()
    began = time.process_time()
    inside = frame.union([rle] * 100)
    near = blurred(inside.astype(np.float32), 2.5 * radius * frame.scale)
    ring = likeness._ring(inside, max(radius * frame.scale, 1.0))
    peaks = similar._peaks(near, inside, 0.0, max(radius * frame.scale, 1.0), frame)
    took = time.process_time() - began
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert ring.any()
    assert all(0 <= x < 3000 and 0 <= y < 4000 for x, y in peaks)
    assert peak < 64 << 20  # the image itself has 36 MB, its masks 12 MB each
    assert took < 5


def test_what_is_added_is_never_made_whole(
    annotator: Annotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On an image of 4,000 pixels along each side that took most of the time of an answer."""
    ann, image = annotator.person(), annotator.ids()[0]
    ann.post(f"/api/images/{image}/click", x=14, y=12)
    ann.post(f"/api/images/{image}/undo")
    masks = [np.zeros((40, 56), np.bool_) for _ in range(6)]
    for k, mask in enumerate(masks):
        mask[4:9, 8 * k : 8 * k + 5] = True
    crops = [sent(mask) for mask in masks]
    decoded: list[tuple[int, int]] = []
    mask_of, from_mask = Rle.mask, Rle.from_mask

    def decode(rle: Rle) -> NDArray[np.bool_]:
        decoded.append(rle.size)
        return mask_of(rle)

    def encode(mask: NDArray[np.bool_]) -> Rle:
        decoded.append(mask.shape)
        return from_mask(mask)

    monkeypatch.setattr(Rle, "mask", decode)
    monkeypatch.setattr(Rle, "from_mask", encode)
    ann.post(f"/api/images/{image}/objects", mask=crops[0], source="similar")
    ann.post(f"/api/images/{image}/objects/add", masks=crops[1:], source="similar")
    assert (40, 56) not in decoded
    # Earlier objects keep their pixels: they are decoded together, not one by one.
    ann.paint(image, np.ones((40, 56), np.bool_))
    decoded.clear()
    ann.accept(image, "key-of-the-rest", keep_earlier=True)
    assert decoded.count((40, 56)) < len(masks)
    areas = [thing.rle.area for thing in annotator.project.objects.all()]
    assert areas == [25] * 6 + [40 * 56 - 6 * 25]
