"""Shipped adapters are found by name, and a missing one is explained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import samadapt
from samadapt.adapters import files
from samadapt.adapters.registry import create_adapter, load_adapter
from samadapt.adapters.stable import StableAdapter
from samadapt.errors import AdapterError
from small_models import tiny_nano


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of shipped adapters of a package that ships nothing yet."""
    monkeypatch.setattr(files, "_SHIPPED", tmp_path / "shipped")
    return tmp_path / "shipped"


@pytest.mark.parametrize("find", [load_adapter, create_adapter])
class TestByName:
    def test_a_shipped_adapter_is_found_by_its_name(self, find, package, monkeypatch) -> None:
        model = tiny_nano()
        adapter = StableAdapter()
        adapter.bind(model)
        adapter.save_pretrained(package / "stable-tiny")
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

    def test_a_wrongly_spelled_name_is_suggested(self, find, package) -> None:
        adapter = StableAdapter()
        adapter.bind(tiny_nano())
        adapter.save_pretrained(package / "stable-tiny")
        for name in ("stabel-tiny", "stable-tyni"):
            with pytest.raises(AdapterError, match=r"did you mean 'stable-tiny'"):
                find(name)

    def test_other_names_are_as_unknown_as_before(self, find, package) -> None:
        with pytest.raises(AdapterError, match=r"no adapter|unknown adapter method"):
            find("quantum-nano")


def test_shipped_adapters_are_listed_beside_the_methods() -> None:
    with pytest.raises(AdapterError, match=r"known methods: .*; shipped adapters: stable-nano$"):
        create_adapter("quantum")


def test_the_one_that_ships_fits_the_model_that_ships_and_has_a_card() -> None:
    model = samadapt.load("nano")
    for find in (load_adapter, create_adapter, StableAdapter.from_pretrained):
        adapter = find("stable-nano", model)
        assert isinstance(adapter, StableAdapter)
        assert adapter.parameter_count == 23_548
    card = (files._SHIPPED / "stable-nano" / "README.md").read_text(encoding="utf-8")
    assert model.identity.weights_hash[:12] in card
    embedding = model.encode(np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8))
    prompt = samadapt.Prompt([(20, 20), (40, 30), (60, 20)])
    plain = model.predict(embedding, prompt)
    changed = model.predict(embedding, prompt, adapters=[load_adapter("stable-nano", model)])
    assert not np.array_equal(plain.logits, changed.logits)
