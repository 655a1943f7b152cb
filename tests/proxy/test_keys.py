"""Keys: made once, kept as an HMAC, found in no time, gone when they are revoked."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from ledger.errors import LedgerUnavailable
from ledger.records import Key
from proxy import errors
from proxy.errors import InvalidRequest, KeyExists
from proxy.keys import NAME_MAX, PREFIX, KeyRing, NewKey

PEPPER = bytes(range(32))


class Store:
    """Keys in memory.  refuses: the disk does."""

    def __init__(self) -> None:
        self.kept: dict[str, Key] = {}
        self.refuses = False

    async def keys(self) -> Sequence[Key]:
        return list(self.kept.values())

    async def create_key(self, key: Key, /) -> None:
        if self.refuses:
            raise LedgerUnavailable("the disk is full")
        self.kept[key.id] = key

    async def revoke_key(self, key_id: str, at_us: int, /) -> bool:
        if self.refuses:
            raise LedgerUnavailable("the disk is full")
        self.kept[key_id] = msgspec.structs.replace(self.kept[key_id], revoked_us=at_us)
        return True


class Ring:
    """A key ring, its store and its clock."""

    def __init__(self, store: Store | None = None, pepper: bytes = PEPPER) -> None:
        self.now_us = 1_000_000
        self.store = store or Store()
        self.keys = KeyRing(pepper, self.store, self._clock_us)

    def _clock_us(self) -> int:
        self.now_us += 1
        return self.now_us

    def who(self, made: NewKey) -> str | None:
        principal = self.keys.find(made.secret)
        return None if principal is None else principal.name


@pytest.fixture
def ring() -> Ring:
    return Ring()


async def test_a_key_that_was_made_opens_the_gateway(ring: Ring) -> None:
    made = await ring.keys.create("alice", admin=True, models=["openai/*"])

    principal = ring.keys.find(made.secret)
    assert principal is not None
    assert (principal.key_id, principal.name, principal.admin, principal.models) == (made.key.id, "alice", True, ("openai/*",))


async def test_a_key_has_256_bits_and_no_two_are_alike(ring: Ring) -> None:
    secrets = {(await ring.keys.create(f"k{number}")).secret for number in range(50)}

    assert len(secrets) == 50
    assert all(secret.startswith(PREFIX) and len(secret) == len(PREFIX) + 43 for secret in secrets)


async def test_what_is_stored_does_not_open_anything(ring: Ring) -> None:
    made = await ring.keys.create("alice")

    (stored,) = ring.store.kept.values()
    assert made.secret.encode() not in msgspec.msgpack.encode(stored)
    assert (stored.last4, len(stored.digest)) == (made.secret[-4:], 32)
    for text in (stored.digest.hex(), stored.digest.decode("latin-1"), stored.id, stored.last4, stored.name):
        assert ring.keys.find(text) is None


async def test_a_stored_key_is_found_after_a_restart_with_the_same_pepper_only(ring: Ring) -> None:
    made = await ring.keys.create("alice")

    again, other = Ring(ring.store), Ring(ring.store, pepper=b"x" * 32)
    await again.keys.load()
    await other.keys.load()

    assert (again.who(made), other.who(made)) == ("alice", None)


@pytest.mark.parametrize("length", [0, 31])
def test_a_short_pepper_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="fewer than 32"):
        Ring(pepper=b"x" * length)


async def test_what_is_almost_a_key_is_none(ring: Ring) -> None:
    secret = (await ring.keys.create("alice")).secret

    for text in (
        "",
        secret[:-1],
        secret + "x",
        secret.upper(),
        secret.removeprefix(PREFIX),
        f" {secret}",
        secret.swapcase(),
        "\udcff",
        "é",
    ):
        assert ring.keys.find(text) is None


@pytest.mark.parametrize("by", ["id", "name"])
async def test_a_revoked_key_opens_nothing_any_more_and_stays_listed(ring: Ring, by: str) -> None:
    made = await ring.keys.create("alice")
    other = await ring.keys.create("bob")

    revoked = await ring.keys.revoke(getattr(made.key, by))

    assert revoked is not None
    assert (revoked.id, revoked.revoked_us is None) == (made.key.id, False)
    assert (ring.who(made), ring.who(other)) == (None, "bob")
    assert [key.name for key in ring.keys.stored()] == ["alice", "bob"]
    again = Ring(ring.store)
    await again.keys.load()
    assert (again.who(made), again.who(other)) == (None, "bob")


@pytest.mark.parametrize("name", ["nobody", "", "key_0"])
async def test_what_is_no_live_key_cannot_be_revoked(ring: Ring, name: str) -> None:
    made = await ring.keys.create("alice")
    await ring.keys.revoke("alice")

    assert [await ring.keys.revoke(it) for it in (name, "alice", made.key.id)] == [None, None, None]


async def test_a_key_that_could_not_be_stored_opens_nothing(ring: Ring) -> None:
    ring.store.refuses = True

    with pytest.raises(errors.LedgerUnavailable):
        await ring.keys.create("alice")

    assert ring.keys.stored() == []


async def test_a_key_whose_revocation_could_not_be_stored_is_not_said_to_be_revoked(ring: Ring) -> None:
    made = await ring.keys.create("alice")
    ring.store.refuses = True

    with pytest.raises(errors.LedgerUnavailable):
        await ring.keys.revoke("alice")

    assert ring.who(made) == "alice"


async def test_a_key_expires_to_the_microsecond(ring: Ring) -> None:
    made = await ring.keys.create("alice", expires_us=2_000_000)

    ring.now_us = 1_999_998
    last = ring.who(made)
    ring.now_us = 1_999_999
    gone = ring.who(made)

    assert (last, gone) == ("alice", None)


async def test_two_live_keys_have_two_names(ring: Ring) -> None:
    await ring.keys.create("alice")

    with pytest.raises(KeyExists) as caught:
        await ring.keys.create(" alice ")

    assert (caught.value.status, caught.value.param) == (409, "name")


async def test_a_name_is_free_again_when_its_key_is_revoked(ring: Ring) -> None:
    old = await ring.keys.create("alice")
    await ring.keys.revoke("alice")

    new = await ring.keys.create("alice")

    assert (ring.who(old), ring.who(new)) == (None, "alice")


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "a\x00", "\u202ea", "x" * (NAME_MAX + 1)])
async def test_a_name_is_short_and_can_be_printed(ring: Ring, name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await ring.keys.create(name)

    assert (caught.value.param, ring.store.kept) == ("name", {})


async def test_a_declared_key_opens_the_gateway_and_is_not_stored(ring: Ring) -> None:
    ring.keys.declare("ci", "tw-declared", admin=False, models=["a/*"])

    principal = ring.keys.find("tw-declared")
    assert principal is not None
    assert (principal.key_id, principal.models, ring.keys.stored()) == ("ci", ("a/*",), [])


async def test_no_text_about_a_key_ring_shows_a_key(ring: Ring) -> None:
    made = await ring.keys.create("alice")

    assert made.secret not in repr(ring.keys) + repr(made.key) + repr(ring.keys.find(made.secret))


async def test_what_the_requests_of_each_live_key_count_for_is_known_by_its_id() -> None:
    ring = KeyRing(PEPPER, Store(), lambda: 0)
    ring.declare("ops", "tw-declared", admin=False)
    made = await ring.create("made")
    gone = await ring.create("gone")
    await ring.revoke(gone.key.id)

    assert ring.scopes() == {"ops": ("key:ops", "global"), made.key.id: (f"key:{made.key.id}", "global")}
