"""Reading images: every kind of file and array comes out as the RGB a person sees."""

import errno
import io
import itertools
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile

from samadapt.data.images import image_size, list_images, natural_key, read_image, read_values
from samadapt.errors import DataError, ImageError

RNG = np.random.default_rng(0)
PHOTO = cv2.GaussianBlur(RNG.integers(0, 255, (40, 60, 3), dtype=np.uint8), (0, 0), 2)


def save(folder: Path, name: str, image: Image.Image, **options: object) -> Path:
    path = folder / name
    image.save(path, **options)
    return path


# -- colour modes -------------------------------------------------------------------------


def test_rgb_file_comes_back_exactly(tmp_path):
    path = save(tmp_path, "a.png", Image.fromarray(PHOTO))
    with Image.open(path) as image:
        for given in (path, str(path), image, PHOTO):
            pixels = read_image(given)
            assert pixels.dtype == np.uint8
            assert pixels.flags.c_contiguous
            np.testing.assert_array_equal(pixels, PHOTO)


def test_result_is_a_copy_of_an_array():
    given = PHOTO.copy()
    read_image(given)[:] = 0
    np.testing.assert_array_equal(given, PHOTO)


def test_reading_a_pil_image_leaves_it_alone():
    image = Image.fromarray(PHOTO)
    read_image(image)[:] = 7
    np.testing.assert_array_equal(np.asarray(image), PHOTO)


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1)])
def test_grey_array_becomes_three_equal_channels(shape):
    grey = np.arange(20, dtype=np.uint8).reshape(shape)
    pixels = read_image(grey)
    assert pixels.shape == (4, 5, 3)
    for channel in range(3):
        np.testing.assert_array_equal(pixels[:, :, channel], grey.reshape(4, 5))


def test_bool_becomes_black_and_white(tmp_path):
    mask = np.array([[True, False], [False, True]])
    expected = np.where(mask, 255, 0)
    np.testing.assert_array_equal(read_image(mask)[:, :, 0], expected)
    path = save(tmp_path, "bits.png", Image.fromarray(mask))
    assert read_values(path).dtype == bool
    np.testing.assert_array_equal(read_image(path)[:, :, 2], expected)


def test_palette_becomes_its_colours(tmp_path):
    image = Image.new("P", (2, 2))
    image.putdata([0, 1, 2, 1])
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    path = save(tmp_path, "p.png", image)
    expected = [[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [0, 255, 0]]]
    np.testing.assert_array_equal(read_image(path), expected)
    np.testing.assert_array_equal(read_values(path), [[0, 1], [2, 1]])


def test_cmyk_becomes_rgb(tmp_path):
    image = Image.new("CMYK", (3, 2), (0, 255, 255, 0))
    path = save(tmp_path, "c.tif", image)
    np.testing.assert_array_equal(read_image(path), np.full((2, 3, 3), (255, 0, 0)))


def test_transparency_is_composited_on_black(tmp_path):
    rgba = np.array([[[200, 100, 50, 255], [200, 100, 50, 0], [200, 100, 50, 128]]], np.uint8)
    half = [round(v * 128 / 255) for v in (200, 100, 50)]
    expected = [[[200, 100, 50], [0, 0, 0], half]]
    np.testing.assert_array_equal(read_image(rgba), expected)
    path = save(tmp_path, "a.png", Image.fromarray(rgba))
    np.testing.assert_array_equal(read_image(path), expected)


def test_grey_with_alpha_and_transparent_colour(tmp_path):
    la = Image.fromarray(np.array([[[90, 255], [90, 0]]], np.uint8))
    assert la.mode == "LA"
    np.testing.assert_array_equal(read_image(la), [[[90] * 3, [0] * 3]])
    keyed = save(tmp_path, "k.png", Image.fromarray(np.array([[9, 7]], np.uint8)), transparency=7)
    np.testing.assert_array_equal(read_image(keyed), [[[9] * 3, [0] * 3]])


def test_wholly_transparent_image_shows_its_colours():
    rgba = np.dstack([PHOTO, np.zeros((40, 60), np.uint8)])
    np.testing.assert_array_equal(read_image(rgba), PHOTO)


# -- more than 8 bits ---------------------------------------------------------------------


