from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fakes import FakeModel, blobs
from samadapt.adapters.base import Interaction
from samadapt.adapters.online.memory import ReplayMemory
from samadapt.adapters.online.replay_sample import Example, ReplaySample, replay_sample_of
from samadapt.errors import DataError
from samadapt.models.embedding import ImageEmbedding
from samadapt.prompts import Click, Prompt

RNG = np.random.default_rng


def picture(value: int) -> NDArray[np.uint8]:
    return np.full((24, 32, 3), value, np.uint8)


def sample(embedding: ImageEmbedding, x: float = 5.5) -> ReplaySample:
    mask = np.zeros(embedding.original_size, np.bool_)
    mask[2:9, 3:11] = True
    prompt = Prompt([(x, 4.5)])
    example = (Example(embedding, prompt),)
    return ReplaySample(mask, prompt.clicks, {"first": example, "last": example, "all": example})


def memory(objects: int = 3, megabytes: int = 1 << 20, disk: int = 1 << 20) -> ReplayMemory:
    return ReplayMemory(objects, ["first"], megabytes, disk)


def places(kept: ReplayMemory, domain: int = 0) -> set[float]:
    """Click positions of what can be drawn."""
    found = set()
    for seed in range(60):
        drawn = kept.draw(domain, RNG(seed))
        if drawn is not None:
            found.add(drawn.clicks[0].x)
    return found


def test_samples_come_back_as_they_were(fake_model: FakeModel) -> None:
    embedding = fake_model.encode(picture(9))
    kept = memory()
    kept.add(0, sample(embedding))
    found = kept.draw(0, RNG(0))
    assert found is not None
    np.testing.assert_array_equal(found.mask, sample(embedding).mask)
    assert found.clicks == (Click(5.5, 4.5),)
    assert list(found.examples) == ["first"]
    example = found.draw("any", RNG(0))
    assert example is not None
    assert example.prompt.points == ((5.5, 4.5),)
    assert example.view.image.equal(embedding.image)
    assert found.draw("all", RNG(0)) is None


def test_any_prompt_that_was_sent_can_be_replayed(fake_model: FakeModel) -> None:
    embedding = fake_model.encode(picture(9))
    sent = tuple(Example(embedding, Prompt([(x, 4.5)])) for x in (5.5, 6.5, 7.5))
    mask = np.zeros(embedding.original_size, bool)
    mask[2:9, 3:11] = True
    whole = ReplaySample(mask, sent[0].prompt.clicks, {"first": sent[:1], "sent": sent})
    for wanted, places in ((["any"], {5.5, 6.5, 7.5}), (["corrected"], {5.5}), (["first"], {5.5})):
        kept = ReplayMemory(3, wanted, 1 << 20, 1 << 20)
        kept.add(0, whole)
        found = kept.draw(0, RNG(0))
        assert found is not None
        drawn = [found.draw(wanted[0], RNG(seed)) for seed in range(40)]
        assert {example.prompt.points[0][0] for example in drawn if example} == places


def test_the_oldest_of_a_domain_makes_room(fake_model: FakeModel) -> None:
    kept = memory(objects=2)
    embedding = fake_model.encode(picture(0))
    for x in (1.5, 2.5, 3.5):
        kept.add(0, sample(embedding, x))
    kept.add(1, sample(embedding, 9.5))
    assert places(kept) == {2.5, 3.5}
    assert places(kept, 1) == {9.5}
    kept.forget(0)
    assert places(kept) == set()
    assert len(kept) == 1
    assert kept.draw(7, RNG(0)) is None


def test_objects_on_one_image_share_its_view(fake_model: FakeModel) -> None:
    kept = memory()
    embedding = fake_model.encode(picture(0))
    kept.add(0, sample(embedding, 1.5))
    once = kept.nbytes
    kept.add(0, sample(embedding, 2.5))
    assert kept.nbytes == once == (embedding.nbytes, 0)


