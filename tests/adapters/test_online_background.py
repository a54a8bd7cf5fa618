"""Learning in a thread: the person never waits, and nothing that happens there ends a session."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from test_online import quick
from test_online_learning import SINGLE, annotate, interaction_of, start, weights
from torch import nn

from fakes import FakeModel, blobs
from samadapt.adapters.online import OnlineAdapter
from samadapt.adapters.online.decoder_trainer import DecoderTrainer, Interrupted
from samadapt.adapters.online.weights import Layout, Workbench
from samadapt.adapters.online.worker import Worker
from samadapt.session.session import Session


@pytest.fixture
def failures() -> list[Exception]:
    return []


@pytest.fixture
def worker(failures: list[Exception]) -> Iterator[Worker]:
    worker = Worker(failures.append)
    yield worker
    worker.stop()


def background(settings: Any = None) -> tuple[Session, OnlineAdapter]:
    adapter = OnlineAdapter(settings=settings or quick(), background=True)
    session = Session(FakeModel(), [adapter], options=SINGLE)
    session.open(blobs())
    return session, adapter


# -- the worker -----------------------------------------------------------------------------


def test_events_are_done_in_order_before_long_work_goes_on(worker: Worker) -> None:
    done: list[str] = []
    gate = threading.Event()

    def long() -> Iterator[None]:
        for index in range(3):
            done.append(f"long {index}")
            gate.wait(5)
            yield

    worker.submit(long)
    while not done:
        time.sleep(0.001)
    worker.submit(lambda: done.append("a"))
    worker.submit(lambda: done.append("b"))
    gate.set()
    assert worker.wait(5)
    assert done == ["long 0", "a", "b", "long 1", "long 2"]


def test_a_step_is_broken_off_when_something_comes(worker: Worker) -> None:
    began, broken, after = threading.Event(), threading.Event(), threading.Event()

    def step() -> None:
        began.set()
        try:
            while True:
                worker.check()
                time.sleep(0.001)
        except Interrupted:
            broken.set()
            raise

    worker.submit(step, learns=True)
    assert began.wait(5)
    start_time = time.perf_counter()
    worker.submit(after.set)
    assert time.perf_counter() - start_time < 0.005
    assert after.wait(5)
    assert broken.is_set()


def test_a_prediction_makes_learning_stop_and_go_on_later(worker: Worker) -> None:
    steps: list[float] = []

    def long() -> Iterator[None]:
        for _ in range(200):
            yield
            steps.append(time.monotonic())
            time.sleep(0.002)

    worker.submit(long)
    while not steps:
        time.sleep(0.001)
    worker.make_way(0.05)
    stopped = time.monotonic()
    assert worker.wait(20)
    later = [moment for moment in steps if moment > stopped + 0.01]
    assert len(steps) == 200
    assert later


def test_events_without_a_pause_do_not_hold_long_work_up_for_good(worker: Worker) -> None:
    pieces: list[int] = []

    def long() -> Iterator[None]:
        while len(pieces) < 3:
            yield
            try:
                for _ in range(20):  # a piece takes longer than the pause between two events
                    worker.check()
                    time.sleep(0.001)
                pieces.append(1)
            except Interrupted:
                continue

    worker.submit(long)
    end = time.monotonic() + 20
    while len(pieces) < 3:
        assert time.monotonic() < end, "nothing was finished"
        worker.submit(lambda: None)
        time.sleep(0.005)


def test_predictions_wait_for_quick_events_only(worker: Worker) -> None:
    gate, order = threading.Event(), []
    worker.submit(lambda: gate.wait(5) and None, learns=True)
    worker.submit(lambda: order.append("learned"), learns=True)
    began = time.monotonic()
    worker.make_way(5)  # only what learns is there: no reason to wait
    assert time.monotonic() - began < 2
    worker.submit(lambda: order.append("opened"))
    timer = threading.Timer(0.05, gate.set)
    timer.start()
    worker.make_way(5)
    assert "opened" in order
    timer.join()


def test_predictions_wait_for_a_quick_event_in_progress(worker: Worker) -> None:
    began, gate, order = threading.Event(), threading.Event(), list[str]()

    def opened() -> None:
        began.set()
        gate.wait(5)
        order.append("opened")

    worker.submit(opened)
    assert began.wait(5)
    timer = threading.Timer(0.05, gate.set)
    timer.start()
    worker.make_way(5)
    assert order == ["opened"]
    timer.join()


def test_an_error_is_reported_and_the_next_event_done(
    worker: Worker, failures: list[Exception]
) -> None:
    def broken() -> Iterator[None]:
        yield
        raise ValueError("no")

    def bad() -> None:
        raise KeyError("never")

    done = threading.Event()
    worker.submit(bad)
    worker.submit(broken)
    worker.submit(done.set)
    assert worker.wait(5)
    assert done.is_set()
    assert [type(e) for e in failures] == [KeyError, ValueError]


def test_the_thread_ends_when_told_and_starts_again(worker: Worker) -> None:
    worker.submit(lambda: None)
    worker.stop()
    assert not [t for t in threading.enumerate() if t.name == "samadapt-online"]
    done = threading.Event()
    worker.submit(done.set)
    assert done.wait(5)


def test_long_work_that_waiting_events_would_begin_is_abandoned_too(worker: Worker) -> None:
    began, go_on = threading.Event(), threading.Event()
    steps: list[int] = []

    def hold() -> None:
        began.set()
        go_on.wait(10)

    def work() -> Iterator[None]:
        for number in range(1000):
            steps.append(number)
            yield

    worker.submit(hold)
    assert began.wait(5)
    worker.submit(work)
    stopping = threading.Thread(target=worker.stop)
    stopping.start()
    time.sleep(0.05)
    go_on.set()
    stopping.join(5)
    assert steps == []
    worker.submit(work)  # it can go on afterwards
    assert worker.wait(10)
    assert len(steps) == 1000


def test_a_program_that_ends_while_it_learns_ends_well() -> None:
    code = (
        "import time, torch\n"
        "from samadapt.adapters.online.worker import Worker\n"
        "a = torch.rand(400, 400, requires_grad=True)\n"
        "def learn():\n"
        "    while True:\n"
        "        (a @ a @ a).sum().backward()\n"
        "        yield\n"
        "worker = Worker(print)\n"
        "worker.submit(learn)\n"
        "time.sleep(0.2)\n"
    )
    for _ in range(3):
        ended = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
        assert ended.returncode == 0


# -- cancelling between layers ----------------------------------------------------------------


def test_a_step_can_be_broken_off_at_every_layer_forwards_and_backwards() -> None:
    decoder = nn.Sequential(*[nn.Linear(4, 4) for _ in range(5)])
    left = [10**6]

    def check() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Interrupted

    trainer = Workbench(decoder, Layout(decoder), check)
    before = trainer.base.clone()

    def step() -> torch.Tensor:
        module = trainer.load(before)
        return trainer.gradient(module(torch.ones(1, 4)).sum())

    left[0] = 10**6
    expected = step()
    checks = 10**6 - left[0]
    assert checks >= 9  # 5 layers forwards, and between them backwards
    for count in range(checks):
        left[0] = count
        with pytest.raises(Interrupted):
            step()
    left[0] = checks
    assert torch.equal(step(), expected)


def test_answers_of_the_frozen_decoder_can_be_broken_off_too() -> None:
    """And they are the frozen decoder's to the last bit."""
    adapter = OnlineAdapter(settings=quick())
    model = FakeModel()
    interaction = interaction_of(adapter, model)
    prompt = interaction.prompts[0]
    checks: list[int] = []
    trainer = DecoderTrainer(interaction, adapter, adapter.settings, lambda: checks.append(1))
    found = model.predict(interaction.embedding, prompt, adapters=trainer.seams(interaction, None))
    assert checks
    frozen = model.predict(interaction.embedding, prompt)
    assert np.array_equal(found.logits, frozen.logits)