def test_stretch_maps_percentiles_to_the_ends():
    # 1001 values 0..1000: the 0.1th percentile is 1, the 99.9th is 999.
    values = np.arange(1001, dtype=np.uint16)[None]
    pixels = read_image(values)[0, :, 0]
    assert pixels[0] == pixels[1] == 0
    assert pixels[999] == pixels[1000] == 255
    assert pixels[500] == 128
    assert (np.diff(pixels.astype(int)) >= 0).all()


@pytest.mark.parametrize("kind", [np.uint16, np.int16, np.int32, np.uint32, np.int64, np.float64])
def test_stretch_does_not_depend_on_the_type(kind):
    values = RNG.integers(0, 30000, (50, 40))
    np.testing.assert_array_equal(
        read_image(values.astype(kind)), read_image(values.astype(np.float32))
    )


def test_stretch_keeps_hues():
    deep = PHOTO.astype(np.uint16) * 16
    pixels = read_image(deep)
    for value in np.unique(deep):
        # The same number means the same brightness in every channel.
        assert len(np.unique(pixels[deep == value])) == 1
    assert pixels.max() == 255
    assert pixels.min() == 0


def test_one_hot_pixel_does_not_darken_the_image():
    values = np.tile(np.arange(100, dtype=np.float32), (100, 1))
    values[0, 0] = 1e9
    assert read_image(values)[50, 99, 0] >= 250


def test_few_bright_spots_on_even_ground_stay_visible():
    values = np.full((100, 100), 7, np.uint16)
    values[3, 4] = 900
    pixels = read_image(values)[:, :, 0]
    assert pixels[3, 4] == 255
    assert np.count_nonzero(pixels) == 1


@pytest.mark.parametrize("value", [0, 700, 65535])
def test_constant_image_is_black(value):
    assert read_image(np.full((4, 4), value, np.uint16)).max() == 0


def test_nan_and_infinite_values_do_not_spoil_the_image():
    values = np.linspace(0, 1, 10000).reshape(100, 100)
    expected = read_image(values)
    values[0, 0], values[99, 99], values[50, 50] = -np.inf, np.inf, np.nan
    pixels = read_image(values)
    assert pixels[50, 50, 0] == 0
    same = np.ones((100, 100), bool)
    same[50, 50] = False
    assert np.abs(pixels.astype(int) - expected)[same].max() <= 1


def test_extreme_floats_neither_overflow_nor_warn():
    values = np.array([[-1.7e308, 0.0, 1.7e308]])
    low, middle, high = read_image(values)[0, :, 0].tolist()
    assert (low, high) == (0, 255)
    assert middle in (127, 128)


@pytest.mark.parametrize("name", ["g.png", "g.tif"])
def test_16_bit_grey_files(tmp_path, name):
    deep = PHOTO[:, :, 0].astype(np.uint16) * 16
    path = save(tmp_path, name, Image.fromarray(deep))
    np.testing.assert_array_equal(read_image(path), read_image(deep))
    assert read_image(path).max() == 255
    np.testing.assert_array_equal(read_values(path), deep)


def test_16_bit_colour_png_keeps_its_depth(tmp_path):
    # All values lie in the lowest byte, which an 8-bit reader would throw away.
    deep = PHOTO.astype(np.uint16)
    path = tmp_path / "c.png"
    cv2.imwrite(str(path), deep[:, :, ::-1])
    np.testing.assert_array_equal(read_image(path), read_image(deep))


@pytest.mark.parametrize(
    "values",
    [
        PHOTO.astype(np.uint16),
        PHOTO.astype(np.float32),
        PHOTO[:, :, 0].astype(np.float64),
        PHOTO[:, :, 0].astype(np.float16),
        PHOTO[:, :, 0].astype(np.int16) - 50,
        (PHOTO[:, :, 0].astype(np.int16) - 128).astype(np.int8),
        PHOTO[:, :, 0].astype(np.uint32) << 24,
    ],
    ids=["rgb16", "rgbfloat", "float64", "float16", "int16", "int8", "uint32"],
)
def test_scientific_tiff(tmp_path, values):
    path = tmp_path / "s.tif"
    photometric = "rgb" if values.ndim == 3 else "minisblack"
    tifffile.imwrite(path, values, photometric=photometric, compression="zlib")
    np.testing.assert_array_equal(read_image(path), read_image(values))
    assert image_size(path) == values.shape[:2]