def test_what_close_ups_are_cut_from_is_not_kept(fake_model: FakeModel) -> None:
    plain = fake_model.encode(picture(0))
    import torch

    pixels = torch.zeros((1, 500, 500, 3), dtype=torch.uint8)
    rich = ImageEmbedding(
        {**plain.features, "pixels": pixels}, plain.geometry, plain.model, plain.preprocessing
    )
    kept = memory()
    kept.add(0, sample(rich))
    assert kept.nbytes[0] == plain.nbytes


def test_more_than_memory_holds_goes_to_the_disk(fake_model: FakeModel) -> None:
    embeddings = [fake_model.encode(picture(value)) for value in (10, 20, 30)]
    one = embeddings[0].nbytes
    kept = memory(megabytes=one)
    for x, embedding in enumerate(embeddings):
        kept.add(0, sample(embedding, x + 0.5))
    assert kept.nbytes == (one, 2 * one)
    folder = Path(kept._folder.name) if kept._folder else Path()
    assert len(list(folder.iterdir())) == 2
    for seed in range(20):
        found = kept.draw(0, RNG(seed))
        assert found is not None
        example = found.draw("first", RNG(0))
        assert example is not None
        assert example.view.image.equal(embeddings[int(found.clicks[0].x)].image)
    kept.forget(0)
    assert list(folder.iterdir()) == []
    kept.close()
    assert not folder.exists()


def test_more_than_the_disk_holds_is_dropped(fake_model: FakeModel) -> None:
    embeddings = [fake_model.encode(picture(value)) for value in (10, 20, 30)]
    one = embeddings[0].nbytes
    kept = memory(megabytes=one, disk=one)
    for x, embedding in enumerate(embeddings):
        kept.add(0, sample(embedding, x + 0.5))
    assert kept.nbytes == (one, one)
    assert places(kept) == {1.5, 2.5}
    kept.close()


def test_a_full_disk_means_fewer_samples(
    fake_model: FakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **more: object) -> None:
        raise DataError("no space left")

    monkeypatch.setattr(ImageEmbedding, "save", full)
    embeddings = [fake_model.encode(picture(value)) for value in (10, 20, 30)]
    kept = memory(megabytes=embeddings[0].nbytes)
    for x, embedding in enumerate(embeddings):
        kept.add(0, sample(embedding, x + 0.5))
    assert places(kept) == {2.5}
    kept.close()


def test_nothing_is_kept_when_nothing_is_replayed(fake_model: FakeModel) -> None:
    embedding = fake_model.encode(picture(0))
    for kept in (memory(objects=0), ReplayMemory(5, [], 1 << 20, 1 << 20)):
        kept.add(0, sample(embedding))
        assert len(kept) == 0


def test_a_sample_holds_every_prompt_on_its_view(fake_model: FakeModel) -> None:
    embedding = fake_model.encode(blobs())
    clicks = (Click(14.5, 12.5), Click(30.5, 3.5, False))
    logits = np.zeros((16, 16), np.float32)
    prompts = (Prompt.from_clicks(clicks[:1]), Prompt.from_clicks(clicks, mask=logits))
    interaction = Interaction(fake_model, (), embedding, prompts, clicks)
    full = np.ones((40, 56), np.bool_)
    found = replay_sample_of(fake_model, interaction, full, {"any", "last", "all"})
    assert [e.prompt for e in found.examples["sent"]] == list(prompts)
    assert found.examples["first"][0].prompt is prompts[0]
    assert found.examples["last"][0].prompt is prompts[1]
    everything = found.examples["all"][0].prompt
    assert everything.clicks == clicks
    assert everything.mask is None
    assert {found.draw("any", RNG(s)).prompt for s in range(20)} == set(prompts)  # type: ignore[union-attr]
    assert list(replay_sample_of(fake_model, interaction, full, {"corrected"}).examples) == [
        "first"
    ]


