"""Point matching learns to undo a systematic error, and leaves alone what it cannot help."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from fakes import FakeModel
from samadapt.adapters.point_matching import PointMatchingAdapter, PointMatchingConfig
from samadapt.adapters.task_prompt import TaskPromptAdapter
from samadapt.errors import AdapterError
from samadapt.metrics import boundary_iou
from samadapt.models.embedding import ImageEmbedding

SIDE = 96
SMALL = PointMatchingConfig(points=48, width=16, looked=4, depth=2)


def blob(seed: int) -> NDArray[np.bool_]:
    """A smooth random object; every third one has a hole, every fourth a second part."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    angle = np.arctan2(y - 40, x - 44)
    radius = 22 + 4 * np.cos(3 * angle + rng.uniform(0, 6)) + rng.uniform(-3, 3)
    away = np.hypot(y - 40, x - 44)
    mask = away < radius
    if seed % 3 == 0:
        mask &= away > 9
    if seed % 4 == 0:
        mask |= np.hypot(y - 80, x - 76) < 9
    return mask


def logits_of(mask: NDArray[np.bool_], grown: float = 0.0) -> Tensor:
    """Signed distances (1, 1, SIDE, SIDE) of a mask grown by so many pixels."""
    inner = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5)
    outer = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
    return torch.from_numpy(inner - outer + grown)[None, None]


@pytest.fixture(scope="module")
def model() -> FakeModel:
    return FakeModel(side=SIDE, multiple=32)


@pytest.fixture(scope="module")
def view(model: FakeModel) -> ImageEmbedding:
    return model.encode(np.full((SIDE, SIDE, 3), 90, np.uint8))


def lesson_of(view: ImageEmbedding, mask: NDArray[np.bool_], grown: float) -> tuple[Tensor, Tensor]:
    """Decoder logits and target (1, h, w) on the decoder's grid."""
    size = SIDE // 2, SIDE // 2
    target = view.geometry.to_decoder(torch.from_numpy(mask)[None, None], size)[:, 0]
    logits = torch.nn.functional.interpolate(logits_of(mask, grown), size, mode="area")[:, 0]
    return logits, target


