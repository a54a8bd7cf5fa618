from __future__ import annotations

import numpy as np
import pytest
import torch
from adapter_contract import AdapterContract

from fakes import FakeModel
from samadapt.adapters.base import Adapter
from samadapt.adapters.config import AdapterConfig
from samadapt.errors import AdapterError
from samadapt.models.base import SegmentationModel
from samadapt.models.embedding import ImageEmbedding, ModelIdentity
from samadapt.session.session import Session
from toy_adapter import Shift, ToyAdapter, ToyConfig


@pytest.mark.usefixtures("toy_method")
class TestToyAdapter(AdapterContract):
    """The contract holds for an adapter that learns, and is thereby seen to be satisfiable."""

    method = "toy"

    def make(self) -> Adapter:
        return ToyAdapter()

    def train(self, adapter: Adapter, model: SegmentationModel, embedding: ImageEmbedding) -> None:
        session = Session(model, [adapter])
        session.open(embedding=embedding)
        session.click(14.5, 12.5)
        session.accept()


# -- config -------------------------------------------------------------------------------


def test_a_config_comes_back_from_json() -> None:
    config = ToyConfig(
        base_model=ModelIdentity("m", "abc"),
        recipe={"rate": 1e-3, "steps": [1, 2]},
        training_data={"images": 12},
        metrics={"iou": 0.91},
        width=4,
    )
    assert ToyConfig.from_dict(config.to_dict()) == config
    assert config.to_dict()["base_model"] == {"name": "m", "weights_hash": "abc"}


def test_a_config_cannot_be_changed() -> None:
    recipe = {"rate": 1}
    config = AdapterConfig(method="toy", recipe=recipe)
    recipe["rate"] = 2
    assert config.recipe["rate"] == 1
    with pytest.raises(TypeError):
        config.recipe["rate"] = 3  # type: ignore[index]
    with pytest.raises(AttributeError):
        config.method = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"method": ""}, "no method"),
        ({"method": "toy", "recipe": [1]}, "recipe must be a mapping"),
        ({"method": "toy", "recipe": {"model": object()}}, "JSON"),
        ({"method": "toy", "metrics": {"iou": float("nan")}}, "JSON"),
        ({"method": "toy", "base_model": "nano"}, "incomplete or broken"),
        ({"method": "toy", "base_model": {"name": "nano"}}, "weights_hash"),
        ({"method": "toy", "colour": 1}, "unknown fields.*colour"),
        ({}, "method"),
    ],
)
def test_a_bad_config_is_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(AdapterError, match=words) as caught:
        AdapterConfig.from_dict(values)
    assert "\n" not in str(caught.value)


def test_a_methods_own_checks_apply() -> None:
    with pytest.raises(AdapterError, match="rate=-1"):
        ToyConfig.from_dict({"method": "toy", "rate": -1})
    with pytest.raises(AdapterError, match="'other'"):
        ToyAdapter(ToyConfig(method="other"))


# -- the base model -----------------------------------------------------------------------


def test_an_adapter_belongs_to_the_first_model_it_meets(fake_model: FakeModel) -> None:
    adapter = ToyAdapter()
    adapter.check_model(fake_model)
    adapter.check_model(FakeModel(seed=1))  # looking does not bind
    adapter.bind(fake_model)
    assert adapter.config.base_model == fake_model.identity
    adapter.bind(fake_model)
    with pytest.raises(AdapterError, match="'toy' adapter was made for fake"):
        adapter.bind(FakeModel(seed=1))


def test_an_adapter_of_no_model_cannot_be_saved(tmp_path: object) -> None:
    with pytest.raises(AdapterError, match=r"bind\(model\)"):
        ToyAdapter().save_pretrained(f"{tmp_path}/a")


# -- weights ------------------------------------------------------------------------------


def test_weights_must_fit() -> None:
    adapter = ToyAdapter()
    adapter.load_state_dict({"amount": torch.arange(8.0)})
    assert adapter.module.amount.tolist() == list(range(8))
    for state, words in (
        ({}, "amount missing"),
        ({"amount": torch.zeros(8), "more": torch.zeros(1)}, "more unknown"),
        ({"amount": torch.zeros(7)}, r"amount is \(7,\) instead of \(8,\)"),
    ):
        with pytest.raises(AdapterError, match=words):
            adapter.load_state_dict(state)
    assert adapter.module.amount.tolist() == list(range(8))


def test_an_adapter_without_weights_has_none() -> None:
    class Bare(Adapter):
        method = "bare"

    adapter = Bare()
    assert adapter.module is None
    assert dict(adapter.state_dict()) == {}
    adapter.load_state_dict({})
    with pytest.raises(AdapterError, match="unknown"):
        adapter.load_state_dict({"x": torch.zeros(1)})
    with pytest.raises(AdapterError, match="no variant 'fast'"):
        Bare.create("fast")


def test_hooks_do_nothing_in_the_base(fake_model: FakeModel, image: np.ndarray) -> None:
    class Bare(Adapter):
        method = "bare"
        module = Shift(2)

    adapter = Bare()
    session = Session(fake_model, [adapter])
    session.open(image)
    plain = fake_model.predict(session.embedding, [])
    session.click(14.5, 12.5)
    session.undo()
    session.redo()
    session.accept()
    session.skip()
    assert plain == []
    assert adapter.module.amount.tolist() == [0, 0]
