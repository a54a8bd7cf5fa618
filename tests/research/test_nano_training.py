"""Training nano: samples that fit their masks, honest clicks, losses by hand, resumable runs."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from research.nano import train
from research.nano.clicks import ClickSimulator
from research.nano.data import TrainingSamples, read_photos
from research.nano.drafts import draft_of, logits_of
from research.nano.losses import (
    dice_loss,
    normalized_focal_loss,
    region_contrastive_loss,
    soft_iou,
)
from research.nano.train import SOURCES, Recipe, Trainer
from research.nano.validate import describe, validation_examples
from samadapt.data.coco import CocoDataset
from samadapt.data.records import CocoImage, NewObject
from samadapt.errors import DataError
from samadapt.models.nano.network import NanoNetwork
from samadapt.models.nano.weights import read_weights, write_weights
from small_models import TINY_NANO


def make_photos(folder: Path, count: int = 6) -> Path:
    """Grey pictures, each with one red rectangle, annotated exactly."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, objects = [], []
    for number in range(count):
        picture = np.full((80, 100, 3), 90, np.uint8)
        mask = np.zeros((80, 100), bool)
        x, y = rng.integers(5, 40, 2)
        mask[y : y + 30, x : x + 40] = True
        picture[mask] = (0, 0, 255)  # red in OpenCV's order
        cv2.imwrite(str(folder / "images" / f"{number}.png"), picture)
        images.append(CocoImage(number, f"{number}.png", 100, 80))
        objects.append(NewObject(number, "rectangle", mask))
    CocoDataset(tuple(images)).with_objects(objects).save(folder / "train.json")
    return folder


def test_the_split_is_stable_and_complete(tmp_path: Path) -> None:
    folder = make_photos(tmp_path / "a", 40)
    training, validation = (read_photos(folder, 0.3, v) for v in (False, True))
    names = [{p.path.name for p in part} for part in (training, validation)]
    assert names[0] | names[1] == {f"{i}.png" for i in range(40)}
    assert not names[0] & names[1]
    assert 4 <= len(names[1]) <= 20
    assert {p.path.name for p in read_photos(folder, 0.3, True)} == names[1]


def test_a_missing_annotation_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.json"):
        read_photos(tmp_path, 0.1)


def test_masks_follow_their_image_through_every_crop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("research.nano.data.augment_colours", lambda rng, image: image)
    photos = read_photos(make_photos(tmp_path / "a"), 0.0)
    stream = iter(TrainingSamples([(photos, 1.0)], 0.0, 64, 2, seed=1))
    overlaps = []
    for _ in range(40):
        sample = next(stream)
        image, mask = sample["image"].numpy().astype(int), sample["masks"][0].numpy() > 0
        red = (image[..., 0] - image[..., 1]) > 120
        assert image.shape == (64, 64, 3)
        overlaps.append((red & mask).sum() / (red | mask).sum())
        cells = sample["regions"].numpy()
        assert cells.shape == (8, 8)
        assert (cells > 0).sum() * 64 == pytest.approx(mask.sum(), abs=0.35 * 64 * 64)
    assert min(overlaps) > 0.8
    assert np.mean(overlaps) > 0.96


def test_the_stream_is_repeatable(tmp_path: Path) -> None:
    photos = read_photos(make_photos(tmp_path / "a"), 0.0)
    streams = [iter(TrainingSamples([(photos, 1.0)], 0.5, 64, 2, seed=s)) for s in (1, 1, 2)]
    first, second, third = ([next(s)["image"] for _ in range(4)] for s in streams)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, third, strict=True))


def simulator(masks: np.ndarray, rounds: int = 3) -> ClickSimulator:
    return ClickSimulator(masks, np.random.default_rng(0), rounds, ThreadPoolExecutor(1))


