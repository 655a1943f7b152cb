"""Keys by HTTP: what is sent is what is set, and what is not sent stays."""

from __future__ import annotations

from typing import Any

import pytest

from tests.proxy.api.admin.rooms import Room

SETTINGS: dict[str, Any] = {
    "admin": True,
    "user": "alice",
    "team": "search",
    "models": ["a/*"],
    "endpoints": ["embeddings"],
    "requests_per_minute": 60,
    "tokens_per_minute": 1000,
    "concurrent": 4,
    "priority": "low",
    "disconnect": "drain:50",
    "durability": "power",
    "metadata": {"cost_centre": {"number": 4711}},
    "expires_at": 4_000_000_000,
}
DEFAULTS: dict[str, Any] = {
    "admin": False,
    "user": "",
    "team": "",
    "models": [],
    "endpoints": [],
    "priority": "normal",
    "disconnect": "cancel",
    "requests_per_minute": None,
    "tokens_per_minute": None,
    "concurrent": None,
    "durability": "",
    "metadata": {},
    "expires_at": None,
}


@pytest.fixture
async def peopled(room: Room) -> Room:
    await room.office.team("search")
    await room.office.user("alice")
    return room


def settings_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in SETTINGS}


async def test_a_key_is_made_with_everything_that_was_sent_and_shown_so(peopled: Room) -> None:
    made = await peopled.done("POST", "keys", {"name": " laptop ", **SETTINGS})

    shown = await peopled.done("GET", f"keys/{made['id']}")
    assert settings_of(shown) == SETTINGS
    assert {**shown, "key": made["key"]} == made
    assert (shown["name"], shown["last4"], shown["declared"]) == ("laptop", made["key"][-4:], False)
    assert peopled.office.ring.find(made["key"]) is not None


async def test_what_was_not_sent_has_its_default(peopled: Room) -> None:
    assert settings_of(await peopled.done("POST", "keys", {"name": "plain"})) == DEFAULTS


@pytest.mark.parametrize("field", sorted(SETTINGS))
async def test_each_setting_can_be_set_and_taken_away_alone(peopled: Room, field: str) -> None:
    await peopled.done("POST", "keys", {"name": "k"})

    there = await peopled.done("PATCH", "keys/k", {field: SETTINGS[field]})
    gone = await peopled.done("PATCH", "keys/k", {field: DEFAULTS[field]})

    assert settings_of(there) == {**DEFAULTS, field: SETTINGS[field]}
    assert settings_of(gone) == DEFAULTS


async def test_a_key_is_renamed_and_found_by_its_new_name(peopled: Room) -> None:
    await peopled.done("POST", "keys", {"name": "old"})

    await peopled.done("PATCH", "keys/old", {"name": "a/b?c%/rotate"})

    assert (await peopled.done("GET", "keys/a%2Fb%3Fc%25%2Frotate"))["name"] == "a/b?c%/rotate"
    assert (await peopled.done("POST", "keys/a%2Fb%3Fc%25%2Frotate/rotate"))["previous_until"] is not None
    assert await peopled.refused("GET", "keys/old") == (404, "not_found", "key")


async def test_pages_hold_every_key_once_in_order(room: Room) -> None:
    for number in range(7):
        await room.done("POST", "keys", {"name": f"k{number}"})

    names, after = [], None
    while True:
        page = await room.done("GET", "keys", limit=2, **({"after": after} if after else {}))
        names += [row["name"] for row in page["data"]]
        after = page["next"]
        if after is None:
            break

    assert names == ["the admin", "somebody", *(f"k{number}" for number in range(7))]


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 1001}, {"limit": "many"}, {"after": "nothing"}, {"live": "maybe"}])
async def test_a_page_is_bounded_and_begins_somewhere(room: Room, query: dict[str, Any]) -> None:
    (name,) = query

    assert await room.refused("GET", "keys", **query) == (400, "invalid_value", name)


async def test_keys_are_listed_by_owner_and_by_life(peopled: Room) -> None:
    await peopled.done("PATCH", "users/alice", {"team": "search"})
    for name, owner in {"a": {"user": "alice"}, "b": {"team": "search"}, "c": {}}.items():
        await peopled.done("POST", "keys", {"name": name, **owner})
    await peopled.done("DELETE", "keys/c")

    async def names(**query: Any) -> list[str]:
        return [row["name"] for row in (await peopled.done("GET", "keys", **query))["data"]]

    assert await names(user="ALICE") == ["a"]
    assert await names(team="Search") == ["a", "b"]
    assert await names(live=True) == ["the admin", "somebody", "a", "b"]
    assert await peopled.refused("GET", "keys", team="none") == (404, "not_found", "team")


async def test_a_key_that_would_begin_expired_is_refused(room: Room) -> None:
    room.office.now_us = 2_000_000_000_000_000

    assert await room.refused("POST", "keys", {"name": "k", "expires_at": 1_999_999_999}) == (
        400,
        "invalid_value",
        "expires_at",
    )


async def test_a_name_that_is_taken_is_a_conflict(room: Room) -> None:
    assert await room.refused("POST", "keys", {"name": "SOMEBODY"}) == (409, "key_exists", "name")
