"""Secrets: random, kept as an HMAC, found in no time, gone when they are dismissed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from proxy.call import Principal
from proxy.owners.keys import PREFIX, KeyRing, new_secret

PEPPER = bytes(range(32))
ALICE = Principal(key_id="key_1", name="alice")


def ring(pepper: bytes = PEPPER, clock_us: Callable[[], int] = lambda: 0) -> KeyRing:
    return KeyRing(pepper, clock_us)


def test_a_secret_that_was_admitted_finds_its_principal() -> None:
    keys, secret = ring(), new_secret()

    keys.admit(keys.digest(secret), ALICE)

    assert keys.find(secret) == ALICE


def test_a_secret_that_was_dismissed_finds_nobody() -> None:
    keys, secret, other = ring(), new_secret(), new_secret()
    keys.admit(keys.digest(secret), ALICE)
    keys.admit(keys.digest(other), ALICE)

    keys.dismiss(keys.digest(secret))

    assert (keys.find(secret), keys.find(other)) == (None, ALICE)


def test_dismissing_what_is_not_there_does_nothing() -> None:
    keys = ring()

    keys.dismiss(b"")

    assert keys.find("") is None


def test_a_secret_has_256_bits_and_no_two_are_alike() -> None:
    secrets = {new_secret() for _ in range(50)}

    assert len(secrets) == 50
    assert all(secret.startswith(PREFIX) and len(secret) == len(PREFIX) + 43 for secret in secrets)


def test_a_digest_opens_nothing_and_depends_on_the_pepper() -> None:
    keys, secret = ring(), new_secret()
    digest = keys.digest(secret)
    keys.admit(digest, ALICE)

    assert len(digest) == 32
    assert [keys.find(text) for text in (digest.hex(), digest.decode("latin-1"))] == [None, None]
    assert ring(b"x" * 32).digest(secret) != digest


@pytest.mark.parametrize("length", [0, 31])
def test_a_short_pepper_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="fewer than 32"):
        ring(b"x" * length)


def test_what_is_almost_a_key_is_none() -> None:
    keys, secret = ring(), new_secret()
    keys.admit(keys.digest(secret), ALICE)

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
        assert keys.find(text) is None


def test_a_key_expires_to_the_microsecond() -> None:
    now_us = [1_999_999]
    keys, secret = ring(clock_us=lambda: now_us[0]), new_secret()
    keys.admit(keys.digest(secret), Principal(key_id="key_1", name="alice", expires_us=2_000_000))

    last = keys.find(secret)
    now_us[0] = 2_000_000
    gone = keys.find(secret)

    assert last is not None
    assert gone is None


def test_no_text_about_a_key_ring_shows_a_key() -> None:
    keys, secret = ring(), new_secret()
    keys.admit(keys.digest(secret), ALICE)

    assert secret not in repr(keys) + repr(keys.find(secret))
