"""Who holds which response."""

from __future__ import annotations

import pytest

from proxy.call import Call, Deployment, Head, Principal, Tier
from proxy.errors import InvalidRequest, PreviousResponseNotFound
from proxy.held import Held, Holding, at_the_holder
from tests.proxy import samples

MINE = Principal(key_id="mine", name="mine")
THEIRS = Principal(key_id="theirs", name="theirs")
A, B = (samples.deployment("openai/m", account=name) for name in "ab")


def call(**head: object) -> Call:
    return samples.call(endpoint="responses", principal=MINE, head=Head(model="m", **head))  # type: ignore[arg-type]


def held(*names: str, deployment: Deployment = A) -> Held:
    made = Held()
    for name in names:
        made.note(call(), deployment, name)
    return made


def test_a_response_is_found_by_who_made_it_alone() -> None:
    known = held("resp_1")

    assert known.find(MINE, "resp_1") == Holding("mine", "openai", "a")
    assert known.find(THEIRS, "resp_1") is None
    assert known.find(None, "resp_1") is None
    assert known.find(MINE, "resp_2") is None


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 129, "résp"])
def test_what_is_no_id_is_not_noted(name: str) -> None:
    assert len(held(name)) == 0


def test_what_is_not_to_be_kept_is_not_noted() -> None:
    known = Held()

    known.note(call(stores=False), A, "resp_1")

    assert known.find(MINE, "resp_1") is None


def test_the_oldest_makes_room() -> None:
    known = Held(most=2)
    for name in ("one", "two", "three"):
        known.note(call(), A, name)

    assert [name for name in ("one", "two", "three") if known.find(MINE, name)] == ["two", "three"]


def test_what_was_remembered_is_known_again() -> None:
    lines: list[bytes] = []
    known = Held(remember=lines.append)
    known.note(call(), A, "one")
    known.note(call(), A, "one")
    known.note(call(), B, "two")
    known.forget("one")
    known.forget("never")

    again = Held([*lines, b"", b'["thr'])

    assert len(lines) == 3
    assert again.find(MINE, "one") is None
    assert again.find(MINE, "two") == Holding("mine", "openai", "b")
    assert Held(again.lines()).find(MINE, "two") == Holding("mine", "openai", "b")


def tiers(*deployments: Deployment) -> tuple[Tier, ...]:
    return (Tier(name="m", deployments=deployments),)


def test_only_the_holder_is_asked() -> None:
    both = tiers(A, B)

    assert at_the_holder(held("resp_1", deployment=B), call(previous_response="resp_1"), both) == tiers(B)
    assert at_the_holder(held(), call(), both) is both


def test_a_response_that_nobody_holds_is_not_gone_on_from() -> None:
    with pytest.raises(PreviousResponseNotFound):
        at_the_holder(held(), call(previous_response="resp_1"), tiers(A, B))


def test_a_model_that_the_holder_does_not_serve_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="openai"):
        at_the_holder(held("resp_1", deployment=B), call(previous_response="resp_1"), tiers(A))