def test_clicks_fall_where_the_mask_is_wrong() -> None:
    masks = np.zeros((2, 64, 64), np.uint8)
    masks[:, 10:40, 20:60] = 1
    clicks = simulator(masks)
    clicks.start(box_share=0.0)
    predicted = np.zeros((2, 64, 64), bool)
    predicted[0, 10:40, 20:60] = True
    predicted[0, 44:64, 0:30] = True  # too much
    predicted[1, 10:40, 20:30] = True  # too little
    clicks.refine(predicted)
    prompts = clicks.prompts(None, torch.device("cpu"))
    assert prompts.labels.tolist() == [[1, 0], [1, 1]]
    for row in range(2):
        x, y = prompts.points[row, 0].tolist()
        assert masks[row, int(y), int(x)]
    x, y = prompts.points[0, 1].tolist()
    assert predicted[0, int(y), int(x)]
    assert not masks[0, int(y), int(x)]
    x, y = prompts.points[1, 1].tolist()
    assert masks[1, int(y), int(x)]
    assert not predicted[1, int(y), int(x)]


def test_a_perfect_mask_gets_no_further_click() -> None:
    masks = np.zeros((1, 64, 64), np.uint8)
    masks[:, 10:40, 20:60] = 1
    clicks = simulator(masks)
    clicks.start(box_share=0.0)
    clicks.refine(masks.astype(bool))
    assert clicks.prompts(None, torch.device("cpu")).labels.tolist() == [[1, -1]]


def test_several_random_points_may_be_the_beginning() -> None:
    masks = np.zeros((40, 64, 64), np.uint8)
    masks[:, 10:40, 20:60] = 1
    clicks = simulator(masks)
    clicks.start(box_share=0.0, scattered_share=0.5)
    labels = clicks.prompts(None, torch.device("cpu")).labels
    counts = (labels == 1).sum(dim=1)
    assert {int(count) for count in counts} == set(range(1, 9))
    assert 10 <= int((counts > 1).sum()) <= 30
    around = (labels == 0).sum(dim=1)
    assert {int(count) for count in around} == set(range(5))
    assert not around[counts == 1].any()
    clicks.refine(np.zeros((40, 64, 64), bool))
    prompts = clicks.prompts(None, torch.device("cpu"))
    assert torch.equal((prompts.labels == 1).sum(dim=1), counts + 1)
    for row, points in enumerate(prompts.points.numpy()):
        for label in (0, 1):
            placed = points[prompts.labels[row].numpy() == label].astype(int)
            assert (masks[row, placed[:, 1], placed[:, 0]] == label).all()


def test_drafts_are_nearly_right_and_clicked_where_they_are_wrong() -> None:
    masks = np.zeros((40, 64, 64), np.uint8)
    masks[:, 10:40, 20:60] = 1
    clicks = simulator(masks)
    clicks.start(box_share=0.0, draft_share=0.5)
    drafted = clicks.has_draft
    assert 10 <= drafted.sum() <= 30
    prompts = clicks.prompts(None, torch.device("cpu"))
    assert prompts.previous is not None
    assert prompts.has_previous is not None
    assert prompts.previous.shape == (40, 1, 32, 32)
    assert prompts.has_previous.numpy().tolist() == drafted.tolist()
    shown = torch.nn.functional.interpolate(prompts.previous, scale_factor=2.0)[:, 0].numpy() > 0
    for row in range(40):
        x, y = prompts.points[row, 0].int().tolist()
        label = int(prompts.labels[row, 0])
        assert masks[row, y, x] == (label == 1)
        if drafted[row]:
            both = (shown[row] & (masks[row] > 0)).sum() / (shown[row] | (masks[row] > 0)).sum()
            assert 0.3 < both < 1
            assert label in (0, 1)
        else:
            assert not shown[row].any()
            assert label == 1
    assert {0, 1} <= set(prompts.labels[torch.from_numpy(drafted), 0].tolist())
    later = clicks.prompts(torch.zeros(40, 1, 32, 32), torch.device("cpu"))
    assert later.has_previous is not None
    assert later.has_previous.all()


@pytest.mark.parametrize("size", [0, 1, 2])
def test_drafts_of_tiny_objects(size: int) -> None:
    truth = np.zeros((16, 16), bool)
    truth[5 : 5 + size, 5 : 5 + size] = True
    for seed in range(50):
        rng = np.random.default_rng(seed)
        draft = draft_of(truth, rng)
        assert draft.shape == truth.shape
        assert draft.any() == truth.any()
        assert np.isfinite(logits_of(draft, rng)).all()


