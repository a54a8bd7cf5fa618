from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest

from fakes import FakeModel
from samadapt.adapters import registry
from samadapt.benchmark.environment import describe_environment, hash_files
from samadapt.benchmark.interactive.result import InteractiveResult
from samadapt.benchmark.interactive.run import PROTOCOL, run_interactive
from samadapt.benchmark.interactive.summary import KEYS
from samadapt.benchmark.options import Selection
from samadapt.errors import AdapterError, DataError
from samadapt.session.robot import ClickProtocol
from tiny_dataset import TinyDataset, label_map, oracle
from toy_adapter import ToyAdapter, ToyConfig

SHORT = ClickProtocol(max_clicks=4, first_click="random", ties="random")


def comparable(result: InteractiveResult) -> list[object]:
    """Everything about the objects that does not depend on the clock."""
    return [replace(row, seconds=()) for row in result.objects]


class TestResults:
    def test_a_perfect_model(self, tiny: TinyDataset):
        found = run_interactive(tiny.open(), oracle())
        assert found.summary["objects"] == 9
        assert found.summary["noc20@85"] == found.summary["noc20@90"] == 1
        assert found.summary["fr20@90"] == found.summary["fr30@90"] == 0
        assert found.summary["iou@1"] == found.summary["iou@10"] == 1
        assert found.summary["seconds_per_click"] > 0
        assert found.intervals["noc20@90"] == (1, 1)

    def test_rows(self, tiny: TinyDataset):
        found = run_interactive(tiny.open(), oracle(), selection=Selection(order="file"))
        row = found.objects[4]
        assert (row.image, row.image_id, row.annotation_id, row.category) == (
            "2.png",
            2,
            5,
            "square",
        )
        (click,) = row.clicks
        assert label_map()[int(click.y), int(click.x)] == 2
        assert row.ious == (1,)
        assert row.reached == {0.85: 1, 0.9: 1}
        assert len(row.seconds) == 1
        np.testing.assert_array_equal(row.mask.mask(), label_map() == 2)

    def test_one_run_gives_all_numbers(self, tiny: TinyDataset, fake_model: FakeModel):
        found = run_interactive(tiny.open(), fake_model)
        assert tuple(found.summary) == tuple(found.intervals) == KEYS
        assert None not in found.summary.values()

    def test_summary_is_that_of_the_rows(self, tiny: TinyDataset, fake_model: FakeModel):
        found = run_interactive(tiny.open(), fake_model)
        first = np.mean([row.ious[0] for row in found.objects])
        assert found.summary["iou@1"] == pytest.approx(first)
        fails = np.mean([max(row.ious) < 0.9 for row in found.objects])
        assert found.summary["fr30@90"] == pytest.approx(fails)

    def test_the_dataset_is_not_the_models_problem(self, tiny: TinyDataset):
        found = run_interactive(
            tiny.open(), oracle(), selection=Selection(categories=("bar",), min_area=1)
        )
        assert [row.category for row in found.objects] == ["bar"] * 3
        with pytest.raises(DataError, match="no object to evaluate"):
            run_interactive(tiny.open(), oracle(), selection=Selection(min_area=10_000))


class TestOrder:
    def test_seeded_and_random(self, tiny: TinyDataset):
        def visits(**options: object) -> list[object]:
            found = run_interactive(tiny.open(), oracle(), selection=Selection(**options))
            return [row.annotation_id for row in found.objects]

        assert visits(order="file") == list(range(1, 10))
        assert visits(seed=1) == visits(seed=1)
        assert visits(seed=1) != visits(seed=2)
        assert sorted(visits(seed=1)) == list(range(1, 10))
        assert visits(seed=1, max_objects=4) == visits(seed=1)[:4]

    def test_a_smaller_run_is_part_of_the_larger(self, tiny: TinyDataset, fake_model: FakeModel):
        whole = run_interactive(tiny.open(), fake_model, SHORT, selection=Selection(seed=5))
        part = run_interactive(
            tiny.open(), fake_model, SHORT, selection=Selection(seed=5, max_objects=4)
        )
        assert comparable(part) == comparable(whole)[:4]

    def test_without_learning_each_image_is_encoded_once(
        self, tiny: TinyDataset, fake_model: FakeModel
    ):
        found = run_interactive(tiny.open(), fake_model, SHORT)
        assert fake_model.encoded == found.timing["images_encoded"] == 3

    def test_without_learning_the_order_of_work_changes_nothing(
        self, tiny: TinyDataset, fake_model: FakeModel
    ):
        shuffled = run_interactive(
            tiny.open(), fake_model, SHORT, selection=Selection(order="file")
        )
        filed = run_interactive(tiny.open(), fake_model, SHORT, selection=Selection(seed=0))
        assert sorted(comparable(filed), key=lambda row: row.annotation_id) == comparable(shuffled)