def test_planar_16_bit_tiff(tmp_path):
    path = tmp_path / "s.tif"
    planes = np.moveaxis(PHOTO.astype(np.uint16), -1, 0)
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_image(path), read_image(PHOTO.astype(np.uint16)))


@pytest.mark.parametrize("photometric", ["rgb", "minisblack"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_band_that_is_no_alpha_is_not_seen(tmp_path, kind, photometric):
    near_infrared = np.full((*PHOTO.shape[:2], 1), 3)
    values = np.concatenate([PHOTO, near_infrared], axis=2).astype(kind)
    extra = {"extrasamples": (0,)} if photometric == "rgb" else {}
    path = tmp_path / "nir.tif"
    tifffile.imwrite(path, values, photometric=photometric, planarconfig="contig", **extra)
    np.testing.assert_array_equal(read_image(path), read_image(PHOTO.astype(kind)))


@pytest.mark.parametrize(("mark", "half"), [("unassalpha", 0.5), ("assocalpha", 1)])
def test_alpha_of_deep_tiff_counts_once(tmp_path, mark, half):
    values = np.zeros((2, 2, 4), np.uint16)
    values[0, :, :3] = 60000
    values[:, 0, 3], values[:, 1, 3] = 32768, 65535
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, photometric="rgb", extrasamples=(mark,))
    assert read_image(path)[0, :, 0].tolist() == [round(255 * half + 0.1), 255]


@pytest.mark.parametrize("most", [255, 4095, 65535])
def test_opaque_alpha_of_fewer_bits_is_opaque(most):
    values = np.full((*PHOTO.shape[:2], 4), most, np.uint16)
    values[:, :, :3] = PHOTO
    np.testing.assert_array_equal(read_image(values), read_image(PHOTO.astype(np.uint16)))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float64])
def test_tiff_where_white_is_zero_is_inverted(tmp_path, kind):
    path = tmp_path / "w.tif"
    values = np.tile(np.arange(256), (2, 1))
    tifffile.imwrite(path, values.astype(kind), photometric="miniswhite")
    pixels = read_image(path)[0, :, 0]
    assert pixels[0] == 255
    assert pixels[255] == 0


def test_first_page_of_a_stack(tmp_path):
    pages = [Image.fromarray(np.full((5, 6), v, np.uint8)) for v in (10, 20, 30)]
    path = save(tmp_path, "stack.tif", pages[0], save_all=True, append_images=pages[1:])
    assert read_image(path).shape == (5, 6, 3)
    assert (read_image(path) == 10).all()
    stack = tmp_path / "deep.tif"
    tifffile.imwrite(stack, np.stack([PHOTO[:, :, 0] / 7.0] * 3), photometric="minisblack")
    np.testing.assert_array_equal(read_image(stack), read_image(PHOTO[:, :, 0] / 7.0))


# -- orientation --------------------------------------------------------------------------

F = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]], np.uint8) * 200
"""A letter F, (5, 3): none of its eight turned and mirrored forms are alike."""