def test_a_sample_knows_what_was_painted_of_an_accepted_mask(fake_model: FakeModel) -> None:
    embedding = fake_model.encode(blobs())
    area, accepted = np.zeros((2, 40, 56), np.bool_)
    area[4:9, 4:9], accepted[4:9, 6:12] = True, True
    prompts = (Prompt([(6.5, 6.5)]),)
    done = Interaction(fake_model, (), embedding, prompts, prompts[0].clicks, painted=area)
    for is_accepted, expected in ((True, area), (False, None)):
        found = replay_sample_of(fake_model, done, accepted, {"any"}, is_accepted=is_accepted)
        assert found.painted is expected


# -- a memory that outlives the program ---------------------------------------------------------


def rich_sample(embedding: ImageEmbedding, x: float) -> ReplaySample:
    """A replay sample with everything that prompts can hold."""
    mask = np.zeros(embedding.original_size, np.bool_)
    mask[3:20, int(x) : 30] = True
    logits = np.linspace(-3, 3, 64, dtype=np.float32).reshape(8, 8) * x
    first = Prompt([(x, 4.5)], mask=mask)
    second = Prompt([(x, 4.5), (9.5, 8.5)], [1, 0], (1, 2, 30, 20), logits, (2, 3, 20, 19))
    examples = {
        "first": (Example(embedding, first, multimask=True),),
        "sent": (Example(embedding, first), Example(embedding, second)),
    }
    painted = mask if x > 6 else None
    return ReplaySample(mask, second.clicks, examples, is_accepted=x < 6, painted=painted)


def same(mine: ReplaySample, other: ReplaySample) -> None:
    np.testing.assert_array_equal(mine.mask, other.mask)
    assert (mine.clicks, mine.is_accepted) == (other.clicks, other.is_accepted)
    np.testing.assert_array_equal(mine.painted, other.painted)
    assert mine.examples.keys() == other.examples.keys()
    for name in mine.examples:
        for a, b in zip(mine.examples[name], other.examples[name], strict=True):
            assert a.multimask == b.multimask
            assert (a.prompt.points, a.prompt.labels) == (b.prompt.points, b.prompt.labels)
            assert (a.prompt.box, a.prompt.window) == (b.prompt.box, b.prompt.window)
            np.testing.assert_array_equal(a.prompt.mask, b.prompt.mask)
            assert getattr(a.prompt.mask, "dtype", None) == getattr(b.prompt.mask, "dtype", None)
            assert a.view.image.equal(b.view.image)
            assert (a.view.geometry, a.view.model) == (b.view.geometry, b.view.model)


def whole(objects: int = 3) -> ReplayMemory:
    return ReplayMemory(objects, ["first", "any"], 1 << 20, 1 << 20)


def test_what_was_kept_comes_back_as_it_was(fake_model: FakeModel, tmp_path: Path) -> None:
    home = tmp_path / "a" / "replay"
    kept, embedding = whole(), fake_model.encode(picture(9))
    for domain, x in ((0, 5.5), (0, 7.5), (4, 2.5)):
        kept.add(domain, rich_sample(embedding, x))
    kept.keep(home)
    assert len(list(home.glob("view-*"))) == 1  # three objects on one image
    assert len(list(home.iterdir())) == 4
    again = whole()
    again.load(home, {0, 4, 5})
    assert len(again) == 3
    assert again.nbytes[0] == 0
    for domain in (0, 4, 5):
        for seed in range(8):
            mine, other = kept.draw(domain, RNG(seed)), again.draw(domain, RNG(seed))
            if mine is None or other is None:
                assert mine is other
            else:
                same(mine, other)
    kept.close()
    assert len(list(home.iterdir())) == 4


def test_only_samples_of_known_domains_come_back(fake_model: FakeModel, tmp_path: Path) -> None:
    kept = whole()
    for domain, value in ((0, 10), (1, 20)):
        kept.add(domain, rich_sample(fake_model.encode(picture(value)), 5.5))
    kept.keep(tmp_path)
    again = whole()
    again.load(tmp_path, {1})
    assert len(again) == 1
    assert again.draw(0, RNG(0)) is None
    assert again.draw(1, RNG(0)) is not None
    assert len(list(tmp_path.iterdir())) == 2


