"""`ImageFinder`: finds the images of Label Studio's tasks, and notices when they are replaced."""

from __future__ import annotations

import hashlib
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

import numpy as np
from numpy.typing import NDArray

from samadapt.data.label_studio import local_names
from samadapt.errors import DataError, ImageError
from samadapt.server.decoding import Decoder
from samadapt.server.label_studio_client import LabelStudioClient, Validators
from samadapt.server.pictures import path_inside
from samadapt.store.errors import MissingError

_LONGEST_ADDRESS = 4096
_SHOWN = 200
_KEPT = 500
_REMEDY = (
    "is not in the folder of images: start `samadapt serve --label-studio` with --images, or with "
    "--url and --api-key of Label Studio"
)


@dataclass(frozen=True, slots=True)
class FoundImage:
    """The present version of an image that a task names.

    Attributes:
        address: address in the task.
        stamp: identifies the version; it changes when the image is replaced.
        path: the image's file in the folder; None if it is at Label Studio.
        data: bytes of an image at Label Studio that has changed since it was last found.
    """

    address: str
    stamp: str
    path: Path | None = None
    data: bytes | None = None


class ImageFinder:
    """Finds the images that tasks name: in a folder, or at one Label Studio server.

    No other files and servers are ever accessed, whatever address a task names. The error for a
    file outside the folder is the same whether the file exists or not.

    Args:
        folder: folder of images, or None.
        url: address of Label Studio, or None.
        key: access token for Label Studio, or None.
        decoder: decodes image files.

    Attributes:
        client: client of Label Studio, or None.
    """

    def __init__(
        self, folder: Path | None, url: str | None, key: str | None, decoder: Decoder | None = None
    ) -> None:
        self._folder, self._decoder = folder, decoder or Decoder()
        self.client = None if url is None else LabelStudioClient(url, key)
        self._seen: OrderedDict[str, tuple[Validators, str]] = OrderedDict()

    def find(self, address: str) -> FoundImage:
        """Find the image that a task names, without decoding it.

        Raises:
            DataError: the address is invalid, or the image is neither in the folder nor at Label
                Studio.
        """
        if not address or len(address) > _LONGEST_ADDRESS or not address.isprintable():
            raise DataError(
                f"the address of an image has 1 to {_LONGEST_ADDRESS} printable characters, not "
                f"{address[:_SHOWN]!r}"
            )
        local = self._local(address)
        if local is not None:
            return local
        if self.client is None:
            raise DataError(f"{address[:_SHOWN]} {_REMEDY}")
        validators, stamp = self._seen.get(address, (Validators(), ""))
        data, validators = self.client.read(address, validators)
        if data is not None:
            stamp = hashlib.sha256(data).hexdigest()
        self._seen[address] = validators, stamp
        while len(self._seen) > _KEPT:
            self._seen.popitem(last=False)
        return FoundImage(address, stamp, None, data)

    @contextmanager
    def pixels(self, found: FoundImage) -> Iterator[NDArray[np.uint8]]:
        """Yield the pixels (H, W, 3) of an image that was found.

        Raises:
            DataError: the image is gone.
            ImageError: the image cannot be read, or is too large to decode.
        """
        if found.path is not None:
            with self._decoder.reading(found.path) as pixels:
                yield pixels
            return
        data = found.data
        if data is None:
            if self.client is None:
                raise DataError(f"{found.address[:_SHOWN]} {_REMEDY}")
            data, _ = self.client.read(found.address)
        with tempfile.TemporaryDirectory(prefix="samadapt-") as folder:
            path = Path(folder, "image")
            path.write_bytes(data or b"")
            try:
                with self._decoder.reading(path) as pixels:
                    yield pixels
            except ImageError as error:
                raise ImageError(str(error).replace(str(path), found.address[:_SHOWN])) from None

    def _local(self, address: str) -> FoundImage | None:
        if self._folder is None:
            return None
        for name in local_names(address, self._folder):
            try:
                path = path_inside(self._folder, name)
                state = path.stat()
            except (MissingError, OSError, ValueError):
                continue  # missing, outside of the folder, or not a valid file name
            if name and S_ISREG(state.st_mode):
                stamp = f"{path}\n{state.st_size}\n{state.st_mtime_ns}"
                return FoundImage(address, stamp, path)
        return None
