"""A small Hub on this machine: what huggingface_hub asks for to push and to fetch a model."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_good"  # noqa: S105


@dataclass
class Hub:
    """Repositories by id, each with its files; what was asked, and the address."""

    repos: dict[str, dict[str, bytes]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    blobs: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def commit_of(self, repo: str) -> str:
        """A commit's name, from the contents."""
        content = sorted(self.repos[repo].items())
        return hashlib.sha1(repr(content).encode(), usedforsecurity=False).hexdigest()


@contextmanager
def hub_server() -> Iterator[Hub]:
    """A running hub."""
    hub = Hub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Stay quiet."""

    def do_POST(self) -> None:
        path, body = self._asked()
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._say(401, {"error": "Invalid username or password."})
        elif path == "/api/repos/create":
            wanted = json.loads(body)
            repo = f"{wanted.get('organization') or 'me'}/{wanted['name']}"
            self.hub.repos.setdefault(repo, {})
            if wanted.get("private") or wanted.get("visibility") == "private":
                self.hub.private.add(repo)
            self._say(200, {"url": f"{self.hub.url}/{repo}", "name": repo, "id": repo})
        elif path == "/api/validate-yaml":
            self._say(200, {"errors": [], "warnings": []})
        elif path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            modes = ("lfs" if n.endswith(".safetensors") else "regular" for n in names)
            files = [
                {"path": name, "uploadMode": mode, "shouldIgnore": False}
                for name, mode in zip(names, modes, strict=True)
            ]
            self._say(200, {"files": files})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**o, "actions": {"upload": {"href": f"{self.hub.url}/blobs/{o['oid']}"}}}
                for o in json.loads(body)["objects"]
            ]
            self._say(200, {"transfer": "basic", "objects": objects})
        elif "/commit/main" in path:
            self._commit(path.removeprefix("/api/models/").partition("/commit/")[0], body)
        else:
            self._say(404, {"error": f"no {path}"})

    def do_PUT(self) -> None:
        path, body = self._asked()
        self.hub.blobs[path.rpartition("/")[2]] = body
        self._say(200, {})

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path, _ = self._asked()
        repo = next((r for r in self.hub.repos if f"/{r}/" in f"{path}/"), None)
        if repo is None:
            self._say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            return
        files, commit = self.hub.repos[repo], self.hub.commit_of(repo)
        if "/resolve/" in path:
            name = path.rpartition("/")[2]
            data = files[name]
            tag = hashlib.sha256(data).hexdigest()
            self._send(200, data, {"ETag": f'"{tag}"', "X-Repo-Commit": commit})
        elif "/tree/" in path:
            self._say(
                200,
                [
                    {
                        "type": "file",
                        "path": n,
                        "size": len(files[n]),
                        "oid": hashlib.sha256(files[n]).hexdigest(),
                    }
                    for n in files
                ],
            )
        else:
            siblings = [{"rfilename": name} for name in sorted(files)]
            self._say(200, {"id": repo, "sha": commit, "siblings": siblings, "private": False})

    def _commit(self, repo: str, body: bytes) -> None:
        for line in body.decode().splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                self.hub.repos[repo][value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                self.hub.repos[repo][value["path"]] = self.hub.blobs[value["oid"]]
        commit = self.hub.commit_of(repo)
        url = f"{self.hub.url}/{repo}/commit/{commit}"
        self._say(200, {"success": True, "commitOid": commit, "commitUrl": url})

    def _asked(self) -> tuple[str, bytes]:
        path = unquote(urlsplit(self.path).path)
        self.hub.asked.append(f"{self.command} {path}")
        return path, self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _say(self, status: int, value: Any, headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(value).encode(), headers or {})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