def test_boxes_surround_the_object_up_to_their_noise() -> None:
    masks = np.zeros((200, 64, 64), np.uint8)
    masks[:, 20:40, 10:50] = 1
    clicks = simulator(masks)
    clicks.start(box_share=1.0)
    prompts = clicks.prompts(None, torch.device("cpu"))
    assert prompts.boxes is not None
    boxes = prompts.boxes.numpy()
    exact = (boxes == (10, 20, 50, 40)).all(1)
    assert 0.35 < exact.mean() < 0.65
    # s <= 0.4: the centre moves by at most 0.2 of a side, the side grows by at most 0.4.
    assert (np.abs(boxes - (10, 20, 50, 40)) <= 0.4 * np.array([40, 20, 40, 20]) + 1e-4).all()
    assert (prompts.labels == -1).all()


def test_losses_by_hand() -> None:
    logits = torch.tensor([[[0.0, math.log(3.0)]]])  # probabilities 1/2 and 3/4
    target = torch.tensor([[[1.0, 1.0]]])
    # Weights are (1/2)^2 and (1/4)^2, below one in total, so that the divisor is 1.
    expected = 0.25 * math.log(2) + 0.0625 * math.log(4 / 3)
    assert normalized_focal_loss(logits, target).item() == pytest.approx(expected, rel=1e-5)
    # Overlap 1.25, total 3.25.
    assert dice_loss(logits, target).item() == pytest.approx(1 - (2.5 + 1) / (3.25 + 1), rel=1e-5)
    masks = torch.tensor([[[1.0, 1.0], [-1.0, -1.0]]])
    assert soft_iou(masks, torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])).item() == pytest.approx(1 / 3)


def test_normalised_focal_loss_does_not_fade_with_easy_pixels() -> None:
    hard = torch.zeros(1, 4, 4)
    logits = torch.full((1, 8, 8), -9.0)
    logits[:, :4, :4] = hard
    target = torch.zeros(1, 8, 8)
    alone = normalized_focal_loss(hard, torch.zeros(1, 4, 4))
    assert normalized_focal_loss(logits, target).item() == pytest.approx(alone.item(), rel=0.01)


