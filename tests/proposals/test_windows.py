from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from fakes import FakeModel
from samadapt.data.rle import Rle
from samadapt.data.tiled import TiledImage
from samadapt.errors import PromptError
from samadapt.metrics import iou
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.interface import DecoderOutput, PromptEmbedding
from samadapt.prompts import Prompt
from samadapt.proposals.grid import ProposalOptions
from samadapt.proposals.huge import predict_in_window
from samadapt.proposals.proposal import Proposal
from samadapt.proposals.windows import WindowOptions, joined_parts, propose_in_windows, windows_of
from samadapt.proposals.windows import _one as one_of
from samadapt.proposals.windows import _part as part_of

SEARCH = ProposalOptions(points=16, candidates=False, second_pass=False, min_area=4, max_area=1)


class ColourModel(FakeModel):
    """Answers a click with everything of the colour under it; black is nothing."""

    def __init__(self, side: int) -> None:
        super().__init__(side=2 * side, multiple=4)

    def encode_pixels(self, pixels: NDArray[np.uint8]) -> ImageEmbedding:
        found = super().encode_pixels(pixels)
        features = {**found.features, "colours": torch.from_numpy(pixels[..., 0].copy())}
        return ImageEmbedding(features, found.geometry, found.model, found.preprocessing)

    def embed_prompts(self, embedding: ImageEmbedding, prompts, masks: Tensor | None):  # type: ignore[no-untyped-def]
        embedded = super().embed_prompts(embedding, prompts, masks)
        places = torch.tensor([prompt.points[-1] for prompt in prompts])
        return PromptEmbedding(embedded.tokens, embedded.dense, extra=(places,))

    def run_decoder(
        self,
        decoder: nn.Module,
        embedding: ImageEmbedding,
        prompts: PromptEmbedding,
        multimask: bool,
    ) -> DecoderOutput:
        out = super().run_decoder(decoder, embedding, prompts, multimask)
        logits = torch.full_like(out.logits, -10.0)
        colours = embedding.features["colours"]
        height, width = colours.shape
        scale = self.side / 2 / max(height, width)
        big = torch.nn.functional.interpolate(
            colours[None, None].float(), scale_factor=scale, mode="nearest"
        )[0, 0]
        for row, (x, y) in zip(logits, prompts.extra[0].long().tolist(), strict=True):
            colour = float(colours[min(y, height - 1), min(x, width - 1)])
            if colour:
                part = row[:, : big.shape[0], : big.shape[1]]
                part[:, (big == colour)[: part.shape[1], : part.shape[2]]] = 10.0
        return DecoderOutput(logits, torch.ones_like(out.scores))


def discs(size: tuple[int, int], places: list[tuple[int, int, int]]) -> NDArray[np.uint8]:
    """Discs (x, y, radius) of different greys that do not touch."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    image = np.zeros(size, np.uint8)
    for number, (x, y, radius) in enumerate(places, 1):
        image[(rows - y) ** 2 + (columns - x) ** 2 <= radius**2] = 20 * number
    return image


@pytest.fixture
def tiled(tmp_path: Path) -> Iterator[TiledImage]:
    """Discs on seams and corners of windows, one of them larger than a window."""
    image = discs(
        (150, 180), [(60, 30, 8), (60, 62, 9), (20, 110, 10), (125, 90, 48), (110, 20, 7)]
    )
    tifffile.imwrite(tmp_path / "a.tif", image, tile=(64, 64))
    with TiledImage.open(tmp_path / "a.tif", cache=tmp_path / "cache") as image_:
        yield image_


def test_objects_across_seams_come_out_once_as_without_windows(tiled: TiledImage) -> None:
    windows = WindowOptions(side=64, overlap=24)
    found = propose_in_windows(ColourModel(64), tiled, (), SEARCH, windows)
    image = tiled.read(0, 0, 0, 180, 150)[..., 0]
    wanted = [image == value for value in np.unique(image)[1:]]
    assert len(found) == len(wanted)
    for mask in wanted:
        assert max(iou(one.mask, mask) for one in found) > 0.95


@given(
    st.lists(
        st.tuples(st.integers(0, 99), st.integers(0, 79), st.integers(1, 60), st.integers(1, 60)),
        min_size=1,
        max_size=1,
    )
)
def test_a_rectangle_cut_by_any_seams_is_one_again(
    rectangles: list[tuple[int, int, int, int]],
) -> None:
    size, options = (80, 100), WindowOptions(side=32, overlap=12)
    ((x, y, width, height),) = rectangles
    full = np.zeros(size, np.bool_)
    full[y : y + height, x : x + width] = True
    parts = []
    for x0, y0, x1, y1 in windows_of(size, options):
        seen = full[y0:y1, x0:x1]
        if seen.any():
            proposal = Proposal(Rle.from_mask(seen), 1.0, (0.0, 0.0))
            parts.append(part_of(proposal, (x0, y0, x1, y1), size))
    (group,) = joined_parts(parts)
    np.testing.assert_array_equal(one_of(group, size).mask, full)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(16, 90), st.data())
def test_windows_cover_the_image_and_overlap(
    height: int, width: int, side: int, data: st.DataObject
) -> None:
    options = WindowOptions(side, data.draw(st.integers(0, side // 2)))
    covered = np.zeros((height, width), np.int64)
    boxes = windows_of((height, width), options)
    for x0, y0, x1, y1 in boxes:
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        assert max(x1 - x0, y1 - y0) <= side
        covered[y0:y1, x0:x1] += 1
    assert covered.min() >= 1
    starts = sorted({box[0] for box in boxes})
    assert all(b - a <= side - options.overlap for a, b in pairwise(starts))


def test_a_click_on_a_small_object_is_answered_at_full_resolution(tiled: TiledImage) -> None:
    found = predict_in_window(ColourModel(64), tiled, Prompt([(60.5, 30.5)]), side=64)
    image = tiled.read(0, 0, 0, 180, 150)[..., 0]
    np.testing.assert_array_equal(found.rle.mask(), image == image[30, 60])
    assert (found.scale, found.refined) == (1.0, False)


def test_an_object_larger_than_a_window_is_answered_coarser_and_refined(tiled: TiledImage) -> None:
    found = predict_in_window(ColourModel(64), tiled, Prompt([(125.5, 90.5)]), side=64)
    image = tiled.read(0, 0, 0, 180, 150)[..., 0]
    assert found.scale > 1.5
    assert found.refined
    assert iou(found.rle.mask(), image == image[90, 125]) > 0.97


def test_prompts_with_masks_and_silly_windows_are_refused(tiled: TiledImage) -> None:
    with pytest.raises(PromptError, match="leave the mask out"):
        predict_in_window(ColourModel(64), tiled, Prompt(mask=np.ones((4, 4), np.bool_)))
    with pytest.raises(PromptError, match="at most half"):
        WindowOptions(64, 40)
