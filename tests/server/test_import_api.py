"""The page's import: one file, and all that came of it."""

from __future__ import annotations

import json
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import pytest
from annotator import SIZE, TOKEN, Annotator

from samadapt.server import routes_project

BOX = [5, 5, 25, 5, 25, 20, 5, 20]


def document(*annotations: dict[str, Any]) -> dict[str, Any]:
    whole = {"image_id": 1, "category_id": 1, "segmentation": [BOX]}
    return {
        "images": [{"id": 1, "file_name": "a 1.png", "width": SIZE[1], "height": SIZE[0]}],
        "annotations": [{"id": k, **whole, **a} for k, a in enumerate(annotations, 1)],
        "categories": [{"id": 1, "name": "cell"}],
    }


def test_what_is_left_out_is_named(annotator: Annotator) -> None:
    http = annotator.person().http
    content = document({}, {"segmentation": []}, {"image_id": 9}, {"iscrowd": 1})
    found = http.post("/api/import?name=my%20file.json", json=content).json()
    assert (found["added"], found["known"], found["left_out_count"], found["crowds"]) == (
        1,
        0,
        3,
        1,
    )
    assert len(found["left_out"]) == 3
    assert all(line.startswith("my file.json") for line in found["left_out"])
    taken = http.post("/api/import?crowds=true", json=document({}, {"iscrowd": 1})).json()
    assert (taken["added"], taken["known"]) == (1, 1)


def test_what_differs_is_said(annotator: Annotator) -> None:
    http = annotator.person().http
    http.post("/api/import", json=document({}))
    other = [5, 5, 25, 5, 25, 18, 5, 18]
    found = http.post("/api/import", json=document({"segmentation": [other]})).json()
    assert (found["added"], found["differing_count"]) == (0, 1)
    assert "differ" in found["summary"]
    assert len(found["differing"]) == 1


ODD = {
    "deep": b"[" * 100_000,
    "deep inside": b'{"images": [], "annotations": [' + b"[" * 5000 + b"]" * 5000 + b"]}",
    "half a character": b'{"images": [], "annotations": "\\ud800"}',
    "long number": b'{"images": [' + b"9" * 5000 + b"]}",
    "no text": bytes(range(256)),
    "empty": b"",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_files_are_refused_in_one_line(annotator: Annotator, name: str) -> None:
    answer = annotator.person().http.post("/api/import?name=my.json", content=ODD[name])
    assert answer.status_code == 422
    (line,) = answer.json()["error"].splitlines()
    assert line.startswith("my.json")
    assert len(line) < 300
    assert ("too deep" in line) == name.startswith("deep")


def test_one_object_with_half_a_character_or_a_huge_number_is_left_out(
    annotator: Annotator,
) -> None:
    content = document({}, {"segmentation": [[10**400, *BOX[1:]]]}, {"category_id": 2})
    content["categories"].append({"id": 2, "name": "ce\ud800ll"})
    answer = annotator.person().http.post("/api/import", content=json.dumps(content))
    found = answer.json()
    assert (found["added"], found["left_out_count"]) == (1, 2)


def test_files_that_would_take_too_much_memory_are_refused(
    annotator: Annotator, monkeypatch: pytest.MonkeyPatch
) -> None:
    http = annotator.person().http
    monkeypatch.setattr(routes_project, "_MOST_CONTAINERS", 50)
    answer = http.post("/api/import", content=b'{"images": [' + b"[]," * 100 + b"[]]}")
    assert answer.status_code == 422
    assert "more than 50 lists and objects: import it with" in answer.json()["error"]
    assert http.post("/api/import", json=document({})).json()["added"] == 1


def test_files_above_the_limit_are_refused_with_the_other_way_in(annotator: Annotator) -> None:
    connection = HTTPConnection("127.0.0.1", annotator.port, timeout=10)
    connection.putrequest("POST", "/api/import")
    connection.putheader("authorization", f"Bearer {TOKEN}")
    connection.putheader("content-length", str((64 << 20) + 1))
    connection.endheaders()
    with closing(connection), connection.getresponse() as answer:
        assert answer.status == 413
        assert "--import" in json.loads(answer.read())["error"]


def test_one_file_is_imported_at_a_time(annotator: Annotator) -> None:
    http = annotator.person().http
    with annotator.workspace.importing:
        answer = http.post("/api/import", json=document({}))
    assert answer.status_code == 503
    assert "another file" in answer.json()["error"]
    assert http.post("/api/import", json=document({})).json()["added"] == 1