def test_contrastive_loss_prefers_features_that_follow_the_regions() -> None:
    torch.manual_seed(0)
    regions = torch.ones(1, 16, 16, dtype=torch.long)
    regions[:, :, 8:] = 2
    followed = torch.nn.functional.one_hot(regions, 4).permute(0, 3, 1, 2).float()
    shuffled = torch.nn.functional.normalize(torch.randn(1, 4, 16, 16), dim=1)
    good, bad = (region_contrastive_loss(k, regions).item() for k in (followed, shuffled))
    # With separate regions of equal size every positive has about one share in half the pixels.
    assert good == pytest.approx(math.log(192 / 2), abs=0.2)
    assert bad > good + 1
    unknown = region_contrastive_loss(shuffled, torch.zeros_like(regions))
    assert unknown.item() == 0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/ and with weights of a tiny network to start from."""
    folder = tmp_path_factory.mktemp("nano")
    for name in SOURCES:
        make_photos(folder / "data" / name)
    write_weights(NanoNetwork(TINY_NANO), folder / "start.safetensors", {})
    return folder


def options_for(place: Path, out: Path) -> dict[str, object]:
    return {
        "data": str(place / "data"),
        "out": str(out),
        "init": str(place / "start.safetensors"),
        "side": 64,
        "batch": 2,
        "held_out": 0.0,
        "workers": 0,
        "warmup_steps": 1,
        "device": "cpu",
    }


def test_a_run_trains_saves_and_resumes(place: Path, tmp_path: Path) -> None:
    recipe = Recipe(**options_for(place, tmp_path / "run"))
    trainer = Trainer(recipe)
    batch = next(iter(trainer._loader()))
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    first = trainer.pretrain_step(batch)
    assert math.isfinite(first["contrast"])
    for _ in range(2):
        report = trainer.train_step(batch)
        assert math.isfinite(report["loss"])
    moved = [
        part
        for part in ("encoder", "prompt_encoder", "decoder")
        if any(
            (v != before[k]).any()
            for k, v in trainer.network.state_dict().items()
            if k.startswith(part + ".")
        )
    ]
    assert moved == ["encoder", "prompt_encoder", "decoder"]
    trainer.save()
    assert read_weights(tmp_path / "run" / "nano.safetensors").info["steps"] == 3
    resumed = Trainer(recipe)
    assert resumed.step == 3
    for name, value in trainer.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], value)
    taken = [t.optimizer.state_dict()["state"] for t in (trainer, resumed)]
    for number, state in taken[0].items():
        assert torch.equal(taken[1][number]["exp_avg"], state["exp_avg"])
    resumed.train_step(batch)
    onwards = Trainer(
        replace(recipe, out=str(tmp_path / "b"), init=str(tmp_path / "run" / "nano.safetensors"))
    )
    shipped = trainer.average.state_dict()["decoder.prior_gain"]
    torch.testing.assert_close(
        onwards.network.state_dict()["decoder.prior_gain"], shipped, atol=1e-3, rtol=1e-3
    )


def test_the_command_ends_after_its_steps_and_goes_on(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "_LOG_STEPS", 2)
    monkeypatch.setattr(train, "keep_freed_memory", lambda: None)
    options = options_for(place, tmp_path / "run") | {"pretrain_minutes": 1e-6}
    arguments = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    for steps in (2, 4, 4):
        monkeypatch.setattr("sys.argv", ["train", *arguments, f"--max-steps={steps}"])
        train.main()
        assert read_weights(tmp_path / "run" / "nano.safetensors").info["steps"] == steps
    torch.set_flush_denormal(False)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "step" in line] == [2, 4]
    assert [line["processes"] for line in lines if "recipe" in line] == [1, 1, 1]
    for line in lines:
        assert "step" not in line or math.isfinite(line["loss"])
    assert not list(tmp_path.glob("run/*.part"))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--init=no.safetensors", "no.safetensors"),
        ("--device=toaster", "toaster"),
        ("--device=cpu:0", "CUDA_VISIBLE_DEVICES"),
    ],
)
def test_bad_options_are_one_line(
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    message: str,
) -> None:
    monkeypatch.setattr(train, "keep_freed_memory", lambda: None)
    monkeypatch.setattr(
        "sys.argv", ["train", f"--data={place}", f"--out={tmp_path / 'run'}", option]
    )
    with pytest.raises(SystemExit) as caught:
        train.main()
    torch.set_flush_denormal(False)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error


def test_a_run_logs_how_it_does_on_what_it_does_not_see(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("research.nano.validate.OWN", ("voc", "generated"))
    monkeypatch.setattr(train, "_TRIED_OBJECTS", 2)
    monkeypatch.setattr(train, "_LOG_STEPS", 1)
    options = options_for(place, tmp_path / "run") | {"validate_minutes": 1e-6, "max_steps": 2}
    Trainer(Recipe(**options)).run()
    lines = (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    found = [line for line in map(json.loads, lines) if "held_out" in line]
    assert [line["step"] for line in found] == [1, 2]
    for line in found:
        assert set(line["held_out"]) == {
            *(f"iou{click}" for click in (1, 2, 3, 4, 5, 10, 15, 20)),
            "NoC20",
        }
        assert all(0 <= line["held_out"][name] <= 1 for name in ("iou1", "iou20"))
        assert 1 <= line["held_out"]["NoC20"] <= 20


def test_validation_uses_the_held_out_photos_only(tmp_path: Path) -> None:
    make_photos(tmp_path / "voc", 60)
    held_out = {p.path.name for p in read_photos(tmp_path / "voc", 0.04, True)}
    examples = list(validation_examples(tmp_path, "voc", 10))
    assert 0 < len(examples) == len(held_out)
    for image, mask in examples:
        red = (image[..., 0] > 200) & (image[..., 1] < 50)
        assert (red == mask).all()
    generated = [list(validation_examples(tmp_path, "generated", 4)) for _ in range(2)]
    assert len(generated[0]) > 2
    for (a, _), (b, _) in zip(*generated, strict=True):
        assert (a == b).all()


def test_validation_counts_every_source_the_same() -> None:
    one = np.array([[0.2, 0.9, 0.8], [0.4, 0.5, 0.6], [0.6, 0.85, 0.85]])
    other = np.array([[0.9, 0.9, 0.9]])
    assert describe({"a": one}) == "IoU after 1 2 3 clicks: 0.400 0.750 0.750  NoC3@85: 2.33"
    assert (
        describe({"a": one, "b": other})
        == "IoU after 1 2 3 clicks: 0.650 0.825 0.825  NoC3@85: 1.67"
    )