@pytest.mark.usefixtures("toy_method")
class TestAdapters:
    def test_learning_follows_the_order_of_visits(self, tiny: TinyDataset, fake_model: FakeModel):
        adapter = ToyAdapter()
        found = run_interactive(
            tiny.open(), fake_model, SHORT, [adapter], selection=Selection(seed=1)
        )
        images = [row.image_id for row in found.objects]
        changes = 1 + sum(a != b for a, b in pairwise(images))
        assert changes > 3, "the seed should mix the images"
        assert adapter.seen.calls.count("open") == changes

    def test_images_that_come_back_are_not_encoded_again(
        self, tiny: TinyDataset, fake_model: FakeModel
    ):
        run_interactive(tiny.open(), fake_model, SHORT, ["toy"], selection=Selection(seed=1))
        assert fake_model.encoded == 3

    def test_memory_for_embeddings_is_bounded(self, tiny: TinyDataset, fake_model: FakeModel):
        roomy = run_interactive(
            tiny.open(), fake_model, SHORT, ["toy"], selection=Selection(seed=1)
        )
        tight = run_interactive(
            tiny.open(), fake_model, SHORT, ["toy"], selection=Selection(seed=1), cache_bytes=0
        )
        assert tight.timing["images_encoded"] > 3
        assert comparable(tight) == comparable(roomy)

    def test_an_adapter_given_by_name_is_fresh(self, tiny: TinyDataset, fake_model: FakeModel):
        first, second = (
            run_interactive(tiny.open(), fake_model, SHORT, ["toy:fast"]) for _ in range(2)
        )
        assert comparable(first) == comparable(second)
        frozen = run_interactive(tiny.open(), fake_model, SHORT)
        assert comparable(first) != comparable(frozen), "it should have learned something"

    def test_it_lives_through_the_run(self, tiny: TinyDataset, fake_model: FakeModel):
        adapter = ToyAdapter.create("fast")
        options = {"order": "file", "categories": ("disc",)}
        found = run_interactive(
            tiny.open(), fake_model, SHORT, [adapter], selection=Selection(**options)
        )
        assert adapter.seen.calls.count("open") == 3
        assert adapter.seen.calls.count("click") == sum(len(r.clicks) for r in found.objects)

    def test_what_is_recorded(self, tiny: TinyDataset, fake_model: FakeModel):
        found = run_interactive(
            tiny.open(), fake_model, SHORT, ["toy:fast"], selection=Selection(max_objects=1)
        )
        (adapter,) = found.environment["adapters"]
        assert (adapter["spec"], adapter["method"], adapter["config"]["rate"]) == (
            "toy:fast",
            "toy",
            0.5,
        )
        assert found.name == "fake + toy:fast"

    def test_unknown(self, tiny: TinyDataset, fake_model: FakeModel):
        with pytest.raises(AdapterError, match="toi"):
            run_interactive(tiny.open(), fake_model, SHORT, ["toi"])


class TestBadData:
    def test_an_unreadable_image_is_skipped(self, tiny: TinyDataset):
        tiny.truncate(2)
        steps = []
        found = run_interactive(
            tiny.open(),
            oracle(),
            selection=Selection(order="file"),
            progress=lambda done, total: steps.append((done, total)),
        )
        assert [row.annotation_id for row in found.objects] == [1, 2, 3, 7, 8, 9]
        (skipped,) = found.skipped
        assert (skipped.image, skipped.annotation_ids) == ("2.png", (4, 5, 6))
        assert "2.png" in skipped.reason
        assert steps == [(n, 9) for n in range(1, 10)]

    def test_an_image_of_another_size_is_skipped(self, tiny: TinyDataset):
        from PIL import Image

        Image.new("RGB", (20, 20)).save(tiny.images / "3.png")
        found = run_interactive(tiny.open(), oracle())
        assert [skip.image for skip in found.skipped] == ["3.png"]
        assert found.summary["objects"] == 6

    def test_nothing_evaluated(self, tiny: TinyDataset):
        for number in (1, 2, 3):
            tiny.truncate(number)
        with pytest.raises(DataError, match=r"none of the 9 objects.*\.png"):
            run_interactive(tiny.open(), oracle())

    def test_a_missing_image_is_found_before_the_work(self, tiny: TinyDataset):
        (tiny.images / "3.png").unlink()
        model = oracle()
        with pytest.raises(DataError, match=r"3\.png"):
            run_interactive(tiny.open(), model)
        assert model.encoded == 0

    def test_broken_masks_are_found_before_the_work(self, tiny: TinyDataset):
        tiny.edit({5: {"size": [40, 56], "counts": "???"}})
        model = oracle()
        with pytest.raises(DataError, match="annotation 5"):
            run_interactive(tiny.open(), model)
        assert model.encoded == 0

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"max_objects": 0}, "max_objects 0"),
            ({"seed": -1}, "seed -1"),
            ({"order": "best"}, "order 'best'"),
            ({"min_area": 0}, "min_area 0"),
            ({"categories": ["cat"]}, "no category 'cat'"),
        ],
    )
    def test_bad_options(self, tiny: TinyDataset, options: dict[str, object], message: str):
        with pytest.raises(DataError, match=message):
            run_interactive(tiny.open(), oracle(), selection=Selection(**options))


