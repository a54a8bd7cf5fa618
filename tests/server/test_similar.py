from __future__ import annotations

import numpy as np
import pytest
from annotator import Annotator, sent, shown
from numpy.typing import NDArray
from PIL import Image

from fakes import OracleModel
from samadapt.data.rle import Rle
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
    outside = {"x": 50, "y": 0, "width": 40, "height": 4, "counts": found[1]["mask"]["counts"]}
    assert ann.refused(f"{path}/similar", rejected=[outside])[0] == 422
