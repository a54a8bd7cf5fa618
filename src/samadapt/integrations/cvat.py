"""An auto-annotation function for CVAT: learned tasks find their objects in every frame.

`cvat-cli task auto-annotate` and `cvat-cli function create-native` load this module by its name;
both call `create`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from samadapt.adapters.tasks import Tasks
from samadapt.data.polygons import mask_to_polygons
from samadapt.errors import AdapterError
from samadapt.models.base import SegmentationModel
from samadapt.models.registry import load
from samadapt.proposals.grid import ProposalOptions, propose
from samadapt.proposals.proposal import Proposal

try:
    import cvat_sdk.auto_annotation as cvat
    from cvat_sdk.masks import encode_mask
except ImportError as error:
    raise ImportError("CVAT's SDK is missing: pip install 'samadapt[cvat]'") from error


def create(
    tasks: str, model: str = "nano", min_score: float = 0.0, points: int = 16
) -> TaskFunction:
    """Create the detection function; CVAT's command line calls this.

    Args:
        tasks: folders of task adapters, separated by commas; or one folder that holds them.
        model: the model that the tasks were taught on.
        min_score: least score of an object, unless CVAT sets it (`--conf-threshold`).
        points: the search grid has about points x points of them.

    Raises:
        AdapterError: a task that cannot be loaded, or of another model.
        ModelError: a model that cannot be loaded.
        PromptError: an invalid number.
    """
    loaded = load(model)
    folders = [Path(part.strip()) for part in tasks.split(",") if part.strip()]
    if not folders:
        raise AdapterError("no task: give tasks=str:FOLDER, a folder that `samadapt fit` wrote")
    is_collection = len(folders) == 1 and not (folders[0] / "adapter_config.json").is_file()
    learned = Tasks.in_folder(loaded, folders[0]) if is_collection else Tasks(loaded, *folders)
    return TaskFunction(loaded, learned, ProposalOptions(points=points, min_score=min_score))


class TaskFunction:
    """A detection function: one label of type mask for each learned task."""

    def __init__(
        self, model: SegmentationModel, tasks: Tasks, options: ProposalOptions | None = None
    ) -> None:
        self._model, self._tasks = model, tasks
        self._options = options or ProposalOptions()

    @property
    def spec(self) -> Any:
        """The labels: the tasks by name."""
        named = enumerate(self._tasks)
        labels = [cvat.label_spec(name, number, type="mask") for number, name in named]
        return cvat.DetectionFunctionSpec(labels=labels)

    def detect(self, context: Any, image: Image.Image) -> list[Any]:
        """All objects of all tasks in a frame, as masks, or as polygons if CVAT asks for those.

        An object of several parts becomes several polygons of one group.

        Raises:
            ImageError: the frame cannot be read.
        """
        threshold = context.conf_threshold
        least = self._options.min_score if threshold is None else float(threshold)
        embedding = self._model.encode(image)
        shapes: list[Any] = []
        group = 0
        for number, name in enumerate(self._tasks):
            for one in propose(self._model, embedding, [self._tasks[name]], self._options):
                if one.score < least:
                    continue
                group += 1
                shapes += _shapes(number, one, group, polygons=context.conv_mask_to_poly)
        return shapes


def _shapes(label: int, found: Proposal, group: int, *, polygons: bool) -> Iterator[Any]:
    if not polygons:
        yield cvat.mask(label, encode_mask(found.mask), score=found.score)
        return
    outlines = mask_to_polygons(found.mask)
    more = {"group": group} if len(outlines) > 1 else {}
    for outline in outlines:
        corners = [float(value) for value in outline]
        yield cvat.polygon(label, corners, score=found.score, **more)
