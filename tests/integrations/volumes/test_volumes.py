from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import nrrd
import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from samadapt.data.coco import CocoDataset
from samadapt.data.label_volumes import load_label_volume, save_label_volume
from samadapt.data.records import CocoAnnotation, CocoCategory, CocoImage
from samadapt.data.rle import Rle
from samadapt.data.stacks import Stack, VoxelSize
from samadapt.data.tiled import TiledImage
from samadapt.data.tracks import Tracks
from samadapt.errors import ImageError
from samadapt.store.importing import import_dataset
from samadapt.store.projects import Project
from samadapt.store.readers import read_annotations

SHAPE = (5, 12, 16)


def volume() -> NDArray[np.int16]:
    """(z, y, x), signed."""
    return np.arange(np.prod(SHAPE)).reshape(SHAPE).astype(np.int16) - 300


@pytest.fixture
def tracks() -> Tracks:
    mask = np.zeros(SHAPE[1:], np.bool_)
    mask[2:5, 3:9] = True
    return Tracks(SHAPE[1:], SHAPE[0]).add({1: mask, 2: mask}).add({4: ~mask})


def placed() -> NDArray[np.float64]:
    """A scanner's affine: millimetres, turned axes, an origin."""
    affine = np.diag([0.5, -0.5, 2.0, 1.0])
    affine[:3, 3] = (10, 20, -30)
    return affine


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "nrrd"])
def test_medical_volumes_keep_their_place_in_the_scanner(
    tmp_path: Path, tracks: Tracks, ending: str
) -> None:
    source, target = tmp_path / f"scan.{ending}", tmp_path / f"labels.{ending}"
    if ending == "nrrd":
        header = {
            "space": "left-posterior-superior",
            "space directions": placed()[:3, :3].T,
            "space origin": placed()[:3, 3],
        }
        nrrd.write(str(source), volume().transpose(2, 1, 0), header)
    else:
        image: Any = nibabel.Nifti1Image(volume().transpose(2, 1, 0), placed())
        image.header.set_xyzt_units("mm")
        nibabel.save(image, source)
    with Stack.open(source) as stack:
        assert (len(stack), stack.size) == (5, (12, 16))
        assert stack.voxel == VoxelSize(2000.0, 500.0, 500.0)
        np.testing.assert_array_equal(stack.values(3), volume()[3])
        save_label_volume(target, tracks, stack)
    with Stack.open(target) as labels:
        assert labels.affine is not None
        np.testing.assert_allclose(labels.affine, placed(), atol=1e-6)
    assert load_label_volume(target) == tracks


def test_an_ome_zarr_holds_the_image_and_its_labels(tmp_path: Path, tracks: Tracks) -> None:
    stack = Stack.from_array(volume(), voxel=VoxelSize(2.0, 0.5, 0.25), name="scan")
    save_label_volume(tmp_path / "a.ome.zarr", tracks, stack)
    root: Any = zarr.open_group(str(tmp_path / "a.ome.zarr"), mode="r")
    scales = root.attrs["multiscales"][0]
    assert [axis["name"] for axis in scales["axes"]] == ["z", "y", "x"]
    assert scales["datasets"][0]["coordinateTransformations"][0]["scale"] == [2.0, 0.5, 0.25]
    assert root["labels"].attrs["labels"] == ["objects"]
    np.testing.assert_array_equal(root["0"][:], volume())
    assert root["labels/objects/0"][1, 3, 4] == 1
    with Stack.open(tmp_path / "a.ome.zarr") as again:
        assert again.voxel == stack.voxel
        np.testing.assert_array_equal(again.values(2), volume()[2])
        np.testing.assert_array_equal(again[2], stack[2])
    assert load_label_volume(tmp_path / "a.ome.zarr") == tracks
    assert load_label_volume(tmp_path / "a.ome.zarr" / "labels" / "objects") == tracks


@pytest.mark.parametrize("version", [2, 3])
def test_levels_of_an_ome_zarr_are_read_in_windows(tmp_path: Path, version: int) -> None:
    rng = np.random.default_rng(0)
    full = rng.integers(0, 256, (3, 300, 420), np.uint8)
    path = tmp_path / "a.zarr"
    root: Any = zarr.open_group(str(path), mode="w", zarr_format=version)
    for level in range(2):
        values = full[:, :: 2**level, :: 2**level]
        root.create_array(str(level), data=values, chunks=(3, 64, 64))
    scales = [
        {
            "axes": [
                {"name": "c", "type": "channel"},
                *({"name": n, "type": "space"} for n in "yx"),
            ],
            "datasets": [{"path": "0"}, {"path": "1"}, {"path": "gone"}],
        }
    ]
    if version == 2:
        root.attrs["multiscales"] = scales
    else:
        root.attrs["ome"] = {"version": "0.5", "multiscales": scales}
    with TiledImage.open(path, cache=tmp_path / "cache") as image:
        assert image.sizes == ((300, 420), (150, 210))
        (finding,) = image.findings
        assert "level gone" in str(finding)
        found = image.read(1, 10, 20, 100, 90)
        np.testing.assert_array_equal(found, np.moveaxis(full[:, ::2, ::2], 0, 2)[20:90, 10:100])


def test_objects_of_a_zarr_store_are_imported(tmp_path: Path) -> None:
    root: Any = zarr.open_group(str(tmp_path / "images" / "a.zarr"), mode="w", zarr_format=2)
    root.create_array("0", data=np.zeros((3, 30, 42), np.uint8), chunks=(3, 16, 16))
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space"} for n in "yx")]
    root.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}]}]
    mask = np.zeros((30, 42), np.bool_)
    mask[2:5, 3:9] = True
    CocoDataset(
        (CocoImage(1, "a.zarr", 42, 30),),
        (CocoAnnotation(1, 1, 1, Rle.from_mask(mask)),),
        (CocoCategory(1, "thing"),),
    ).save(tmp_path / "c.json")
    with Project.open(tmp_path / "p.sqlite") as project:
        project.images.scan(tmp_path / "images")
        dataset = read_annotations(tmp_path / "c.json", tmp_path / "images")
        found = import_dataset(project, dataset, "Ann", "c.json")
        assert (found.added, found.left_out) == (1, ())
        assert np.array_equal(project.objects.all()[0].mask(), mask)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.nrrd"])
def test_damaged_volumes_are_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"nothing of the kind" * 40)
    with pytest.raises(ImageError, match="cannot be decoded") as caught:
        Stack.open(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_zarr_group_without_an_image(tmp_path: Path) -> None:
    zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    with pytest.raises(ImageError, match="without a multiscale image"):
        Stack.open(tmp_path / "a.zarr")
