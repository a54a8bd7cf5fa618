from __future__ import annotations

import json
from typing import Any

import pytest

from samadapt.adapters.online import OnlineAdapter, OnlineConfig, OnlineSettings
from samadapt.adapters.online.settings import preset_names
from samadapt.adapters.registry import create_adapter
from samadapt.errors import AdapterError


def test_the_presets_that_ship() -> None:
    assert preset_names() == ["clicks", "dc-tta", "default", "oaims", "schoen", "schoen-fast"]
    for name in preset_names():
        settings = OnlineSettings.preset(name)
        assert settings.source
        assert OnlineSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


def test_each_preset_is_described_in_one_short_line() -> None:
    texts = OnlineAdapter.variant_texts()
    assert [*texts, "default"] == sorted(preset_names(), key=lambda name: name == "default")
    for name, text in texts.items():
        assert 20 < len(text) < 120
        assert not text.startswith(f"preset {name}")
    assert "DC-TTA" in texts["dc-tta"]


def test_what_the_papers_say_is_in_their_presets() -> None:
    schoen, oaims = OnlineSettings.preset("schoen"), OnlineSettings.preset("oaims")
    assert (schoen.click.loss, schoen.click.steps, schoen.click.keep) == ("sparse", 1, False)
    assert 5e-8 <= schoen.accept.rate <= 1e-6
    assert schoen.accept.steps == ("new.all", "replay.all", "new.all")
    assert (schoen.accept.erosion, schoen.replay.objects) == (4, 5)
    assert (oaims.click.loss, oaims.click.sigma) == ("gaussian", 3.0)
    assert {prompt for step in oaims.accept.parts for _, prompt in step} == {"first", "corrected"}
    tta = OnlineSettings.preset("dc-tta").click
    assert (tta.loss, tta.rate, tta.units, tta.merge) == ("distill", 1e-5, True, 0.7)


def test_the_paper_s_rule_at_another_rate_and_with_protection_is_otherwise_the_same() -> None:
    slow, fast, guarded = (
        OnlineSettings.preset(name).to_dict() for name in ("schoen", "schoen-fast", "clicks")
    )
    for part in ("click", "accept"):
        assert fast[part].pop("rate") == pytest.approx(30 * slow[part].pop("rate"))
        assert guarded[part].pop("rate") == 3e-5
        assert slow[part] == fast[part] == guarded[part]
    assert slow["guard"] == fast["guard"]
    assert guarded["guard"] == {**OnlineSettings.preset().to_dict()["guard"], "depths": False}


def test_presets_are_variants_of_the_method() -> None:
    assert create_adapter("online").config == create_adapter("online:default").config
    adapter = create_adapter("online:oaims")
    assert isinstance(adapter, OnlineAdapter)
    assert adapter.settings == OnlineSettings.preset("oaims")
    assert not adapter.background
    assert adapter.config.to_dict()["preset"] == "oaims"
    with pytest.raises(AdapterError, match=r"'online' has no variant 'shoen' \(did you mean 'sch"):
        create_adapter("online:shoen")


def test_settings_travel_in_the_config() -> None:
    settings = OnlineSettings.from_dict({"click": {"steps": 7}, "guard": {"domains": 2}})
    config = OnlineAdapter(settings=settings, seed=3).config
    again = OnlineConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    adapter = OnlineAdapter(again)
    assert adapter.settings == settings
    assert adapter.config.seed == 3


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"clicks": {}}, "unknown clicks; known: source, click"),
        ({"click": {"step": 1}}, "click: unknown step; known: loss, steps"),
        ({"click": 3}, "click: give names and values"),
        ({"click": {"loss": "focal"}}, "click.loss='focal': use one of none, sparse"),
        ({"click": {"steps": -1}}, "click.steps=-1: use a number of at least 0"),
        ({"click": {"again": 3}}, "click.again=3: use 0, or more than click.last + 1"),
        ({"click": {"last": 3, "again": 4}}, "click.again=4: use 0, or more than click.last + 1"),
        ({"click": {"rate": 0}}, "click.rate=0: use a number above 0"),
        ({"click": {"rate": float("nan")}}, "click.rate=nan"),
        ({"accept": {"steps": ["old.first"]}}, "'old.first': object='old': use one of new, rep"),
        ({"accept": {"steps": ["new.all+replay.box"]}}, "'replay.box': prompt='box'"),
        ({"accept": {"erosion_share": 1.0}}, "erosion_share=1.0"),
        ({"accept": {"optimiser": "sgd"}}, "accept.optimiser='sgd' is not supported any more"),
        ({"click": {"parameters": ["a*"]}}, "click.parameters=['a*'] is not supported any more"),
        ({"replay": {"objects": "many"}}, "replay.objects='many'"),
        ({"guard": {"domains": 0}}, "guard.domains=0: use a number of at least 1"),
    ],
)
def test_a_bad_setting_is_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(AdapterError) as caught:
        OnlineSettings.from_dict(values)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_steps_may_learn_several_things_at_once() -> None:
    accept = OnlineSettings.from_dict({"accept": {"steps": ["new.first+replay.any", "new.last"]}})
    assert accept.accept.parts == ((("new", "first"), ("replay", "any")), (("new", "last"),))


def test_settings_of_earlier_versions_are_read() -> None:
    """What the presets said before options went and thresholds became derived."""
    old = {
        "parameters": ["*"],
        "click": {
            "parameters": ["*"],
            "violated_steps": 0,
            "optimiser": "adam",
            "student": "previous",
        },
        "accept": {"optimiser": "adam", "importance": False},
        "guard": {"forgetting": 0.85, "margin": 0.02, "outlier": 5.0, "patience": 0},
    }
    assert OnlineSettings.from_dict(old) == OnlineSettings()
    old["guard"] = {"outlier": 0}
    assert not OnlineSettings.from_dict(old).guard.reject_outliers
