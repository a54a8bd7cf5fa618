"""`ImageFinder`: the images that Label Studio's tasks name, and whether they were replaced."""

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
    """An image that a task names, as it is now.

    Attributes:
        address: as the task has it.
        stamp: another one when the image was replaced.
        path: its file in the folder; None for one at Label Studio.
        data: its bytes, of one at Label Studio that has changed since the last time.
    """

    address: str
    stamp: str
    path: Path | None = None
    data: bytes | None = None


class ImageFinder:
    """Finds the images that tasks name: in a folder, or at one Label Studio.

    Nothing else is ever read or asked, whatever a task says, and what is said of a file outside
    the folder is the same whether there is one or not.

    Args:
        folder: of images, or None.
        url: of Label Studio, or None.
        key: an access token of it, or None.
        decoder: decodes image files.

    Attributes:
        client: of Label Studio, or None.
    """

    def __init__(
        self, folder: Path | None, url: str | None, key: str | None, decoder: Decoder | None = None
    ) -> None:
        self._folder, self._decoder = folder, decoder or Decoder()
        self.client = None if url is None else LabelStudioClient(url, key)
        self._seen: OrderedDict[str, tuple[Validators, str]] = OrderedDict()

    def find(self, address: str) -> FoundImage:
        """The image that a task names, without decoding it.

        Raises:
            DataError: no address, or neither in the folder nor at Label Studio.
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
        """The image (H, W, 3).

        Raises:
            DataError: it is gone.
            ImageError: unreadable, or too large to decode.
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
                continue  # not there, out of the folder, or no name that a file can have
            if name and S_ISREG(state.st_mode):
                stamp = f"{path}\n{state.st_size}\n{state.st_mtime_ns}"
                return FoundImage(address, stamp, path)
        return None
