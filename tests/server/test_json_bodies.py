"""JSON that no honest client sends is refused before it is parsed."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import httpx
import pytest
from annotator import Annotator
from hypothesis import given
from hypothesis import strategies as st

from samadapt.errors import DataError
from samadapt.server.json_bodies import DEEPEST, MOST_CONTAINERS, check_json

NESTED = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(-1e99, 1e99)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text('ab[{\\"', max_size=4), inner)
    ),
    max_leaves=20,
)


@given(value=NESTED, is_ascii=st.booleans())
def test_what_is_all_right_passes(value: Any, is_ascii: bool) -> None:
    check_json(json.dumps(value, ensure_ascii=is_ascii).encode())


@pytest.mark.parametrize(
    "text",
    [
        '"[[[{"',
        '"\\\\"',
        '"\\"[[NaN"',
        '"\\ud83d\\ude00"',
        '"\\\\ud800"',
        '{"1e999": "Infinity"}',
        "",
    ],
)
def test_what_only_looks_bad_passes(text: str) -> None:
    check_json(text.encode())


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'"\xff"', "UTF-8"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b'"\\ud800"', "surrogate"),
        (b'"\\ude00\\ud83d"', "surrogate"),
        (b'"\\\\\\ud800"', "surrogate"),
        (b"NaN", "not finite"),
        (b'{"x": -Infinity}', "not finite"),
        (b"1e999", "not finite"),
        (b"-1.5E+400", "not finite"),
        (b"1" * 5000, "not finite"),
        (b"[" * (DEEPEST + 1), "nested deeper"),
        (b'{"a":' * (DEEPEST + 1), "nested deeper"),
        (b'["x", ' * (DEEPEST + 1), "nested deeper"),
        (b"[" + b"{}," * MOST_CONTAINERS, "more than"),
    ],
)
def test_what_is_bad_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        check_json(data)


@pytest.mark.parametrize(
    "data", [b"[" * 4_000_000, b'\\"' * 2_000_000, b'"\\u' * 1_000_000, b'"a",' * 1_000_000]
)
def test_time_and_memory_in_proportion(data: bytes) -> None:
    tracemalloc.start()
    began = time.process_time()
    try:
        check_json(data)
    except DataError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 6 * len(data)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "content",
    [
        b'{"x": "\\ud800"}',
        b'{"x": Infinity, "y": 1}',
        b"[" * 5000 + b"]" * 5000,
        b"[" + b"{}," * 300_000,
    ],
)
def test_the_annotator_says_what_is_wrong(annotator: Annotator, content: bytes) -> None:
    http = annotator.person().http
    for path in ("/api/images/1/click", "/api/images/1/similar", "/api/learning/snapshot"):
        answer = http.post(path, content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("the JSON ")


def test_all_bodies_together_are_bounded(annotator: Annotator) -> None:
    http: httpx.Client = annotator.person().http
    object.__setattr__(annotator.guard, "body_limit", 100_000)
    for _ in range(3):  # what was refused does not count any more
        answer = http.post("/api/images/1/click", content=b"[" + b" " * 200_000 + b"]")
        assert answer.status_code == 503
        assert "try again" in answer.json()["error"]
    assert http.post("/api/images/1/click", json={"x": 14, "y": 12}).status_code == 200
