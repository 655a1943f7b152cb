"""``/livez`` and ``/readyz``: for whoever decides whether to restart it, and whether to send it traffic."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel


class Health(BaseModel):
    """The verdict, and for each part its own."""

    status: Literal["ok", "unavailable"]
    checks: dict[str, str] = {}


def router(checks: Callable[[], Awaitable[dict[str, str]]]) -> APIRouter:
    """The routes.  checks: each part's state; anything but ``ok`` makes the process not ready."""
    routes = APIRouter(tags=["health"])

    @routes.get("/livez", operation_id="livez")
    async def livez() -> Health:
        """The process answers."""
        return Health(status="ok")

    @routes.get("/readyz", operation_id="readyz", responses={503: {"model": Health}})
    async def readyz(response: Response) -> Health:
        """Requests can be answered and accounted for; not so while it is shutting down or the journal cannot be written."""
        found = await checks()
        ready = all(state == "ok" for state in found.values())
        if not ready:
            response.status_code = 503
        return Health(status="ok" if ready else "unavailable", checks=found)

    return routes
