"""Slices read by their addresses, and stacks found in folders of images."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from moving import SIZE, moving_disc, save_stack
from samadapt.data.images import decoding_bytes, image_size, read_image
from samadapt.data.stacks import Stack
from samadapt.data.stacks.address import file_of, frame_path, slice_address, slice_name, split_name
from samadapt.data.stacks.finding import StackFinder
from samadapt.data.stacks.kept import OpenStacks, read_slice
from samadapt.data.tiled.image import is_huge, shown_size
from samadapt.errors import ImageError


def test_a_slice_is_read_by_its_address(tmp_path: Path) -> None:
    slices = moving_disc()
    path = tmp_path / "volume.tif"
    save_stack(path, slices)
    address = tmp_path / slice_name("volume.tif", "z", 3)
    assert np.array_equal(read_image(address), slices[3])
    assert np.array_equal(read_image(str(address)), slices[3])
    assert image_size(address) == shown_size(address) == SIZE
    assert not is_huge(address)
    assert decoding_bytes(address) >= slices[3].nbytes
    assert file_of(address) == path
    assert file_of(path) == path
    with pytest.raises(ImageError, match="has 6 slices, slice 6 is none of them"):
        read_image(tmp_path / "volume.tif#z=6")
    with pytest.raises(ImageError, match="does not exist"):
        read_image(tmp_path / "gone.tif#z=0")


def test_a_file_comes_before_an_address(tmp_path: Path) -> None:
    path = tmp_path / "volume.tif#z=3"
    Image.new("L", (5, 4), 7).save(path, "PNG")
    assert slice_address(path) is None
    assert read_image(path).shape == (4, 5, 3)
    for name in ("a#z=", "a#z=-1", "a#y=3", "#z=1", "a#z=1.png", "a#z=1234567890"):
        assert slice_address(tmp_path / name) is None
    assert split_name("a#b#t=12") == ("a#b", 12)
    assert split_name("a.png") == ("a.png", None)


def test_deep_frames_share_one_contrast_by_their_addresses(tmp_path: Path) -> None:
    values = np.linspace(0, 1000, 48, dtype=np.uint16).reshape(6, 8)
    for number in range(3):
        tifffile.imwrite(tmp_path / f"f{number}.tif", values + 3000 * number)
    alone = [read_image(tmp_path / f"f{n}.tif").mean() for n in range(3)]
    together = [read_image(frame_path(tmp_path / f"f{n}.tif")).mean() for n in range(3)]
    assert max(alone) - min(alone) < 2
    assert together[0] + 60 < together[1] < together[2] - 60
    with Stack.open(tmp_path) as stack:
        assert [stack[k].mean() for k in range(3)] == together


def test_open_stacks_are_shared_renewed_and_closed_when_nobody_reads(tmp_path: Path) -> None:
    first, other = tmp_path / "a.tif", tmp_path / "b.tif"
    save_stack(first, moving_disc())
    save_stack(other, moving_disc(3))
    stacks = OpenStacks(1)
    with stacks.using(first) as one, stacks.using(first) as same:
        assert one is same
        with stacks.using(other):  # there is no place for two
            pass
        assert one[5].shape == (*SIZE, 3)  # is still read
    with stacks.using(first) as again:
        assert again is not one
    save_stack(first, moving_disc(2))
    os.utime(first, ns=(1, 1))
    with stacks.using(first) as fresh:
        assert len(fresh) == 2
    found: list[int] = []

    def read(index: int) -> None:
        pixels = read_slice(tmp_path / f"b.tif#z={index % 3}", stacks)
        assert pixels is not None
        found.append(int(np.array_equal(pixels, moving_disc(3)[index % 3])))

    threads = [threading.Thread(target=read, args=(index,)) for index in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 12
    stacks.close()
    assert read_slice(first, stacks) is None


def test_which_files_are_stacks(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    save_stack(tmp_path / "sub/volume.tif", moving_disc(3))
    save_stack(tmp_path / "one.tif", moving_disc(1))
    pages = [np.zeros((40, 50), np.uint8), np.zeros((10, 12), np.uint8)]  # with a small picture
    with tifffile.TiffWriter(tmp_path / "small.tif") as writer:
        for page in pages:
            writer.write(page, metadata=None)
    channels = np.zeros((3, 8, 9), np.uint8)
    tifffile.imwrite(tmp_path / "dyes.tif", channels, imagej=True, metadata={"axes": "CYX"})
    hyper = np.zeros((4, 2, 8, 9), np.uint8)
    tifffile.imwrite(tmp_path / "hyper.tif", hyper, imagej=True, metadata={"axes": "TCYX"})
    Image.new("RGB", (4, 3)).save(tmp_path / "photo.png")
    (tmp_path / "film.mp4").write_bytes(b"no film")
    (tmp_path / "broken.tif").write_bytes(b"II*\0nothing of use")
    finder = StackFinder()
    found = finder.look(tmp_path)
    stacks = {stack.name: stack for stack in found.stacks}
    assert sorted(stacks) == ["film.mp4", "hyper.tif", "sub/volume.tif"]
    assert stacks["sub/volume.tif"].slices == tuple(f"sub/volume.tif#z={k}" for k in range(3))
    assert (stacks["hyper.tif"].axis, len(stacks["hyper.tif"].slices)) == ("t", 4)
    assert stacks["film.mp4"].slices == ("film.mp4#t=0",)
    assert "film.mp4" in stacks["film.mp4"].problems[0]
    flat = {name for name in found.names if "#" not in name}
    assert flat == {"broken.tif", "dyes.tif", "one.tif", "photo.png", "small.tif"}
    # A file of two addresses by its name is an image like any other.
    shutil.copy(tmp_path / "photo.png", tmp_path / "a#z=1.png")
    assert "a#z=1.png" in finder.look(tmp_path).names


def test_what_was_one_image_becomes_the_first_slice(tmp_path: Path) -> None:
    path = tmp_path / "volume.tif"
    save_stack(path, moving_disc(3))
    finder = StackFinder()
    names = ("volume.tif", "volume.tif#z=1", "volume.tif#z=2")
    (stack,) = finder.look(tmp_path, ["volume.tif"]).stacks
    assert stack.slices == names
    (stack,) = finder.look(tmp_path, names).stacks
    assert stack.slices == names
    # Known by its address already: that stays.
    (stack,) = finder.look(tmp_path, ["volume.tif#z=0", *names]).stacks
    assert stack.slices[0] == "volume.tif#z=0"
    # What cannot be opened any more keeps the places of its slices.
    path.write_bytes(b"II*\0" + bytes(40))
    found = finder.look(tmp_path, names)
    assert [stack.slices for stack in found.stacks] in ([names], [])
    if not found.stacks:
        assert found.names == ["volume.tif"]


def test_folders_of_frames_are_stacks_if_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for number in (8, 9, 10, 12):
        Image.new("L", (6, 4), number).save(tmp_path / f"f{number}.png")
    Image.new("L", (6, 4)).save(tmp_path / "other/alone.png")
    finder = StackFinder()
    assert finder.look(tmp_path).stacks == ()
    found = finder.look(tmp_path, frames=True)
    (stack,) = found.stacks
    assert (stack.name, stack.axis, stack.is_frames) == (tmp_path.name, "t", True)
    assert stack.slices == ("f8.png", "f9.png", "f10.png", "f11.png", "f12.png")
    assert list(stack.problems) == [3]
    assert "no frame 11" in stack.problems[3]
    assert set(found.names) == {*stack.slices, "other/alone.png"}
    Image.new("L", (6, 4), 11).save(tmp_path / "f11.png")
    (stack,) = finder.look(tmp_path, frames=True).stacks
    assert stack.problems == {}
