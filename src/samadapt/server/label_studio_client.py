"""`LabelStudioClient`: fetches images and the tasks of a project from Label Studio."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from samadapt.errors import DataError

_LARGEST_FILE = 256 << 20
_LARGEST_PROJECT = 2 << 30
_SECONDS = 60.0
_TOKEN_PARTS = 3
_NOT_MODIFIED = 304


@dataclass(frozen=True, slots=True)
class Validators:
    """HTTP validators of a file: entity tag and modification date, to ask whether it changed."""

    tag: str = ""
    date: str = ""

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Validators:
        """Return the validators in the headers of an answer."""
        return cls(headers.get("etag", ""), headers.get("last-modified", ""))

    def headers(self) -> dict[str, str]:
        """Return request headers that ask for the file only if it has changed."""
        given = {"if-none-match": self.tag, "if-modified-since": self.date}
        return {name: value for name, value in given.items() if value}


class LabelStudioClient:
    """Client of one Label Studio server; it connects to no other.

    Args:
        url: address of the server.
        key: a personal access token (a JSON web token, which is exchanged for a short-lived one
            before every request), or a legacy token; None sends no token.
    """

    def __init__(self, url: str, key: str | None) -> None:
        self._url, self._key = url.rstrip("/"), key

    def read(
        self, address: str, known: Validators | None = None
    ) -> tuple[bytes | None, Validators]:
        """Fetch a file.

        Args:
            address: URL of the file on this server, or its path alone.
            known: validators of the last answer, if the file was fetched before.

        Returns:
            The file (None if it has not changed since), and its present validators.

        Raises:
            DataError: the address is on another server, or the file is missing, not allowed, or
                too large.
        """
        try:
            parts, home = urlsplit(address), urlsplit(self._url)
        except ValueError as error:
            raise DataError(f"{address[:200]!r} is no address ({error})") from None
        if (parts.scheme or parts.netloc) and parts[:2] != home[:2]:
            raise DataError(f"{address[:200]} is not at {self._url}: it is not fetched")
        rest = parts.path + (f"?{parts.query}" if parts.query else "")
        url = f"{home.scheme}://{home.netloc}/{rest.lstrip('/')}"
        return self._get(url, _LARGEST_FILE, known or Validators())

    def annotated_tasks(self, project: int) -> list[dict[str, Any]]:
        """Fetch all tasks of a project that have annotations, together with these.

        Raises:
            DataError: the project is missing or not allowed, or the answer is no list of tasks.
        """
        url = f"{self._url}/api/projects/{project}/export?exportType=JSON"
        text, _ = self._get(url, _LARGEST_PROJECT, Validators())
        try:
            tasks = json.loads(text or b"")
        except (ValueError, RecursionError):
            raise DataError(f"{url} is no list of tasks: check --url") from None
        return [t for t in tasks if isinstance(t, dict)] if isinstance(tasks, list) else []

    def _get(self, url: str, limit: int, known: Validators) -> tuple[bytes | None, Validators]:
        headers = self._login() | known.headers()
        try:
            with httpx.stream("GET", url, headers=headers, timeout=_SECONDS) as answer:
                if answer.status_code == _NOT_MODIFIED and known.headers():
                    return None, known
                answer.raise_for_status()
                data = bytearray()
                for block in answer.iter_bytes():
                    data += block
                    if len(data) > limit:
                        raise DataError(f"{url} is larger than {limit >> 20} MB")
                return bytes(data), Validators.of(answer.headers)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise DataError(f"cannot fetch {url[:300]} ({_line(error)}): {_REMEDY}") from None

    def _login(self) -> dict[str, str]:
        if not self._key:
            return {}
        if self._key.count(".") != _TOKEN_PARTS - 1:
            return {"authorization": f"Token {self._key}"}
        url = f"{self._url}/api/token/refresh/"
        try:
            answer = httpx.post(url, json={"refresh": self._key}, timeout=_SECONDS)
            answer.raise_for_status()
            return {"authorization": f"Bearer {answer.json()['access']}"}
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, KeyError, TypeError) as error:
            raise DataError(f"cannot log in at {url} ({_line(error)}): {_REMEDY}") from None


_REMEDY = "check --url and --api-key"


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]