STORED = {
    # How the camera stored an upright F, by the EXIF standard's "row 0 is, column 0 is":
    1: F,  # top, left
    2: F[:, ::-1],  # top, right: mirrored
    3: F[::-1, ::-1],  # bottom, right: upside down
    4: F[::-1],  # bottom, left
    5: F.T,  # left, top
    6: np.rot90(F, 1),  # right, top: must be turned clockwise to be shown
    7: F[::-1, ::-1].T,  # right, bottom
    8: np.rot90(F, -1),  # left, bottom
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_every_exif_orientation_is_shown_upright(tmp_path, orientation, suffix):
    big = STORED[orientation].repeat(16, axis=0).repeat(16, axis=1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"jpg": {"quality": 95}, "webp": {"lossless": True}}.get(suffix, {})
    path = save(tmp_path, f"f.{suffix}", Image.fromarray(big), exif=exif, **options)
    pixels = read_image(path)
    assert image_size(path) == pixels.shape[:2] == (80, 48)
    assert ((pixels[8::16, 8::16, 0] > 100) == (F > 0)).all()
    with path.open("rb") as file, Image.open(file) as image:
        assert (read_image(image) == pixels).all()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_deep_files(tmp_path, orientation):
    stored = np.ascontiguousarray(STORED[orientation])
    tif = tmp_path / "f.tif"
    tag = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(tif, stored.astype(np.float64), extratags=tag, photometric="minisblack")
    assert image_size(tif) == (5, 3)
    np.testing.assert_array_equal(read_image(tif)[:, :, 0] > 0, F > 0)

    exif = Image.Exif()
    exif[0x0112] = orientation
    png = save(tmp_path, "f.png", Image.fromarray(stored.astype(np.uint16) * 9), exif=exif)
    np.testing.assert_array_equal(read_image(png)[:, :, 0] > 0, F > 0)
    np.testing.assert_array_equal(read_values(png) > 0, F > 0)


@pytest.mark.parametrize("value", [0, 9, 4711])
def test_senseless_orientation_counts_as_none(tmp_path, value):
    exif = Image.Exif()
    exif[0x0112] = value
    path = save(tmp_path, "f.png", Image.fromarray(F), exif=exif)
    np.testing.assert_array_equal(read_image(path)[:, :, 0], F)


# -- bad input ----------------------------------------------------------------------------


def encoded(format: str, image: np.ndarray = PHOTO, **options: object) -> bytes:
    data = io.BytesIO()
    Image.fromarray(image).save(data, format, **options)
    return data.getvalue()


TRUNCATED = {
    "baseline.jpg": encoded("JPEG"),
    "progressive.jpg": encoded("JPEG", progressive=True),
    "rgb.png": encoded("PNG"),
    "deep.png": encoded("PNG", PHOTO[:, :, 0].astype(np.uint16) * 9),
    "raw.tif": encoded("TIFF"),
    "lzw.tif": encoded("TIFF", compression="tiff_lzw"),
    "raw.bmp": encoded("BMP"),
    "lossy.webp": encoded("WEBP"),
    "index.gif": encoded("GIF"),
}


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("name", TRUNCATED)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
# Pillow warns about cut-off metadata before it gives up.
@pytest.mark.filterwarnings("ignore::UserWarning:PIL.*")
def test_truncated_file_is_never_half_grey(tmp_path, monkeypatch, name, share, lenient):
    # Other packages switch Pillow's tolerance on for the whole process.
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", lenient)
    data = TRUNCATED[name]
    path = tmp_path / name
    path.write_bytes(data)
    assert read_image(path).shape == (40, 60, 3)
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ImageError, match=name) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    assert lenient == ImageFile.LOAD_TRUNCATED_IMAGES


def test_truncated_scientific_tiff(tmp_path):
    path = tmp_path / "s.tif"
    tifffile.imwrite(path, PHOTO[:, :, 0].astype(np.float64), photometric="minisblack")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(ImageError, match=r"s\.tif cannot be decoded"):
        read_image(path)


def test_scientific_tiff_with_missing_strips(tmp_path):
    path = tmp_path / "s.tif"
    values = PHOTO[:, :, 0].astype(np.float64)
    tifffile.imwrite(path, values, photometric="minisblack", compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages.first.tags["ImageLength"].overwrite(4000)
    with pytest.raises(ImageError, match=r"s\.tif cannot be decoded"):
        read_image(path)


def test_truncated_pil_image():
    data = TRUNCATED["baseline.jpg"]
    image = Image.open(io.BytesIO(data[:-100]))
    with image, pytest.raises(ImageError, match="truncated"):
        read_image(image)


def test_truncated_mask_values(tmp_path):
    path = tmp_path / "m.png"
    path.write_bytes(TRUNCATED["rgb.png"][:-300])
    with pytest.raises(ImageError, match="truncated"):
        read_values(path)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: p / "no.png", "does not exist"),
        (lambda p: p, "is a folder"),
        (lambda p: empty(p / "e.png", b""), "empty file"),
        (lambda p: empty(p / "t.png", b"this is a text, no image"), "not an image"),
        (lambda p: "a\0b.png", "not exist|not the path"),
        (lambda p: "x" * 5000, "not the path|not exist"),
        (lambda p: 17, "int"),
        (lambda p: np.zeros((0, 5, 3), np.uint8), "no pixels"),
        (lambda p: np.zeros((5, 0), np.uint8), "no pixels"),
        (lambda p: np.zeros((5,), np.uint8), "shape"),
        (lambda p: np.zeros((5, 5, 2), np.uint8), "shape"),
        (lambda p: np.zeros((2, 5, 5, 3), np.uint8), "shape"),
        (lambda p: np.zeros((5, 5), complex), "complex128"),
        (lambda p: np.array([["a"]]), "type <U1"),
        (lambda p: np.full((3, 3), np.nan), "finite"),
        (lambda p: Image.new("RGB", (0, 4)), "0 x 4"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path, make, message):
    with pytest.raises(ImageError, match=message) as caught:
        read_image(make(tmp_path))
    assert "\n" not in str(caught.value)


