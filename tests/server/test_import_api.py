"""The page's import: one file, and all that came of it."""

from __future__ import annotations

from typing import Any

from annotator import SIZE, Annotator

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
