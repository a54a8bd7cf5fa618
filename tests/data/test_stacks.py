from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from samadapt.data.stacks import Stack, VoxelSize
from samadapt.errors import DataError, ImageError


def ramp(count: int = 5, height: int = 20, width: int = 30) -> NDArray[np.uint16]:
    """Every slice brighter than the one before."""
    return np.arange(count * height * width, dtype=np.uint16).reshape(count, height, width)


def put_frames(folder: Path, numbers: list[int], size: tuple[int, int] = (30, 20)) -> Path:
    for number in numbers:
        Image.new("L", size, number).save(folder / f"img_{number:03d}.png")
    return folder


# -- TIFF ---------------------------------------------------------------------------------


def test_pages_of_16_bits_share_one_contrast(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", ramp(), photometric="minisblack")
    with Stack.open(tmp_path / "a.tif") as stack:
        assert (len(stack), stack.size, stack.axis) == (5, (20, 30), "z")
        means = [float(stack[index].mean()) for index in range(5)]
        np.testing.assert_allclose(means, np.linspace(25.5, 229.5, 5), atol=1.5)
        np.testing.assert_array_equal(stack.values(3), ramp()[3])


@pytest.mark.parametrize("kind", [np.int16, np.int8, np.float32, np.float64, np.uint32])
def test_signed_and_float_slices_keep_their_order_over_the_stack(
    tmp_path: Path, kind: type[np.generic]
) -> None:
    values = np.stack([np.full((8, 9), v) for v in (-100, 0, 100)])
    values = (values + 100 if kind is np.uint32 else values).astype(kind)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack")
    with Stack.open(tmp_path / "a.tif") as stack:
        assert [int(stack[k].mean().round()) for k in range(3)] == [0, 128, 255]


def test_an_ome_stack_has_axes_channels_and_voxel_sizes(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65000, (3, 2, 4, 16, 24), np.uint16)
    meta = {
        "axes": "TCZYX",
        "PhysicalSizeX": 200.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeZ": 1.5,
        "TimeIncrement": 2.0,
        "TimeIncrementUnit": "min",
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", values, metadata=meta)
    with Stack.open(tmp_path / "a.ome.tif") as stack:
        assert (len(stack), stack.axis) == (4, "z")
        assert (stack.voxel.z, stack.voxel.y, stack.voxel.t) == (1.5, None, 120.0)
        assert stack.voxel.x == pytest.approx(0.2)
        np.testing.assert_array_equal(stack.values(2)[..., 1], values[0, 1, 2])
        assert not stack.values(2)[..., 2].any()
        (remark,) = stack.findings
        assert "axis 't' has 3 places: the first is taken" in str(remark)
    with Stack.open(tmp_path / "a.ome.tif", axis="t", at={"z": 3}, channels=[1]) as stack:
        assert (len(stack), stack.axis, stack.findings) == (3, "t", ())
        np.testing.assert_array_equal(stack.values(1), values[1, 1, 3])


def test_an_imagej_stack_has_its_spacing(tmp_path: Path) -> None:
    meta = {"axes": "ZYX", "spacing": 3.0, "unit": "um"}
    tifffile.imwrite(tmp_path / "a.tif", ramp(), imagej=True, metadata=meta, resolution=(4, 2))
    with Stack.open(tmp_path / "a.tif") as stack:
        assert stack.voxel == VoxelSize(3.0, 0.5, 0.25)


def test_colours_stay_colours(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (4, 12, 16, 3), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    with Stack.open(tmp_path / "a.tif") as stack:
        np.testing.assert_array_equal(stack[2], values[2])


def test_a_slice_of_another_size_or_depth_costs_only_itself(tmp_path: Path) -> None:
    path, values = tmp_path / "a.tif", ramp()
    with tifffile.TiffWriter(path) as writer:
        for index, one in enumerate(values):
            odd = {1: one[:9], 3: one.astype(np.float32)}.get(index, one)
            writer.write(odd, photometric="minisblack", metadata=None)
    with Stack.open(path) as stack:
        assert stack.usable == (0, 2, 4)
        texts = [str(finding) for finding in stack.findings]
        assert texts[0] == (
            f"{path}, slice 1: 30 x 9 pixels of uint16, most others 30 x 20 pixels of uint16: save "
            "all slices alike"
        )
        assert "slice 3: 30 x 20 pixels of float32" in texts[1]
        with pytest.raises(ImageError, match="slice 1: 30 x 9 pixels"):
            _ = stack[1]
        np.testing.assert_array_equal(stack.values(4), values[4])


@pytest.mark.parametrize("metadata", ["shaped", "pages"])
def test_a_truncated_stack_gives_what_is_there(
    tmp_path: Path,
    metadata: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # pytest listens at the root, where otherwise nobody does.
    monkeypatch.setattr(logging.getLogger("tifffile"), "propagate", False)
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        if metadata == "shaped":
            writer.write(ramp(), photometric="minisblack")
        else:
            for one in ramp():
                writer.write(one, photometric="minisblack", metadata=None)
    path.write_bytes(path.read_bytes()[: 3 * 1200])
    with Stack.open(path) as stack:
        assert any("truncated" in str(finding) for finding in stack.findings)
        np.testing.assert_array_equal(stack.values(0), ramp()[0])
        assert all("\n" not in str(finding) for finding in stack.check())
    assert capfd.readouterr().err == ""


# -- frames -------------------------------------------------------------------------------


def test_frames_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        Image.new("L", (30, 20), number).save(tmp_path / f"f{number}.png")
    Image.new("L", (30, 20), 6).save(tmp_path / "f6.png")
    with Stack.open(tmp_path) as stack:
        assert [int(stack.values(index).max()) for index in (0, 1)] == [1, 2]
        assert stack.axis == "t"


def test_a_missing_frame_is_named_and_keeps_its_place(tmp_path: Path) -> None:
    with Stack.open(put_frames(tmp_path, [5, 6, 8, 9])) as stack:
        assert len(stack) == 5
        (finding,) = stack.findings
        assert str(finding) == (
            f"{tmp_path / 'img_007.png'}: missing, there is no frame 7: add the file, or go on "
            "without it"
        )
        with pytest.raises(ImageError, match="there is no frame 7"):
            _ = stack[2]
        assert stack[3].max() == 8


def test_a_huge_gap_is_closed_up_and_told(tmp_path: Path) -> None:
    put_frames(tmp_path, [1, 2])
    Image.new("L", (30, 20), 9).save(tmp_path / "img_2000000000.png")
    with Stack.open(tmp_path) as stack:
        assert len(stack) == 3
        (remark,) = stack.findings
        assert str(remark).endswith("frames 3 to 1999999999 are missing: closed up")


def test_every_second_number_is_no_gap(tmp_path: Path) -> None:
    with Stack.open(put_frames(tmp_path, [2, 4, 6, 8])) as stack:
        assert (len(stack), stack.findings) == (4, ())


def test_frames_of_another_size_damaged_ones_and_other_depths(tmp_path: Path) -> None:
    put_frames(tmp_path, [0, 1, 2, 3])
    put_frames(tmp_path, [4], (31, 20))
    (tmp_path / "img_005.png").write_bytes(b"nothing")
    Image.fromarray(np.full((20, 30), 40000, np.uint16)).save(tmp_path / "img_006.png")
    Image.new("RGB", (30, 20), (9, 8, 7)).save(tmp_path / "img_007.png")
    with Stack.open(tmp_path) as stack:
        assert [str(f).rpartition("/")[2][:11] for f in stack.findings] == [
            "img_004.png",
            "img_005.png",
        ]
        with pytest.raises(ImageError, match="16-bit unsigned values, the stack 8-bit"):
            _ = stack[6]
        assert stack[7][0, 0].tolist() == [9, 8, 7]  # colour beside grey
        assert len(stack.check()) == 3


# -- the rest -----------------------------------------------------------------------------


def test_what_is_no_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.tif").touch()
    (tmp_path / "bad.tif").write_bytes(b"II*\0broken")
    (tmp_path / "a.txt").write_text("no")
    (tmp_path / "a.mp4").write_bytes(b"no")
    (tmp_path / "folder").mkdir()
    for missing in ("av", "nibabel"):
        monkeypatch.setitem(sys.modules, missing, None)
    (tmp_path / "a.nii").write_bytes(b"no")
    for name, text in {
        "gone.tif": "does not exist",
        "empty.tif": "empty file",
        "bad.tif": "cannot be decoded",
        "a.txt": "is no stack",
        "folder": "no image in",
        "a.mp4": r"pip install samadapt\[video\]",
        "a.nii": r"pip install samadapt\[volumes\]",
    }.items():
        with pytest.raises(ImageError, match=text) as caught:
            Stack.open(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_axes_and_places_that_a_file_does_not_have(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", ramp(4), metadata={"axes": "ZYX"})
    for options, text in (
        ({"axis": "t"}, "no axis 't'"),
        ({"at": {"t": 1}}, "no axis 't'"),
        ({"channels": [1]}, "1 channels"),
    ):
        with pytest.raises(ImageError, match=text):
            Stack.open(tmp_path / "a.ome.tif", **options)  # type: ignore[arg-type]


def test_an_array_is_a_stack() -> None:
    stack = Stack.from_array(np.zeros((3, 4, 5, 3), np.uint8), voxel=VoxelSize(2, 1, 1))
    assert (len(stack), stack.size, stack.file_name(2)) == (3, (4, 5), "the array_0002.png")
    assert stack[-1].shape == (4, 5, 3)
    with pytest.raises(IndexError):
        _ = stack[3]
    with pytest.raises(ImageError, match="give"):
        Stack.from_array(np.zeros((3, 4)))


def test_voxel_sizes_are_positive() -> None:
    with pytest.raises(DataError, match="positive"):
        VoxelSize(z=0.0)
