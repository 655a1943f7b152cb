"""How commands reach ``/admin/v1``: through the server that runs on this home, since one process writes; else in process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from ledger.adapters.sqlite import SqliteLedger
from ledger.errors import LedgerError, LedgerLocked
from proxy.api import rest
from proxy.commands.console import fail, home, load
from proxy.disk.home import Home, Running
from proxy.owners.declared import declared
from proxy.owners.directory import Directory
from proxy.owners.keys import KeyRing

TIMEOUT_S = 15
PAGE = 1000


def ask(
    config_file: Path | None,
    method: str,
    path: str,
    body: Any = None,
    query: dict[str, Any] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Any:
    """What ``/admin/v1`` answers; exits with its sentence if that is an error.

    path: below it; one that begins with a slash is below the server's root.  query: what is ``None`` is left out.
    """
    here = home()
    running = here.running()
    asked = httpx.Request(
        method,
        f"{running.url if running else 'http://127.0.0.1'}{path if path.startswith('/') else f'/admin/v1/{path}'}",
        params={name: value for name, value in (query or {}).items() if value is not None},
        json=body,
    )
    answer = _through(running, asked, timeout_s) if running is not None else _in_process(config_file, here, asked)
    try:
        content = answer.json()
        message = content["error"]["message"] if answer.is_error else ""
    except (ValueError, KeyError, TypeError):
        fail(f"the server answered {answer.status_code} and nothing that is understood here")
    if answer.is_error:
        fail(message)
    return content


def ask_running(method: str, path: str, body: Any) -> Any:
    """The same of what only a running server knows; exits if none runs.  path: below the server's root."""
    here = home()
    if here.running() is None:
        fail(f"no server is running on {here.path}")
    return ask(None, method, path, body)


def fetched(path: str) -> bytes | None:
    """What the server that runs on this home has at a path below its root; ``None`` if none runs."""
    running = home().running()
    if running is None:
        return None
    answer = _through(running, httpx.Request("GET", running.url + path), TIMEOUT_S)
    if answer.is_error:
        fail(f"the server answered {answer.status_code} where it was asked for {path}")
    return answer.content


def every(config_file: Path | None, path: str, query: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """Every row of a list, over all of its pages."""
    after = None
    while True:
        page = ask(config_file, "GET", path, query={**(query or {}), "limit": PAGE, "after": after})
        yield from page["data"]
        after = page["next"]
        if after is None:
            return


def place(*names: str) -> str:
    """A path of names, whatever they are made of."""
    return "/".join(quote(name, safe="") for name in names)


def _through(running: Running, asked: httpx.Request, timeout_s: float) -> httpx.Response:
    asked.headers["authorization"] = f"Bearer {running.token}"
    try:
        with httpx.Client(timeout=timeout_s, trust_env=False) as client:
            return client.send(asked)
    except httpx.HTTPError as error:
        fail(f"the server at {running.url} (process {running.pid}) does not answer: {error}")


def _in_process(config_file: Path | None, here: Home, asked: httpx.Request) -> httpx.Response:
    settings = load(config_file, {})

    async def work() -> httpx.Response:
        here.make()
        with SqliteLedger(settings.ledger.path(here.path)) as ledger:
            ring = KeyRing(here.pepper(), _now_us)
            directory = Directory(ring, ledger, _now_us)
            await directory.load(declared(settings, ring.digest))
            async with httpx.AsyncClient(transport=httpx.ASGITransport(rest.offline(directory))) as client:
                return await client.send(asked)

    try:
        return asyncio.run(work())
    except LedgerLocked as error:
        fail(f"{error} (and it does not say where it listens: try again in a moment)")
    except (LedgerError, OSError, ValueError) as error:
        fail(str(error))


def _now_us() -> int:
    return time.time_ns() // 1000
