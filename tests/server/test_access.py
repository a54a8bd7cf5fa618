"""The door: the token stays at the terminal, addresses are good once, keys are not in cookies."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from annotator import TOKEN, Annotator

from samadapt.server.access import Access, Slowdown


@pytest.fixture
def bare(annotator: Annotator) -> Iterator[httpx.Client]:
    """A browser without anything."""
    with httpx.Client(base_url=annotator.url) as client:
        yield client


def test_an_address_lets_one_browser_in_once(annotator: Annotator, bare: httpx.Client) -> None:
    came_in: list[str] = []
    object.__setattr__(annotator.guard, "entered", came_in.append)
    address = annotator.page()
    code = address.rpartition("=")[2]
    page = bare.get(address)
    assert page.status_code == 200
    key = bare.post("/api/enter", headers={"x-samadapt-code": code}).json()["key"]
    assert came_in == [code]
    login = {"authorization": f"Bearer {key}"}
    assert bare.get("/api/images", headers=login).status_code == 200
    # Used up: for the exchange, and for a browser without the cookie.
    assert bare.post("/api/enter", headers={"x-samadapt-code": code}).status_code == 401
    with httpx.Client() as other:
        assert other.get(address).status_code == 401
    assert bare.get("/").status_code == 200  # loaded again


def test_what_the_browser_shows_to_other_ports_opens_nothing(
    annotator: Annotator, bare: httpx.Client
) -> None:
    page = bare.get(annotator.page())
    cookie = page.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert f"samadapt-{annotator.port}=" in cookie
    assert TOKEN not in cookie
    value = bare.cookies[f"samadapt-{annotator.port}"]
    assert bare.get("/static/js/main.js").status_code == 200
    assert bare.get("/api/images").status_code == 401
    assert bare.post("/api/leave").status_code == 401
    for headers in ({"authorization": f"Bearer {value}"}, {"x-samadapt-code": value}):
        assert bare.get("/api/images", headers=headers).status_code == 401
        assert bare.post("/api/enter", headers=headers).status_code == 401


def test_keys_outlive_a_restart_with_the_same_token_only() -> None:
    before = Access("one-token")
    key = before.exchange(before.new_code())
    assert key is not None
    assert key != before.exchange(before.new_code())
    assert Access("one-token").is_secret(key)
    assert not Access("two-token").is_secret(key)
    assert not before.is_secret(key[:-1])
    assert not before.is_secret("." + key.partition(".")[2])


def test_old_addresses_are_forgotten() -> None:
    access = Access("t")
    first = access.new_code()
    assert access.is_code(first)
    codes = [access.new_code() for _ in range(100)]
    assert not access.is_code(first)
    assert all(map(access.is_code, codes))


def test_a_stale_address_says_what_to_do_and_takes_the_token(
    annotator: Annotator, bare: httpx.Client
) -> None:
    page = bare.get("/?code=old")
    assert page.status_code == 401
    assert "samadapt annotate" in page.text
    assert "form-action 'self'" in page.headers["content-security-policy"]
    entered = bare.post("/enter", data={"token": TOKEN})
    assert entered.status_code == 303
    assert TOKEN not in entered.headers["location"]
    assert bare.get(entered.headers["location"]).status_code == 200
    assert bare.post("/enter", data={"token": "wrong"}).status_code == 401
    assert bare.post("/enter", content=b"x" * 100_000).status_code == 401


def test_whoever_has_the_token_gets_addresses(annotator: Annotator, bare: httpx.Client) -> None:
    code = annotator.person().post("/api/code")["code"]
    assert bare.get(f"/?code={code}").status_code == 200


def test_wrong_tokens_are_answered_slower_and_slower() -> None:
    now = [0.0]
    slow = Slowdown(lambda: now[0])
    waits = [slow.wrong("a") for _ in range(4)]
    # 0.1, 0.2, 0.4, 0.8, one after the other.
    assert waits == pytest.approx([0.1, 0.3, 0.7, 1.5])
    assert slow.wrong("b") == pytest.approx(0.1)
    now[0] = 1000.0
    assert slow.wrong("a") == pytest.approx(0.1)
    for _ in range(50):
        now[0] += slow.wrong("a") or 0.0
    assert slow.wrong("a") == pytest.approx(5.0)
    crowd = [slow.wrong("a") for _ in range(20)]
    assert crowd.count(None) > 10
    assert max(wait for wait in crowd if wait is not None) <= 50.0


def test_only_wrong_secrets_wait(
    annotator: Annotator, bare: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[str] = []

    def wrong(self: Slowdown, address: str) -> float | None:
        held.append(address)
        return None if len(held) > 2 else 0.0

    monkeypatch.setattr(Slowdown, "wrong", wrong)
    given = {"authorization": "Bearer wrong-token"}
    answers = [bare.get("/api/images", headers=given).status_code for _ in range(3)]
    assert answers == [401, 401, 429]
    assert held == ["127.0.0.1"] * 3
    assert annotator.person().get("/api/project")
    assert bare.get("/api/images").status_code == 401  # no secret at all: nothing to slow down
    assert len(held) == 3