class TestFile:
    def test_layout(self, tiny: TinyDataset):
        found = run_interactive(
            tiny.open(),
            oracle(),
            selection=Selection(seed=3, max_objects=5),
            command=["samadapt", "x"],
        )
        path = tiny.masks.with_name("out.json")
        found.save(path)
        values = json.loads(path.read_text())
        assert list(values["summary"]) == list(KEYS)
        assert len(values["objects"]) == 5
        row = values["objects"][0]
        assert set(row) == {
            "image",
            "image_id",
            "annotation_id",
            "category",
            "clicks",
            "ious",
            "reached",
            "seconds",
        }
        (x, y, label) = row["clicks"][0]
        assert (x % 1, y % 1, label) == (0.5, 0.5, 1)
        assert row["reached"] == {"0.85": 1, "0.9": 1}
        protocol = values["protocol"]
        assert protocol["seed"] == 3
        assert protocol["max_objects"] == 5
        assert protocol["max_clicks"] == 30
        assert protocol["stop_at"] == 0.9
        assert protocol["mask_prompt"] == "logits"
        assert protocol["dataset"]["sha256"] == hash_files(tiny.masks)
        assert protocol["dataset"]["images"] == str(tiny.images)
        environment = values["environment"]
        assert environment["command"] == ["samadapt", "x"]
        assert environment["model"]["name"] == "fake"
        assert environment["encoder_dtype"] == "float32"

    def test_every_choice_of_the_protocol_is_recorded(self, tiny: TinyDataset):
        from dataclasses import fields

        found = run_interactive(tiny.open(), oracle(), PROTOCOL, selection=Selection(max_objects=1))
        assert {f.name for f in fields(ClickProtocol)} <= set(found.protocol)

    def test_round_trip(self, tiny: TinyDataset, fake_model: FakeModel):
        tiny.truncate(1)
        found = run_interactive(tiny.open(), fake_model, ClickProtocol(max_clicks=3))
        path = tiny.masks.with_name("out.json")
        found.save(path)
        again = InteractiveResult.load(path)
        assert again.to_dict() == found.to_dict()
        assert comparable(again) == comparable(found)
        assert again.summary["fr30@90"] is None

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": "samadapt-interactive-1"}'])
    def test_other_files(self, tiny: TinyDataset, content: str):
        path = tiny.masks.with_name("other.json")
        path.write_text(content)
        with pytest.raises(DataError, match=r"other\.json"):
            InteractiveResult.load(path)

    def test_hash_of_a_folder_follows_names_and_contents(self, tiny: TinyDataset):
        before = hash_files(tiny.images)
        assert before == hash_files(tiny.images)
        (tiny.images / "1.png").rename(tiny.images / "0.png")
        renamed = hash_files(tiny.images)
        assert renamed != before
        tiny.truncate(2)
        assert hash_files(tiny.images) not in (before, renamed)
        assert hash_files(tiny.images / "nothing") is None


def test_environment_names_what_matters(fake_model: FakeModel):
    found = describe_environment(fake_model, command=["x"])
    for key in ("samadapt", "python", "torch", "numpy", "opencv", "transformers", "cpu", "date"):
        assert isinstance(found[key], str)
    assert found["cores"] >= 1
    assert found["threads"] >= 1
    assert found["device"] == "cpu"
    assert found["model"]["weights_hash"] == fake_model.identity.weights_hash
    json.dumps(found)


class TestImageByImage:
    def test_objects_of_an_image_stay_together(self, tiny: TinyDataset):
        def visits(**options: object) -> list[tuple[object, object]]:
            found = run_interactive(
                tiny.open(), oracle(), selection=Selection(order="image", **options)
            )
            return [(row.image_id, row.annotation_id) for row in found.objects]

        images = [image for image, _ in visits(seed=1)]
        assert sum(a != b for a, b in pairwise(images)) == 2
        assert sorted(annotation for _, annotation in visits(seed=1)) == list(range(1, 10))
        assert visits(seed=1) == visits(seed=1)
        assert visits(seed=1) != visits(seed=2)
        assert visits(seed=1, max_objects=4) == visits(seed=1)[:4]


@dataclass(frozen=True, kw_only=True)
class RandomConfig(ToyConfig):
    seed: int = 0


class RandomAdapter(ToyAdapter):
    config_class = RandomConfig
    closed = 0

    def close(self) -> None:
        type(self).closed += 1


@pytest.mark.usefixtures("toy_method")
def test_new_adapters_are_seeded_and_closed(tiny: TinyDataset, fake_model: FakeModel, monkeypatch):
    monkeypatch.setitem(registry._METHODS, "toy", RandomAdapter)
    monkeypatch.setattr(RandomAdapter, "closed", 0)
    found = run_interactive(
        tiny.open(), fake_model, SHORT, ["toy"], selection=Selection(seed=5, max_objects=1)
    )
    assert found.environment["adapters"][0]["config"]["seed"] == 5
    assert RandomAdapter.closed == 1
    own = RandomAdapter()
    found = run_interactive(
        tiny.open(), fake_model, SHORT, [own], selection=Selection(seed=5, max_objects=1)
    )
    assert found.environment["adapters"][0]["config"]["seed"] == 0
    assert RandomAdapter.closed == 1, "it may be needed after the run"
