from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from samadapt.errors import SessionError
from samadapt.session.events import Accepted, Clicked, Reset
from samadapt.session.log import EventLog

EVENTS = [Clicked(1.0, 2.0), Clicked(3.5, 0.1, False), Reset(), Accepted(1, "ä\nb", 2, 3, "213")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session.jsonl"


@pytest.fixture
def written(path: Path) -> Path:
    """A log of four events, closed."""
    with EventLog.open(path) as log:
        for event in EVENTS:
            log.append(event)
    return path


def read(path: Path) -> list[object]:
    return [record.event for record in EventLog.read(path)]


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_events_are_kept_in_order(kind: str, path: Path) -> None:
    with EventLog() if kind == "memory" else EventLog.open(path) as log:
        assert len(log) == 0
        assert list(log) == []
        records = [log.append(event) for event in EVENTS]
        assert [r.sequence for r in records] == [0, 1, 2, 3]
        assert [r.event for r in records] == EVENTS
        assert list(log) == records
        assert len(log) == 4
        assert log.path == (path if kind == "file" else None)


def test_a_log_goes_on_where_it_ended(written: Path) -> None:
    with EventLog.open(written) as log:
        assert len(log) == 4
        assert log.append(Reset()).sequence == 4
    assert read(written) == [*EVENTS, Reset()]


def test_an_event_is_in_the_file_before_append_returns(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bytes] = []
    fsync = os.fsync

    def spy(handle: int) -> None:
        fsync(handle)
        synced.append(path.read_bytes())

    with EventLog.open(path) as log:
        monkeypatch.setattr(os, "fsync", spy)
        record = log.append(EVENTS[0])
        assert synced == [record.to_json().encode() + b"\n"]


def test_every_torn_end_is_cut_off_and_nothing_else(written: Path) -> None:
    data = written.read_bytes()
    start = data[:-1].rindex(b"\n") + 1
    for end in [*range(start + 1, len(data), 5), len(data) - 1]:
        written.write_bytes(data[:end])
        assert read(written) == EVENTS[:3]
        assert written.read_bytes() == data[:end]  # reading repairs nothing
        with EventLog.open(written) as log:
            assert len(log) == 3
            assert written.read_bytes() == data[:start]
            log.append(EVENTS[3])
        assert read(written) == EVENTS


@pytest.mark.parametrize("tail", [b"\0" * 50, b'{"version":1,"se' + b"\0" * 9, b"\0" * 9 + b"\n"])
def test_zeros_that_a_power_cut_left_are_cut_off(written: Path, tail: bytes) -> None:
    data = written.read_bytes()
    written.write_bytes(data + tail)
    assert read(written) == EVENTS
    EventLog.open(written).close()
    assert written.read_bytes() == data


def test_earlier_damage_names_its_line_and_changes_nothing(written: Path) -> None:
    lines = written.read_bytes().splitlines(keepends=True)
    changed = lines[1].replace(b"3.5", b"8.5")
    for number, damaged in {
        2: [lines[0], changed, *lines[2:]],
        3: [*lines[:2], lines[2][:20] + b"\n", lines[3]],
        1: lines[1:],  # the first line is missing
        4: [*lines[:3], lines[2]],  # a line twice
    }.items():
        data = b"".join(damaged)
        written.write_bytes(data)
        for act in (EventLog.open, EventLog.read):
            with pytest.raises(SessionError, match=f"session.jsonl, line {number}: ") as caught:
                act(written)
            assert "\n" not in str(caught.value)
        assert written.read_bytes() == data


def test_a_complete_last_line_is_never_cut(written: Path) -> None:
    data = written.read_bytes().replace(b'"counts":"213"', b'"counts":"313"')
    written.write_bytes(data)
    with pytest.raises(SessionError, match=r"line 4.*checksum"):
        EventLog.open(written)
    assert written.read_bytes() == data


@pytest.mark.parametrize("content", [b"dear diary", b'{"images": []}', b"\x89PNG\r\n\x1a\n\0\0"])
def test_a_file_that_is_no_log_is_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(SessionError, match="line 1"):
        EventLog.open(path)
    assert path.read_bytes() == content


def test_a_log_has_one_writer_and_any_readers(path: Path) -> None:
    with EventLog.open(path) as log:
        log.append(EVENTS[0])
        with pytest.raises(SessionError, match="already open for writing"):
            EventLog.open(path)
        assert read(path) == EVENTS[:1]
        log.append(EVENTS[1])
    EventLog.open(path).close()
    assert read(path) == EVENTS[:2]


def test_another_process_cannot_write_either(path: Path) -> None:
    code = (
        "import sys; from samadapt.session.log import EventLog\n"
        "from samadapt.errors import SessionError\n"
        "try: EventLog.open(sys.argv[1])\n"
        "except SessionError as error: sys.exit('refused' if 'already open' in str(error) else 1)"
    )
    with EventLog.open(path):
        run = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True
        )
    assert run.stderr.strip() == "refused"


