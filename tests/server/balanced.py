"""Two annotators of one project in PostgreSQL, as processes of their own, behind nginx."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from annotator import TOKEN, Person

NGINX = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
"""Debian keeps it where only root's shell looks."""

SERVER = """
import sys
from fakes import FakeModel
from samadapt.cli import app, common
common.load_model = lambda name, device, dtype: FakeModel()
app(sys.argv[1:])
"""

CONFIG = """
daemon off; master_process off; pid {place}/pid; error_log {place}/error.log;
events {{ worker_connections 128; }}
http {{
  access_log off;
  client_body_temp_path {place}/body; proxy_temp_path {place}/proxy;
  fastcgi_temp_path {place}/1; uwsgi_temp_path {place}/2; scgi_temp_path {place}/3;
  upstream annotators {{ {servers} }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://annotators;
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Proto $scheme;
      add_header X-Answered-By $upstream_addr;
    }}
  }}
}}
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@dataclass
class Server:
    """`samadapt annotate` with a tiny model."""

    folder: Path
    project: str
    place: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[str] | None = None
    people: list[Person] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def begin(self) -> None:
        """Start; `wait` waits until it answers."""
        tests = Path(__file__).parents[1]
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-c", SERVER, "annotate", str(self.folder), "--json"),
                *("--project", self.project, "--model", "fake", "--port", str(self.port)),
                *("--no-browser", "--threads", "1", "--allow-host", "127.0.0.1"),
            ],
            env={
                **os.environ,
                "SAMADAPT_TOKEN": TOKEN,
                "SAMADAPT_CACHE": str(self.place / "cache"),
                "PYTHONPATH": os.pathsep.join([str(tests), os.environ.get("PYTHONPATH", "")]),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait(self) -> Server:
        assert self.process is not None
        assert self.process.stdout is not None
        if not self.process.stdout.readline():
            raise AssertionError(self.process.communicate()[1])
        return self

    def pause(self) -> None:
        """Stop it for a while: requests reach it and stay unanswered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        for person in self.people:
            person.http.close()
        self.people.clear()
        if self.process is not None:
            self.process.send_signal(how)
            self.process.send_signal(signal.SIGCONT)  # if it is paused
            self.process.communicate(timeout=30)
            self.process = None

    def person(self, client: str = "tab-one", name: str = "Ann") -> Person:
        self.people.append(Person(self.url, client, name))
        return self.people[-1]


@dataclass
class Balancer:
    """nginx in front of servers, one request to each in turn."""

    servers: list[Server]
    place: Path
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Balancer:
        self.place.mkdir()
        servers = " ".join(
            f"server 127.0.0.1:{server.port} fail_timeout=1s;" for server in self.servers
        )
        config = self.place / "nginx.conf"
        config.write_text(CONFIG.format(place=self.place, servers=servers, port=self.port))
        self.process = subprocess.Popen([str(NGINX), "-e", "stderr", "-c", str(config)])
        until = time.monotonic() + 20
        while True:
            try:
                httpx.get(self.url, timeout=5)
                return self
            except httpx.HTTPError:
                assert time.monotonic() < until, (self.place / "error.log").read_text()
                time.sleep(0.05)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)
