from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest
import torch
from test_online import quick
from test_online_learning import SINGLE, annotate, start, weights

from fakes import FakeModel, blobs
from samadapt.adapters import files
from samadapt.adapters.online import OnlineAdapter
from samadapt.adapters.online.state import tensors_to_book
from samadapt.adapters.registry import load_adapter
from samadapt.errors import AdapterError
from samadapt.session.session import Session


def dark() -> np.ndarray:
    """Another kind of images: bright shapes on black, colours swapped."""
    return np.ascontiguousarray(
        (blobs().astype(np.int16) - 109).clip(0, 255)[..., ::-1] * 2
    ).astype(np.uint8)


def two_domains() -> tuple[Session, OnlineAdapter]:
    settings = quick(accept={"keep_moments": True}, guard={"distance": 0.3})
    session, adapter = start(settings)
    annotate(session, 3)
    session.open(dark())
    annotate(session, 2)
    return session, adapter


def test_each_domain_has_weights_of_its_own_and_they_are_found_again() -> None:
    session, adapter = start(quick(guard={"distance": 0.3}))
    base = session.model.decoder
    annotate(session)
    bright = weights(adapter, session.model)
    session.open(dark())
    assert adapter.mask_decoder(base) is base
    annotate(session)
    other = weights(adapter, session.model)
    assert other != bright
    session.open(blobs())
    assert weights(adapter, session.model) == bright
    session.open(dark())
    assert weights(adapter, session.model) == other


def test_learning_goes_on_after_loading_as_if_nothing_had_happened(tmp_path: Path) -> None:
    session, adapter = two_domains()
    adapter.save_pretrained(tmp_path / "a")
    loaded = load_adapter(tmp_path / "a", session.model)
    assert isinstance(loaded, OnlineAdapter)
    assert loaded.objects_learned == 5
    assert len(loaded._learner.book.domains) == 2
    # Without a memory of earlier objects the replay differs; without replay nothing does.
    plain = quick(
        accept={"keep_moments": True, "steps": ["new.first", "new.last"]}, guard={"distance": 0.3}
    )
    found = []
    for way in ("straight", "through a folder"):
        session, adapter = start(plain)
        annotate(session, 2)
        session.open(dark())
        annotate(session)
        if way != "straight":
            adapter.save_pretrained(tmp_path / "b")
            again = load_adapter(tmp_path / "b", session.model)
            assert isinstance(again, OnlineAdapter)
            adapter, session = again, Session(session.model, [again], options=SINGLE)
        session.open(dark())
        annotate(session, 2)
        session.open(blobs())
        annotate(session)
        found.append((weights(adapter, session.model), dict(adapter.state_dict())))
    assert found[0][0] == found[1][0]
    assert found[0][1].keys() == found[1][1].keys()
    for name, tensor in found[0][1].items():
        assert torch.equal(tensor, found[1][1][name]), name


def test_what_is_replayed_outlives_the_program(tmp_path: Path) -> None:
    settings = quick(accept={"keep_moments": True, "steps": ["new.first", "replay.first"]})
    found = {}
    for way in ("straight", "resumed", "state alone"):
        folder = tmp_path / way
        adapter = OnlineAdapter(settings=settings, autosave=folder)
        session = Session(FakeModel(), [adapter], options=SINGLE)
        session.open(blobs())
        annotate(session, 3)
        if way != "straight":
            adapter.close()
            saved = OnlineAdapter.from_pretrained(folder, session.model)
            place = folder if way == "resumed" else None
            adapter = OnlineAdapter(saved.config, autosave=place)
            adapter.bind(session.model)
            adapter.load_state_dict(saved.state_dict())
            session = Session(session.model, [adapter], options=SINGLE)
            session.open(blobs())
        annotate(session, 2)
        found[way] = weights(adapter, session.model)
    assert found["straight"] == found["resumed"] != found["state alone"]
    assert len(list((tmp_path / "resumed" / "replay").glob("lesson-*"))) == 3


