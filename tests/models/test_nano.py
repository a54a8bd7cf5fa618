"""nano: its maps by hand, its invariances, its weights file, its place in the family."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from samadapt.errors import CheckpointError
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.interface import PromptEmbedding
from samadapt.models.nano import trunk
from samadapt.models.nano.encoder import NanoFeatures, channels_last
from samadapt.models.nano.layers import FourierPositions
from samadapt.models.nano.model import NanoModel, load_nano
from samadapt.models.nano.network import NanoNetwork
from samadapt.models.nano.prompt_encoder import PromptBatch, _inside, _squared_distance
from samadapt.models.nano.weights import normalise, read_weights, write_weights
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt
from small_models import TINY_NANO


@pytest.fixture(scope="module")
def weights_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = NanoNetwork(TINY_NANO)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    write_weights(network, path, {"steps": 3})
    return path


@pytest.fixture(scope="module")
def model(weights_path: Path) -> NanoModel:
    return load_nano(weights_path)


@pytest.fixture(scope="module")
def embedding(model: NanoModel) -> ImageEmbedding:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 70, 3), dtype=np.uint8)
    return model.encode(pixels)


def features(count: int = 1, seed: int = 0) -> NanoFeatures:
    generator = torch.Generator().manual_seed(seed)
    keys = F.normalize(torch.randn(count, 8, 8, 8, generator=generator), dim=1)
    return NanoFeatures(
        torch.randn(count, 16, 8, 8, generator=generator),
        keys,
        torch.randn(count, 8, 16, 16, generator=generator),
    )


def answer(network: NanoNetwork, prompts: PromptBatch) -> Tensor:
    with torch.no_grad():
        logits, _, _ = network.eval().answer(features(len(prompts.points)), prompts)
    return logits


def test_distance_is_measured_in_cells_from_cell_centres() -> None:
    distance = _squared_distance(torch.tensor([[[4.0, 12.0]]]), torch.Size([2, 3]), 8)
    # The point is the centre of the cell in row 1, column 0.
    assert distance[0, 0].tolist() == [[1.0, 2.0, 5.0], [0.0, 1.0, 4.0]]


def test_inside_falls_linearly_across_the_edge_of_the_box() -> None:
    # x from 8 to 24: edges lie midway between cell centres 4, 12, 20, 28.
    inside = _inside(torch.tensor([[8.0, -100.0, 24.0, 100.0]]), (1, 4), 8)
    assert inside[0, 0].tolist() == [0.0, 1.0, 1.0, 0.0]
    on_centres = _inside(torch.tensor([[4.0, -100.0, 28.0, 100.0]]), (1, 4), 8)
    assert on_centres[0, 0].tolist() == [0.5, 1.0, 1.0, 0.5]


def test_the_grid_of_positions_is_that_of_the_cells_centres() -> None:
    positions = FourierPositions(16)
    grid = positions.grid((2, 3), step=0.125, origin=(0.25, 0.5))
    point = torch.tensor([0.25 + 2.5 * 0.125, 0.5 + 1.5 * 0.125])
    torch.testing.assert_close(grid[0, :, 1, 2], positions(point))


def test_likeness_to_the_clicked_feature_peaks_under_the_click() -> None:
    torch.manual_seed(0)
    encoder = NanoNetwork(TINY_NANO).prompt_encoder
    prompts = PromptBatch(torch.tensor([[[20.0, 44.0]]]), torch.tensor([[1]]))
    maps = encoder._maps(features(), prompts)
    similarity = maps[0, 0]
    assert similarity.argmax().item() == 5 * 8 + 2
    assert similarity[5, 2].item() == pytest.approx(1.0, abs=1e-5)
    assert (maps[0, 1] == 0.2).all()  # no background click


def test_padding_points_and_absent_boxes_change_nothing() -> None:
    torch.manual_seed(1)
    network = NanoNetwork(TINY_NANO)
    points, labels = torch.tensor([[[20.0, 44.0], [5.0, 9.0]]]), torch.tensor([[1, 0]])
    plain = answer(network, PromptBatch(points, labels))
    padded = PromptBatch(
        torch.cat([points, torch.tensor([[[50.0, 50.0]]])], 1),
        torch.tensor([[1, 0, -1]]),
        torch.tensor([[1.0, 2.0, 30.0, 40.0]]),
        torch.tensor([False]),
        torch.randn(1, 1, 32, 32),
        torch.tensor([False]),
    )
    torch.testing.assert_close(answer(network, padded), plain, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("changed", ["point", "label", "box", "previous"])
def test_every_part_of_the_prompt_is_heard(changed: str) -> None:
    torch.manual_seed(1)
    network = NanoNetwork(TINY_NANO)
    there = torch.tensor([True])

    def prompts(part: str) -> PromptBatch:
        x = 30.0 if part == "point" else 20.0
        label = 0 if part == "label" else 1
        edge = 50.0 if part == "box" else 40.0
        previous = torch.full((1, 1, 32, 32), 3.0 if part == "previous" else -3.0)
        return PromptBatch(
            torch.tensor([[[x, 44.0]]]),
            torch.tensor([[label]]),
            torch.tensor([[1.0, 2.0, 30.0, edge]]),
            there,
            previous,
            there,
        )

    assert (answer(network, prompts("none")) - answer(network, prompts(changed))).abs().max() > 1e-3


def test_weights_come_back_in_half_precision(tmp_path: Path, weights_path: Path) -> None:
    loaded = read_weights(weights_path)
    assert loaded.info == {"steps": 3}
    assert loaded.network.config == TINY_NANO
    again = tmp_path / "again.safetensors"
    write_weights(loaded.network, again, {})
    assert read_weights(again).hash == loaded.hash
    for tensor in load_file(weights_path).values():
        assert tensor.dtype == (torch.float16 if tensor.ndim >= 2 else torch.float32)


def test_large_vectors_survive_and_broken_weights_are_not_written(
    tmp_path: Path, weights_path: Path
) -> None:
    network = read_weights(weights_path).network
    bias = network.encoder.trunk.stem.bias
    assert bias is not None
    with torch.no_grad():
        bias.fill_(1e7)  # more than half precision can hold
        path = tmp_path / "a.safetensors"
        write_weights(network, path, {})
        kept = read_weights(path).network.state_dict()
        assert (kept["encoder.trunk.stem.bias"] == 1e7).all()
        before = path.read_bytes()
        bias.fill_(float("inf"))
    with pytest.raises(CheckpointError, match=r"stem.bias.*infinite"):
        write_weights(network, path, {})
    assert path.read_bytes() == before


def test_the_hash_tells_weights_apart(tmp_path: Path, weights_path: Path) -> None:
    loaded = read_weights(weights_path)
    with torch.no_grad():
        loaded.network.decoder.prior_gain[0] += 0.5
    other = tmp_path / "other.safetensors"
    write_weights(loaded.network, other, {})
    assert read_weights(other).hash != loaded.hash


def test_bad_weights_are_refused_in_one_line(tmp_path: Path, weights_path: Path) -> None:
    missing = tmp_path / "missing.safetensors"
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(weights_path.read_bytes()[:2000])
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, foreign)
    lacking = tmp_path / "lacking.safetensors"
    tensors = load_file(weights_path)
    del tensors["decoder.prior_gain"]
    with pytest.MonkeyPatch.context() as patch:
        network = NanoNetwork(TINY_NANO)
        patch.setattr(network, "state_dict", lambda: tensors)
        write_weights(network, lacking, {})
    not_finite = tmp_path / "not-finite.safetensors"
    tensors = load_file(weights_path)
    next(t for t in tensors.values() if t.is_floating_point()).view(-1)[0] = torch.nan
    with safe_open(weights_path, "pt") as file:
        save_file(tensors, not_finite, file.metadata())
    for path in (missing, torn, foreign, lacking, not_finite):
        with pytest.raises(CheckpointError) as caught:
            read_weights(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_normalise_by_hand() -> None:
    pixels = torch.tensor([[[[0, 255, 51]]]], dtype=torch.uint8)
    expected = [(0 - 127) / 128, (255 - 127) / 128, (51 - 127) / 128]
    assert normalise(pixels)[0, :, 0, 0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("size", [(40, 70), (1, 50), (50, 1), (9, 400), (64, 64), (333, 127)])
def test_any_size_gives_masks_of_that_size(model: NanoModel, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (*size, 3), dtype=np.uint8)
    prediction = model.predict(
        model.encode(pixels), Prompt(points=[(size[1] / 2, size[0] / 2)]), multimask=True
    )
    assert prediction.masks.shape == (3, *size)
    assert prediction.scores.shape == (3,)
    assert ((prediction.scores >= 0) & (prediction.scores <= 1)).all()


def test_masks_are_the_logits_upsampled_and_cut_by_hand(
    model: NanoModel, embedding: ImageEmbedding
) -> None:
    prediction = model.predict(embedding, Prompt(points=[(30.5, 20.5)]))
    # 40 x 70 scaled so that the longer side is 64: 36.57 -> 37 rows; padded to 64 x 64.
    assert prediction.logits.shape == (1, 32, 32)
    full = _bilinear(prediction.logits[0], 64, 64)[:37, :64]
    expected = _bilinear(full, 40, 70) > 0
    assert (prediction.masks[0] == expected).mean() > 0.999


def _bilinear(grid: np.ndarray, height: int, width: int) -> np.ndarray:
    """Half-pixel bilinear resampling without anti-aliasing, one output pixel at a time."""
    rows, cols = grid.shape
    out = np.zeros((height, width))
    for i in range(height):
        y = min(max((i + 0.5) * rows / height - 0.5, 0), rows - 1)
        y0, fy = math.floor(y), y - math.floor(y)
        y1 = min(y0 + 1, rows - 1)
        for j in range(width):
            x = min(max((j + 0.5) * cols / width - 0.5, 0), cols - 1)
            x0, fx = math.floor(x), x - math.floor(x)
            x1 = min(x0 + 1, cols - 1)
            top = grid[y0, x0] * (1 - fx) + grid[y0, x1] * fx
            bottom = grid[y1, x0] * (1 - fx) + grid[y1, x1] * fx
            out[i, j] = top * (1 - fy) + bottom * fy
    return out


def test_a_batch_answers_as_its_prompts_alone_would(
    model: NanoModel, embedding: ImageEmbedding
) -> None:
    first = model.predict(embedding, Prompt(points=[(10, 10)]))
    prompts = [
        Prompt(points=[(10, 10)]),
        Prompt(box=(5, 5, 40, 30)),
        Prompt(points=[(60, 30), (3, 3)], labels=[1, 0]),
        Prompt(points=[(30, 30)], mask=first.logits[0]),
        Prompt(mask=first.masks[0]),
        Prompt(points=[(50, 20)]),
        Prompt(points=[(50, 20)], box=(5, 5, 60, 30), mask=first.logits[0]),
    ]
    together = model.predict(embedding, prompts, multimask=True)
    for prompt, batched in zip(prompts, together, strict=True):
        alone = model.predict(embedding, prompt, multimask=True)
        np.testing.assert_allclose(batched.logits, alone.logits, atol=1e-4)
        np.testing.assert_allclose(batched.scores, alone.scores, atol=1e-5)


def test_the_four_seams_exist(model: NanoModel, embedding: ImageEmbedding) -> None:
    prompt = Prompt(points=[(30, 20)])
    plain = model.predict(embedding, prompt)
    identity = model.predict(embedding, prompt, adapters=[Seams()])
    assert (identity.logits == plain.logits).all()

    class Tokens(Seams):
        def prompt(self, embedded: PromptEmbedding, embedding: ImageEmbedding) -> PromptEmbedding:
            return replace(embedded, tokens=embedded.tokens + 1)

    class Prior(Seams):
        def prompt(self, embedded: PromptEmbedding, embedding: ImageEmbedding) -> PromptEmbedding:
            assert embedded.prior is not None
            return replace(embedded, prior=embedded.prior + 1)

    class Attention(Seams):
        def mask_attention(self, features: Tensor, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
            assert features.shape == (1, grid[0] * grid[1], 16)
            assert grid == (embedding.grid[0] // 2, embedding.grid[1] // 2)
            assert tokens.shape == (1, 6, 16)
            return features * 2

    class Decoder(Seams):
        def mask_decoder(self, base: torch.nn.Module) -> torch.nn.Module:
            copy = deepcopy(base)
            with torch.no_grad():
                copy.prior_gain.mul_(0.5)
            return copy

    class Boundary(Seams):
        def mask_boundary(self, logits: Tensor, embedding: ImageEmbedding) -> Tensor:
            return -logits

    for seam in (Tokens(), Prior(), Attention(), Decoder()):
        assert (model.predict(embedding, prompt, adapters=[seam]).logits != plain.logits).any()
    flipped = model.predict(embedding, prompt, adapters=[Boundary()])
    assert (flipped.masks != plain.masks).mean() > 0.99
    assert (model.predict(embedding, prompt).logits == plain.logits).all()


def test_gradients_reach_a_copy_of_the_decoder_and_nothing_else(
    model: NanoModel, embedding: ImageEmbedding
) -> None:
    copy = deepcopy(model.decoder).requires_grad_(True)

    class Learner(Seams):
        def mask_decoder(self, base: torch.nn.Module) -> torch.nn.Module:
            return copy

    output = model.decode(embedding, [Prompt(points=[(30, 20)])], adapters=[Learner()])
    (output.logits.mean() + output.scores.mean()).backward()
    assert all(
        p.grad is not None
        for name, p in copy.named_parameters()
        if not name.startswith("hypernetworks.") or ".0." in name.split("layers")[0]
    )
    assert not any(p.requires_grad for p in model._network.parameters())
    assert not model._network.training


def test_weights_held_in_bfloat16_compute_what_autocast_computes(
    weights_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = load_nano(weights_path)
    half = load_nano(weights_path, encoder_dtype=torch.bfloat16)
    pixels = np.random.default_rng(2).integers(0, 255, (90, 70, 3), dtype=np.uint8)
    inputs = full._preprocessing.apply(pixels, full.input_geometry((90, 70), None))
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected = full._network(channels_last(inputs))
    fused = half.encode(pixels)
    monkeypatch.setattr(trunk, "_can_fuse", lambda: False)
    for found in (fused, half.encode(pixels)):
        for name in ("image", "keys", "fine"):
            assert torch.equal(found.features[name], getattr(expected, name).float()), name
    assert all(p.dtype == torch.float32 for p in half._network.parameters())


def test_the_encoders_precision_is_visible_and_masks_agree(weights_path: Path) -> None:
    half = load_nano(weights_path, encoder_dtype=torch.bfloat16)
    full = load_nano(weights_path)
    assert half.encoder_dtype == torch.bfloat16
    assert half.identity == full.identity
    pixels = np.random.default_rng(2).integers(0, 255, (60, 60, 3), dtype=np.uint8)
    a, b = half.encode(pixels), full.encode(pixels)
    assert a.image.dtype == torch.float32
    assert torch.corrcoef(torch.stack([a.image.flatten(), b.image.flatten()]))[0, 1] > 0.99
