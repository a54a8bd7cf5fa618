"""A short video, decoded with PyAV (the extra `video`)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samadapt.data.stacks.source import StackFacts, missing_package
from samadapt.data.stacks.voxels import VoxelSize
from samadapt.errors import ImageError

_QUARTER = 90


class VideoFrames:
    """Frames of a video in the order they are shown.

    Going forward decodes every frame once; going back starts again at the key frame before.
    """

    def __init__(self, path: Path) -> None:
        try:
            import av
        except ImportError:
            raise missing_package(str(path), "a video", "av", "video") from None
        self._path, self._errors = path, av.error.FFmpegError
        self._next, self._times = 0, list[int]()
        self._frames: Iterator[Any] = iter(())
        try:
            self._container: Any = av.open(str(path))
            self._stream = next(iter(self._container.streams.video), None)
        except Exception as error:  # FFmpeg tells of damage in many ways
            raise ImageError(
                f"{path} is no video that can be decoded ({_reason(error)}): convert it to MP4 "
                "(H.264)"
            ) from None
        try:
            self._begin()
        except BaseException:
            self._container.close()
            raise

    def read(self, index: int) -> NDArray[Any]:
        """A frame (H, W, 3) uint8."""
        wanted = self._times[index]
        try:
            if index < self._next:
                self._container.seek(wanted, stream=self._stream, backward=True)
                self._frames = self._decoded()
            for frame in self._frames:
                if frame.pts is not None and frame.pts >= wanted:
                    self._next = index + 1
                    return self._converted(frame)
        except self._errors as error:
            self._next = len(self._times)
            raise self._damaged(index, error) from None
        self._next = len(self._times)
        raise self._damaged(index, None)

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _begin(self) -> None:
        path = self._path
        if self._stream is None:
            raise ImageError(f"{path} has no video in it: give a file with pictures")
        if self._stream.codec_context is None:
            raise ImageError(f"{path} has a video without a decoder: convert it to MP4 (H.264)")
        self._stream.thread_type = "AUTO"
        self._times = self._shown_at()
        self._frames = self._decoded()
        first = self._converted(self._first())
        rate = self._stream.average_rate or self._stream.guessed_rate
        names = tuple(f"frame {index}" for index in range(len(self._times)))
        voxel = VoxelSize(t=float(1 / rate)) if rate else VoxelSize()
        size = int(first.shape[0]), int(first.shape[1])
        self.facts = StackFacts(names, size, "t", voxel)

    def _shown_at(self) -> list[int]:
        """When each frame is shown, from the packets alone."""
        times = []
        try:
            for packet in self._container.demux(self._stream):
                if packet.pts is not None:
                    times.append(int(packet.pts))
        except self._errors:
            pass  # truncated: the frames until there remain
        if not times:
            raise ImageError(f"{self._path} has no frames: copy or export the video again")
        self._container.seek(0, stream=self._stream, backward=True)
        return sorted(times)

    def _decoded(self) -> Iterator[Any]:
        yield from self._container.decode(self._stream)

    def _first(self) -> Any:
        try:
            frame = next(self._frames)
        except (StopIteration, self._errors) as error:
            raise self._damaged(0, error) from None
        self._next = 1
        return frame

    def _converted(self, frame: Any) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
        turns = round(getattr(frame, "rotation", 0) / _QUARTER) % 4
        return np.ascontiguousarray(np.rot90(pixels, turns))

    def _damaged(self, index: int, error: object) -> ImageError:
        return ImageError(
            f"{self._path}, frame {index} cannot be decoded ({_reason(error)}): the video is "
            "damaged or truncated there"
        )


def _reason(error: object) -> str:
    text = getattr(error, "strerror", None) or str(error or "").strip()
    return text.splitlines()[0] if text else "the file ends before it"
