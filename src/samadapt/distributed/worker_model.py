"""`WorkerModel`: the name of a model, which every worker loads for itself."""

from __future__ import annotations

from dataclasses import dataclass

from samadapt.errors import ModelError, SamadaptError
from samadapt.models.base import SegmentationModel
from samadapt.models.registry import load


@dataclass(frozen=True, slots=True)
class WorkerModel:
    """Description by which a worker loads the same model.

    Attributes:
        name: a name, a Hub id, or a path that is the same on every machine.
        device: of each worker, "auto" for its GPU.
        dtype: number format of the image encoder, not "auto", which may differ between machines.
        weights_hash: of the model at the start of the run.
    """

    name: str
    device: str = "auto"
    dtype: str = "float32"
    weights_hash: str | None = None

    @classmethod
    def of(cls, model: SegmentationModel, name: str, device: str = "auto") -> WorkerModel:
        """Describe a model that was loaded as `name`."""
        dtype = str(model.encoder_dtype).removeprefix("torch.")
        return cls(name, device, dtype, model.identity.weights_hash)

    def load(self) -> SegmentationModel:
        """Load it in a worker.

        Raises:
            ModelError: the model is missing on the worker, or has other weights.
        """
        try:
            model = load(self.name, self.device, self.dtype)
        except SamadaptError as error:
            raise ModelError(f"a worker cannot load the model {self.name}: {error}") from None
        if self.weights_hash not in (None, model.identity.weights_hash):
            raise ModelError(
                f"a worker has other weights of {self.name} than this machine: install the same "
                "version of the model everywhere"
            )
        return model
