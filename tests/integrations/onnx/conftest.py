from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import samadapt
from samadapt.models.base import SegmentationModel
from small_models import tiny_model

Exporter = Callable[[str], tuple[SegmentationModel, Path]]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exporter:
    """A tiny model of a family and the folder of its export, written once."""

    @functools.cache
    def export(name: str) -> tuple[SegmentationModel, Path]:
        model = tiny_model(name)
        folder = tmp_path_factory.mktemp("exports") / name
        samadapt.export_model(model, folder)
        return model, folder

    return export


@pytest.fixture
def known_encoder(exported: Exporter, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Take a family's encoder from `exported`, to save the time of recording it again."""

    def use(name: str) -> None:
        _, folder = exported(name)

        def copy(parts: object, pixels: object, sizes: object, path: Path) -> None:
            shutil.copy(folder / path.name, path)

        monkeypatch.setattr("samadapt.exporting.export.write_encoder", copy)

    return use
