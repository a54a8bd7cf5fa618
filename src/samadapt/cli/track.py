"""`samadapt track`: propagate objects along a stack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from samadapt.cli import common
from samadapt.cli.common import AdapterOption
from samadapt.cli.groups import ModelOptions, with_groups
from samadapt.errors import DataError

if TYPE_CHECKING:
    from samadapt.data.stacks import Stack
    from samadapt.data.tracks import Tracks
    from samadapt.tracking.carrying import Propagator
    from samadapt.tracking.propagation import Propagation, Stop


@with_groups
def track(
    *,
    stack: Annotated[
        Path,
        typer.Argument(
            help="A TIFF with several pages, a folder of numbered frames, a video, or an OME-zarr, "
            "NRRD or NIfTI volume.",
            metavar="STACK",
        ),
    ],
    masks: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="The objects in one or more slices: COCO (.json), or a label image or volume.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            help="COCO (.json), a label volume (.tif, .zarr, .nrrd, .nii.gz), or a new folder for "
            "the Cell Tracking Challenge's format.",
        ),
    ],
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Instead of the model: a SAM 2 video model, whose memory propagates the objects.",
        ),
    ] = None,
    adapter: AdapterOption = None,
    learn: Annotated[
        bool, typer.Option("--learn", help="Let adapters learn the given masks first (online).")
    ] = False,
    slice_: Annotated[
        int | None,
        typer.Option("--slice", metavar="N", help="Slice of the masks, if they are of one image."),
    ] = None,
    fill_between: Annotated[
        bool,
        typer.Option("--fill", help="Fill the slices between two slices with masks."),
    ] = False,
    axis: Annotated[
        str | None, typer.Option(metavar="z|t", help="Axis to follow, in a file with both.")
    ] = None,
    frames: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Also write the slices as PNG files.")
    ] = None,
    smaller_on_top: Annotated[
        bool,
        typer.Option(
            "--smaller-on-top",
            help="In label volumes let the smaller of two objects cover the larger; otherwise "
            "overlaps are an error.",
        ),
    ] = False,
    run: ModelOptions,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Propagate objects along a stack, in both directions from the given masks.

    Where a prediction disagrees with the propagated mask, the object stops and
    the slice is named: correct the mask there and run again.
    """
    from samadapt.data.stacks import Stack

    _check_outputs(out, frames, stack, masks)
    if axis not in (None, "z", "t"):
        raise DataError(f"--axis {axis}: give z or t")
    if memory is not None and (adapter or learn):
        raise DataError("--memory takes no --adapter or --learn: leave them out")
    with Stack.open(stack, axis=axis) as opened:  # type: ignore[arg-type]
        for finding in opened.findings:
            typer.echo(f"note: {finding}", err=True)
        given = _read_masks(masks, opened, slice_)
        carrying = _propagator(run, memory, adapter)
        with common.progress_bar("carrying") as progress:
            found = _carried(carrying, opened, given, fill_between, learn, progress)
        common.tell_untrained(adapter or (), is_session=learn)
        _save(out, found.tracks, opened, smaller_on_top)
        if frames is not None:
            from samadapt.data.frames_out import save_frames

            save_frames(opened, frames)
        _print(out, found, given, as_json)


def _check_outputs(out: Path, frames: Path | None, stack: Path, masks: Path) -> None:
    if out.suffix.lower() in ("", ".zarr"):
        common.check_output_folder("--out", out, (stack, masks))
    else:
        common.check_outputs(("--out", out), inputs=(stack, masks))
    if frames is not None:
        common.check_output_folder("--frames", frames, (stack, masks))


