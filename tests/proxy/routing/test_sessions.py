"""Which requests belong together."""

from __future__ import annotations

from proxy.routing.sessions import session_of
from tests.proxy.samples import call


def test_nothing_says_so_by_itself() -> None:
    assert session_of(call()) == ""


def test_a_hint_is_one_of_its_own_caller() -> None:
    named = session_of(call(fields={"prompt_cache_key": "s"}))
    header = session_of(call(headers=((b"session-id", b"s"),)))
    stranger = session_of(call(fields={"prompt_cache_key": "s"}, principal=None))

    assert named == header != stranger
