"""``/admin/v1`` over a directory in memory, and who asks it: an admin, somebody with a key, somebody without."""

from __future__ import annotations

from typing import Any

import httpx

from ledger.ports import JournalPort
from proxy.api import rest
from proxy.api.admin.budgets import Standing
from proxy.owners.directory import NewKey
from proxy.stages.auth import Auth
from tests.proxy.owners.offices import Office


class NoJournal:
    """A journal that nobody should ask here."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the journal was asked for {name}")


class Room:
    """The application, and a client for it."""

    def __init__(self) -> None:
        self.office = Office()
        self.standings: dict[str, Standing] = {}
        self.names: dict[str, str] = {}
        nothing: Any = NoJournal()
        journal: JournalPort = nothing
        self.app = rest.build(
            version="0",
            directory=self.office.directory,
            journal=journal,
            reconciler=nothing,
            traffic=nothing,
            facts=nothing,
            refresher=nothing,
            measuring=nothing,
            forms={},
            agents=nothing,
            identify=Auth(self.office.ring).identify,
            checks=self._checks,
            now_us=self.office.clock_us,
            kept=nothing,
            standing=self.standings.get,
        )
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://127.0.0.1")

    async def opened(self) -> Room:
        """With an admin's key and somebody's."""
        self.admin: NewKey = await self.office.key("the admin", admin=True)
        self.somebody: NewKey = await self.office.key("somebody")
        self.office.store.log.clear()
        return self

    async def ask(self, method: str, path: str, body: Any = None, *, key: str | None = None, **query: Any) -> httpx.Response:
        """What ``/admin/v1`` answers; key: the admin's, if none is named."""
        headers = {"authorization": f"Bearer {self.admin.secret if key is None else key}"}
        return await self.client.request(method, f"/admin/v1/{path}", json=body, headers=headers, params=query)

    async def done(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """What it answers when all is well."""
        answer = await self.ask(method, path, body, **query)
        assert answer.is_success, answer.text
        return answer.json()

    async def refused(self, method: str, path: str, body: Any = None, **query: Any) -> tuple[int, str, str | None]:
        """The status, code and parameter of a refusal."""
        answer = await self.ask(method, path, body, **query)
        error = answer.json()["error"]
        return answer.status_code, error["code"], error["param"]

    async def _checks(self) -> dict[str, str]:
        return {}
