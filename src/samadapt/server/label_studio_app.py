"""The routes that Label Studio calls of a machine learning back end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Body, FastAPI
from fastapi.concurrency import run_in_threadpool

from samadapt.errors import DataError
from samadapt.server.app import answer_errors
from samadapt.server.label_studio import LabelStudioBackend, read_json
from samadapt.server.security import Guard, GuardMiddleware

_TRAINING = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_CREATED")

Request = Annotated[dict[str, Any], Body()]


def create_label_studio_app(backend: LabelStudioBackend, guard: Guard) -> FastAPI:
    """The application; Label Studio gives the guard's token as password of its basic login."""

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
        context = read_json(params.get("context") or request.get("context"))
        config = str(request.get("label_config") or "")
        return {"results": backend.predict(tasks, config, context)}

    @app.post("/webhook")
    def webhook(request: Request) -> dict[str, Any]:
        if request.get("action") not in _TRAINING:
            return {"status": "ok", "learned": 0}
        return _fit(backend, request)

    @app.post("/train")
    def train(request: Request) -> dict[str, Any]:
        count = 0
        for task in _tasks(request.get("annotations")):
            for annotation in _tasks(task.get("annotations")):
                config = str(request.get("label_config") or "")
                count += backend.fit(task, annotation, config)
        return {"status": "ok", "learned": count}

    answer_errors(app)
    app.add_middleware(GuardMiddleware, guard=guard)
    return app


def _fit(backend: LabelStudioBackend, request: dict[str, Any]) -> dict[str, Any]:
    task = read_json(request.get("task"))
    project = read_json(request.get("project"))
    config = str(request.get("label_config") or project.get("label_config") or "")
    given = request.get("annotation")
    annotations = [given] if isinstance(given, dict) else _tasks(request.get("annotations"))
    if not task or not config:
        raise DataError("the webhook has no task or no label_config: send them with the annotation")
    count = sum(backend.fit(task, annotation, config) for annotation in annotations)
    return {"status": "ok", "learned": count, "model_version": backend.version}


def _tasks(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
