"""`Worker`: learns in a separate thread, which pauses for every action of the person."""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from weakref import WeakSet

from samadapt.adapters.online.decoder_trainer import Interrupted

Event = Callable[[], Iterator[None] | None]
"""A function called at once; it may return an iterator of long work, to be advanced afterwards."""

_IDLE_SECONDS = 2.0
_QUIET_SECONDS = 0.25
_MOST_WAYS = 8

_running: WeakSet[Worker] = WeakSet()
"""Workers whose thread has been started."""


class Worker:
    """Handles events in order, each as soon as possible, and long work while there is no event.

    The thread starts with the first event and ends after some time without work.

    Args:
        failed: called with an error of an event or of long work, which is then abandoned.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._events: deque[tuple[Event, bool]] = deque()
        self._long: deque[Iterator[None]] = deque()
        self._changed = threading.Condition()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._busy = self._quick = False
        self._quiet_until = 0.0
        self._ways = 0
        self._is_stopping = False

    def submit(self, event: Event, *, learns: bool = False) -> None:
        """Add an event and return at once; work in progress is interrupted.

        A stream of events without a pause cannot block long work forever: after a number of
        events one piece of it is finished first.

        Args:
            event: the function to call; later events interrupt it if it `learns`.
            learns: whether the event takes long and may be interrupted.
        """
        with self._changed:
            self._events.append((event, learns))
            self._quiet_until = 0.0
            if not self._long or self._ways < _MOST_WAYS:
                self._ways += bool(self._long)
                self._hurry.set()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="samadapt-online", daemon=True
                )
                _running.add(self)
                self._thread.start()
            self._changed.notify_all()

    def check(self) -> None:
        """Interrupt the current step if something more urgent waits; called between layers.

        Raises:
            Interrupted: more urgent work waits.
        """
        if self._hurry.is_set() and threading.current_thread() is self._thread:
            raise Interrupted

    def make_way(self, seconds: float) -> None:
        """Pause learning before a prediction, and finish quick events first.

        Waits at most `seconds`. Learning resumes with the next event, or a moment later; a stream
        of predictions without a pause cannot block it forever.
        """
        if self._thread is None or threading.current_thread() is self._thread:
            return
        with self._changed:
            if self._ways < _MOST_WAYS:
                self._ways += 1
                self._quiet_until = time.monotonic() + _QUIET_SECONDS
                self._hurry.set()
            self._changed.wait_for(self._no_quick_event, seconds)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until all work is done; False after `seconds`."""
        with self._changed:
            self._quiet_until = 0.0
            self._changed.notify_all()
            return self._changed.wait_for(self._is_idle, seconds)

    def stop(self) -> None:
        """Abandon all long work, finish the events, end the thread."""
        with self._changed:
            self._is_stopping = True  # what events begin from now on is abandoned, too
            self._long.clear()
            self._hurry.set()
        self.wait()
        with self._changed:
            self._is_stopping = False
            thread, self._thread = self._thread, None
            self._changed.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    # -- in the thread ----------------------------------------------------------------------

    def _run(self) -> None:
        me = threading.current_thread()
        while True:
            with self._changed:
                self._busy = self._quick = False
                self._changed.notify_all()
                if not self._next_is_there(me):
                    return
                self._busy = True
                event = self._events.popleft() if self._events else None
                self._quick = event is not None and not event[1]
                work = self._long[0] if event is None else None
                if not self._events:
                    self._hurry.clear()
            if event is not None:
                self._do(event[0])
            elif work is not None:
                self._advance(work)

    def _next_is_there(self, me: threading.Thread) -> bool:
        """Wait for work; False when the thread should end."""
        deadline = time.monotonic() + _IDLE_SECONDS
        while self._thread is me:
            now = time.monotonic()
            if self._events or (self._long and now >= self._quiet_until):
                return True
            if self._long:
                self._changed.wait(self._quiet_until - now)
            elif now < deadline:
                self._changed.wait(deadline - now)
            else:
                self._thread = None
        return False

    def _do(self, event: Event) -> None:
        try:
            work = event()
        except Interrupted:
            return
        except Exception as error:
            self._failed(error)
            return
        if work is not None:
            with self._changed:
                if not self._is_stopping:
                    self._long.append(work)

    def _advance(self, work: Iterator[None]) -> None:
        try:
            next(work)
            if not self._hurry.is_set():
                self._ways = 0
            return
        except StopIteration:
            pass
        except Exception as error:
            self._failed(error)
        with self._changed:
            if work in self._long:
                self._long.remove(work)

    def _no_quick_event(self) -> bool:
        return not self._quick and all(learns for _, learns in self._events)

    def _is_idle(self) -> bool:
        return self._thread is None or not (self._events or self._long or self._busy)


@atexit.register
def _stop_all() -> None:
    """Stop all threads: one that is in torch when the interpreter ends aborts the process."""
    for worker in list(_running):
        worker.stop()
