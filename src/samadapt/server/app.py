"""The annotator as an ASGI application."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from samadapt.errors import BusyError, SamadaptError, SessionError
from samadapt.server import (
    routes_images,
    routes_labels,
    routes_objects,
    routes_project,
    routes_proposals,
    routes_reviews,
    routes_stacks,
    routes_teaching,
    routes_tools,
    routes_upload,
)
from samadapt.server.idempotency import IdempotencyMiddleware
from samadapt.server.json_bodies import JsonMiddleware
from samadapt.server.security import STREAMED, Guard, GuardMiddleware
from samadapt.server.tiled_images import PreparingError
from samadapt.server.workspace import Workspace
from samadapt.store.errors import ConflictError, FullError, MissingError

_LOG = logging.getLogger("samadapt.server")

_STATUS: tuple[tuple[type[SamadaptError], int], ...] = (
    (MissingError, 404),
    (ConflictError, 409),
    (SessionError, 409),
    (FullError, 507),
    (BusyError, 503),
    (PreparingError, 425),
)
_ASYNC = "respond-async"
"""Value of the header "Prefer" (RFC 7240) for 202 instead of 425 while an image is prepared."""


def create_app(workspace: Workspace, guard: Guard) -> FastAPI:
    """Return the application for one workspace; `guard` decides which requests it answers."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(workspace.close)

    app = FastAPI(
        title="samadapt annotator",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    app.state.workspace = workspace
    for routes in (
        routes_images,
        routes_labels,
        routes_objects,
        routes_tools,
        routes_project,
        routes_proposals,
        routes_reviews,
        routes_stacks,
        routes_teaching,
        routes_upload,
    ):
        app.include_router(routes.router)
    static = Path(str(resources.files("samadapt.server") / "static"))

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        return FileResponse(static / "index.html", headers={"cache-control": "no-cache"})

    app.mount("/static", StaticFiles(directory=static), name="static")
    answer_errors(app)
    app.add_middleware(IdempotencyMiddleware, streamed=STREAMED)
    app.add_middleware(JsonMiddleware, streamed=STREAMED)
    app.add_middleware(GuardMiddleware, guard=guard)
    return app


def answer_errors(app: FastAPI, bad_request: int = 422) -> None:
    """Make an application answer every error with JSON: one line of text under "error".

    Args:
        app: the application.
        bad_request: HTTP status of requests that are invalid or cannot be fulfilled.
    """

    @app.exception_handler(SamadaptError)
    async def samadapt_error(request: Request, error: SamadaptError) -> JSONResponse:
        if isinstance(error, PreparingError) and _ASYNC in request.headers.get("prefer", ""):
            return JSONResponse({"preparing": str(error)}, 202)
        status = next((code for kind, code in _STATUS if isinstance(error, kind)), bad_request)
        return _told(status, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return _told(bad_request, f"the request is not valid: {_first(error)}")

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> JSONResponse:
        return _told(error.status_code, str(error.detail))

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> JSONResponse:
        return _told(400, "the request was broken off")

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        _LOG.exception("unexpected error at %s", request.url.path, exc_info=error)
        return _told(500, f"unexpected {type(error).__name__}: {error}")


def _told(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": " ".join(text.split())}, status)


def _first(error: RequestValidationError) -> str:
    problems: list[Any] = list(error.errors())
    if not problems:
        return "no reason given"
    place = ".".join(str(part) for part in problems[0].get("loc", ()))
    return f"{place}: {problems[0].get('msg', '')}"
