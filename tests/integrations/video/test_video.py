from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from samadapt.data.stacks import Stack
from samadapt.errors import ImageError


def write_video(path: Path, count: int = 30, codec: str = "mpeg4") -> Path:
    """Frame k has the grey 8 k, up to 240; a key frame every ten."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.gop_size = 10
        for index in range(count):
            pixels = np.full((48, 64, 3), min(8 * index, 240), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def grey(pixels: NDArray[np.uint8]) -> float:
    return float(pixels.mean())


def test_frames_come_in_any_order(tmp_path: Path) -> None:
    with Stack.open(write_video(tmp_path / "a.mp4")) as stack:
        assert (len(stack), stack.size, stack.axis) == (30, (48, 64), "t")
        assert stack.voxel.t == pytest.approx(0.1)
        for index in (0, 1, 2, 17, 3, 29, 28, 0, 11):
            assert grey(stack[index]) == pytest.approx(8 * index, abs=4), index
        assert stack.check() == ()


def test_a_truncated_video_gives_what_is_there(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 60)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with Stack.open(path) as stack:
        assert 0 < len(stack) < 60
        assert grey(stack[1]) == pytest.approx(8, abs=4)
        assert all("\n" not in str(finding) for finding in stack.check())


@pytest.mark.parametrize("data", [b"no video", b"\0" * 5000])
def test_what_is_no_video(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(ImageError, match="no video that can be decoded") as caught:
        Stack.open(tmp_path / "a.mp4")
    assert "\n" not in str(caught.value)


def test_sound_alone_is_no_stack(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(ImageError, match="no video in it"):
        Stack.open(path)
