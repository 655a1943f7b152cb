"""Every route of ``/admin/v1`` × whoever may ask, and every body × what nobody may set."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.proxy.api.admin.rooms import Room
from tests.proxy.owners.offices import ADMIN

# Every route, as the application describes it: what is added without a line here fails.
ROUTES = {
    "GET /admin/v1/audit",
    "GET /admin/v1/budgets",
    "POST /admin/v1/budgets",
    "GET /admin/v1/budgets/{budget}",
    "PATCH /admin/v1/budgets/{budget}",
    "DELETE /admin/v1/budgets/{budget}",
    "GET /admin/v1/keys",
    "POST /admin/v1/keys",
    "GET /admin/v1/keys/{key}",
    "PATCH /admin/v1/keys/{key}",
    "DELETE /admin/v1/keys/{key}",
    "POST /admin/v1/keys/{key}/rotate",
    "GET /admin/v1/teams",
    "POST /admin/v1/teams",
    "GET /admin/v1/teams/{name}",
    "PATCH /admin/v1/teams/{name}",
    "DELETE /admin/v1/teams/{name}",
    "POST /admin/v1/teams/{name}/restore",
    "GET /admin/v1/users",
    "POST /admin/v1/users",
    "GET /admin/v1/users/{name}",
    "PATCH /admin/v1/users/{name}",
    "DELETE /admin/v1/users/{name}",
    "POST /admin/v1/users/{name}/restore",
}
# Routes of what is no key, user, team or budget; their own tests say what they do.
OTHERS = {
    "POST /admin/v1/ledger/agent-usage",
    "GET /admin/v1/ledger/live",
    "POST /admin/v1/ledger/reconcile",
    "GET /admin/v1/deployments",
    "POST /admin/v1/deployments/reset",
}
# A body that would be done, for each route that takes one.
BODIES: dict[str, dict[str, Any]] = {
    "POST /admin/v1/keys": {"name": "new"},
    "PATCH /admin/v1/keys/{key}": {"concurrent": 1},
    "POST /admin/v1/keys/{key}/rotate": {"grace_s": 0},
    "POST /admin/v1/users": {"name": "new"},
    "PATCH /admin/v1/users/{name}": {"concurrent": 1},
    "POST /admin/v1/teams": {"name": "new"},
    "PATCH /admin/v1/teams/{name}": {"concurrent": 1},
    "POST /admin/v1/budgets": {"scope": "global", "period": "total", "requests": 1},
    "PATCH /admin/v1/budgets/{budget}": {"usd": 2},
}
# What somebody might hope to set: fields of records, of other gateways, of Python.
FIELDS = (
    *(
        "id",
        "key",
        "secret",
        "digest",
        "previous_digest",
        "previous_until_us",
        "last4",
        "created_us",
        "created_at",
        "revoked_us",
    ),
    *("revoked_at", "removed_us", "declared", "actor", "expires_us", "key_id", "scopes", "role", "user_role", "allowed_routes"),
    *("budget", "max_budget", "spend", "tenant_id", "created_by", "limit", "unit", "standing", "__class__", "model_config"),
)


NOBODY = ("no key", "bad key", "a revoked key", "a digest")


@pytest.fixture
async def filled(room: Room) -> Room:
    """Something of each kind to ask for, and two that were removed."""
    office = room.office
    for name in ("there", "gone"):
        await office.team(name)
        await office.user(name)
    await office.key("there")
    budget = await office.directory.create_budget("global", "usd", "day", 1, actor=ADMIN)
    room.names = {"key": "there", "budget": budget.id}
    await office.directory.remove_team("gone", actor=ADMIN)
    await office.directory.remove_user("gone", actor=ADMIN)
    office.store.log.clear()
    return room


def path_of(room: Room, route: str) -> tuple[str, str]:
    """The method, and the path below /admin/v1 with something that is there, or was."""
    method, _, template = route.partition(" ")
    name = "gone" if route.endswith("/restore") else "there"
    return method, template.removeprefix("/admin/v1/").format(**{"name": name, **room.names})


async def secret_of(room: Room, who: str) -> str:
    if who == "a revoked key":
        made = await room.office.key("revoked")
        await room.office.directory.revoke_key("revoked", actor=ADMIN)
        return made.secret
    return {
        "no key": "",
        "bad key": "tw-" + "x" * 43,
        "a digest": room.admin.key.digest.hex(),
        "somebody": room.somebody.secret,
    }[who]


async def test_the_routes_are_these(room: Room) -> None:
    described = room.app.openapi()["paths"]

    found = {
        f"{method.upper()} {path.replace(':path', '')}"
        for path, operations in described.items()
        for method in operations
        if path.startswith("/admin")
    }

    assert found == ROUTES | OTHERS


@pytest.mark.parametrize("route", sorted(ROUTES | OTHERS))
@pytest.mark.parametrize("who", [*NOBODY, "somebody"])
async def test_a_route_is_closed_to_everybody_but_admins(filled: Room, route: str, who: str) -> None:
    method, path = path_of(filled, route)
    secret = await secret_of(filled, who)
    filled.office.store.log.clear()
    before = dict(filled.office.store.kept)

    answer = await filled.ask(method, path, BODIES.get(route), key=secret)

    expected = (403, "not_allowed") if who == "somebody" else (401, "invalid_api_key")
    assert (answer.status_code, answer.json()["error"]["code"]) == expected
    assert (filled.office.store.kept, filled.office.store.log) == (before, [])


@pytest.mark.parametrize("route", sorted(ROUTES))
async def test_an_admin_may_and_a_change_leaves_exactly_one_line_with_the_admin_s_name(filled: Room, route: str) -> None:
    method, path = path_of(filled, route)

    answer = await filled.ask(method, path, BODIES.get(route))

    assert answer.is_success, answer.text
    lines = [(line.actor_id, line.actor) for line in filled.office.store.log]
    assert lines == ([] if method == "GET" else [(filled.admin.key.id, "the admin")])


@pytest.mark.parametrize("route", sorted(BODIES))
async def test_a_field_that_nobody_may_set_is_refused_and_nothing_is_done(filled: Room, route: str) -> None:
    method, path = path_of(filled, route)
    before = dict(filled.office.store.kept)

    for field in FIELDS:
        refusal = await filled.refused(method, path, {**BODIES[route], field: "x"})
        assert refusal == (400, "invalid_value", field), field

    assert (filled.office.store.kept, filled.office.store.log) == (before, [])


@pytest.mark.parametrize("route", sorted(BODIES))
async def test_a_value_of_another_type_is_refused(filled: Room, route: str) -> None:
    method, path = path_of(filled, route)
    wrong: dict[str, Any] = {
        **dict.fromkeys(("admin",), "true"),
        **dict.fromkeys(("concurrent", "requests_per_minute", "tokens", "grace_s", "warn_percent", "expires_at"), "1"),
        **dict.fromkeys(("name", "user", "team", "scope", "disconnect", "priority", "durability", "period"), 1),
        **dict.fromkeys(("models", "endpoints"), "a"),
        "metadata": [],
        "usd": True,
    }
    schema = filled.app.openapi()
    operation = schema["paths"][route.partition(" ")[2]][method.lower()]
    reference = json.dumps(operation["requestBody"])
    (name,) = [it for it in schema["components"]["schemas"] if f'/{it}"' in reference]
    fields = schema["components"]["schemas"][name]["properties"]

    for field in fields:
        status, code, _ = await filled.refused(method, path, {**BODIES[route], field: wrong.get(field, [])})
        assert (status, code) == (400, "invalid_value"), field

    assert filled.office.store.log == []


async def test_somebody_cannot_make_themselves_an_admin_by_any_route(filled: Room) -> None:
    mine = filled.somebody.key.id
    attempts = [
        ("PATCH", f"keys/{mine}", {"admin": True}),
        ("PATCH", "keys/somebody", {"models": []}),
        ("POST", "keys", {"name": "another", "admin": True}),
        ("POST", f"keys/{mine}/rotate", {}),
        ("POST", f"keys/{filled.admin.key.id}/rotate", {"grace_s": 0}),
        ("PATCH", "teams/there", {"requests_per_minute": None}),
        ("GET", f"keys/{mine}", None),
    ]

    for method, path, body in attempts:
        answer = await filled.ask(method, path, body, key=filled.somebody.secret)
        assert answer.status_code == 403

    assert not filled.office.principal(filled.somebody).admin


@pytest.mark.parametrize("route", sorted(it for it in ROUTES if "{" in it))
async def test_what_is_not_there_is_not_found_and_nothing_is_told_of_the_rest(filled: Room, route: str) -> None:
    method, template = route.split()
    path = template.removeprefix("/admin/v1/").format(key="nothing", name="nothing", budget="bud_0000000000000000")

    answer = await filled.ask(method, path, BODIES.get(route))

    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert "there" not in answer.text.replace("There", "")


async def test_no_answer_shows_a_secret_but_the_two_that_are_meant_to(filled: Room) -> None:
    made = await filled.done("POST", "keys", {"name": "canary", "metadata": {"a": 1}})
    rotated = await filled.done("POST", "keys/canary/rotate", {"grace_s": 3600})
    texts = []
    for route in sorted(ROUTES - {"POST /admin/v1/keys", "POST /admin/v1/keys/{key}/rotate"}):
        method, path = path_of(filled, route)
        texts.append((await filled.ask(method, path, BODIES.get(route))).text)
    texts.append((await filled.ask("GET", "keys/canary")).text)
    texts += [f"{line.before} {line.after}" for line in filled.office.store.log]

    for secret in (made["key"], rotated["key"], filled.admin.secret):
        digest = filled.office.ring.digest(secret)
        for form in (secret, secret[3:-4], digest.hex(), repr(digest)[2:-1], digest.decode("latin-1")):
            assert [text for text in texts if form in text] == []


async def test_a_body_with_a_key_twice_is_refused(filled: Room) -> None:
    body = b'{"name": "new", "admin": false, "admin": true}'
    headers = {"authorization": f"Bearer {filled.admin.secret}", "content-type": "application/json"}

    answer = await filled.client.post("/admin/v1/keys", content=body, headers=headers)

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "invalid_json")
    assert filled.office.store.log == []