def test_without_file_locks_logs_work_all_the_same(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("samadapt.session.log.fcntl", None)
    with EventLog.open(path) as log:
        log.append(EVENTS[0])
        EventLog.open(path).close()
    assert read(path) == EVENTS[:1]


def test_a_copy_read_from_a_file_goes_on_in_memory(written: Path) -> None:
    before = written.read_bytes()
    copy = EventLog.read(written)
    assert copy.append(Reset()).sequence == 4
    assert written.read_bytes() == before


def test_a_closed_log_can_be_read_but_not_written(written: Path) -> None:
    log = EventLog.open(written)
    log.close()
    log.close()
    assert [r.event for r in log] == EVENTS
    with pytest.raises(SessionError, match="closed"):
        log.append(Reset())


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: writes stop half-way, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.skipif(os.name != "posix", reason="needs resource limits")
def test_a_full_disk_leaves_the_log_as_it_was(written: Path) -> None:
    before = written.read_bytes()
    with EventLog.open(written) as log:
        with full_disk(len(before) + 30), pytest.raises(SessionError, match="not saved") as caught:
            log.append(EVENTS[0])
        assert "\n" not in str(caught.value)
        assert written.read_bytes() == before
        assert len(log) == 4
        log.append(EVENTS[0])  # there is space again
    assert read(written) == [*EVENTS, EVENTS[0]]


def test_a_failed_sync_leaves_the_log_as_it_was(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = written.read_bytes()

    def broken(handle: int) -> None:
        raise OSError(5, "Input/output error")

    with EventLog.open(written) as log:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", broken)
            with pytest.raises(SessionError, match="Input/output error"):
                log.append(EVENTS[0])
        assert written.read_bytes() == before
        with monkeypatch.context() as patch:  # not even the repair works
            patch.setattr(os, "fsync", broken)
            patch.setattr(os, "ftruncate", lambda handle, size: broken(handle))
            with pytest.raises(SessionError, match="Input/output error"):
                log.append(EVENTS[0])
        with pytest.raises(SessionError, match="closed"):
            log.append(EVENTS[0])
        assert [r.event for r in log] == EVENTS


@pytest.mark.parametrize("name", ["missing/session.jsonl", "."])
def test_files_that_cannot_be_written_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SessionError, match="cannot write the session log"):
        EventLog.open(tmp_path / name)
    with pytest.raises(SessionError, match="cannot read the session log"):
        EventLog.read(tmp_path / name)


WRITER = """
import sys
from samadapt.session.events import Clicked
from samadapt.session.log import EventLog
log = EventLog.open(sys.argv[1])
while True:
    print(log.append(Clicked(1.5, 2.5)).sequence, flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_what_was_confirmed_survives_a_kill(path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process:
        for _ in range(20):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        confirmed = 20 + len(process.stdout.read().splitlines())
    with EventLog.open(path) as log:
        assert confirmed - 1 <= len(log) <= confirmed + 1  # the last line read may be torn
        assert len(log) >= 20
        assert {r.event for r in log} == {Clicked(1.5, 2.5)}
        log.append(Reset())
