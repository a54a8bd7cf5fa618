"""Close-ups: geometry by hand, when one is taken, and that nothing else notices them."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from fakes import FakeModel, blobs
from samadapt.errors import PromptError
from samadapt.models import zoom_in
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.geometry import OUTSIDE, InputGeometry, Window
from samadapt.models.nano.model import NanoModel, load_nano
from samadapt.models.zoom_in import choose_window
from samadapt.prompts import Prompt
from samadapt.session.replay import replay
from samadapt.session.session import Session

SIDE = 320
WHOLE = InputGeometry.longest_side((400, 600), 512, 32)


@pytest.fixture(scope="module")
def nano() -> NanoModel:
    return load_nano()


@pytest.fixture(scope="module")
def scene() -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A grey image (400, 600) with a bright disc of radius 14 at (450, 120)."""
    ys, xs = np.mgrid[:400, :600] + 0.5
    disc = (xs - 450) ** 2 + (ys - 120) ** 2 <= 14**2
    pixels = np.random.default_rng(0).normal(90, 6, (400, 600, 3))
    pixels[disc] += 110
    return np.clip(pixels, 0, 255).astype(np.uint8), disc


@pytest.fixture(scope="module")
def embedding(
    nano: NanoModel, scene: tuple[NDArray[np.uint8], NDArray[np.bool_]]
) -> ImageEmbedding:
    return nano.encode(scene[0])


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[Window]:
    """Windows that were encoded."""
    seen: list[Window] = []
    original = NanoModel.encode_window

    def spy(self: NanoModel, embedding: ImageEmbedding, window: Window) -> ImageEmbedding:
        seen.append(window)
        return original(self, embedding, window)

    monkeypatch.setattr(NanoModel, "encode_window", spy)
    return seen


# -- geometry -----------------------------------------------------------------------------


def test_a_window_is_scaled_like_an_image_of_its_own() -> None:
    geometry = InputGeometry.close_up((400, 600), (100, 50, 200, 130), SIDE, 32)
    assert (geometry.shown, geometry.corner) == ((80, 100), (100, 50))
    assert (geometry.resized, geometry.padded) == ((256, 320), (256, 320))
    points = torch.tensor([[100.0, 50.0], [200.0, 130.0], [150.0, 60.0]])
    expected = [[0.0, 0.0], [320.0, 256.0], [160.0, 32.0]]
    assert geometry.to_input(points).tolist() == expected


def test_logits_of_a_window_go_back_to_their_place() -> None:
    geometry = InputGeometry.close_up((12, 20), (4, 2, 12, 10), 8, 8)
    full = geometry.to_original(torch.full((2, 3, 8, 8), 5.0))
    assert full.shape == (2, 3, 12, 20)
    assert (full[..., 2:10, 4:12] == 5).all()
    full[..., 2:10, 4:12] = OUTSIDE
    assert (full == OUTSIDE).all()


def test_a_mask_is_cut_before_it_is_shrunk() -> None:
    mask = torch.zeros(1, 1, 12, 20)
    mask[..., 2:6, 4:8] = 1  # the window's first quarter
    mask[..., 0, :] = 1  # outside
    geometry = InputGeometry.close_up((12, 20), (4, 2, 12, 10), 16, 8)
    assert geometry.to_decoder(mask, (4, 4))[0, 0].tolist() == [[1, 1, 0, 0]] * 2 + [[0] * 4] * 2


