"""Preprocessing, the fast attention and the encoder's precision."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_models import Family, picture

from samadapt.errors import ModelError
from samadapt.models import precision
from samadapt.models.hf import attention
from samadapt.models.hf.attention import RelativeAttention, use_relative_attention
from samadapt.models.parts.preprocessing import Preprocessing
from samadapt.models.precision import has_fast_bfloat16, resolve_device, resolve_dtype
from samadapt.prompts import Prompt

CPU = torch.device("cpu")

# -- preprocessing --------------------------------------------------------------------------


def squashed(image: Any, how: Preprocessing) -> Any:
    return how.apply(image, how.geometry(image.shape[:2]))


@pytest.mark.parametrize(
    "changes", [{"side": 0}, {"scale": 0.0}, {"std": (1.0, float("nan"), 1.0)}, {"multiple": -1}]
)
def test_nonsense_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="use"):
        Preprocessing(**{"name": "any", "side": 16, **changes})


def test_padding_is_the_mean_colour_and_lies_bottom_right() -> None:
    sam = Preprocessing(name="sam", side=8)
    geometry = sam.geometry((2, 4))
    values = sam.apply(np.full((2, 4, 3), 255, np.uint8), geometry)
    assert geometry.resized == (4, 8)
    white = [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    np.testing.assert_allclose(values[0, :, :4].amax(dim=(1, 2)), white, rtol=1e-6)
    np.testing.assert_allclose(values[0, :, :4].amin(dim=(1, 2)), white, rtol=1e-6)
    assert (values[0, :, 4:] == 0).all()


def test_channels_are_red_green_blue() -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[..., 0] = 255
    values = squashed(red, Preprocessing(name="sam2", side=4, squash=True))
    assert values[0, 0].min() > 2
    assert values[0, 1:].max() < -1


def test_shrinking_is_antialiased() -> None:
    """Black and white columns average to grey instead of being picked."""
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    half = (0.5, 0.5, 0.5)
    grey = Preprocessing(name="any", side=8, squash=True, mean=half, std=half)
    values = squashed(stripes, grey)
    assert values.abs().max() < 0.1


def test_an_image_of_the_input_size_is_not_resampled() -> None:
    image = picture((16, 16))
    plain = Preprocessing(
        name="any", side=16, squash=True, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)
    )
    values = squashed(image, plain)
    np.testing.assert_allclose(values[0].permute(1, 2, 0), image / 255, rtol=1e-6)


def test_read_only_arrays_are_fine() -> None:
    image = picture((16, 16))
    image.setflags(write=False)
    squashed(image, Preprocessing(name="any", side=16, squash=True))


def test_names_tell_the_families_apart(model: Any, family: Family) -> None:
    kind = {"sam": "sam-longest", "sam_hq": "sam-longest"}.get(family.name, f"{family.name}-squash")
    assert model.preprocessing == f"{kind}-{family.side}-1"
    assert model.encode_pixels(picture((9, 9))).preprocessing == model.preprocessing


# -- attention ------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 150, 2**24])
def test_relative_attention_equals_transformers(
    networks: dict[str, Any], monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """However the heads are grouped, windows and whole grids give what the source gives."""
    monkeypatch.setattr(attention, "_BIAS_ELEMENTS", limit)
    encoder = copy.deepcopy(networks["sam"].vision_encoder)
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    names = list(encoder.state_dict())
    with torch.no_grad():
        expected = encoder(pixels).last_hidden_state
        use_relative_attention(encoder)
        found = encoder(pixels).last_hidden_state
    assert all(isinstance(layer.attn, RelativeAttention) for layer in encoder.layers)
    assert list(encoder.state_dict()) == names
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_attention_by_its_formula(networks: dict[str, Any]) -> None:
    """softmax(q k / sqrt(d) + q R_h[i - k] + q R_w[j - l]) v, entry by entry."""
    source = networks["sam"].vision_encoder.layers[0].attn
    fast = RelativeAttention(source)
    x = torch.randn(1, 3, 3, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, weights = fast(hidden_states=x)
        q, k, v = source.qkv(x).view(9, 3, 3, 8).permute(1, 2, 0, 3)  # each heads x 9 x 8
        mixed = torch.zeros(9, 3, 8)
        for head in range(3):
            scores = torch.zeros(9, 9)
            for a in range(9):
                for b in range(9):
                    rows = source.rel_pos_h[a // 3 - b // 3 + 2]
                    columns = source.rel_pos_w[a % 3 - b % 3 + 2]
                    scores[a, b] = q[head, a] @ (k[head, b] / 8**0.5 + rows + columns)
            mixed[:, head] = scores.softmax(dim=1) @ v[head]
        expected = source.proj(mixed.view(1, 3, 3, 24))
    assert weights is None
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_unusual_position_tables_keep_their_attention(networks: dict[str, Any]) -> None:
    encoder = copy.deepcopy(networks["sam"].vision_encoder)
    layer = encoder.layers[0].attn
    layer.rel_pos_h = torch.nn.Parameter(torch.zeros(9, 8))
    use_relative_attention(encoder)
    assert encoder.layers[0].attn is layer


# -- precision ------------------------------------------------------------------------------


def test_bfloat16_masks_agree_with_float32(family: Family, network: Any, model: Any) -> None:
    image = picture((40, 56))
    reduced = family.wrap(network, encoder_dtype=torch.bfloat16)
    exact, rough = model.encode_pixels(image), reduced.encode_pixels(image)
    assert reduced.encoder_dtype == torch.bfloat16
    assert all(t.dtype == torch.float32 for t in rough.features.values())
    assert not torch.equal(exact.image, rough.image)
    rng = np.random.default_rng(0)
    overlaps = []
    for _ in range(10):
        prompt = Prompt(points=[(rng.uniform(0, 56), rng.uniform(0, 40))])
        a = model.predict(exact, prompt, multimask=True).masks
        b = model.predict(rough, prompt, multimask=True).masks
        overlaps.append((a & b).sum() / (a | b).sum())
    assert np.mean(overlaps) > 0.98


def test_only_the_encoder_is_reduced(family: Family, network: Any) -> None:
    model = family.wrap(network, encoder_dtype=torch.bfloat16)
    types = {
        part: {value.dtype for value in getattr(model.network, part).parameters()}
        for part in ("vision_encoder", "prompt_encoder", "mask_decoder")
    }
    assert types["vision_encoder"] == {torch.bfloat16, torch.float32}
    assert types["prompt_encoder"] == types["mask_decoder"] == {torch.float32}
    for name, module in model.network.vision_encoder.named_modules():
        if isinstance(module, torch.nn.LayerNorm):
            assert module.weight.dtype == torch.float32, name


def test_dtype_names() -> None:
    assert resolve_dtype("float32", CPU) == torch.float32
    assert resolve_dtype("bfloat16", CPU) == resolve_dtype(torch.bfloat16, CPU) == torch.bfloat16
    automatic = torch.bfloat16 if has_fast_bfloat16(CPU) else torch.float32
    assert resolve_dtype("auto", CPU) == automatic
    for wrong in ("half", "float16", torch.float16, torch.int8, 3):
        with pytest.raises(ModelError, match="encoder_dtype"):
            resolve_dtype(wrong, CPU)  # type: ignore[arg-type]


@pytest.mark.parametrize(("answers", "fast"), [((False, False), False), ((False, True), True)])
def test_cpu_is_asked_for_bfloat16(
    monkeypatch: pytest.MonkeyPatch, answers: tuple[bool, bool], fast: bool
) -> None:
    for name, answer in zip(
        ("_is_avx512_bf16_supported", "_is_amx_tile_supported"), answers, strict=True
    ):
        monkeypatch.setattr(torch.cpu, name, lambda answer=answer: answer, raising=False)
    assert has_fast_bfloat16(CPU) is fast


@pytest.mark.parametrize(
    ("flags", "fast"), [("fpu avx512_bf16 sse", True), ("fpu amx_bf16", True), ("fpu avx2", False)]
)
def test_cpu_flags_are_the_fallback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: str, fast: bool
) -> None:
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\n")
    read = precision._cpu_flags
    monkeypatch.setattr(precision, "_cpu_flags", lambda: read(tmp_path / "cpuinfo"))
    assert has_fast_bfloat16(CPU) is fast
    assert read(tmp_path / "nothing") == set()


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device(None) == resolve_device("cpu") == CPU
    with pytest.raises(ModelError, match="no CUDA device"):
        resolve_device("cuda")
    with pytest.raises(ModelError, match="not known"):
        resolve_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("auto") == torch.device("cuda")
    with pytest.raises(ModelError, match="counted from 0"):
        resolve_device("cuda:1")