# -- the adapter ------------------------------------------------------------------------------


def test_hooks_return_at_once_and_learning_arrives() -> None:
    session, adapter = background(
        quick(accept={"steps": ["new.first"] * 30}, guard={"evidence": 0})
    )
    slowest = 0.0
    for name in ("on_open", "on_click", "on_accept", "on_skip", "on_undo"):
        hook = getattr(adapter, name)

        def timed(*arguments: object, hook: Any = hook) -> None:
            nonlocal slowest
            begun = time.thread_time()
            hook(*arguments)
            slowest = max(slowest, time.thread_time() - begun)

        setattr(adapter, name, timed)
    base = session.model.decoder
    for place in ((14.5, 12.5), (38.5, 29.5), (3.5, 36.5)):
        session.click(*place)
        session.click(50.5, 20.5, positive=False)
        session.undo()
        session.accept()
    session.click(3.5, 3.5)
    session.skip()
    assert adapter.wait(30)
    assert slowest < 0.005
    assert adapter.objects_learned == 3
    assert adapter.mask_decoder(base) is not base
    adapter.close()


def test_given_time_it_learns_what_it_learns_at_once() -> None:
    settings = quick()
    session, adapter = background(settings)
    for _ in range(2):
        for x, y, positive in ((14.5, 12.5, True), (38.5, 29.5, False)):
            session.click(x, y, positive)
            assert adapter.wait(30)
        session.accept()
        assert adapter.wait(30)
    plain_session, plain = start(settings)
    annotate(plain_session, 2)
    assert weights(adapter, session.model) == weights(plain, session.model)
    adapter.close()


