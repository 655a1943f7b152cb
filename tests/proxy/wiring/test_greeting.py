"""What a start says to the person who made it."""

from __future__ import annotations

import shlex

import pytest

from ledger.records import Key
from proxy.wiring.greeting import greeting

URL = "http://127.0.0.1:4000"


class Found:
    async def listed(self, timeout_s: float) -> bool:
        return timeout_s > 0

    def describe(self) -> list[str]:
        return ["provider: acme (1 model)", "models: acme/gpt"]

    def example(self) -> str:
        return "acme/gpt"


def key(**fields: object) -> Key:
    plain = {"id": "k", "name": "ci", "digest": b"", "last4": "", "admin": False, "models": (), "created_us": 1}
    return Key(**{**plain, **fields})  # type: ignore[arg-type]  # the fields are the caller's to get right


async def said(first_key: str | None, *keys: Key) -> list[str]:
    return [line async for line in greeting(URL, first_key, Found(), lambda: keys)]


async def test_the_first_start_tells_its_key_and_a_line_to_paste() -> None:
    lines = await said("tw-secret")

    assert lines[:4] == [f"base URL: {URL}/v1", "API key: tw-secret", "provider: acme (1 model)", "models: acme/gpt"]
    pasted = shlex.split(lines[-1].removeprefix("try it: "))
    assert pasted[:4] == ["curl", f"{URL}/v1/chat/completions", "-H", "Authorization: Bearer tw-secret"]
    assert '"model": "acme/gpt"' in pasted[-1]


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ([], "as TOLLWAY_API_KEY or the configuration say"),
        ([key(created_us=0)], "as TOLLWAY_API_KEY or the configuration say"),
        ([key(revoked_us=2)], "as TOLLWAY_API_KEY or the configuration say"),
        ([key(), key()], "made at an earlier start and not shown again; `tollway keys create NAME` makes another (2 live)"),
    ],
)
async def test_a_later_start_tells_where_the_keys_are_from(keys: list[Key], told: str) -> None:
    lines = await said(None, *keys)

    assert lines[1] == f"API key: {told}"
    assert '-H "Authorization: Bearer $TOLLWAY_API_KEY"' in lines[-1]
