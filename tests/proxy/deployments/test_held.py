"""Who holds which response."""

from __future__ import annotations

import pytest

from proxy.call import Call, Deployment, Head, Principal, Tier, Weight
from proxy.deployments.held import Held, Holding, at_the_holder, with_its_files
from proxy.errors import FileNotFound, InvalidRequest, PreviousResponseNotFound
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
    known.forget(MINE, "one")
    known.forget(MINE, "never")

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


# --- files and batches -----------------------------------------------------------------------------------------------------


def test_a_key_has_its_own_things_in_the_order_they_were_made() -> None:
    known = Held()
    for name in ("one", "two", "three"):
        known.keep("file", name, Holding("mine", "openai", "a"))
    known.keep("file", "other", Holding("theirs", "openai", "a"))
    known.keep("batch", "batch_1", Holding("mine", "openai", "a"))
    known.keep("file", "one", Holding("mine", "openai", "a", '{"status":"processed"}'))
    known.forget(MINE, "two", "file")

    assert [(name, it.seen) for name, it in known.mine(MINE, "file")] == [("one", '{"status":"processed"}'), ("three", "")]
    assert [name for name, _ in known.mine(THEIRS, "file")] == ["other"]
    assert known.find(MINE, "batch_1") is None
    assert known.find(MINE, "batch_1", "batch") is not None


def test_the_same_id_at_two_providers_is_two_things() -> None:
    known = Held()

    known.keep("file", "file-1", Holding("mine", "openai", "a"))
    known.keep("file", "file-1", Holding("theirs", "other", "default"))

    assert known.find(MINE, "file-1", "file") == Holding("mine", "openai", "a")
    assert known.find(THEIRS, "file-1", "file") == Holding("theirs", "other", "default")


def test_many_responses_do_not_make_a_file_forgotten() -> None:
    known = Held(most=2)
    known.keep("file", "file-1", Holding("mine", "openai", "a"))

    for number in range(10):
        known.note(call(), A, f"resp_{number}")

    assert [name for name, _ in known.mine(MINE, "file")] == ["file-1"]


def test_files_and_batches_are_known_again() -> None:
    lines: list[bytes] = []
    known = Held(remember=lines.append)
    known.keep("file", "file-1", Holding("mine", "openai", "a", "{}"))
    known.keep("file", "file-2", Holding("mine", "openai", "a"))
    known.keep("batch", "batch_1", Holding("mine", "openai", "b"))
    known.forget(MINE, "file-2", "file")

    for again in (Held(lines), Held(known.lines())):
        assert again.mine(MINE, "file") == [("file-1", Holding("mine", "openai", "a", "{}"))]
        assert again.mine(MINE, "batch") == [("batch_1", Holding("mine", "openai", "b"))]


def test_what_will_soon_be_different_is_not_remembered() -> None:
    lines: list[bytes] = []
    known = Held(remember=lines.append)
    for number in range(5):
        known.keep("batch", "batch_1", Holding("mine", "openai", "a", f'{{"n":{number}}}'), lasting=False)

    assert len(lines) == 1
    assert known.mine(MINE, "batch") == [("batch_1", Holding("mine", "openai", "a", '{"n":4}'))]


def test_what_older_lines_say_is_a_response() -> None:
    assert Held([b'["resp_1",["mine","openai","a"]]']).find(MINE, "resp_1") == Holding("mine", "openai", "a")


# --- files that a request names --------------------------------------------------------------------------------------------


def reading(*names: str) -> Call:
    return samples.call(principal=MINE, head=Head(model="m", weight=Weight(references=len(names), files=names)))


def keeping(**places: str) -> Held:
    made = Held()
    for name, account in places.items():
        made.keep("file", name, Holding("mine", "openai", account))
    made.keep("file", "foreign", Holding("theirs", "openai", "a"))
    return made


def test_only_the_account_that_holds_the_files_is_asked() -> None:
    both = tiers(A, B)

    assert with_its_files(keeping(one="b", two="b"), reading("one", "two"), both) == tiers(B)
    assert with_its_files(keeping(), reading(), both) == both


def test_a_file_that_was_not_made_here_is_its_providers_to_know() -> None:
    both = tiers(A, B)

    assert with_its_files(keeping(one="a"), reading("none"), both) == both
    assert with_its_files(keeping(one="a"), reading("one", "none"), both) == tiers(A)


def test_a_file_that_two_keys_have_had_is_somebodys_until_both_have_let_it_go() -> None:
    held = keeping(one="a")
    held.keep("file", "one", Holding("theirs", "openai", "a"))

    before = held.anybody("one", "file")
    held.forget(Principal(key_id="mine", name="m"), "one", "file")
    between = held.anybody("one", "file")
    held.forget(Principal(key_id="theirs", name="t"), "one", "file")

    assert (before, between, held.anybody("one", "file")) == (True, True, False)


def test_a_file_of_another_key_is_none() -> None:
    with pytest.raises(FileNotFound) as refused:
        with_its_files(keeping(one="a"), reading("one", "foreign"), tiers(A, B))

    assert (refused.value.status, refused.value.param) == (400, "file_id")


def test_files_at_two_accounts_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="different accounts"):
        with_its_files(keeping(one="a", two="b"), reading("one", "two"), tiers(A, B))


def test_a_model_that_the_files_account_does_not_serve_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="does not serve"):
        with_its_files(keeping(one="b"), reading("one"), tiers(A))


def test_a_file_that_is_described_at_great_length_is_known_without_that() -> None:
    known = Held()

    assert known.keep("file", "one", Holding("mine", "openai", "a", "x" * 5000))
    assert known.find(MINE, "one", "file") == Holding("mine", "openai", "a")
    assert known.anybody("one", "file")
    assert not known.anybody("one", "batch")
    assert not known.keep("file", "../one", Holding("mine", "openai", "a"))
