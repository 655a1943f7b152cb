"""Everything but inference: a FastAPI application, and the description of all of it in ``/openapi.json``."""

from __future__ import annotations

import importlib.util
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from ledger.ports import FactsPort, JournalPort, LearningPort
from ledger.refresh.refresher import Refresher
from ledger.refresh.source import Parse
from proxy.api import (
    agent_usage,
    calibration,
    deployments,
    feedback,
    health,
    ledger,
    live,
    reconcile,
    responses,
    route,
    sources,
)
from proxy.api import facts as known_facts
from proxy.api.admin import audit, budgets, keys, teams, users
from proxy.api.admin.door import Door
from proxy.api.paths import INFERENCE, KEPT
from proxy.call import Principal
from proxy.errors import (
    InvalidRequest,
    MethodNotAllowed,
    NotAllowed,
    NotFound,
    ProxyError,
    to_openai,
)
from proxy.owners.directory import THIS_MACHINE, Directory
from proxy.routing.auto import Auto
from proxy.wiring.traffic import Traffic

_BEARER = HTTPBearer(auto_error=False, description="An API key: `tw-…`.")

Identify = Callable[[tuple[str, ...]], Principal]


def build(
    *,
    version: str,
    directory: Directory,
    journal: JournalPort,
    reconciler: reconcile.Reconciler,
    facts: FactsPort,
    agents: agent_usage.Keeper,
    identify: Identify,
    checks: Callable[[], Awaitable[dict[str, str]]],
    now_us: Callable[[], int],
    traffic: Traffic,
    refresher: Refresher,
    measuring: live.Measuring,
    forms: Mapping[str, Parse],
    kept: Callable[..., Awaitable[Response]],
    stored: Callable[[Callable[..., Principal]], Sequence[APIRouter]] = lambda _: (),
    standing: budgets.StandingOf = lambda _: None,
    auto: Auto | None = None,
    explain: route.Explain | None = None,
    learning: LearningPort | None = None,
    told: feedback.Told = lambda _: None,
) -> FastAPI:
    """The application.  kept: asks who keeps a response about it.  stored: the routes of files and batches.
    standing: how a budget stands.  auto, explain: how models are chosen, where they are.  learning: what is kept of that, and
    of what people think of it; told: told of each such thing.
    """
    app = FastAPI(
        title="Tollway",
        version=version,
        summary="A self-hosted gateway for language models.",
        telemetry={"tracing": False, "metrics": False, "logs": False},
        docs_url=None,
        redoc_url=None,
    )
    caller = _caller(identify)

    def only_admin(principal: Principal = Depends(caller)) -> Principal:
        if not principal.admin:
            raise NotAllowed("This needs an admin's key.")
        return principal

    app.include_router(health.router(checks))
    app.include_router(responses.router(kept, caller))
    for routes in stored(caller):
        app.include_router(routes)

    async def routed(request_id: str) -> dict[str, Any] | None:
        found = route.told_of(auto, request_id)
        if found is None and learning is not None and (decided := await learning.decision(request_id)) is not None:
            found = calibration.told(decided)
        return found

    app.include_router(ledger.router(journal, caller, now_us, routed=routed))
    if learning is not None:
        app.include_router(feedback.router(learning, caller, now_us, told))
        app.include_router(calibration.router(learning, only_admin, now_us))
    if explain is not None:
        app.include_router(route.router(explain, caller, now_us))
    app.include_router(known_facts.router(facts, caller, now_us, lambda: measuring.view))
    app.include_router(live.router(measuring, caller, only_admin, now_us))
    _administer(app, directory, only_admin, standing)
    app.include_router(reconcile.router(reconciler, only_admin))
    app.include_router(sources.router(refresher, forms, only_admin, now_us))
    app.include_router(deployments.router(traffic, only_admin))
    app.include_router(agent_usage.router(agents, only_admin))
    app.add_middleware(Door, identify=identify)
    _serve_docs(app)
    _answer_errors(app)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]  # FastAPI's documented way to extend the schema
    return app


def offline(directory: Directory) -> FastAPI:
    """``/admin/v1`` alone, for the command where no server runs: whoever calls it is this machine."""
    app = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False}, openapi_url=None)

    def this_machine() -> Principal:
        return Principal(key_id=THIS_MACHINE.id, name=THIS_MACHINE.name, admin=True)

    _administer(app, directory, this_machine, lambda _: None)
    _answer_errors(app)
    return app


def _administer(app: FastAPI, directory: Directory, only_admin: Callable[..., Principal], standing: budgets.StandingOf) -> None:
    for routes in (keys.routes, users.routes, teams.routes, audit.routes):
        app.include_router(routes(directory, only_admin))
    app.include_router(budgets.routes(directory, only_admin, standing))


def _caller(identify: Identify) -> Callable[..., Principal]:
    def caller(request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> Principal:
        return identify(tuple(request.headers.getlist("authorization")))

    return caller


def _described(app: FastAPI) -> dict[str, Any]:
    """The schema of FastAPI's routes and of the raw ones beside them."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        schema["paths"] = {**INFERENCE, **KEPT, **schema["paths"]}
        app.openapi_schema = schema
    return app.openapi_schema


def _serve_docs(app: FastAPI) -> None:
    """Swagger UI from files that are installed with us: nothing is loaded from elsewhere."""
    spec = importlib.util.find_spec("fastapi_offline")
    assert spec is not None and spec.origin is not None  # noqa: S101  # a locked requirement
    app.mount("/docs/static", StaticFiles(directory=Path(spec.origin).parent / "static"), name="docs-static")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        page = get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Tollway",
            swagger_js_url="/docs/static/swagger-ui-bundle.js",
            swagger_css_url="/docs/static/swagger-ui.css",
            swagger_favicon_url="/docs/static/favicon.png",
        )
        page.headers["content-security-policy"] = (
            "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
            "img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
        )
        return page


def _answer_errors(app: FastAPI) -> None:
    """Every error in the one shape."""

    @app.exception_handler(ProxyError)
    async def ours(_: Request, error: ProxyError) -> Response:
        return _response(error)

    @app.exception_handler(Exception)
    async def broken(_: Request, __: Exception) -> Response:
        return _response(ProxyError("Something went wrong in the gateway."))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:])
        return _response(InvalidRequest(f"{field or 'The body'}: {first['msg']}", param=field or None))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 405:
            return _response(MethodNotAllowed(f"{request.url.path} does not take {request.method}."))
        return _response(NotFound(f"There is nothing at {request.url.path[:200]!r}."))


def _response(error: ProxyError) -> Response:
    status, headers, body = to_openai(error)
    return Response(body, status, headers={name.decode(): value.decode() for name, value in headers})
