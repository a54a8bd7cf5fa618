"""Shipped adapters are found by name, and a missing one is explained."""

from __future__ import annotations

from pathlib import Path

import pytest

from samadapt.adapters import registry
from samadapt.adapters.registry import create_adapter, load_adapter
from samadapt.adapters.stable import StableAdapter
from samadapt.errors import AdapterError
from small_models import tiny_nano


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder whose method folders ship nothing yet."""
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "registry.py"))
    return tmp_path


@pytest.mark.parametrize("find", [load_adapter, create_adapter])
class TestByName:
    def test_a_shipped_adapter_is_found_by_its_name(self, find, package, monkeypatch) -> None:
        model = tiny_nano()
        adapter = StableAdapter()
        adapter.bind(model)
        adapter.save_pretrained(package / "stable" / "shipped" / "stable-tiny")
        found = find("stable-tiny", model)
        assert isinstance(found, StableAdapter)
        assert found.config == adapter.config

    def test_one_that_is_not_there_is_one_clear_error(self, find, package) -> None:
        message = r"ships no adapter 'stable-nano'.*samadapt fit stable --model nano"
        with pytest.raises(AdapterError, match=message):
            find("stable-nano")

    def test_a_folder_of_that_name_comes_first(self, find, package, tmp_path, monkeypatch) -> None:
        model = tiny_nano()
        adapter = StableAdapter()
        adapter.bind(model)
        (tmp_path / "work").mkdir()
        monkeypatch.chdir(tmp_path / "work")
        adapter.save_pretrained("stable-nano")
        assert isinstance(find("stable-nano", model), StableAdapter)

    def test_other_names_are_as_unknown_as_before(self, find, package) -> None:
        with pytest.raises(AdapterError, match=r"no adapter|unknown adapter method"):
            find("quantum-nano")
