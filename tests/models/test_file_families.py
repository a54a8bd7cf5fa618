"""MobileSAM, Light HQ-SAM and EdgeTAM: their encoders against the formulae, and their seams."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_checkpoints import REPVIT, TINY_VIT, edgetam, mobile_sam, without
from tiny_models import picture
from torch import Tensor, nn

from samadapt.errors import CheckpointError, ModelError
from samadapt.models.edgetam import model as edgetam_model
from samadapt.models.embedding import ImageEmbedding
from samadapt.models.interface import PromptEmbedding
from samadapt.models.mobile_sam import model as mobile_model
from samadapt.models.parts.preprocessing import Preprocessing
from samadapt.models.registry import load
from samadapt.models.seams import Seams
from samadapt.prompts import Prompt

MAKERS: dict[str, Callable[[dict[str, Any]], dict[str, Tensor]]] = {
    "mobile-sam": mobile_sam,
    "light-hq": lambda networks: mobile_sam(networks, hq=True),
    "edgetam": edgetam,
}
PROMPTS = [
    Prompt(points=[(10, 20), (30, 5)], labels=[1, 0]),
    Prompt(points=[(50, 3), (8, 9)], labels=[1, 1]),
]


@pytest.fixture(autouse=True)
def small_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mobile_model, "IMAGE_SIZE", 64)
    monkeypatch.setattr(edgetam_model, "IMAGE_SIZE", 64)


@pytest.fixture(params=sorted(MAKERS))
def tensors(request: pytest.FixtureRequest, networks: dict[str, Any]) -> dict[str, Tensor]:
    return MAKERS[request.param](networks)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "any-name.bin"


@pytest.fixture
def model(tensors: dict[str, Tensor], path: Path) -> Any:
    torch.save({"model": tensors}, path)
    return load(path, device="cpu", encoder_dtype="float32")


def pixels_of(model: Any, size: tuple[int, int] = (64, 64)) -> Tensor:
    preprocessing = model._preprocessing
    return torch.as_tensor(preprocessing.apply(picture(size), preprocessing.geometry(size)))


# -- formulae, on the tensors by their original names ------------------------------------------


class Formulae:
    """Layers, by the names of their tensors; nothing of the modules under test is used."""

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str) -> None:
        self.tensors = {name: value.double() for name, value in tensors.items()}
        self.prefix = prefix

    def at(self, name: str) -> Tensor:
        return self.tensors[self.prefix + name]

    def conv_norm(self, x: Tensor, name: str, stride: int = 1) -> Tensor:
        """(conv(x) - mean) / sqrt(var + 1e-5) * weight + bias."""
        kernel = self.at(f"{name}.c.weight")
        groups = x.shape[1] // kernel.shape[1]
        x = F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2, groups=groups)
        mean, variance, weight, bias = (
            self.at(f"{name}.bn.{part}")[:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    def norm(self, x: Tensor, name: str, eps: float) -> Tensor:
        """Over the last axis."""
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
        return scaled * self.at(f"{name}.weight") + self.at(f"{name}.bias")

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.at(f"{name}.weight").T + self.at(f"{name}.bias")

    def gate(self, x: Tensor, name: str) -> Tensor:
        means = x.mean((2, 3))
        inner = means @ self.at(f"{name}.fc1.weight")[..., 0, 0].T + self.at(f"{name}.fc1.bias")
        outer = inner.clamp(min=0) @ self.at(f"{name}.fc2.weight")[..., 0, 0].T
        return x / (1 + (-(outer + self.at(f"{name}.fc2.bias"))).exp())[..., None, None]


def gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def tiny_vit(tensors: Mapping[str, Tensor], pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Features and early features of TinyViT, window by window and pair by pair."""
    f = Formulae(tensors, "image_encoder.")
    x = f.conv_norm(pixels.double(), "patch_embed.seq.0", stride=2)
    x = f.conv_norm(gelu(x), "patch_embed.seq.2", stride=2)
    early = x
    for stage in range(4):
        for block in range(TINY_VIT.depths[stage]):
            name = f"layers.{stage}.blocks.{block}"
            if stage == 0:
                inner = gelu(f.conv_norm(gelu(f.conv_norm(x, f"{name}.conv1")), f"{name}.conv2"))
                x = gelu(f.conv_norm(inner, f"{name}.conv3") + x)
            else:
                x = x + window_attention(f, x, f"{name}.attn", stage)
                x = f.conv_norm(x, f"{name}.local_conv").permute(0, 2, 3, 1)
                inner = f.linear(f.norm(x, f"{name}.mlp.norm", 1e-5), f"{name}.mlp.fc1")
                x = (x + f.linear(gelu(inner), f"{name}.mlp.fc2")).permute(0, 3, 1, 2)
        if stage < 3:
            name = f"layers.{stage}.downsample"
            x = gelu(f.conv_norm(x, f"{name}.conv1"))
            x = gelu(f.conv_norm(x, f"{name}.conv2", stride=1 if stage == 2 else 2))
            x = f.conv_norm(x, f"{name}.conv3")
        if stage == 1:
            early = x
    for conv, norm in ((0, 1), (2, 3)):
        kernel = f.at(f"neck.{conv}.weight")
        x = F.conv2d(x, kernel, padding=kernel.shape[-1] // 2)
        x = f.norm(x.permute(0, 2, 3, 1), f"neck.{norm}", 1e-6).permute(0, 3, 1, 2)
    return x, early


def window_attention(f: Formulae, x: Tensor, name: str, stage: int) -> Tensor:
    """Every window by itself; cells beyond the border are zeros, which attention sees too."""
    heads, side = TINY_VIT.heads[stage - 1], TINY_VIT.windows[stage - 1]
    _, channels, height, width = x.shape
    size = channels // heads
    rows, columns = math.ceil(height / side) * side, math.ceil(width / side) * side
    padded = F.pad(x, (0, columns - width, 0, rows - height))[0].permute(1, 2, 0)
    found = torch.zeros_like(padded)
    cells = [(i, j) for i in range(side) for j in range(side)]
    table = f.at(f"{name}.attention_biases")
    for top in range(0, rows, side):
        for left in range(0, columns, side):
            window = padded[top : top + side, left : left + side].reshape(-1, channels)
            parts = f.linear(f.norm(window, f"{name}.norm", 1e-5), f"{name}.qkv")
            mixed = []
            for head in range(heads):
                own = parts[:, 3 * size * head : 3 * size * (head + 1)]
                query, key, value = own[:, :size], own[:, size : 2 * size], own[:, 2 * size :]
                scores = query @ key.T / math.sqrt(size)
                for a, (i, j) in enumerate(cells):
                    for b, (k, m) in enumerate(cells):
                        scores[a, b] += table[head, abs(i - k) * side + abs(j - m)]
                mixed.append(scores.softmax(-1) @ value)
            answer = f.linear(torch.cat(mixed, dim=1), f"{name}.proj")
            found[top : top + side, left : left + side] = answer.view(side, side, channels)
    return found[:height, :width].permute(2, 0, 1)[None]


def repvit(tensors: Mapping[str, Tensor], pixels: Tensor) -> list[Tensor]:
    """The stages of RepViT."""
    f = Formulae(tensors, "image_encoder.trunk.body.")

    def mixed(x: Tensor, name: str) -> Tensor:
        return x + f.conv_norm(gelu(f.conv_norm(x, f"{name}.conv1")), f"{name}.conv2")

    def block(x: Tensor, name: str, has_gate: bool) -> Tensor:
        mixer = f"{name}.token_mixer"
        x = f.conv_norm(x, f"{mixer}.conv") + f.conv_norm(x, f"{mixer}.conv1") + x
        return mixed(f.gate(x, f"{name}.se") if has_gate else x, f"{name}.channel_mixer")

    x = f.conv_norm(pixels.double(), "stem.conv1", stride=2)
    x = f.conv_norm(gelu(x), "stem.conv2", stride=2)
    found = []
    for stage, depth in enumerate(REPVIT.depths):
        if stage:
            name = f"stages_{stage}.downsample"
            x = block(x, f"{name}.pre_block", has_gate=False)
            x = f.conv_norm(x, f"{name}.spatial_downsample", stride=2)
            x = mixed(f.conv_norm(x, f"{name}.channel_downsample"), f"{name}.ffn")
        for i in range(depth):
            x = block(x, f"stages_{stage}.blocks.{i}", has_gate=i % 2 == 0)
        found.append(x)
    return found


@pytest.mark.parametrize("hq", [False, True])
def test_tiny_vit_by_its_formulae(networks: dict[str, Any], path: Path, hq: bool) -> None:
    """Within float32 rounding: ours fuses convolutions and norms, and computes in float32."""
    tensors = mobile_sam(networks, hq)
    torch.save(tensors, path)
    model = load(path, device="cpu", encoder_dtype="float32")
    features, early = tiny_vit(tensors, pixels_of(model))
    embedding = model.encode_pixels(picture((64, 64)))
    torch.testing.assert_close(embedding.image.double(), features, rtol=1e-4, atol=1e-4)
    assert features.abs().mean() > 0.1
    assert ("early" in embedding.features) is hq
    if hq:
        torch.testing.assert_close(
            embedding.features["early"].double(), early, rtol=1e-4, atol=1e-4
        )


def test_edgetam_by_its_formulae(networks: dict[str, Any], path: Path) -> None:
    """RepViT, the feature pyramid, and what the decoder is given, within float32 rounding."""
    tensors = edgetam(networks)
    torch.save({"model": tensors}, path)
    model = load(path, device="cpu", encoder_dtype="float32")
    stages = repvit(tensors, pixels_of(model))
    f = Formulae(tensors, "")

    def pointwise(x: Tensor, name: str) -> Tensor:
        return F.conv2d(x, f.at(f"{name}.weight"), f.at(f"{name}.bias"))

    levels = [pointwise(x, f"image_encoder.neck.convs.{3 - i}.conv") for i, x in enumerate(stages)]
    levels[2] = levels[2] + levels[3].repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    wanted = {
        "fine": pointwise(levels[0], "sam_mask_decoder.conv_s0"),
        "middle": pointwise(levels[1], "sam_mask_decoder.conv_s1"),
        "image": levels[2] + f.at("no_mem_embed").view(1, -1, 1, 1),
    }
    found = model.encode_pixels(picture((64, 64))).features
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        torch.testing.assert_close(found[name].double(), value, rtol=1e-4, atol=1e-4, msg=name)


def test_decoders_are_those_of_sam_and_sam2(
    networks: dict[str, Any], tensors: dict[str, Tensor], model: Any
) -> None:
    """Bit for bit: the tensors behind transformers' names are those of the file."""
    kind = "sam2" if "no_mem_embed" in tensors else "sam"
    hq = "mask_decoder.hf_token.weight" in tensors
    wanted = networks["sam_hq" if hq else kind].state_dict()
    found = model.network.state_dict()
    same = [
        name
        for name, value in found.items()
        if name.startswith(("prompt_encoder.", "mask_decoder."))
        and "compress_vit_conv1.weight" not in name
    ]
    assert len(same) > 80
    assert all(torch.equal(found[name], wanted[name]) for name in same)


# -- the interface ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(40, 56), (97, 33), (5, 300)])
def test_masks_have_the_size_of_the_image(model: Any, size: tuple[int, int]) -> None:
    embedding = model.encode_pixels(picture(size))
    click = Prompt(points=[(size[1] / 2, size[0] / 2)])
    three = model.predict(embedding, click, multimask=True)
    assert three.masks.shape == (3, *size)
    again = model.predict(embedding, click.with_mask(three.logits[0]))
    assert again.masks.shape == (1, *size)
    assert not np.array_equal(again.logits[0], three.logits[0])


def test_batch_equals_single(model: Any) -> None:
    embedding = model.encode_pixels(picture((40, 56)))
    for prompt, found in zip(PROMPTS, model.predict(embedding, PROMPTS), strict=True):
        alone = model.predict(embedding, prompt)
        np.testing.assert_allclose(found.logits, alone.logits, atol=1e-4)


class Change(Seams):
    """Applies functions at seams 1 and 2."""

    def __init__(
        self,
        tokens: Callable[[Tensor], Tensor] = lambda x: x,
        features: Callable[[Tensor], Tensor] = lambda x: x,
        decoder: nn.Module | None = None,
    ) -> None:
        self.tokens, self.features, self.decoder = tokens, features, decoder

    def prompt(self, embedded: PromptEmbedding, embedding: ImageEmbedding) -> PromptEmbedding:
        return embedded.with_tokens(self.tokens(embedded.tokens))

    def mask_attention(self, features: Tensor, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        return self.features(features)

    def mask_decoder(self, base: nn.Module) -> nn.Module:
        return base if self.decoder is None else self.decoder


def test_seams(model: Any) -> None:
    """The identity changes no bit; a change at each seam changes the logits."""
    embedding = model.encode_pixels(picture((40, 56)))

    def logits(*adapters: Seams) -> Tensor:
        return torch.as_tensor(model.decode(embedding, PROMPTS, True, adapters).logits)

    base = logits()
    identity = Change(lambda x: x.clone(), lambda x: x.clone(), copy.deepcopy(model.decoder))
    assert torch.equal(base, logits(identity))
    changed = copy.deepcopy(model.decoder)
    with torch.no_grad():
        changed.mask_tokens.weight.mul_(-1)
    for seam in (
        Change(tokens=lambda x: x * 1.5),
        Change(features=lambda x: x * 0.5),
        Change(decoder=changed),
    ):
        assert not torch.equal(base, logits(seam))
    assert torch.equal(base, logits())


def test_bfloat16_masks_agree_with_float32(model: Any, path: Path) -> None:
    reduced = load(path, device="cpu", encoder_dtype="bfloat16")
    assert reduced.identity == model.identity
    exact, rough = (one.encode_pixels(picture((40, 56))) for one in (model, reduced))
    assert not torch.equal(exact.image, rough.image)
    torch.testing.assert_close(rough.image, exact.image, rtol=0.2, atol=0.2)


# -- what is refused ---------------------------------------------------------------------------


def refusal(tensors: dict[str, Tensor], path: Path) -> str:
    torch.save(tensors, path)
    with pytest.raises(CheckpointError) as caught:
        load(path, device="cpu")
    text = str(caught.value)
    assert str(path) in text
    assert "\n" not in text
    return text


def test_incomplete_mixed_and_changed_files(tensors: dict[str, Tensor], path: Path) -> None:
    decoder = next(name for name in tensors if name.endswith("mask_decoder.iou_token.weight"))
    part = decoder.removesuffix("iou_token.weight")
    assert "incomplete" in refusal(without(tensors, [part]), path)
    assert "lacks" in refusal(without(tensors, [f"{part}output_hypernetworks_mlps.1"]), path)
    foreign = {"image_encoder.blocks.0.adapter.weight": torch.zeros(2)}
    assert "changed architecture" in refusal(tensors | foreign, path)
    token = tensors[decoder]
    assert "has shape" in refusal(tensors | {decoder: token.repeat(2, 1)}, path)
    name = next(n for n in tensors if n.endswith("running_var"))
    assert name in refusal(tensors | {name: torch.full_like(tensors[name], torch.inf)}, path)


def test_hq_token_only_is_for_light_hq(tensors: dict[str, Tensor], path: Path) -> None:
    torch.save(tensors, path)
    if "mask_decoder.hf_token.weight" in tensors:
        assert load(path, device="cpu", hq_token_only=True).hq_token_only
    else:
        with pytest.raises(ModelError, match="option of SAM-HQ"):
            load(path, device="cpu", hq_token_only=True)


def test_medsam_stretches_colours_and_shape() -> None:
    image = np.zeros((4, 8, 3), np.uint8)
    image[:2], image[2:] = 100, 200
    plain = Preprocessing(
        name="medsam", side=8, squash=True, mean=(0, 0, 0), std=(1, 1, 1), full_range=True
    )
    geometry = plain.geometry((4, 8))
    assert geometry.resized == (8, 8)
    values = plain.apply(image, geometry)
    assert (values.amin(), values.amax()) == (0, 1)
    flat = plain.apply(np.full((4, 4, 3), 7, np.uint8), plain.geometry((4, 4)))
    assert (flat == 0).all()
