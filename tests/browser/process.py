"""The annotator as a process of its own, that can be killed."""

from __future__ import annotations

from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx

from forked import CONTEXT


@dataclass
class ServerProcess:
    """A server over a folder of images; the port stays the same when it is started again."""

    folder: Path
    cache: Path
    port: int = 0
    token: str = "the-first-token"  # noqa: S105
    running: Any = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """An address that lets one browser in."""
        home = f"http://127.0.0.1:{self.port}"
        login = {"authorization": f"Bearer {self.token}"}
        code = httpx.post(f"{home}/api/code", headers=login).json()["code"]
        return f"{home}/?code={code}"

    def start(self, folder: Path | None = None) -> ServerProcess:
        ours, theirs = CONTEXT.Pipe()
        arguments = (folder or self.folder, self.cache, self.port, self.token, theirs)
        self.running = CONTEXT.Process(target=_serve, args=arguments, daemon=True)
        self.running.start()
        theirs.close()
        assert ours.poll(60), "the server did not start"
        self.port = int(ours.recv())
        ours.close()
        return self

    def kill(self) -> None:
        """SIGKILL: nothing is tidied up."""
        if self.running is not None:
            self.running.kill()
            self.running.join()
            self.running = None


def _serve(folder: Path, cache: Path, port: int, token: str, told: Connection) -> None:
    from fakes import FakeModel
    from samadapt.server import run
    from samadapt.server.app import create_app
    from samadapt.server.security import Guard
    from samadapt.server.workspace import Workspace
    from samadapt.store.adapters_folder import ADAPTERS
    from samadapt.store.embeddings import EmbeddingStore
    from samadapt.store.projects import Project, project_file

    with Project.open(project_file(folder)) as project, run.listen("127.0.0.1", port) as listener:
        project.images.scan(folder)
        model, store = FakeModel(side=64), EmbeddingStore(cache)
        workspace = Workspace(project, folder, model, store, folder / ADAPTERS, ("online",))
        bound = int(listener.getsockname()[1])
        app = create_app(workspace, Guard(token, bound))
        run.serve(app, listener, lambda: told.send(bound))
