"""The directory: what is changed is durable and on the record first, and then seen by the next request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.records import Budget, Key, Owned, Team, User
from proxy import errors
from proxy.call import Rates
from proxy.config.names import KEY_NAME_MAX
from proxy.errors import DeclaredElsewhere, InUse, InvalidRequest, KeyExists, NameTaken, NotFound, ProxyError
from proxy.owners.rules import SETTINGS
from tests.proxy.owners.offices import ADMIN, Office


@pytest.fixture
def office() -> Office:
    return Office()


# --- keys --------------------------------------------------------------------------------------------------------------


async def test_a_key_that_was_made_opens_the_gateway_as_what_was_set(office: Office) -> None:
    await office.team()
    await office.user()

    made = await office.key(
        admin=True,
        models=("openai/*",),
        endpoints=("embeddings",),
        user="alice",
        team="search",
        requests_per_minute=60,
        tokens_per_minute=1000,
        concurrent=4,
        priority="low",
        disconnect="drain:50",
        durability="power",
    )

    principal = office.principal(made)
    assert (principal.key_id, principal.name, principal.admin) == (made.key.id, "laptop", True)
    assert (principal.models, principal.endpoints) == (("openai/*",), ("embeddings",))
    assert principal.scopes == (f"key:{made.key.id}", "user:alice", "team:search", "global")
    assert principal.rates == Rates(requests_per_minute=60, tokens_per_minute=1000, concurrent=4)
    assert (principal.priority, principal.disconnect, principal.durability) == ("low", "drain:50", "power")


async def test_what_is_stored_does_not_open_anything(office: Office) -> None:
    made = await office.key()

    stored = office.store.kept[Key, made.key.id]
    assert made.secret.encode() not in msgspec.msgpack.encode(stored)
    assert isinstance(stored, Key)
    assert (stored.last4, len(stored.digest)) == (made.secret[-4:], 32)


async def test_a_stored_key_is_found_after_a_restart_with_the_same_pepper_only(office: Office) -> None:
    made = await office.key()

    again, other = await office.again(), await office.again(pepper=b"x" * 32)

    assert (again.who(made), other.who(made)) == ("laptop", None)


@pytest.mark.parametrize("by", ["id", "name"])
async def test_a_revoked_key_opens_nothing_any_more_and_stays_listed(office: Office, by: str) -> None:
    made, other = await office.key("alice"), await office.key("bob")

    revoked = await office.directory.revoke_key(getattr(made.key, by), actor=ADMIN)

    assert (revoked.id, revoked.revoked_us is None) == (made.key.id, False)
    again = await office.again()
    for it in (office, again):
        assert (it.who(made), it.who(other)) == (None, "bob")
        assert [key.name for key in it.directory.list_keys()] == ["alice", "bob"]


@pytest.mark.parametrize("name", ["nobody", "", "key_0"])
async def test_what_is_no_live_key_cannot_be_changed(office: Office, name: str) -> None:
    made = await office.key("alice")
    await office.directory.revoke_key("alice", actor=ADMIN)

    for it in (name, "alice", made.key.id):
        with pytest.raises(NotFound):
            await office.directory.revoke_key(it, actor=ADMIN)
        with pytest.raises(NotFound):
            await office.directory.update_key(it, {"admin": True}, actor=ADMIN)
        with pytest.raises(NotFound):
            await office.directory.rotate_key(it, grace_s=0, actor=ADMIN)


@pytest.mark.parametrize("name", ["alice", " alice ", "ALICE", "ａｌｉｃｅ"])
async def test_two_live_keys_have_two_names_that_a_reader_can_tell_apart(office: Office, name: str) -> None:
    await office.key("alice")

    with pytest.raises(KeyExists) as caught:
        await office.key(name)

    assert (caught.value.status, caught.value.param) == (409, "name")


async def test_a_name_is_free_again_when_its_key_is_revoked_and_the_id_is_another(office: Office) -> None:
    old = await office.key("alice")
    await office.directory.revoke_key("alice", actor=ADMIN)

    new = await office.key("alice")

    assert (office.who(old), office.who(new)) == (None, "alice")
    assert old.key.id != new.key.id


@pytest.mark.parametrize(
    "name", ["", "  ", "a\nb", "a\x00", "\u202ea", "a\u3164", "x" * (KEY_NAME_MAX + 1), "key_0123456789abcdef"]
)
async def test_a_name_is_short_and_visible_and_no_id(office: Office, name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await office.key(name)

    assert (caught.value.param, office.store.kept, office.store.log) == ("name", {}, [])


@pytest.mark.parametrize(
    ("settings", "param"),
    [
        ({"models": ("a b",)}, "models.0"),
        ({"models": ("a", "a")}, "models.1"),
        ({"models": tuple(map(str, range(257)))}, "models"),
        ({"endpoints": ("chat",)}, "endpoints.0"),
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"concurrent": -1}, "concurrent"),
        ({"tokens_per_minute": 10**13}, "tokens_per_minute"),
        ({"priority": "highest"}, "priority"),
        ({"disconnect": "drain:0"}, "disconnect"),
        ({"durability": "ram"}, "durability"),
        ({"metadata": "x" * 4097}, "metadata"),
        ({"user": "nobody"}, "user"),
        ({"team": "none"}, "team"),
        ({"expires_us": 1}, "expires_at"),
    ],
)
async def test_what_cannot_be_is_refused_by_its_name_and_changes_nothing(
    office: Office, settings: dict[str, Any], param: str
) -> None:
    made = await office.key("there")
    before = dict(office.store.kept)

    for attempt in (office.key("new", **settings), office.directory.update_key("there", settings, actor=ADMIN)):
        with pytest.raises(InvalidRequest) as caught:
            await attempt
        assert caught.value.param == param

    assert (office.store.kept, len(office.store.log)) == (before, 1)
    assert office.who(made) == "there"


@pytest.mark.parametrize("kind", [Key, User, Team, Budget])
async def test_a_field_that_nobody_may_set_is_refused(office: Office, kind: type) -> None:
    await office.key("there")
    await office.user("there")
    await office.team("there")
    made = await office.directory.create_budget("global", "usd", "day", 1, actor=ADMIN)
    update: dict[type, Callable[[dict[str, Any]], Awaitable[object]]] = {
        Key: lambda settings: office.directory.update_key("there", settings, actor=ADMIN),
        User: lambda settings: office.directory.update_user("there", settings, actor=ADMIN),
        Team: lambda settings: office.directory.update_team("there", settings, actor=ADMIN),
        Budget: lambda settings: office.directory.update_budget(made.id, settings, actor=ADMIN),
    }
    unsettable = set(kind.__struct_fields__) - SETTINGS[kind]

    for field in (*unsettable, "no_such_field"):
        with pytest.raises(InvalidRequest) as caught:
            await update[kind]({field: "x"})
        assert caught.value.param == field

    assert unsettable
    assert len(office.store.log) == 4


async def test_an_update_is_seen_at_once_and_what_is_not_given_stays(office: Office) -> None:
    made = await office.key(models=("a/*",), concurrent=2)

    await office.directory.update_key("laptop", {"models": (), "name": "Desktop"}, actor=ADMIN)

    principal = office.principal(made)
    assert (principal.name, principal.models, principal.rates.concurrent) == ("Desktop", (), 2)
    assert office.directory.key("desktop").id == made.key.id
    with pytest.raises(NotFound):
        office.directory.key("laptop")


async def test_an_expired_key_may_be_changed_otherwise_and_prolonged(office: Office) -> None:
    made = await office.key(expires_us=1_000_100)
    office.now_us = 2_000_000

    await office.directory.update_key("laptop", {"concurrent": 1}, actor=ADMIN)
    still_expired = office.who(made)
    await office.directory.update_key("laptop", {"expires_us": None}, actor=ADMIN)

    assert (still_expired, office.who(made)) == (None, "laptop")


async def test_names_that_an_older_release_let_differ_in_case_alone_are_told_apart_as_they_are_written(office: Office) -> None:
    for key_id, name in (("key_1", "ci"), ("key_2", "CI")):
        office.store.kept[Key, key_id] = Key(
            id=key_id, name=name, digest=key_id.encode(), last4="", admin=False, models=(), created_us=1
        )
    again = await office.again()

    await again.directory.update_key("CI", {"concurrent": 2}, actor=ADMIN)
    await again.directory.revoke_key("ci", actor=ADMIN)

    assert {key.id: (key.concurrent, key.revoked_us is None) for key in again.directory.list_keys()} == {
        "key_1": (None, False),
        "key_2": (2, True),
    }
    with pytest.raises(KeyExists):
        await again.key("cI")


# --- rotation ----------------------------------------------------------------------------------------------------------


async def test_a_rotated_key_has_another_secret_and_the_old_one_is_good_to_the_end_of_its_grace(office: Office) -> None:
    old = await office.key(models=("a/*",))

    new = await office.directory.rotate_key("laptop", grace_s=60, actor=ADMIN)

    end_us = new.key.previous_until_us
    assert end_us is not None
    assert office.principal(old).models == office.principal(new).models == ("a/*",)
    assert office.principal(old).key_id == office.principal(new).key_id == old.key.id
    office.now_us = end_us - 2
    assert office.who(old) == "laptop"
    assert (office.who(old), office.who(new)) == (None, "laptop")
    again = await office.again()
    again.now_us = end_us - 2
    assert (again.who(old), again.who(old), again.who(new)) == ("laptop", None, "laptop")


async def test_without_grace_the_old_secret_is_gone_at_once(office: Office) -> None:
    old = await office.key()

    new = await office.directory.rotate_key("laptop", grace_s=0, actor=ADMIN)

    assert (office.who(old), office.who(new)) == (None, "laptop")


async def test_only_the_last_secret_before_has_a_grace(office: Office) -> None:
    first = await office.key()
    second = await office.directory.rotate_key("laptop", grace_s=60, actor=ADMIN)

    third = await office.directory.rotate_key("laptop", grace_s=60, actor=ADMIN)

    assert [office.who(it) for it in (first, second, third)] == [None, "laptop", "laptop"]


async def test_a_revoked_key_opens_with_none_of_its_secrets(office: Office) -> None:
    old = await office.key()
    new = await office.directory.rotate_key("laptop", grace_s=60, actor=ADMIN)

    await office.directory.revoke_key("laptop", actor=ADMIN)

    assert (office.who(old), office.who(new)) == (None, None)


async def test_a_change_holds_for_the_old_secret_too(office: Office) -> None:
    old = await office.key(admin=True)
    await office.directory.rotate_key("laptop", grace_s=60, actor=ADMIN)

    await office.directory.update_key("laptop", {"admin": False, "expires_us": office.now_us + 100}, actor=ADMIN)

    assert not office.principal(old).admin
    office.now_us += 200
    assert office.who(old) is None


@pytest.mark.parametrize("grace_s", [-1, 30 * 86_400 + 1])
async def test_a_grace_is_bounded(office: Office, grace_s: int) -> None:
    await office.key()

    with pytest.raises(InvalidRequest) as caught:
        await office.directory.rotate_key("laptop", grace_s=grace_s, actor=ADMIN)

    assert caught.value.param == "grace_s"


# --- users and teams ---------------------------------------------------------------------------------------------------


async def test_a_key_belongs_to_the_team_of_its_user_unless_it_has_its_own(office: Office) -> None:
    for team in ("search", "ads"):
        await office.team(team)
    await office.user(team="search")

    by_user, own = await office.key("a", user="ALICE"), await office.key("b", user="alice", team="Ads")

    assert [office.principal(it).scopes[1:3] for it in (by_user, own)] == [
        ("user:alice", "team:search"),
        ("user:alice", "team:ads"),
    ]


async def test_a_team_and_a_user_restrict_the_models_of_their_keys_from_the_next_request_on(office: Office) -> None:
    await office.team()
    await office.user(team="search")
    made = await office.key(user="alice", models=("*",))
    before = office.principal(made).owner_models

    await office.directory.update_team("search", {"models": ("openai/*",)}, actor=ADMIN)
    await office.directory.update_user("alice", {"models": ("*/gpt-5",)}, actor=ADMIN)

    assert (before, office.principal(made).owner_models) == ((), (("*/gpt-5",), ("openai/*",)))


async def test_a_user_who_changes_teams_takes_the_keys_along(office: Office) -> None:
    for team in ("search", "ads"):
        await office.team(team)
    await office.user(team="search")
    made = await office.key(user="alice")

    await office.directory.update_user("alice", {"team": "ads"}, actor=ADMIN)

    assert office.principal(made).team == "ads"


async def test_the_rates_of_every_scope_are_known_and_follow_changes(office: Office) -> None:
    await office.team(requests_per_minute=600)
    await office.user(concurrent=8)
    made = await office.key(tokens_per_minute=9)
    scope = f"key:{made.key.id}"
    before = [office.directory.rates(it) for it in ("team:search", "user:alice", scope, "global", "team:none")]

    await office.directory.update_team("search", {"requests_per_minute": None}, actor=ADMIN)
    await office.directory.revoke_key("laptop", actor=ADMIN)

    assert before == [Rates(requests_per_minute=600), Rates(concurrent=8), Rates(tokens_per_minute=9), Rates(), Rates()]
    assert [office.directory.rates(it) for it in ("team:search", "user:alice", scope)] == [
        Rates(),
        Rates(concurrent=8),
        Rates(),
    ]
    again = await office.again()
    assert again.directory.rates("user:alice") == Rates(concurrent=8)


async def test_who_has_live_keys_or_users_is_not_removed_and_they_are_named(office: Office) -> None:
    await office.team()
    await office.user(team="search")
    await office.key("laptop", user="alice")
    await office.key("ci", team="search")

    with pytest.raises(InUse, match="'alice' has key 'laptop'"):
        await office.directory.remove_user("alice", actor=ADMIN)
    with pytest.raises(InUse, match="'search' has key 'ci', user 'alice'"):
        await office.directory.remove_team("search", actor=ADMIN)

    await office.directory.revoke_key("laptop", actor=ADMIN)
    await office.directory.update_key("ci", {"team": ""}, actor=ADMIN)
    await office.directory.remove_user("alice", actor=ADMIN)
    await office.directory.remove_team("search", actor=ADMIN)
    assert (office.directory.list_users(), office.directory.list_teams()) == ([], [])


async def test_a_removed_name_is_given_to_nobody_else_and_can_be_restored(office: Office) -> None:
    await office.team(models=("openai/*",), requests_per_minute=5)
    await office.directory.remove_team("search", actor=ADMIN)

    for it in (office, await office.again()):
        with pytest.raises(NameTaken, match="was removed; restore it"):
            await it.team("SEARCH")
        with pytest.raises(InvalidRequest):
            await it.key(team="search")
    restored = await office.directory.restore_team("Search", actor=ADMIN)

    assert (restored.name, restored.models, restored.removed_us) == ("search", ("openai/*",), None)
    assert office.directory.rates("team:search") == Rates(requests_per_minute=5)
    with pytest.raises(NotFound):
        await office.directory.restore_team("search", actor=ADMIN)


@pytest.mark.parametrize("name", ["alice", "ALICE", " alice", "ａlice"])
async def test_two_users_have_two_names_that_a_reader_can_tell_apart(office: Office, name: str) -> None:
    await office.user("alice")

    with pytest.raises(NameTaken):
        await office.user(name)


# --- budgets -----------------------------------------------------------------------------------------------------------


async def test_whoever_counts_budgets_hears_of_each_change_when_it_is_durable(office: Office) -> None:
    heard: list[tuple[str, Budget | None]] = []
    office.directory.on_budget_change(lambda budget_id, budget: heard.append((budget_id, budget)))
    office.store.holds = True

    making = asyncio.ensure_future(office.directory.create_budget("global", "usd", "month", 100, actor=ADMIN))
    await asyncio.sleep(0)
    early = list(heard)
    office.store.let()
    made = await making
    office.store.holds = False
    changed = await office.directory.update_budget(made.id, {"limit": 200}, actor=ADMIN)
    await office.directory.remove_budget(made.id, actor=ADMIN)

    assert early == []
    assert heard == [(made.id, made), (made.id, changed), (made.id, None)]
    assert (changed.limit, office.directory.budgets()) == (200, [])


async def test_a_scope_is_what_principals_have_however_it_is_written(office: Office) -> None:
    await office.team("Search")
    made = await office.key("laptop")

    scopes = [
        (await office.directory.create_budget(scope, "usd", "day", 1, actor=ADMIN)).scope
        for scope in ("team:SEARCH", "key:Laptop", "global")
    ]

    assert scopes == ["team:Search", f"key:{made.key.id}", "global"]


@pytest.mark.parametrize("scope", ["", "team", "team:", "team:none", "user:none", "key:none", "Global", "org:x", "key"])
async def test_a_scope_of_nobody_is_refused(office: Office, scope: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await office.directory.create_budget(scope, "usd", "day", 1, actor=ADMIN)

    assert caught.value.param == "scope"


async def test_a_scope_has_one_budget_for_each_unit_and_period(office: Office) -> None:
    await office.directory.create_budget("global", "usd", "day", 1, actor=ADMIN)
    await office.directory.create_budget("global", "usd", "week", 1, actor=ADMIN)
    await office.directory.create_budget("global", "tokens", "day", 1, actor=ADMIN)

    with pytest.raises(NameTaken):
        await office.directory.create_budget("global", "usd", "day", 2, actor=ADMIN)


@pytest.mark.parametrize(
    ("field", "value"), [("limit", 0), ("limit", -5), ("limit", 10**18 + 1), ("warn_percent", 0), ("warn_percent", 101)]
)
async def test_a_budget_is_something(office: Office, field: str, value: int) -> None:
    made = await office.directory.create_budget("global", "usd", "day", 1, actor=ADMIN)

    with pytest.raises(InvalidRequest) as caught:
        await office.directory.update_budget(made.id, {field: value}, actor=ADMIN)

    assert caught.value.param == field


# --- the record --------------------------------------------------------------------------------------------------------


async def test_every_change_leaves_one_line_that_says_who_what_and_how_without_secrets(office: Office) -> None:
    made = await office.key(metadata='{"for":"ci"}')
    office.store.log.clear()

    await office.directory.update_key("laptop", {"concurrent": 3, "models": ("a/*",)}, actor=ADMIN)

    (line,) = office.store.log
    assert (line.actor_id, line.actor, line.action, line.kind, line.object, line.name) == (
        *("key_admin", "admin", "update", "key"),
        *(made.key.id, "laptop"),
    )
    assert line.before is not None
    assert line.after is not None
    before, after = json.loads(line.before), json.loads(line.after)
    assert {name: (before[name], after[name]) for name in after if before[name] != after[name]} == {
        "concurrent": (None, 3),
        "models": ([], ["a/*"]),
    }
    assert after["metadata"] == {"for": "ci"}
    assert {"digest", "previous_digest", "key", "secret"} & after.keys() == set()


async def test_each_kind_of_change_leaves_exactly_one_line(office: Office) -> None:
    directory = office.directory
    await office.team()
    await office.user()
    await office.key()
    budget = await directory.create_budget("global", "usd", "day", 1, actor=ADMIN)
    await directory.update_team("search", {"concurrent": 1}, actor=ADMIN)
    await directory.update_user("alice", {"concurrent": 1}, actor=ADMIN)
    await directory.update_key("laptop", {"concurrent": 1}, actor=ADMIN)
    await directory.update_budget(budget.id, {"limit": 2}, actor=ADMIN)
    await directory.rotate_key("laptop", grace_s=0, actor=ADMIN)
    await directory.revoke_key("laptop", actor=ADMIN)
    await directory.remove_user("alice", actor=ADMIN)
    await directory.remove_team("search", actor=ADMIN)
    await directory.restore_user("alice", actor=ADMIN)
    await directory.restore_team("search", actor=ADMIN)
    await directory.remove_budget(budget.id, actor=ADMIN)

    assert [f"{line.action} {line.kind}" for line in office.store.log] == [
        *("create team", "create user", "create key", "create budget"),
        *("update team", "update user", "update key", "update budget"),
        *("rotate key", "revoke key", "remove user", "remove team", "restore user", "restore team", "remove budget"),
    ]
    assert office.last().after is None
    assert [line.id for line in await directory.changes(limit=2)] == [15, 14]


async def test_what_changes_nothing_leaves_no_line(office: Office) -> None:
    await office.key(concurrent=3)

    await office.directory.update_key("laptop", {"concurrent": 3}, actor=ADMIN)

    assert [line.action for line in office.store.log] == ["create"]


# --- durable first -----------------------------------------------------------------------------------------------------


async def test_what_could_not_be_written_is_not_so(office: Office) -> None:
    made = await office.key(concurrent=1)
    office.store.refuses = True

    for change in (
        office.key("another"),
        office.directory.revoke_key("laptop", actor=ADMIN),
        office.directory.update_key("laptop", {"concurrent": 2}, actor=ADMIN),
        office.directory.rotate_key("laptop", grace_s=0, actor=ADMIN),
    ):
        with pytest.raises(errors.LedgerUnavailable):
            await change

    assert [key.name for key in office.directory.list_keys()] == ["laptop"]
    assert office.principal(made).rates.concurrent == 1


async def test_a_change_is_not_seen_before_it_is_durable(office: Office) -> None:
    made = await office.key()
    office.store.holds = True

    revoking = asyncio.ensure_future(office.directory.revoke_key("laptop", actor=ADMIN))
    await asyncio.sleep(0)
    meanwhile = office.who(made)
    office.store.let()
    await revoking

    assert (meanwhile, office.who(made)) == ("laptop", None)


async def test_a_change_whose_client_leaves_is_carried_out_in_memory_as_on_disk(office: Office) -> None:
    made = await office.key()
    office.store.holds = True
    revoking = asyncio.ensure_future(office.directory.revoke_key("laptop", actor=ADMIN))
    await asyncio.sleep(0)

    revoking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await revoking
    waiting = asyncio.ensure_future(office.key("next"))
    await asyncio.sleep(0)
    office.store.holds = False
    office.store.let()

    assert (await waiting).key.name == "next"
    assert office.who(made) is None
    assert [line.action for line in office.store.log] == ["create", "revoke", "create"]


async def test_a_ledger_that_does_not_answer_is_not_waited_for_and_memory_follows_when_it_does() -> None:
    office = Office(wait_s=0.02)
    made = await office.key()
    office.store.holds = True

    for change in (office.directory.revoke_key("laptop", actor=ADMIN), office.key("next")):
        with pytest.raises(errors.LedgerUnavailable, match="may still be made"):
            await change
    meanwhile = office.who(made)
    office.store.holds = False
    office.store.let()
    await office.key("after")

    assert (meanwhile, office.who(made)) == ("laptop", None)
    assert [line.name for line in office.store.log] == ["laptop", "laptop", "after"]


async def test_of_two_changes_at_once_the_second_finds_the_first(office: Office) -> None:
    outcomes = await asyncio.gather(office.key("alice"), office.key("ALICE"), return_exceptions=True)

    assert [type(it).__name__ for it in outcomes] == ["NewKey", "KeyExists"]


# --- what is declared --------------------------------------------------------------------------------------------------


DECLARED = "tw-declared"


def declared_key(office: Office, secret: str = DECLARED, **changes: Any) -> Key:
    fields: dict[str, Any] = {"id": "ops", "name": "ops", "last4": "", "admin": False, "models": (), "created_us": 0}
    return Key(digest=office.ring.digest(secret), **{**fields, **changes})


async def test_a_declared_key_opens_the_gateway_and_is_not_stored(office: Office) -> None:
    await office.directory.load(Owned(keys=(declared_key(office, models=("a/*",)),)))

    principal = office.ring.find("tw-declared")
    assert principal is not None
    assert (principal.key_id, principal.models, office.store.kept) == ("ops", ("a/*",), {})


async def test_what_is_declared_is_changed_in_the_configuration_alone(office: Office) -> None:
    team, user = Team(name="search", created_us=0), User(name="alice", created_us=0)
    await office.directory.load(Owned(keys=(declared_key(office),), teams=(team,), users=(user,)))
    directory = office.directory

    for change in (
        directory.update_key("ops", {"admin": True}, actor=ADMIN),
        directory.rotate_key("ops", grace_s=0, actor=ADMIN),
        directory.revoke_key("ops", actor=ADMIN),
        directory.update_team("search", {"concurrent": 1}, actor=ADMIN),
        directory.remove_team("search", actor=ADMIN),
        directory.update_user("alice", {"concurrent": 1}, actor=ADMIN),
        directory.remove_user("alice", actor=ADMIN),
    ):
        with pytest.raises(DeclaredElsewhere):
            await change

    assert office.store.log == []


async def test_a_declared_key_that_is_stored_as_well_keeps_its_id_and_is_what_the_declaration_says(office: Office) -> None:
    made = await office.key("laptop", admin=True)

    again = await office.again(Owned(keys=(declared_key(office, made.secret, models=("a/*",)),)))

    principal = again.principal(made)
    assert (principal.key_id, principal.name, principal.admin, principal.models) == (made.key.id, "laptop", False, ("a/*",))
    with pytest.raises(DeclaredElsewhere):
        await again.directory.revoke_key("laptop", actor=ADMIN)


async def test_a_declaration_goes_before_what_is_stored_under_its_name(office: Office) -> None:
    await office.team(concurrent=1)

    again = await office.again(Owned(teams=(Team(name="search", created_us=0, concurrent=5),)))

    assert again.directory.rates("team:search") == Rates(concurrent=5)


async def test_a_key_whose_team_is_no_longer_declared_opens_nothing(office: Office) -> None:
    team = Team(name="search", created_us=0, models=("cheap/*",))
    first = await office.again(Owned(teams=(team,)))
    made = await first.key(team="search")

    without, with_it = await office.again(), await office.again(Owned(teams=(team,)))

    assert (first.who(made), without.who(made), with_it.who(made)) == ("laptop", None, "laptop")


# --- whatever is done --------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "A", "ä", "a\u0308", "Ä", "b"])
ACTIONS = st.lists(
    st.tuples(st.sampled_from(["create", "update", "rotate", "revoke", "team", "unteam", "restore"]), NAMES, st.booleans()),
    max_size=25,
)


def step(office: Office, action: str, name: str, flag: bool) -> Awaitable[Any]:
    directory = office.directory
    steps: dict[str, Callable[[], Awaitable[Any]]] = {
        "create": lambda: office.key(name, team=name if flag else ""),
        "update": lambda: directory.update_key(name, {"team": name if flag else "", "concurrent": 1}, actor=ADMIN),
        "rotate": lambda: directory.rotate_key(name, grace_s=60 if flag else 0, actor=ADMIN),
        "revoke": lambda: directory.revoke_key(name, actor=ADMIN),
        "team": lambda: directory.create_team(name, {"models": ("x/*",) if flag else ()}, actor=ADMIN),
        "unteam": lambda: directory.remove_team(name, actor=ADMIN),
        "restore": lambda: directory.restore_team(name, actor=ADMIN),
    }
    return steps[action]()


@given(ACTIONS)
def test_memory_is_what_a_restart_would_find_and_no_two_live_names_are_one(actions: list[tuple[str, str, bool]]) -> None:
    async def run() -> None:
        office = Office()
        made: list[Any] = []
        for action, name, flag in actions:
            written = len(office.store.log)
            try:
                outcome = await step(office, action, name, flag)
            except ProxyError:
                assert len(office.store.log) == written
                continue
            assert len(office.store.log) <= written + 1
            if action in ("create", "rotate"):
                made.append(outcome)

        again = await office.again()
        again.now_us = office.now_us
        for it in made:
            mine, theirs = office.ring.find(it.secret), again.ring.find(it.secret)
            assert mine == theirs
        live = [key.name for key in again.directory.list_keys() if key.revoked_us is None]
        assert len({name.casefold().replace("ä", "a\u0308") for name in live}) == len(live)
        ids = [key.id for key in again.directory.list_keys()]
        assert len(set(ids)) == len(ids)

    asyncio.run(run())
