"""`widget`: annotate an image inside a notebook, with a model that learns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from samadapt.data.images import ImageLike
from samadapt.models.base import SegmentationModel
from samadapt.models.seams import Seams

if TYPE_CHECKING:
    from samadapt.integrations.notebook_widget import AnnotationWidget


def widget(
    image: ImageLike,
    model: SegmentationModel | str = "nano",
    adapters: Sequence[Seams] | None = None,
    *,
    label: str = "object",
    name: str | None = None,
) -> AnnotationWidget:
    """A widget to segment an image with clicks and boxes; show it as the last line of a cell.

        annotator = samadapt.widget("cells.png")
        annotator                     # click, accept, and in a later cell:
        annotator.masks               # (N, H, W) bool

    A left click marks the object, a right click (or Alt) the background, and dragging draws a box.
    Adapters learn from accepted objects. Needs the extra `notebook`.

    Args:
        image: a path, a PIL image, or an array, as in `SegmentationModel.encode`.
        model: a model, or its name.
        adapters: applied in order; a new `OnlineAdapter` if left out, none if empty.
        label: first label of accepted objects.
        name: of the image; the file's name by default.

    Raises:
        ImportError: the extra is not installed.
        ImageError: unreadable, truncated or empty image.
        ModelError: a model that cannot be loaded.
        AdapterError: an adapter made for another model.
    """
    try:
        from samadapt.integrations.notebook_widget import AnnotationWidget
    except ModuleNotFoundError as error:
        if error.name not in ("anywidget", "traitlets", "ipywidgets"):
            raise
        raise ImportError(
            "the notebook's widget needs anywidget: pip install 'samadapt[notebook]'"
        ) from None
    from samadapt.adapters.online import OnlineAdapter
    from samadapt.models.registry import load
    from samadapt.session.session import Session

    loaded = load(model) if isinstance(model, str) else model
    session = Session(loaded, adapters=[OnlineAdapter()] if adapters is None else adapters)
    shown = AnnotationWidget(session, label)
    shown.open_image(image, name)
    return shown
