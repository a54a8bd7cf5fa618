"""Writing of a stack's slices as image files, with the names used in COCO files."""

from __future__ import annotations

import os
from pathlib import Path

from PIL import Image

from samadapt.data.files import save_image
from samadapt.data.import_issues import ImportIssues, LeftOut
from samadapt.data.stacks import Stack


def save_frames(stack: Stack, folder: str | os.PathLike[str]) -> tuple[LeftOut, ...]:
    """Write every slice as a PNG with its display contrast; unreadable slices are left out.

    Args:
        stack: the stack.
        folder: created if it is missing; slices that were written before are replaced.

    Returns:
        The slices that were left out.

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