def test_another_state_does_not_get_what_is_replayed_here(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    session, _ = start(quick())
    first = OnlineAdapter(settings=quick(), autosave=folder)
    session = Session(session.model, [first], options=SINGLE)
    session.open(blobs())
    annotate(session, 2)
    _, other = two_domains()
    adapter = OnlineAdapter(other.config, autosave=folder)
    adapter.bind(session.model)
    adapter.load_state_dict(other.state_dict())
    assert len(adapter._learner.memory) == 0
    adapter.load_state_dict(first.state_dict())
    assert len(adapter._learner.memory) == 2


def test_a_replay_folder_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "replay").write_text("in the way")
    adapter = OnlineAdapter(settings=quick(), autosave=folder)
    session = Session(FakeModel(), [adapter], options=SINGLE)
    session.open(blobs())
    with pytest.warns(RuntimeWarning, match="replay cannot be made.*replayed from memory only"):
        annotate(session)
    loaded = load_adapter(folder, session.model)
    assert isinstance(loaded, OnlineAdapter)
    assert weights(loaded, session.model) == weights(adapter, session.model)


def test_the_folder_holds_differences_to_the_base_decoder() -> None:
    session, adapter = two_domains()
    state = adapter.state_dict()
    learned = adapter.mask_decoder(session.model.decoder)
    current = int(state["book"][0])
    index = next(k for k in range(2) if int(state[f"{k}.numbers"][0]) == current)
    for name, parameter in session.model.decoder.named_parameters():
        torch.testing.assert_close(
            parameter + state[f"{index}.delta.{name}"], learned.get_parameter(name)
        )
    # Only the domain in use keeps its optimiser.
    assert [f"{k}.first.bias" in state for k in range(2)] == [k == index for k in range(2)]


def test_the_config_says_what_it_has_seen(tmp_path: Path) -> None:
    _, adapter = two_domains()
    adapter.save_pretrained(tmp_path / "a")
    config = OnlineAdapter.from_pretrained(tmp_path / "a").config
    assert config.training_data == {"objects": 5, "domains": 2}
    assert config.settings == adapter.settings.to_dict()


def test_a_full_disk_leaves_the_state_saved_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project"
    adapter = OnlineAdapter(settings=quick(), autosave=folder)
    session = Session(FakeModel(), [adapter], options=SINGLE)
    session.open(blobs())
    annotate(session)
    saved = weights(adapter, session.model)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files, "_write_durably", full)
        with pytest.warns(RuntimeWarning, match="No space left.*the state saved before is still"):
            annotate(session)
    later = weights(adapter, session.model)
    assert later != saved  # learning went on
    loaded = load_adapter(folder, session.model)
    assert isinstance(loaded, OnlineAdapter)
    assert weights(loaded, session.model) == saved
    annotate(session)
    loaded = load_adapter(folder, session.model)
    assert isinstance(loaded, OnlineAdapter)
    assert weights(loaded, session.model) == weights(adapter, session.model) != later
    assert [p.name for p in tmp_path.iterdir()] == ["project"]


def test_a_model_of_other_shapes_is_refused_with_the_parameters_name() -> None:
    session, adapter = two_domains()
    state = {
        k: (torch.zeros(3) if k.endswith("delta.mix") else v)
        for k, v in adapter.state_dict().items()
    }
    fresh = OnlineAdapter(settings=quick())
    fresh.bind(session.model)
    with pytest.raises(AdapterError, match=r"mix is \(3,\), the decoder has \(8, 8\)"):
        fresh.load_state_dict(state)
    assert fresh.mask_decoder(session.model.decoder) is session.model.decoder


@pytest.mark.parametrize("damage", ["book", "0.numbers", "0.delta.mix"])
def test_an_incomplete_state_is_refused(damage: str) -> None:
    session, adapter = two_domains()
    state = dict(adapter.state_dict())
    del state[damage]
    fresh = OnlineAdapter(settings=quick())
    fresh.bind(session.model)
    with pytest.raises(AdapterError, match=r"mix is missing|not those of an online adapter"):
        fresh.load_state_dict(state)


def test_weights_that_are_not_finite_are_refused() -> None:
    session, adapter = two_domains()
    state = dict(adapter.state_dict())
    state["0.delta.bias"] = torch.full((4,), float("inf"))
    fresh = OnlineAdapter(settings=quick())
    fresh.bind(session.model)
    with pytest.raises(AdapterError, match="not finite"):
        fresh.load_state_dict(state)


def test_no_state_is_a_fresh_adapter() -> None:
    assert tensors_to_book({}, None).active.delta is None
