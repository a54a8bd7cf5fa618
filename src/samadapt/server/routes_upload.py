"""The route by which other programs upload images."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool

from samadapt.server.uploads import add_image, check_name, receiving
from samadapt.server.who import Here

router = APIRouter(prefix="/api")


@router.post("/images")
async def upload(
    request: Request,
    here: Here,
    name: Annotated[str, Query(min_length=1, max_length=200)],
) -> dict[str, Any]:
    """Add the body of the request to the folder as an image file, unless it is there already."""
    check_name(name)
    with receiving(here) as place:
        with place.open("xb") as file:
            async for block in request.stream():
                await run_in_threadpool(file.write, block)
        image = await run_in_threadpool(add_image, here, place, name)
    return {"id": image.id, "name": image.name}
