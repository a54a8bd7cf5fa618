"""The slices of a stack as image files, under the names that COCO files give them."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

from samadapt.data.files import save_image
from samadapt.data.import_issues import ImportIssues, LeftOut
from samadapt.data.stacks import Stack


def save_frames(stack: Stack, folder: str | os.PathLike[str]) -> tuple[LeftOut, ...]:
    """Write every slice as a PNG, as it is shown; slices that cannot be read are left out.

    Args:
        stack: the stack.
        folder: made if it is not there; slices that were written before are replaced.

    Returns:
        What was left out.

    Raises:
        DataError: it cannot be written.
    """
    folder, findings = Path(folder), ImportIssues()
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(len(stack)):
        pixels = None
        with findings.leaving_out(stack.slice_name(index)):
            pixels = stack[index]
        if pixels is not None:
            name = Path(stack.file_name(index)).with_suffix(".png")
            save_image(folder / name, Image.fromarray(pixels), "PNG")
    return findings.left_out