def test_an_object_that_began_during_training_moves_along() -> None:
    """Clicks learned while the object before is still being learned are not lost."""
    gate = threading.Event()
    session, adapter = background(quick(accept={"steps": ["new.first"] * 3}, guard={"evidence": 0}))
    learner = adapter._learner
    taught = learner._taught

    def slow(*arguments: Any) -> Any:
        while not gate.wait(0.002):
            yield
        return (yield from taught(*arguments))

    learner._taught = slow  # type: ignore[method-assign]
    session.click(14.5, 12.5)
    session.accept()
    session.click(38.5, 29.5)
    while learner._object.now is None:
        time.sleep(0.001)
    clicked = learner._object.now
    gate.set()
    assert adapter.wait(30)
    long_term = learner.book.active.delta
    assert long_term is not None
    assert adapter._published.now is not None
    torch.testing.assert_close(adapter._published.now, clicked + long_term)
    session.skip()
    assert adapter.wait(30)
    assert adapter._published.now is long_term
    adapter.close()


@pytest.mark.parametrize("ends", ["skip", "accept", "open"])
def test_clicks_on_an_object_do_not_answer_the_next_while_its_end_waits(ends: str) -> None:
    gate = threading.Event()
    session, adapter = background(quick(guard={"evidence": 0}))
    base = session.model.decoder
    session.click(14.5, 12.5)
    assert adapter.wait(30)
    assert adapter.mask_decoder(base) is not base
    adapter._worker.submit(lambda: gate.wait(30) and None)
    if ends == "open":
        session.open(blobs())
    else:
        getattr(session, ends)()
    assert adapter.mask_decoder(base) is base
    gate.set()
    assert adapter.wait(30)
    adapter.close()


def test_an_error_in_the_thread_becomes_a_warning_here(monkeypatch: pytest.MonkeyPatch) -> None:
    session, adapter = background()
    annotate(session)
    assert adapter.wait(30)
    before = weights(adapter, session.model)

    def broken(*arguments: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(adapter._learner, "click", broken)
        session.click(14.5, 12.5)
        with pytest.warns(RuntimeWarning, match=r"learning failed \(RuntimeError: out of memory\)"):
            adapter.wait(30)
    assert weights(adapter, session.model) == before
    session.click(16.5, 10.5)
    assert adapter.wait(30)
    assert weights(adapter, session.model) != before
    adapter.close()


def test_predictions_in_another_thread_see_whole_weights_only() -> None:
    session, adapter = background(quick(accept={"steps": ["new.first", "new.last"]}))
    model, published = session.model, []
    stop = threading.Event()
    problems: list[str] = []

    def watch() -> None:
        while not stop.is_set():
            decoder = adapter.mask_decoder(model.decoder)
            once = [p.detach().clone() for p in decoder.parameters()]
            time.sleep(0.02)
            if not all(map(torch.equal, once, decoder.parameters())):
                problems.append("a published decoder changed")
            published.append(decoder)

    thread = threading.Thread(target=watch)
    thread.start()
    annotate(session, 3)
    assert adapter.wait(30)
    time.sleep(0.05)
    stop.set()
    thread.join()
    assert not problems
    assert len({id(decoder) for decoder in published}) > 1
    adapter.close()


def test_a_prediction_is_no_slower_for_the_training_behind_it() -> None:
    session, adapter = background(quick(accept={"steps": ["new.first"] * 400}))
    session.click(14.5, 12.5)
    session.accept()
    waited = []
    for _ in range(5):
        begun = time.thread_time()
        adapter.mask_decoder(session.model.decoder)
        waited.append(time.thread_time() - begun)
    assert min(waited) < 0.05
    adapter.close()
    assert np.isfinite(waited).all()