@pytest.mark.parametrize(
    ("here", "seen"),
    [
        (None, (150, 100, 250, 180)),
        ((150, 100, 250, 180), None),
        ((150, 100, 250, 180), (170, 110, 300, 240)),
    ],
)
def test_logits_of_another_view_keep_their_place(
    here: tuple[int, int, int, int] | None, seen: tuple[int, int, int, int] | None
) -> None:
    """A plane over the image, sampled in one view, is the same plane in the other."""

    def view(window: tuple[int, int, int, int] | None) -> InputGeometry:
        return WHOLE if window is None else InputGeometry.close_up((400, 600), window, SIDE, 32)

    def plane(geometry: InputGeometry) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        h, w = (v // 4 for v in geometry.padded)
        y = (torch.arange(h) + 0.5) * 4 / geometry.scale[1] + geometry.corner[1]
        x = (torch.arange(w) + 0.5) * 4 / geometry.scale[0] + geometry.corner[0]
        return x, y, 0.03 * x[None, :] - 0.02 * y[:, None]

    target, source = view(here), view(seen)
    _, _, values = plane(source)
    x, y, expected = plane(target)
    found = target.reframe(values[None, None], source, tuple(expected.shape))[0, 0]
    corner, shown = source.corner, source.shown
    inner_x = (x > corner[0] + 8) & (x < corner[0] + shown[1] - 8)
    inner_y = (y > corner[1] + 8) & (y < corner[1] + shown[0] - 8)
    inner = inner_y[:, None] & inner_x[None, :]
    assert inner.sum() > 100
    torch.testing.assert_close(found[inner], expected[inner], atol=1e-4, rtol=0)
    outer_x = (x < corner[0] - 8) | (x > corner[0] + shown[1] + 8)
    assert (found[:, outer_x] == OUTSIDE).all()


def test_a_coarser_view_averages_instead_of_skipping() -> None:
    seen = InputGeometry.close_up((400, 600), (0, 0, 64, 64), SIDE, 32)
    stripes = torch.zeros(1, 1, 80, 80)
    stripes[..., ::2] = 4.0
    found = WHOLE.reframe(stripes, seen, (88, 128))[0, 0]
    inside = found[2:10, 2:10]
    assert float(inside.mean()) == pytest.approx(2.0, abs=0.1)
    assert float(inside.max() - inside.min()) < 1.5


# -- when a close-up is taken -----------------------------------------------------------------


def logits_with(x0: int, y0: int, x1: int, y1: int) -> NDArray[np.float32]:
    """Logits over `WHOLE` that are positive in these cells (a cell is 4.6875 pixels)."""
    logits = np.full((88, 128), -4.0, np.float32)
    logits[y0:y1, x0:x1] = 4
    return logits


def test_the_window_is_about_the_mask_and_the_clicks() -> None:
    click = (100 * 4.6875, 30 * 4.6875)
    mask = logits_with(90, 20, 110, 30)
    found = choose_window((400, 600), Prompt([click], mask=mask), WHOLE, SIDE)
    # cells 90..110 are pixels 421.875..515.625: 93.75 wide, times 1.6 is 150
    assert found == (394, 42, 544, 192)
    far = choose_window((400, 600), Prompt([click, (420.0, 150.0)], [1, 0], mask=mask), WHOLE, SIDE)
    assert far is not None
    assert far[0] <= 420 <= far[2]
    assert far[1] <= 150 <= far[3]


def test_background_clicks_far_away_do_not_make_the_window_larger() -> None:
    mask = np.zeros((400, 600), bool)
    mask[100:140, 300:340] = True
    points = [(320.0, 120.0), (560.0, 380.0), (330.0, 125.0)]

    def window(labels: list[int], count: int = 3) -> object:
        prompt = Prompt(points[:count], labels[:count], mask=mask)
        return choose_window((400, 600), prompt, WHOLE, SIDE)

    near = choose_window((400, 600), Prompt([points[0], points[2]], mask=mask), WHOLE, SIDE)
    assert near is not None
    assert window([1, 0, 1]) == near
    assert window([1, 1, 1]) is None  # the object reaches that far
    newest = window([1, 0, 1], count=2)  # the newest click is always shown
    assert newest is None or newest != near


def test_a_click_that_a_close_up_does_not_show_counts_no_more(
    nano: NanoModel, embedding: ImageEmbedding, scene: tuple[NDArray[np.uint8], NDArray[np.bool_]]
) -> None:
    inside, far = [(450.0, 120.0), (430.0, 100.0)], (60.0, 380.0)
    with_far = nano.predict(
        embedding, Prompt([inside[0], far, inside[1]], [1, 0, 0], mask=scene[1])
    )
    without = nano.predict(embedding, Prompt(inside, [1, 0], mask=scene[1]))
    assert with_far.window == without.window is not None
    assert np.allclose(with_far.logits, without.logits, atol=1e-4)
    whole = Prompt([inside[0], far], [1, 0])
    lone = nano.decode(embedding, [Prompt([inside[0]])]).logits
    assert not np.allclose(nano.decode(embedding, [whole]).logits, lone, atol=1e-2)


def test_a_window_never_leaves_the_image_nor_magnifies_too_much() -> None:
    found = choose_window((400, 600), Prompt(box=(590, 0, 599, 8)), WHOLE, SIDE)
    assert found == (536, 0, 600, 64)  # 320 / 5 = 64 pixels at least


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt([(300, 200)]),  # one click tells no size
        Prompt(box=(100, 50, 500, 300)),  # large enough as it is
        Prompt([(300, 200)], mask=np.full((88, 128), -1, np.float32)),  # an empty mask
        Prompt([(5, 5), (590, 390)], mask=logits_with(60, 40, 70, 50)),  # clicks far apart
    ],
)
def test_else_the_whole_image_is_shown(prompt: Prompt) -> None:
    assert choose_window((400, 600), prompt, WHOLE, SIDE) is None