def learn(
    model: FakeModel, view: ImageEmbedding, grown: float, steps: int = 36
) -> PointMatchingAdapter:
    adapter = PointMatchingAdapter(SMALL)
    adapter.bind(model)
    assert adapter.module is not None
    parameters = list(adapter.module.parameters())
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimizer = torch.optim.AdamW(parameters, lr=1e-2)
    lessons = [lesson_of(view, blob(seed), grown) for seed in range(12)]
    logits, target = (torch.cat(part) for part in zip(*lessons, strict=True))
    valid = view.geometry.valid((SIDE // 2, SIDE // 2))
    for step in range(steps):
        rows = torch.arange(4) + 4 * (step % 3)
        optimizer.zero_grad()
        adapter.training_loss(logits[rows], target[rows], valid, view).sum().backward()
        optimizer.step()
    for parameter in parameters:
        parameter.requires_grad_(False)
    return adapter


@pytest.fixture(scope="module")
def shrinker(model: FakeModel, view: ImageEmbedding) -> PointMatchingAdapter:
    """Has learned that masks are 3 pixels too large."""
    return learn(model, view, grown=3.0)


UNSEEN = range(100, 112)


def test_it_learns_to_undo_a_systematic_error(
    shrinker: PointMatchingAdapter, view: ImageEmbedding
) -> None:
    before, after = [], []
    for seed in UNSEEN:
        mask, logits = blob(seed), logits_of(blob(seed), 3.0)
        refined = shrinker.mask_boundary(logits, view)
        before.append(boundary_iou((logits > 0)[0, 0].numpy(), mask))
        after.append(boundary_iou((refined > 0)[0, 0].numpy(), mask))
    assert np.mean(before) < 0.3
    assert np.mean(after) > 0.6


def test_only_what_changes_sides_changes(
    shrinker: PointMatchingAdapter, view: ImageEmbedding
) -> None:
    logits = logits_of(blob(100), 3.0)
    refined = shrinker.mask_boundary(logits, view)
    turned = (refined > 0) != (logits > 0)
    assert turned.any()
    assert torch.equal(refined[~turned], logits[~turned])
    assert ((refined[turned] > 0) == (logits[turned] <= 0)).all()


def test_each_mask_of_a_batch_is_refined_as_if_alone(
    shrinker: PointMatchingAdapter, view: ImageEmbedding
) -> None:
    masks = [logits_of(blob(seed), 3.0) for seed in (100, 101)]
    masks += [torch.full((1, 1, SIDE, SIDE), -1.0), logits_of(blob(102), 3.0)]
    batch = torch.cat(masks).view(2, 2, SIDE, SIDE)
    together = shrinker.mask_boundary(batch, view).view(4, SIDE, SIDE)
    for mask, found in zip(masks, together, strict=True):
        alone = shrinker.mask_boundary(mask, view)[0, 0]
        assert ((alone > 0) != (found > 0)).sum() <= 2  # sums of floats in another order


def test_without_an_error_it_learns_to_leave_masks_alone(
    model: FakeModel, view: ImageEmbedding
) -> None:
    adapter = learn(model, view, grown=0.0, steps=12)
    scores = []
    for seed in UNSEEN:
        logits = logits_of(blob(seed))
        refined = adapter.mask_boundary(logits, view)
        scores.append(boundary_iou((refined > 0)[0, 0].numpy(), blob(seed)))
    assert np.mean(scores) > 0.9


def test_odd_masks_survive(shrinker: PointMatchingAdapter, view: ImageEmbedding) -> None:
    empty = torch.full((1, 1, SIDE, SIDE), -4.0)
    pixel = empty.clone()
    pixel[..., 40, 40] = 3.0
    full = -empty
    edge = empty.clone()
    edge[..., :30, :] = 3.0
    for odd in (empty, pixel):
        assert torch.equal(shrinker.mask_boundary(odd, view), odd)
    for odd in (full, edge):
        refined = shrinker.mask_boundary(odd, view)
        assert refined.isfinite().all()
        assert (refined > 0).any()


def test_unsure_it_changes_no_bit(
    model: FakeModel, view: ImageEmbedding, shrinker: PointMatchingAdapter
) -> None:
    unsure = PointMatchingAdapter(shrinker.config)
    unsure.load_state_dict(shrinker.state_dict())
    assert unsure.module is not None
    judge = unsure.module.judge[-1]
    assert isinstance(judge, torch.nn.Linear)
    judge.bias[:] = -100.0
    logits = logits_of(blob(100), 3.0)
    assert unsure.mask_boundary(logits, view) is logits


def test_gradients_reach_the_logits_and_point_the_right_way(
    model: FakeModel, view: ImageEmbedding
) -> None:
    """A mask that is too large: lower logits along its border make the loss smaller."""
    adapter = PointMatchingAdapter(SMALL)
    adapter.bind(model)
    logits, target = lesson_of(view, blob(101), 3.0)
    logits.requires_grad_(True)
    valid = view.geometry.valid((SIDE // 2, SIDE // 2))
    adapter.training_loss(logits, target, valid, view).sum().backward()
    assert logits.grad is not None
    assert logits.grad.sum() > 0
    near = logits.detach().abs() < 3
    assert (logits.grad[~near] == 0).all()


@pytest.mark.parametrize("variant", ["point-matching", "shared-outline"])
def test_beside_prompt_learning_points_are_a_phase_of_their_own_unless_shared(
    model: FakeModel, view: ImageEmbedding, variant: str
) -> None:
    adapter = TaskPromptAdapter.create(variant)
    adapter.bind(model)
    assert adapter.module is not None
    adapter.module.requires_grad_(True)
    logits, target = lesson_of(view, blob(101), 3.0)
    logits.requires_grad_(True)
    valid = view.geometry.valid((SIDE // 2, SIDE // 2))
    outline = list(adapter.module.outline.parameters())
    first, *later = adapter.phases()
    learned = {id(parameter) for parameter in first.parameters}
    if variant == "shared-outline":
        assert not later
        assert first.points_loss is not None
        first.points_loss(logits, target, valid, view).sum().backward()
        assert learned >= {id(parameter) for parameter in outline}
        assert logits.grad is not None
    else:
        (second,) = later
        assert first.points_loss is None
        assert list(map(id, second.parameters)) == list(map(id, outline))
        assert not learned & set(map(id, outline))
        assert len(learned) + len(outline) == len(list(adapter.module.parameters()))
        second.loss(logits.detach(), target, valid, view).sum().backward()
    assert any(parameter.grad is not None for parameter in outline)
    assert all(parameter.grad is None for parameter in adapter.module.prompt.parameters())


def test_a_mask_with_nothing_to_learn_from_costs_nothing(
    model: FakeModel, view: ImageEmbedding
) -> None:
    adapter = PointMatchingAdapter(SMALL)
    adapter.bind(model)
    assert adapter.module is not None
    adapter.module.requires_grad_(True)
    logits, target = lesson_of(view, blob(101), 3.0)
    valid = view.geometry.valid((SIDE // 2, SIDE // 2))
    empty = torch.full_like(logits, -5.0)
    loss = adapter.training_loss(
        torch.cat([logits, empty, logits]), torch.cat([target, target, 0 * target]), valid, view
    )
    assert loss.shape == (3,)
    assert loss[0] > 0
    assert loss[1:].tolist() == [0, 0]
    adapter.training_loss(empty, target, valid, view).sum().backward()


def test_it_comes_back_from_a_folder(
    tmp_path: Path, shrinker: PointMatchingAdapter, view: ImageEmbedding, model: FakeModel
) -> None:
    shrinker.save_pretrained(tmp_path / "task")
    again = PointMatchingAdapter.from_pretrained(tmp_path / "task", model)
    assert again.config == shrinker.config
    logits = logits_of(blob(100), 3.0)
    assert torch.equal(again.mask_boundary(logits, view), shrinker.mask_boundary(logits, view))


@pytest.mark.parametrize(
    "values",
    [
        {"points": 4},
        {"points": 7.5},
        {"reach": 0.0},
        {"slack": 0.7},
        {"rounds": 0},
        {"beta": -1.0},
        {"channels": {"image": 0}},
        {"channels": 3},
    ],
)
def test_settings_without_sense_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(AdapterError, match=next(iter(values))):
        PointMatchingConfig(**values)  # type: ignore[arg-type]


def test_a_loss_needs_a_model(view: ImageEmbedding) -> None:
    logits, target = lesson_of(view, blob(101), 3.0)
    with pytest.raises(AdapterError, match="bind"):
        PointMatchingAdapter().training_loss(logits, target, logits[0] < 99, view)
