"""The SAM-shaped base: its start, its folder, its seams, its trainer, its prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import research.sam_shaped  # noqa: F401 - registers the family
import samadapt
from research.nano.data import read_photos
from research.sam_shaped.cache import Encoder, grid_masks, read_cached
from research.sam_shaped.decode import decode
from research.sam_shaped.folder import CONFIG, WEIGHTS, read_folder, write_folder
from research.sam_shaped.network import build_network, initialise, position_grid
from research.sam_shaped.prompts import TrainingPrompts, correcting_clicks, first_prompts
from research.sam_shaped.train import Schedule, Trainer
from samadapt.adapters.online import OnlineAdapter
from samadapt.errors import CheckpointError
from samadapt.prompts import Prompt
from samadapt.training.prompt_sampling import PromptKind
from small_models import TINY_NANO
from tiny_dataset import TinyDataset

SIDE = TINY_NANO.input_side
CELLS = SIDE // 8
FEATURES = TINY_NANO.channels + 4 * TINY_NANO.fine_channels


def tiny_network(seed: int = 0) -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(TINY_NANO, 32, mlp_dim=64, iou_head_hidden_dim=32)
        initialise(network, torch.zeros(FEATURES), torch.ones(FEATURES), seed)
    return network.eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tiny_network(), tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (40, 56, 3)).astype(np.uint8)


class TestStart:
    def test_tokens_attend_to_where_their_prompt_lies(self) -> None:
        network = tiny_network()
        positions = position_grid(network, CELLS).flatten(2)[0].T
        point = torch.tensor([[[[19.5, 43.5]]]])
        tokens = network.prompt_encoder._embed_points(point, torch.ones(1, 1, 1), pad=False)[0, 0]
        tokens = tokens - network.prompt_encoder.point_embed[1].weight
        attention = network.mask_decoder.transformer.layers[0].cross_attn_token_to_image
        likeness = attention.q_proj(tokens) @ attention.k_proj(positions).T
        assert likeness.argmax().item() == 43 // 8 * CELLS + 19 // 8

    def test_it_is_reproducible_and_depends_on_the_seed(self) -> None:
        states = [tiny_network(seed).state_dict() for seed in (0, 0, 1)]
        name = "mask_decoder.transformer.layers.0.mlp.lin1.weight"
        assert torch.equal(states[0][name], states[1][name])
        assert not torch.equal(states[0][name], states[2][name])

    def test_features_are_standardised(self) -> None:
        network = tiny_network()
        mean, std = torch.linspace(-3, 3, FEATURES), torch.linspace(0.1, 9, FEATURES)
        initialise(network, mean, std)
        plain = torch.randn(1, FEATURES, CELLS, CELLS)
        scaled = plain * std.view(1, -1, 1, 1) + mean.view(1, -1, 1, 1)
        found = network.vision_encoder.neck.project(scaled)
        initialise(network, torch.zeros(FEATURES), torch.ones(FEATURES))
        torch.testing.assert_close(
            found, network.vision_encoder.neck.project(plain), atol=1e-4, rtol=1e-4
        )


class TestFolder:
    def test_it_loads_as_a_model(self, folder: Path, picture: np.ndarray) -> None:
        model = samadapt.load(folder, "cpu", "float32")
        embedding = model.encode(picture)
        assert embedding.image.shape == (1, 32, CELLS, CELLS)
        one = model.predict(embedding, Prompt(box=(5, 5, 30, 30)))
        three = model.predict(embedding, Prompt([(20, 20)]), multimask=True)
        assert one.masks.shape == (1, 40, 56)
        assert three.masks.shape == (3, 40, 56)
        assert one.logits.shape == (1, 4 * CELLS, 4 * CELLS)

    def test_what_it_answers_is_what_was_trained(self, folder: Path, picture: np.ndarray) -> None:
        model: Any = samadapt.load(folder, "cpu", "float32")
        embedding = model.encode(picture)
        found = model.predict(embedding, Prompt([(20.5, 10.5), (30.5, 30.5)], [1, 0]))
        scale = torch.tensor([64 / 56, 46 / 40])  # of the resampled image: whole pixels
        points = torch.tensor([[[20.5, 10.5], [30.5, 30.5]]]) * scale
        prompts = TrainingPrompts(points, torch.tensor([[1.0, 0.0]]))
        with torch.no_grad():
            logits, _ = decode(model.network, embedding.image, prompts, False)
        np.testing.assert_allclose(found.logits[0], logits[0, 0].numpy(), atol=1e-4)

    @pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
    def test_damage_is_told(self, folder: Path, name: str) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:60])
        with pytest.raises(CheckpointError, match="base"):
            read_folder(folder)

    def test_a_tensor_that_is_not_finite_is_refused(self, folder: Path) -> None:
        state = dict(tiny_network().state_dict())
        name = "mask_decoder.iou_token.weight"
        state[name] = torch.full_like(state[name], float("nan"))
        save_file({n: t.clone().contiguous() for n, t in state.items()}, folder / WEIGHTS)
        with pytest.raises(CheckpointError, match="iou_token"):
            read_folder(folder)

    def test_other_folders_are_left_to_other_families(self, tmp_path: Path) -> None:
        (tmp_path / CONFIG).write_text(json.dumps({"model_type": "unheard-of"}))
        with pytest.raises(CheckpointError, match="unheard-of"):
            samadapt.load(tmp_path, "cpu", "float32")


class TestSeams:
    @pytest.mark.parametrize("spec", ["stable", "task-prompt", "lora", "decoder", "tokens"])
    def test_untrained_adapters_change_nothing_and_trained_ones_something(
        self, folder: Path, picture: np.ndarray, spec: str
    ) -> None:
        from samadapt.adapters.registry import create_adapter

        model = samadapt.load(folder, "cpu", "float32")
        adapter = create_adapter(spec)
        adapter.bind(model)
        embedding, prompt = model.encode(picture), Prompt([(20, 20)])
        before = model.predict(embedding, prompt).logits
        assert np.array_equal(before, model.predict(embedding, prompt, adapters=[adapter]).logits)
        state = {n: t + 0.1 for n, t in adapter.state_dict().items() if t.is_floating_point()}
        adapter.load_state_dict({**adapter.state_dict(), **state})
        after = model.predict(embedding, prompt, adapters=[adapter]).logits
        assert not np.array_equal(before, after)

    def test_online_adaptation_learns(self, folder: Path, picture: np.ndarray) -> None:
        model = samadapt.load(folder, "cpu", "float32")
        adapter = OnlineAdapter(settings="schoen")
        session = samadapt.Session(model, adapters=[adapter])
        session.open(picture)
        session.click(20, 20)
        session.click(40, 30, positive=False)
        session.accept(label="thing")
        assert adapter.report().objects == 1


class TestPrompts:
    @pytest.fixture
    def masks(self) -> np.ndarray:
        masks = np.zeros((2, 16, 16), np.uint8)
        masks[0, 2:6, 4:12] = 1
        masks[1, 8:, 8:] = 1
        return masks

    def test_exact_boxes_in_pixels_of_the_input(self, masks: np.ndarray) -> None:
        found = first_prompts(masks, PromptKind(), 64, np.random.default_rng(0))
        assert found.boxes is not None
        assert found.boxes.tolist() == [[16, 8, 48, 24], [32, 32, 64, 64]]

    def test_clicks_lie_on_the_objects(self, masks: np.ndarray) -> None:
        found = first_prompts(masks, PromptKind(points=3), 64, np.random.default_rng(0))
        assert found.points is not None
        for mask, points in zip(masks, found.points / 4, strict=True):
            assert all(mask[int(y), int(x)] for x, y in points.tolist())

    def test_corrections_hit_what_is_wrong(self, masks: np.ndarray) -> None:
        truth = torch.from_numpy(masks).bool()
        logits = torch.full((2, 16, 16), -4.0)
        logits[0, 2:6, 4:12] = 4
        logits[0, 15, 3] = 4  # too much at one pixel
        logits[1][truth[1]] = 4
        points, labels = correcting_clicks(truth, logits, 64)
        assert points[0].tolist() == [14, 62]
        assert labels.tolist() == [0, 1]  # nothing is wrong with the second: on the object
        assert truth[1, int(points[1, 1]) // 4, int(points[1, 0]) // 4]
        start = first_prompts(masks, PromptKind(points=1), 64, np.random.default_rng(0))
        more = start.corrected(points, labels, logits[:, None])
        assert more.points is not None
        assert more.labels is not None
        assert more.points.shape == (2, 2, 2)
        assert more.labels.tolist() == [[1, 0], [1, 1]]


@pytest.fixture
def cache(tiny: TinyDataset, tmp_path: Path) -> Path:
    folder = tiny.images.parent
    (folder / "train.json").write_bytes(tiny.masks.read_bytes())
    network = tiny_network()
    writer = Encoder(network.vision_encoder.features, SIDE)
    photos = read_photos(folder, 0.0)
    for part in ("train", "valid"):
        (tmp_path / "cache" / part).mkdir(parents=True)
        for photo in photos:
            path = tmp_path / "cache" / part / f"{photo.path.stem}.safetensors"
            assert writer.write(photo, path, np.random.default_rng(0))
    return tmp_path / "cache"


class TestCache:
    def test_what_is_read_is_what_was_encoded(self, cache: Path, tiny: TinyDataset) -> None:
        (photo, *_) = read_photos(tiny.images.parent, 0.0)
        found = read_cached(cache / "train" / f"{photo.path.stem}.safetensors")
        assert found.features.shape == (FEATURES, CELLS, CELLS)
        rng = np.random.default_rng(0)
        masks = grid_masks(photo, (46, 64), (64, 64), rng)
        assert np.array_equal(found.masks, masks)
        assert not masks[:, 23:].any()  # padding
        whole = np.stack([rle.mask() for rle in photo.objects]).mean((1, 2))
        assert sorted(masks[:, :23].mean((1, 2))) == pytest.approx(sorted(whole), abs=0.02)


class TestTraining:
    def test_it_learns_and_goes_on_where_it_stopped(self, cache: Path, tmp_path: Path) -> None:
        schedule = Schedule(images=2, objects=3, rate=3e-3, warmup=1, boxes_until=1.0)
        trainer = Trainer(tiny_network(), cache, tmp_path, schedule)
        files = sorted((cache / "train").glob("*.safetensors"))
        costs = []
        for _ in range(12):
            trainer.take_step(files, np.random.default_rng(0))
            costs.append(trainer._means["cost"][-1])
        assert costs[-1] < 0.9 * costs[0]
        trainer.check()
        again = Trainer(tiny_network(1), cache, tmp_path, schedule)
        again.resume()
        assert again.step == trainer.step
        for one, other in zip(again.trained, trainer.trained, strict=True):
            assert torch.equal(one, other)
        line = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
        assert set(line["validation"]) == {"box", "box0.4", "1p", "1p best of 3"}

    def test_the_pyramid_stays_and_every_kind_of_step_runs(
        self, cache: Path, tmp_path: Path
    ) -> None:
        schedule = Schedule(
            images=2, objects=2, warmup=1, boxes_until=0.0, quarter_until=0.0, half_until=0.0
        )
        trainer = Trainer(tiny_network(), cache, tmp_path, schedule)
        before = {n: t.clone() for n, t in trainer.network.state_dict().items()}
        files = sorted((cache / "train").glob("*.safetensors"))
        rng = np.random.default_rng(0)
        for _ in range(12):
            trainer.take_step(files, rng)
        assert {"iou_1p_3", "iou_later_1"} <= trainer._means.keys()
        changed = {
            name.split(".")[0] + "." + name.split(".")[1]
            for name, tensor in trainer.network.state_dict().items()
            if not torch.equal(tensor, before[name])
        }
        assert "vision_encoder.pyramid" not in changed
        assert {"vision_encoder.neck", "mask_decoder.transformer"} <= changed
        assert "shared_image_embedding.positional_embedding" not in changed