def test_the_earlier_window_stays_as_long_as_it_fits() -> None:
    window = (380, 40, 540, 200)
    seen = InputGeometry.close_up((400, 600), window, SIDE, 32)

    def next_window(cells: int, click: tuple[float, float] = (460.0, 120.0)) -> object:
        logits = np.full((80, 80), -4.0, np.float32)
        logits[40 - cells : 40 + cells, 40 - cells : 40 + cells] = 4
        return choose_window((400, 600), Prompt([click], mask=logits, window=window), seen, SIDE)

    assert next_window(25) == window  # 100 of 160 pixels: just what is wanted
    assert next_window(22) == window
    assert next_window(8) != window  # far too small in it
    assert next_window(25, (375.0, 120.0)) != window  # the click lies outside


# -- in the model -----------------------------------------------------------------------------


def test_a_small_box_is_answered_in_a_close_up(
    nano: NanoModel,
    embedding: ImageEmbedding,
    scene: tuple[NDArray[np.uint8], NDArray[np.bool_]],
) -> None:
    found = nano.predict(embedding, Prompt(box=(436, 106, 464, 134)))
    assert found.window == (418, 88, 482, 152)
    assert found.masks.shape == (1, 400, 600)
    assert found.logits.shape == (1, 160, 160)
    outside = found.masks[0].copy()
    outside[88:152, 418:482] = False
    assert not outside.any()
    truth = scene[1]
    assert (found.masks[0] & truth).sum() / (found.masks[0] | truth).sum() > 0.8


def test_a_view_is_encoded_once(
    nano: NanoModel, embedding: ImageEmbedding, encoded: list[Window]
) -> None:
    fresh = ImageEmbedding(
        embedding.features, embedding.geometry, embedding.model, embedding.preprocessing
    )
    first = nano.predict(fresh, Prompt(box=(436, 106, 464, 134)))
    prompt = Prompt([(450, 120)], mask=first.logits[0], window=first.window)
    second = nano.predict(fresh, prompt)
    assert second.window == first.window
    assert len(encoded) == 1


def test_only_the_last_views_are_kept_and_none_outlives_its_image(
    nano: NanoModel, embedding: ImageEmbedding
) -> None:
    fresh = ImageEmbedding(
        embedding.features, embedding.geometry, embedding.model, embedding.preprocessing
    )
    for x in range(0, 500, 60):
        nano.predict(fresh, Prompt(box=(x, 10, x + 20, 40)))
    views = nano._predictor.zoom._views
    assert len(views[fresh]) == zoom_in._KEPT
    before = len(views)
    del fresh
    gc.collect()
    assert len(views) == before - 1


def test_prompts_of_a_batch_do_not_disturb_each_other(
    nano: NanoModel, embedding: ImageEmbedding
) -> None:
    small = nano.predict(embedding, Prompt(box=(436, 106, 464, 134)))
    prompts = [
        Prompt([(300, 200)]),
        Prompt(box=(436, 106, 464, 134)),
        Prompt(box=(20, 20, 60, 60)),
        Prompt([(450, 120)], mask=small.logits[0], window=small.window),
    ]
    for together, prompt in zip(nano.predict(embedding, prompts), prompts, strict=True):
        alone = nano.predict(embedding, prompt)
        assert together.window == alone.window
        assert np.array_equal(together.masks, alone.masks)


