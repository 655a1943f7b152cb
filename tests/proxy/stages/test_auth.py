"""Who is calling: one good answer, and one bad one for everything else."""

from __future__ import annotations

import pytest

from proxy.call import Call, Completed, Principal, Reply
from proxy.errors import InvalidApiKey
from proxy.stages.auth import KEY_MAX_CHARS, Auth
from tests.proxy.samples import call

ALICE = Principal(key_id="key_1", name="alice")


class Keys:
    """Knows one key, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def find(self, secret: str, /) -> Principal | None:
        self.asked.append(secret)
        return ALICE if secret == "tw-good" else None


@pytest.mark.parametrize(
    "header", ["Bearer tw-good", "bearer tw-good", "BEARER tw-good", "Bearer   tw-good ", "Bearer \ttw-good"]
)
def test_a_key_is_found_however_its_scheme_is_written(header: str) -> None:
    assert Auth(Keys()).identify((header,)) == ALICE


BAD = [
    (),
    ("",),
    ("Bearer",),
    ("Bearer ",),
    ("Bearer tw-bad",),
    ("tw-good",),
    ("Basic tw-good",),
    ("Bearertw-good",),
    ("Bearer tw-good tw-good",),
    ("Bearer tw-good,",),
    ("Bearer tw-good", "Bearer tw-good"),
    ("Bearer tw-good", "Bearer tw-bad"),
    ("Bearer " + "x" * (KEY_MAX_CHARS + 1),),
    ("Bearer \xff\x00",),
]


@pytest.mark.parametrize("headers", BAD)
def test_every_bad_key_is_told_the_same(headers: tuple[str, ...]) -> None:
    with pytest.raises(InvalidApiKey) as caught:
        Auth(Keys()).identify(headers)

    assert caught.value.message == "The API key is missing or not valid. Send it as 'Authorization: Bearer tw-…'."


@pytest.mark.parametrize("length", [KEY_MAX_CHARS + 1, 60_000])
def test_a_key_that_is_too_long_is_not_even_looked_up(length: int) -> None:
    keys = Keys()

    with pytest.raises(InvalidApiKey):
        Auth(keys).identify(("Bearer " + "x" * length,))

    assert keys.asked == []


async def test_the_call_goes_on_with_its_principal() -> None:
    seen: list[Call] = []

    async def service(call: Call, /) -> Reply:
        seen.append(call)
        return Completed(status=200, headers=[], body=b"")

    reply = await Auth(Keys())(call(authorization=("Bearer tw-good",), principal=None), service)

    assert isinstance(reply, Completed)
    assert [it.principal for it in seen] == [ALICE]


async def test_a_call_without_a_key_goes_nowhere() -> None:
    async def service(call: Call, /) -> Reply:
        raise AssertionError("nobody was identified")

    with pytest.raises(InvalidApiKey):
        await Auth(Keys())(call(authorization=(), principal=None), service)
