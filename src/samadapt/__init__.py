"""samadapt: Segment Anything that learns your images while you annotate them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from samadapt.adapters.base import Adapter
    from samadapt.adapters.online import OnlineAdapter
    from samadapt.adapters.registry import load_adapter
    from samadapt.adapters.stable import StableAdapter
    from samadapt.adapters.task_prompt import TaskPromptAdapter
    from samadapt.adapters.tasks import Tasks
    from samadapt.data.stacks import Stack, VoxelSize
    from samadapt.data.tiled import TiledImage
    from samadapt.data.tracks import Track, Tracks
    from samadapt.errors import (
        AdapterError,
        CheckpointError,
        DataError,
        ImageError,
        ModelError,
        PromptError,
        SamadaptError,
        SessionError,
        UnknownModelError,
    )
    from samadapt.exporting.export import export_model
    from samadapt.integrations.notebook import widget
    from samadapt.models.base import SegmentationModel
    from samadapt.models.embedding import ImageEmbedding
    from samadapt.models.prediction import Prediction
    from samadapt.models.registry import load, load_memory
    from samadapt.prompts import Box, Click, Prompt
    from samadapt.proposals.grid import ProposalOptions, propose
    from samadapt.proposals.huge import HugeAnswer, predict_in_window
    from samadapt.proposals.proposal import Proposal
    from samadapt.proposals.similar import SimilarObjects, propose_similar
    from samadapt.proposals.windows import WindowOptions, propose_in_windows
    from samadapt.session.options import SessionOptions
    from samadapt.session.robot import ClickProtocol, annotate_object
    from samadapt.session.session import Session
    from samadapt.session.window_session import WindowSession
    from samadapt.session.windows import ImageWindows
    from samadapt.tracking.carrying import CarryOptions, Propagator
    from samadapt.tracking.propagation import Propagation, Stop, fill, propagate
    from samadapt.training.fit import fit

    __version__: str

__all__ = [
    "Adapter",
    "AdapterError",
    "Box",
    "CarryOptions",
    "CheckpointError",
    "Click",
    "ClickProtocol",
    "DataError",
    "HugeAnswer",
    "ImageEmbedding",
    "ImageError",
    "ImageWindows",
    "ModelError",
    "OnlineAdapter",
    "Prediction",
    "Prompt",
    "PromptError",
    "Propagation",
    "Propagator",
    "Proposal",
    "ProposalOptions",
    "SamadaptError",
    "SegmentationModel",
    "Session",
    "SessionError",
    "SessionOptions",
    "SimilarObjects",
    "StableAdapter",
    "Stack",
    "Stop",
    "TaskPromptAdapter",
    "Tasks",
    "TiledImage",
    "Track",
    "Tracks",
    "UnknownModelError",
    "VoxelSize",
    "WindowOptions",
    "WindowSession",
    "__version__",
    "annotate_object",
    "export_model",
    "fill",
    "fit",
    "load",
    "load_adapter",
    "load_memory",
    "predict_in_window",
    "propagate",
    "propose",
    "propose_in_windows",
    "propose_similar",
    "widget",
]

_HOMES = {
    "samadapt.adapters.base": ("Adapter",),
    "samadapt.adapters.online": ("OnlineAdapter",),
    "samadapt.adapters.registry": ("load_adapter",),
    "samadapt.adapters.stable": ("StableAdapter",),
    "samadapt.adapters.task_prompt": ("TaskPromptAdapter",),
    "samadapt.adapters.tasks": ("Tasks",),
    "samadapt.data.stacks": ("Stack", "VoxelSize"),
    "samadapt.data.tiled": ("TiledImage",),
    "samadapt.data.tracks": ("Track", "Tracks"),
    "samadapt.errors": (
        "AdapterError",
        "CheckpointError",
        "DataError",
        "ImageError",
        "ModelError",
        "PromptError",
        "SamadaptError",
        "SessionError",
        "UnknownModelError",
    ),
    "samadapt.exporting.export": ("export_model",),
    "samadapt.integrations.notebook": ("widget",),
    "samadapt.models.base": ("SegmentationModel",),
    "samadapt.models.embedding": ("ImageEmbedding",),
    "samadapt.models.prediction": ("Prediction",),
    "samadapt.models.registry": ("load", "load_memory"),
    "samadapt.prompts": ("Box", "Click", "Prompt"),
    "samadapt.proposals.grid": ("ProposalOptions", "propose"),
    "samadapt.proposals.huge": ("HugeAnswer", "predict_in_window"),
    "samadapt.proposals.proposal": ("Proposal",),
    "samadapt.proposals.similar": ("SimilarObjects", "propose_similar"),
    "samadapt.proposals.windows": ("WindowOptions", "propose_in_windows"),
    "samadapt.session.options": ("SessionOptions",),
    "samadapt.session.robot": ("ClickProtocol", "annotate_object"),
    "samadapt.session.session": ("Session",),
    "samadapt.session.window_session": ("WindowSession",),
    "samadapt.session.windows": ("ImageWindows",),
    "samadapt.tracking.carrying": ("CarryOptions", "Propagator"),
    "samadapt.tracking.propagation": ("Propagation", "Stop", "fill", "propagate"),
    "samadapt.training.fit": ("fit",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562): `import samadapt` stays instant."""
    if name == "__version__":
        from samadapt.version import installed_version

        value: Any = installed_version()
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
