from __future__ import annotations

import json
from pathlib import Path

import pytest

from fakes import FakeModel
from samadapt.adapters.base import Adapter
from samadapt.adapters.registry import (
    create_adapter,
    get_method,
    load_adapter,
    method_names,
    register,
)
from samadapt.errors import AdapterError
from toy_adapter import ToyAdapter, ToyConfig

pytestmark = pytest.mark.usefixtures("toy_method")


@pytest.fixture
def saved(tmp_path: Path, fake_model: FakeModel) -> Path:
    adapter = ToyAdapter(ToyConfig(rate=0.25))
    adapter.bind(fake_model)
    adapter.save_pretrained(tmp_path / "mine")
    return tmp_path / "mine"


def test_a_registered_method_is_known_by_its_name() -> None:
    assert get_method("toy") is ToyAdapter
    assert "toy" in method_names()


def test_a_name_is_taken_once() -> None:
    class Other(Adapter):
        pass

    with pytest.raises(AdapterError, match="'toy' is already registered by ToyAdapter"):
        register("toy")(Other)
    assert get_method("toy") is ToyAdapter
    assert register("other-one")(Other) is Other
    assert Other.method == "other-one"
    assert Other().config.method == "other-one"


@pytest.mark.parametrize("name", ["", "a:b", "a/b", "a b", "."])
def test_names_must_not_look_like_folders_or_variants(name: str) -> None:
    with pytest.raises(AdapterError, match="method name"):
        register(name)


def test_unknown_methods_list_the_known_ones() -> None:
    with pytest.raises(AdapterError, match=r"'tyo' \(did you mean 'toy'\?\); known methods: .*toy"):
        get_method("tyo")
    with pytest.raises(AdapterError, match="known methods"):
        create_adapter("quantum")
    with pytest.raises(AdapterError, match="known methods"):
        create_adapter("quantum:leap")


def test_an_adapter_is_loaded_whatever_its_method(saved: Path, fake_model: FakeModel) -> None:
    for name in (saved, str(saved)):
        adapter = load_adapter(name)
        assert isinstance(adapter, ToyAdapter)
        assert adapter.config == ToyConfig(rate=0.25, base_model=fake_model.identity)
    with pytest.raises(AdapterError, match=r"mine: .*was made for fake"):
        load_adapter(saved, FakeModel(seed=1))


def test_a_shipped_adapter_is_loaded_by_name(
    saved: Path, fake_model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("samadapt.adapters.files._SHIPPED", saved.parent)
    assert isinstance(load_adapter("mine", fake_model), ToyAdapter)
    assert isinstance(create_adapter("mine", fake_model), ToyAdapter)


def test_a_folder_of_an_unknown_method_is_refused(saved: Path) -> None:
    path = saved / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"method": "quantum"}))
    with pytest.raises(AdapterError, match=r"mine: unknown adapter method 'quantum'.*toy"):
        load_adapter(saved)
    with pytest.raises(AdapterError, match=r"method 'quantum', not 'toy': use load_adapter"):
        ToyAdapter.from_pretrained(saved)


def test_a_config_of_other_fields_is_refused(saved: Path) -> None:
    path = saved / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"width": 4}))
    with pytest.raises(AdapterError, match=r"mine: weights do not fit.*\(8,\) instead of \(4,\)"):
        load_adapter(saved)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tempo": 4}))
    with pytest.raises(AdapterError, match=r"mine: .*unknown fields \['tempo'\]"):
        load_adapter(saved)


def test_adapters_are_created_from_what_one_types(
    saved: Path, fake_model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = create_adapter("toy")
    assert isinstance(plain, ToyAdapter)
    assert plain.config == ToyConfig()
    fast = create_adapter("toy:fast", fake_model)
    assert fast.config == ToyConfig(rate=0.5, base_model=fake_model.identity)
    with pytest.raises(AdapterError, match="no variant 'slow'"):
        create_adapter("toy:slow")
    assert create_adapter(str(saved)).config.base_model == fake_model.identity
    saved.rename(saved.parent / "toy")
    monkeypatch.chdir(saved.parent)
    with pytest.warns(UserWarning, match="the folder 'toy' write ./toy"):
        assert create_adapter("toy").config == ToyConfig()  # the method, not the folder
    assert create_adapter("./toy").config == ToyConfig(rate=0.25, base_model=fake_model.identity)
    with pytest.raises(AdapterError, match="no adapter"):
        create_adapter("./nowhere")
