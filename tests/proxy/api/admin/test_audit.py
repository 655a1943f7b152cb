"""The audit log by HTTP."""

from __future__ import annotations

from typing import Any

import pytest

from tests.proxy.api.admin.rooms import Room


async def test_it_says_who_changed_what_when_and_how(room: Room) -> None:
    made = await room.done("POST", "keys", {"name": "laptop"})
    await room.done("PATCH", "keys/laptop", {"concurrent": 3})

    update, create = (await room.done("GET", "audit"))["data"]

    assert (create["action"], create["before"], create["after"]["concurrent"]) == ("create", None, None)
    assert (update["action"], update["kind"], update["object"], update["name"]) == ("update", "key", made["id"], "laptop")
    assert (update["actor_id"], update["actor"]) == (room.admin.key.id, "the admin")
    assert (update["before"]["concurrent"], update["after"]["concurrent"]) == (None, 3)
    assert update["at"].startswith("1970-01-01T00:00:01.")


async def test_pages_hold_every_change_once_the_latest_first(room: Room) -> None:
    for number in range(5):
        await room.done("POST", "teams", {"name": f"t{number}"})

    names: list[str] = []
    before: int | None = 10**6
    while before is not None:
        page = await room.done("GET", "audit", limit=2, before=before)
        names += [row["name"] for row in page["data"]]
        before = page["next"]

    assert names == ["t4", "t3", "t2", "t1", "t0"]


async def test_it_is_asked_for_one_kind_or_one_object(room: Room) -> None:
    await room.done("POST", "teams", {"name": "a"})
    await room.done("POST", "users", {"name": "a"})
    await room.done("POST", "users", {"name": "b"})

    async def found(**query: Any) -> list[str]:
        return [f"{row['kind']} {row['object']}" for row in (await room.done("GET", "audit", **query))["data"]]

    assert await found(kind="user") == ["user b", "user a"]
    assert await found(object="a") == ["user a", "team a"]
    assert await found(object="a", kind="team") == ["team a"]


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 1001}, {"before": -1}, {"kind": "pepper"}])
async def test_what_is_asked_is_bounded(room: Room, query: dict[str, Any]) -> None:
    (name,) = query

    assert await room.refused("GET", "audit", **query) == (400, "invalid_value", name)


async def test_a_ledger_that_cannot_be_read_is_said_so(room: Room) -> None:
    room.office.store.refuses = True

    assert await room.refused("GET", "audit") == (503, "ledger_unavailable", None)
    assert await room.refused("POST", "teams", {"name": "a"}) == (503, "ledger_unavailable", None)
