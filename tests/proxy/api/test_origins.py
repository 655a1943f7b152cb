"""Whose pages may call, and what their browsers are told."""

from __future__ import annotations

import pytest

from proxy.api.origins import Origins

HERE = [b"http://localhost", b"http://localhost:3000", b"https://127.0.0.1:8443", b"http://[::1]:5173"]
ELSEWHERE = [
    b"",
    b"null",
    b"http://evil.example",
    b"http://localhost.evil.example",
    b"http://evil.example/http://localhost",
    b"http://localhost:3000/",
    b"http://localhost:3000\r\nx: 1",
    b"ftp://localhost",
]


@pytest.mark.parametrize("names", [(), ("https://chat.example",)])
def test_pages_of_this_machine_may_call_and_others_may_not(names: tuple[str, ...]) -> None:
    origins = Origins(names)

    assert [it for it in HERE if not origins.accept(it)] == []
    assert [it for it in ELSEWHERE if origins.accept(it)] == []


def test_those_that_are_named_may_too() -> None:
    origins = Origins(("https://Chat.example/",))

    assert origins.accept(b"https://chat.example")
    assert not origins.accept(b"http://chat.example")
    assert not origins.accept(b"https://chat.example:8443")


def test_a_star_is_anybody() -> None:
    assert Origins(("*",)).accept(b"https://anybody.example")


def test_a_browser_is_told_what_it_asked_for_and_never_to_send_cookies() -> None:
    told = dict(Origins().preflight(b"http://localhost:3000", b"authorization,x-stainless-lang"))

    assert told[b"access-control-allow-origin"] == b"http://localhost:3000"
    assert told[b"access-control-allow-headers"] == b"authorization,x-stainless-lang"
    assert b"POST" in told[b"access-control-allow-methods"]
    assert told[b"vary"] == b"origin"
    assert b"access-control-allow-credentials" not in told


@pytest.mark.parametrize("asked", [b"", b"a: b", b"x\r\ny", b"x" * 3000])
def test_what_is_no_list_of_headers_is_not_repeated(asked: bytes) -> None:
    told = dict(Origins().preflight(b"http://localhost:3000", asked))

    assert told[b"access-control-allow-headers"] == b"authorization, content-type"
