"""The HTTP routes that Label Studio calls on a machine learning backend."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import Future, wait
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Body, FastAPI
from fastapi.concurrency import run_in_threadpool

from samadapt.errors import DataError, SamadaptError
from samadapt.server.app import answer_errors
from samadapt.server.asgi import App, Message, Receive, Scope, Send
from samadapt.server.json_bodies import JsonMiddleware
from samadapt.server.label_studio import LabelStudioBackend
from samadapt.server.label_studio_prompts import read_json
from samadapt.server.security import Guard, GuardMiddleware

_LOG = logging.getLogger(__name__)
_REFUSED, _NO_PASSWORD = 400, 401
_PATIENCE_SECONDS = 0.6  # Label Studio gives up after a second
_START = "START_TRAINING"
_TRAINING = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED")

Request = Annotated[dict[str, Any], Body()]


def create_label_studio_app(
    backend: LabelStudioBackend, guard: Guard, patience: float = _PATIENCE_SECONDS
) -> FastAPI:
    """Return the application; Label Studio sends the guard's token as a basic login's password.

    Args:
        backend: answers the requests.
        guard: decides which requests are allowed.
        patience: seconds after which a webhook is answered although learning is still going on.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(backend.close)

    app = FastAPI(
        title="samadapt for Label Studio",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )

    @app.get("/")
    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"status": "UP", "model_class": "samadapt", "model_version": backend.version}

    @app.post("/setup")
    def setup() -> dict[str, Any]:
        return {"model_version": backend.version}

    @app.get("/versions")
    def versions() -> dict[str, Any]:
        return {"versions": [backend.version]}

    @app.post("/predict")
    def predict(request: Request) -> dict[str, Any]:
        tasks = _tasks(request.get("tasks"))
        params = read_json(request.get("params"))
        given = params.get("context") or request.get("context")
        context = read_json(given) if given else None
        config = _text(request.get("label_config"))
        return {"results": backend.predict(tasks, config, context)}

    @app.post("/webhook")
    def webhook(request: Request) -> dict[str, Any]:
        if request.get("action") == _START:
            project = read_json(request.get("project"))
            backend.fit_project(_identifier(project), _text(project.get("label_config")))
            return {"status": "ok"}
        if request.get("action") not in _TRAINING:
            return {"status": "ok", "learned": 0}
        return _fit(backend, request, patience)

    @app.post("/train")
    def train(request: Request) -> dict[str, Any]:
        count = 0
        for task in _tasks(request.get("annotations")):
            for annotation in _tasks(task.get("annotations")):
                config = _text(request.get("label_config"))
                count += backend.fit(task, annotation, config)
        return {"status": "ok", "learned": count}

    answer_errors(app, bad_request=_REFUSED)
    app.add_middleware(JsonMiddleware)
    app.add_middleware(GuardMiddleware, guard=guard)
    app.add_middleware(_Told)
    return app


class _Told:
    """Logs the reason of every error answer: Label Studio shows only the status code."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and log the answer if it is an error."""
        status, body = 0, bytearray()

        async def telling(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            elif status >= _REFUSED:
                body.extend(message.get("body", b""))
                if not message.get("more_body"):
                    _LOG.warning(
                        "Label Studio, %s: %s", scope["path"], _reason(status, bytes(body))
                    )
            await send(message)

        await self._app(scope, receive, telling)


def _reason(status: int, body: bytes) -> str:
    if status == _NO_PASSWORD:
        return "no password, or another one: give Label Studio the address with the password in it"
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return f"status {status}"


def _fit(backend: LabelStudioBackend, request: dict[str, Any], patience: float) -> dict[str, Any]:
    """Learn from one annotation, or from a list of them with their tasks in the same order."""
    project = read_json(request.get("project"))
    config = _text(request.get("label_config") or project.get("label_config"))
    tasks = _listed(request.get("task"))
    annotations = _listed(request.get("annotation") or request.get("annotations"))
    if not tasks or not config:
        raise DataError("the webhook has no task or no label_config: send them with the annotation")
    if len(tasks) == 1:
        tasks = tasks * len(annotations)
    if len(tasks) != len(annotations):
        raise DataError(f"the webhook has {len(tasks)} tasks and {len(annotations)} annotations")
    pairs = list(zip(tasks, annotations, strict=True))
    future = backend.later(lambda: sum(backend.fit(t, a, config) for t, a in pairs))
    if not wait([future], patience).done:
        future.add_done_callback(_tell)
        return {"status": "ok", "model_version": backend.version}
    return {"status": "ok", "learned": future.result(), "model_version": backend.version}


def _tell(future: Future[int]) -> None:
    error = future.exception()
    if error is not None:
        known = isinstance(error, SamadaptError)
        _LOG.warning("Label Studio, /webhook: %s", error, exc_info=None if known else error)


def _identifier(project: Mapping[str, Any]) -> int:
    number = project.get("id")
    if not isinstance(number, int) or isinstance(number, bool):
        raise DataError("the webhook has no project: send it along")
    return number


def _listed(value: Any) -> list[dict[str, Any]]:
    return _tasks(value if isinstance(value, list) else [value])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _tasks(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