def _read_masks(path: Path, stack: Stack, index: int | None) -> Tracks:
    """Read the given objects; objects of a single image go into slice `index`."""
    from samadapt.data.label_volumes import load_label_volume
    from samadapt.data.tracks import Track, Tracks
    from samadapt.data.tracks_coco import load_tracks_coco

    is_coco = path.suffix.lower() == ".json"
    found = load_tracks_coco(path) if is_coco else load_label_volume(path)
    if not len(found):
        raise DataError(f"--masks {path} holds no object: mark at least one")
    slices = {i for one in found for i in one.slices}
    if index is not None:
        if len(slices) > 1:
            raise DataError(f"--slice {index}: {path} has masks in {len(slices)} slices already")
        if not 0 <= index < len(stack):
            raise DataError(f"--slice {index}: {stack.name} has slices 0 to {len(stack) - 1}")
        moved = (
            Track(t.id, {index: next(iter(t.masks.values()))}, t.label, t.parent) for t in found
        )
        return Tracks(found.size, len(stack), tuple(moved))
    if is_coco:
        return load_tracks_coco(path, stack)
    return Tracks(found.size, len(stack), found.tracks)


def _propagator(run: ModelOptions, memory: str | None, adapters: list[str] | None) -> Propagator:
    from samadapt.tracking.propagation import propagator_for

    if memory is not None:
        from samadapt.models.registry import load_memory

        common.set_threads(run.threads)
        return propagator_for(load_memory(memory, run.device))
    from samadapt.adapters.registry import create_adapter

    loaded = run.load()
    return propagator_for(loaded, [create_adapter(spec, loaded) for spec in adapters or ()])


def _carried(
    carrying: Propagator, stack: Stack, given: Tracks, between: bool, learn: bool, progress: Any
) -> Propagation:
    """Propagate all objects, in both directions from their first and last given masks."""
    from samadapt.tracking.propagation import Propagation, fill, propagate

    tracks = given
    stops: list[Stop] = []
    problems: list[str] = []
    taught: set[int] = set()

    def take(found: Propagation) -> None:
        nonlocal tracks
        tracks = found.tracks
        stops.extend(found.stops)
        problems.extend(found.problems)

    for one in given if between else ():
        for first, last in zip(one.slices, one.slices[1:], strict=False):
            if last > first + 1:
                take(fill(carrying, stack, tracks, first, last, only=[one.id], progress=progress))
    for end, at in ((len(stack) - 1, -1 if between else 0), (0, 0)):
        starts: dict[int, list[int]] = {}
        for one in given:
            starts.setdefault(one.slices[at], []).append(one.id)
        for start, ids in sorted(starts.items()):
            if start != end:
                take(
                    propagate(
                        carrying,
                        stack,
                        tracks,
                        start,
                        end,
                        only=ids,
                        learn=learn and start not in taught,
                        progress=progress,
                    )
                )
                taught.add(start)
    return Propagation(tracks, tuple(stops), tuple(dict.fromkeys(problems)))


def _save(out: Path, tracks: Tracks, stack: Stack, smaller_on_top: bool) -> None:
    overlap = "smaller-on-top" if smaller_on_top else "error"
    suffix = out.suffix.lower()
    if suffix == ".json":
        from samadapt.data.tracks_coco import save_tracks_coco

        save_tracks_coco(out, tracks, stack)
    elif suffix == "":
        from samadapt.data.ctc import save_ctc

        save_ctc(out, tracks, overlap=overlap)  # type: ignore[arg-type]
    else:
        from samadapt.data.label_volumes import save_label_volume

        save_label_volume(out, tracks, stack, overlap)  # type: ignore[arg-type]


def _print(out: Path, found: Propagation, given: Tracks, as_json: bool) -> None:
    masks = sum(len(one.slices) for one in found.tracks)
    stops = [{"object": s.track, "slice": s.index, "why": s.why} for s in found.stops]
    if as_json:
        values = {
            "file": str(out),
            "objects": len(found.tracks),
            "given": sum(len(one.slices) for one in given),
            "masks": masks,
            "stops": stops,
            "problems": list(found.problems),
        }
        typer.echo(json.dumps(values))
        return
    for text in found.problems:
        typer.echo(f"left out: {text}", err=True)
    for stop in found.stops:
        typer.echo(f"check {stop}", err=True)
    typer.echo(f"{out}: {len(found.tracks)} objects, {masks} masks")