def test_a_bool_mask_prompt_works_in_a_close_up(
    nano: NanoModel,
    embedding: ImageEmbedding,
    scene: tuple[NDArray[np.uint8], NDArray[np.bool_]],
) -> None:
    found = nano.predict(embedding, Prompt([(450, 120)], mask=scene[1]))
    assert found.window is not None
    assert (found.masks[0] & scene[1]).sum() / (found.masks[0] | scene[1]).sum() > 0.8


def test_a_saved_embedding_can_still_take_close_ups(
    nano: NanoModel, embedding: ImageEmbedding, tmp_path: Path
) -> None:
    embedding.save(tmp_path / "e.safetensors")
    loaded = ImageEmbedding.load(tmp_path / "e.safetensors")
    assert loaded.features["pixels"].dtype == torch.uint8
    prompt = Prompt(box=(436, 106, 464, 134))
    first, second = nano.predict(embedding, prompt), nano.predict(loaded, prompt)
    assert second.window == first.window
    assert np.array_equal(first.logits, second.logits)
    view = nano.view(embedding, prompt)
    view.save(tmp_path / "view.safetensors")
    assert ImageEmbedding.load(tmp_path / "view.safetensors").geometry == view.geometry


def test_huge_images_keep_bounded_pixels(nano: NanoModel) -> None:
    pixels = np.zeros((30, 5000, 3), np.uint8)
    pixels[10:20, 2500:2520] = 255
    embedding = nano.encode(pixels)
    assert tuple(embedding.features["pixels"].shape) == (1, 12, 2048, 3)
    found = nano.predict(embedding, Prompt(box=(2500, 10, 2520, 20)))
    assert found.window == (2478, 0, 2542, 30)
    assert found.masks.shape == (1, 30, 5000)


# -- everywhere else ----------------------------------------------------------------------------


def test_a_session_stays_in_the_close_up_and_replays(
    nano: NanoModel, scene: tuple[NDArray[np.uint8], NDArray[np.bool_]]
) -> None:
    session = Session(nano)
    session.open(scene[0])
    session.box(436, 106, 464, 134)
    first = session.prediction
    assert first is not None
    assert first.window is not None
    session.click(450.5, 120.5)
    second = session.prediction
    assert second is not None
    assert second.window == first.window
    session.click(300.5, 300.5, positive=False)
    session.undo()
    restored = session.prediction
    assert restored is not None
    assert restored.window == second.window
    assert np.array_equal(restored.masks, second.masks)
    mask = session.accept("disc")
    again = replay(session.log, nano, images=lambda reference: scene[0])
    assert np.array_equal(again.accepted[0].mask(), mask)


@pytest.mark.parametrize("window", [(0, 0, 0, 10), (-1, 0, 10, 10), (0, 0, 601, 10)])
def test_a_window_must_lie_inside_the_image(
    nano: NanoModel, embedding: ImageEmbedding, window: tuple[int, int, int, int]
) -> None:
    logits = np.zeros((80, 80), np.float32)
    with pytest.raises(PromptError, match="inside the image"):
        nano.predict(embedding, Prompt([(5, 5)], mask=logits, window=window))


def test_logits_must_fit_their_window(nano: NanoModel, embedding: ImageEmbedding) -> None:
    logits = np.zeros((88, 128), np.float32)
    with pytest.raises(PromptError, match=r"\(160, 160\)"):
        nano.predict(embedding, Prompt([(5, 5)], mask=logits, window=(0, 0, 100, 100)))


def test_a_window_without_logits_is_refused() -> None:
    with pytest.raises(PromptError, match="window"):
        Prompt([(5, 5)], window=(0, 0, 10, 10))


def test_models_without_close_ups_say_so(fake_model: FakeModel) -> None:
    embedding = fake_model.encode(blobs())
    found = fake_model.predict(embedding, Prompt([(5, 5)]))
    assert found.window is None
    with pytest.raises(PromptError, match="takes no close-ups"):
        fake_model.predict(embedding, Prompt([(5, 5)], mask=found.logits[0], window=(0, 0, 10, 10)))