def test_the_folder_follows_what_is_kept(fake_model: FakeModel, tmp_path: Path) -> None:
    kept = memory(objects=2)
    embeddings = [fake_model.encode(picture(value)) for value in (10, 20, 30)]
    for x, embedding in enumerate(embeddings):
        kept.add(0, sample(embedding, x + 0.5))
        kept.keep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 4
    again = memory(objects=2)
    again.load(tmp_path, {0})
    assert places(again) == {1.5, 2.5}
    again.add(0, sample(embeddings[0], 8.5))  # the oldest goes, in the order before the restart
    again.keep(tmp_path)
    assert places(again) == {2.5, 8.5}
    third = memory(objects=2)
    third.load(tmp_path, {0})
    assert places(third) == {2.5, 8.5}
    third.forget(0)
    third.keep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_another_memory_does_not_mix_with_what_is_there(
    fake_model: FakeModel, tmp_path: Path
) -> None:
    for x in (1.5, 7.5):
        fresh = memory()
        fresh.add(0, sample(fake_model.encode(picture(9)), x))
        fresh.keep(tmp_path)
    again = memory()
    again.load(tmp_path, {0})
    assert places(again) == {7.5}


def test_what_a_killed_program_left_is_cleared_away(fake_model: FakeModel, tmp_path: Path) -> None:
    kept = memory()
    kept.add(0, sample(fake_model.encode(picture(9)), 1.5))
    kept.keep(tmp_path)
    (tmp_path / ".view-1.safetensors.abc.part").write_bytes(b"half")
    (tmp_path / "view-1.safetensors").write_bytes(b"its lesson was never written")
    (tmp_path / "notes.txt").write_text("somebody's own")
    again = memory()
    again.load(tmp_path, {0})
    assert places(again) == {1.5}
    assert len(list(tmp_path.iterdir())) == 3
    assert (tmp_path / "notes.txt").exists()


@pytest.mark.parametrize("what", ["lesson", "view"])
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_damaged_files_cost_their_sample_alone(
    fake_model: FakeModel, tmp_path: Path, what: str, how: str
) -> None:
    kept = memory()
    for x, value in ((1.5, 10), (2.5, 20)):
        kept.add(0, sample(fake_model.encode(picture(value)), x))
    kept.keep(tmp_path)
    first = kept._samples[0]
    path = first.path if what == "lesson" else first.views[0].path
    assert path is not None
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-100])
    again = memory()
    again.load(tmp_path, {0})
    assert places(again) == {2.5}
    again.keep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_files_on_the_disk_are_bounded_too(fake_model: FakeModel, tmp_path: Path) -> None:
    embeddings = [fake_model.encode(picture(value)) for value in (10, 20, 30)]
    kept = memory(disk=2 * embeddings[0].nbytes)
    for x, embedding in enumerate(embeddings):
        kept.add(0, sample(embedding, x + 0.5))
    assert places(kept) == {0.5, 1.5, 2.5}
    kept.keep(tmp_path)
    assert places(kept) == {1.5, 2.5}
    assert len(list(tmp_path.glob("view-*"))) == 2


def test_views_that_went_to_the_disk_move_to_the_folder(
    fake_model: FakeModel, tmp_path: Path
) -> None:
    embeddings = [fake_model.encode(picture(value)) for value in (10, 20, 30)]
    kept = memory(megabytes=embeddings[0].nbytes)
    for x, embedding in enumerate(embeddings):
        kept.add(0, sample(embedding, x + 0.5))
    folder = Path(kept._folder.name) if kept._folder else Path()
    kept.keep(tmp_path)
    assert list(folder.iterdir()) == []
    kept.close()
    again = memory()
    again.load(tmp_path, {0})
    assert places(again) == {0.5, 1.5, 2.5}


def test_a_folder_that_cannot_be_written_keeps_samples_in_memory(
    fake_model: FakeModel, tmp_path: Path
) -> None:
    kept = memory()
    kept.add(0, sample(fake_model.encode(picture(9)), 1.5))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be made"):
        kept.keep(tmp_path / "file")
    assert places(kept) == {1.5}
