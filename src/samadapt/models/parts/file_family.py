"""`FileFamily`: a family whose models come as checkpoint files. Imports no torch."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from samadapt.errors import CheckpointError
from samadapt.models.places import find_file, require_file
from samadapt.models.registry import LoadOptions, ModelInfo, ModelSource, register_family

if TYPE_CHECKING:
    from samadapt.models.base import SegmentationModel
    from samadapt.models.checkpoint_file import Checkpoint


@dataclass(frozen=True, slots=True)
class FileFamily:
    """A family whose models are found by name in the folders of model files, or by their path.

    Attributes:
        models: lines of the listing.
        module: dotted name of the module that reads checkpoints, imported when there is one. It
            has `published_like(checkpoint)`, which returns the listed model with the checkpoint's
            architecture or None, and `load_checkpoint(checkpoint, name, options)`.
    """

    models: tuple[ModelInfo, ...]
    module: str

    def register(self) -> None:
        """Make the family known to `samadapt.load` and to the listing."""
        names = [info.name for info in self.models]
        register_family(
            self.matches, self.load, names=names, listing=self.listing, like=self.published_like
        )

    def matches(self, source: ModelSource) -> bool:
        """A known name, in full or in short, or a checkpoint of this architecture."""
        if source.checkpoint is None:
            return source.path is None and self._named(source.name) is not None
        return self.published_like(source.checkpoint) is not None

    def load(self, source: ModelSource, options: LoadOptions) -> SegmentationModel:
        """Load a checkpoint, by its path or from the folders of model files.

        Raises:
            ModelError: the file of a known model is not on this machine.
        """
        info, name = self._named(source.name), source.name
        if source.path is not None:
            name = source.path.stem
        elif info is not None:
            name = info.name
            source = ModelSource(name, require_file(name, info.files, info.source))
        if source.checkpoint is None:
            raise CheckpointError(f"{source.name} is no checkpoint file")
        source.checkpoint.tell_ignored()
        model: SegmentationModel = self._module().load_checkpoint(source.checkpoint, name, options)
        return model

    def listing(self) -> list[ModelInfo]:
        """The models; `offline` is set for models on this machine."""
        return marked_present(self.models)

    def published_like(self, checkpoint: Checkpoint) -> str | None:
        """The published model of a checkpoint's architecture; None for another family's."""
        name: str | None = self._module().published_like(checkpoint)
        return name

    def _named(self, name: str) -> ModelInfo | None:
        return next((i for i in self.models if name in (i.name, i.name.rpartition("/")[2])), None)

    def _module(self) -> Any:
        return importlib.import_module(self.module)


def marked_present(models: Sequence[ModelInfo]) -> list[ModelInfo]:
    """Set `offline` in the lines of models whose file is on this machine."""
    return [replace(model, offline=find_file(model.files) is not None) for model in models]
