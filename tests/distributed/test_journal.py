"""The journal of a run: what is finished stays finished, whatever happened."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from samadapt.distributed.journal import RunJournal
from samadapt.errors import DataError

RUN = {"model": "nano", "grid": 16}


def filled(path: Path, count: int) -> bytes:
    with RunJournal(path, RUN) as journal:
        journal.add((f"{k}.png", {"value": k}) for k in range(count))
    return path.read_bytes()


def test_what_was_added_is_there_in_the_next_run(tmp_path: Path) -> None:
    filled(tmp_path / "j", 3)
    with RunJournal(tmp_path / "j", RUN) as journal:
        assert [f"{k}.png" in journal for k in range(4)] == [True, True, True, False]
        journal.add([("3.png", {"value": 3})])
        assert [journal.get(f"{k}.png")["value"] for k in range(4)] == [0, 1, 2, 3]
        assert len(journal) == 4


def test_a_kill_at_any_byte_loses_at_most_the_line_in_hand(tmp_path: Path) -> None:
    path = tmp_path / "j"
    whole = filled(path, 3)
    ends = [k + 1 for k, byte in enumerate(whole) if byte == ord("\n")]
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        complete = sum(end <= cut for end in ends)
        with RunJournal(path, RUN) as journal:
            assert len(journal) == max(complete - 1, 0)
            journal.add([("new.png", {"value": 9})])
        with RunJournal(path, RUN) as journal:
            assert journal.get("new.png")["value"] == 9
            assert len(journal) == max(complete - 1, 0) + 1


def test_an_image_that_is_forgotten_is_done_again(tmp_path: Path) -> None:
    filled(tmp_path / "j", 1)
    with RunJournal(tmp_path / "j", RUN) as journal:
        journal.forget("0.png")
        assert "0.png" not in journal
        journal.add([("0.png", {"value": 7})])
    with RunJournal(tmp_path / "j", RUN) as journal:
        assert journal.get("0.png")["value"] == 7


def test_another_run_or_another_file_is_refused_and_stays(tmp_path: Path) -> None:
    before = filled(tmp_path / "j", 2)
    with pytest.raises(DataError, match=r"another grid \(16 there, 8 now\)"):
        RunJournal(tmp_path / "j", {**RUN, "grid": 8})
    assert (tmp_path / "j").read_bytes() == before
    for text in (b"dear diary\n", b'{"a": 1}\n'):
        (tmp_path / "other").write_bytes(text)
        with pytest.raises(DataError, match="no journal of a run"):
            RunJournal(tmp_path / "other", RUN)
        assert (tmp_path / "other").read_bytes() == text
    with pytest.raises(DataError, match="cannot be written"):
        RunJournal(tmp_path / "nowhere" / "j", RUN)


def test_two_runs_at_once_are_kept_apart(tmp_path: Path) -> None:
    with (
        RunJournal(tmp_path / "j", RUN),
        pytest.raises(DataError, match="another run writes the same output"),
    ):
        RunJournal(tmp_path / "j", RUN)
    with RunJournal(tmp_path / "j", RUN) as journal:
        journal.add([("0.png", {"value": 0})])
    with RunJournal(tmp_path / "j", RUN) as journal:
        journal.remove()
    assert not (tmp_path / "j").exists()


def test_a_run_that_finished_nothing_leaves_nothing(tmp_path: Path) -> None:
    with RunJournal(tmp_path / "j", RUN):
        pass
    assert not (tmp_path / "j").exists()


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    before = filled(tmp_path / "j", 2)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with RunJournal(tmp_path / "j", RUN) as journal:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
        try:
            with pytest.raises(DataError, match=r"cannot be written .*: free some space"):
                journal.add([("2.png", {"value": 2})])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert (tmp_path / "j").read_bytes() == before
        assert "2.png" not in journal
        journal.add([("3.png", {"value": 3})])
        assert [journal.get(f"{k}.png")["value"] for k in (0, 3)] == [0, 3]