def empty(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_file_without_permission(tmp_path):
    path = save(tmp_path, "a.png", Image.fromarray(F))
    path.chmod(0)
    with pytest.raises(ImageError, match="permission"):
        read_image(path)


@pytest.mark.parametrize("name", TRUNCATED)
def test_large_images_are_welcome(tmp_path, monkeypatch, name):
    path = empty(tmp_path / name, TRUNCATED[name])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(path).shape == (40, 60, 3)
        assert image_size(path) == (40, 60)
    assert Image.MAX_IMAGE_PIXELS == 100


def test_images_beyond_the_limit_are_refused_before_decoding(tmp_path):
    bomb = empty(tmp_path / "bomb.pgm", b"P5 60000 60000 255 ")
    for read in (read_image, image_size, read_values):
        with pytest.raises(ImageError, match=r"bomb\.pgm has 60000 x 60000 .* tiles"):
            read(bomb)


def test_threads_that_read_at_once_leave_pillow_as_it_was(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    good = empty(tmp_path / "good.jpg", TRUNCATED["baseline.jpg"])
    bad = empty(tmp_path / "bad.jpg", TRUNCATED["baseline.jpg"][:-50])

    def read(number: int) -> bool:
        try:
            read_image(bad if number % 2 else good)
        except ImageError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(read, range(200)))
    assert results == [number % 2 == 0 for number in range(200)]
    assert Image.MAX_IMAGE_PIXELS == 100
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


# -- folders ------------------------------------------------------------------------------


def test_images_are_listed_in_natural_order(tmp_path):
    for name in ("img10.png", "img2.JPG", "img1.tiff", "notes.txt", ".img3.png", "._img4.png"):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "img0.png").touch()
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache" / "img5.png").touch()
    names = [path.name for path in list_images(tmp_path)]
    assert names == ["img1.tiff", "img2.JPG", "img10.png"]
    deep = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path, recursive=True)]
    assert deep == ["img1.tiff", "img2.JPG", "img10.png", "sub/img0.png"]


def test_a_subfolder_that_cannot_be_read_is_told_of(tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    for folder in (tmp_path, closed):
        folder.mkdir(exist_ok=True)
        (folder / "a.png").touch()
    open_folder = os.scandir

    def scandir(path):
        if Path(path) == closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(closed))
        return open_folder(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.warns(RuntimeWarning, match=r"closed cannot be read \(Permission denied\): its im"):
        assert list_images(tmp_path, recursive=True) == [tmp_path / "a.png"]
    found = []
    list_images(tmp_path, recursive=True, on_error=found.append)
    assert [error.filename for error in found] == [str(closed)]
    assert list_images(tmp_path) == [tmp_path / "a.png"]


def test_slides_and_zarr_stores_are_listed_where_they_are_asked_for(tmp_path):
    (tmp_path / "a.zarr" / "0").mkdir(parents=True)
    (tmp_path / "sub.zarr.old").mkdir()
    for name in ("b.png", "c.SVS", "a.zarr/0/inside.png", "sub.zarr.old/d.ndpi"):
        (tmp_path / name).touch()
    plain = list_images(tmp_path, recursive=True)
    assert [path.name for path in plain] == ["b.png"]
    large = list_images(tmp_path, recursive=True, large=True)
    assert [path.name for path in large] == ["a.zarr", "b.png", "c.SVS", "d.ndpi"]


def test_folder_without_images(tmp_path):
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match="no image in"):
        list_images(tmp_path)
    with pytest.raises(DataError, match="not a folder"):
        list_images(tmp_path / "a.txt")
    with pytest.raises(DataError, match="not a folder"):
        list_images(tmp_path / "nowhere")


def test_natural_key_orders_any_names():
    names = ["a", "A1", "a2", "a10", "b", "1", "²", "10a", "a²", "", "7", "a02"]
    for order in itertools.permutations(names[:5]):
        assert sorted(order, key=natural_key) == ["a", "A1", "a2", "a10", "b"]
    assert len(sorted(names, key=natural_key)) == len(names)
