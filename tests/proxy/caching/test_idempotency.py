"""The names that callers give to requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.caching.entry import Entry
from proxy.caching.idempotency import NAME_MAX, Idempotency
from proxy.call import Call, Origin, Principal
from proxy.errors import IdempotencyAnswerLost, IdempotencyKeyReused, InvalidRequest
from proxy.stores.memory_cache import MemoryCache
from tests.proxy.samples import call

ENTRY = Entry(
    made_us=1,
    form="whole",
    content_type=b"application/json",
    body=b"{}",
    origin=Origin(provider="acme", model="gpt", answered_model="", at_us=1),
)


class Time:
    s = 0.0

    def __call__(self) -> float:
        return self.s


def kept(time: Time | None = None, *, ttl_s: float = 60.0, max_bytes: int = 100_000) -> Idempotency:
    return Idempotency(MemoryCache(max_bytes, time or Time()), b"s" * 32, ttl_s=ttl_s)


def named(name: str = "n1", *, key_id: str = "key_1", question: int = 0) -> Call:
    principal = Principal(key_id=key_id, name="alice")
    return call(fields={"seed": question}, principal=principal, headers=((b"idempotency-key", name.encode("latin-1")),))


def slot_of(idempotency: Idempotency, asked: Call) -> bytes:
    slot = idempotency.slot(asked)
    assert slot is not None
    return slot


def test_a_request_without_a_name_has_no_slot() -> None:
    assert kept().slot(call()) is None


def test_where_nothing_is_kept_names_do_not_count() -> None:
    assert kept(ttl_s=0).slot(named()) is None


@pytest.mark.parametrize("name", ["", "x" * (NAME_MAX + 1), "a\tb", "a\x7fb", "\xad"])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        kept().slot(named(name))

    assert refused.value.param == "Idempotency-Key"


@given(
    st.tuples(st.text("ab\n", max_size=3), st.sampled_from("abc")),
    st.tuples(st.text("ab\n", max_size=3), st.sampled_from("abc")),
)
def test_only_the_same_name_of_the_same_key_has_the_same_slot(first: tuple[str, str], second: tuple[str, str]) -> None:
    idempotency = kept()

    slots = [slot_of(idempotency, named(name, key_id=key_id)) for key_id, name in (first, second)]

    assert (slots[0] == slots[1]) == (first == second)


async def test_an_answer_is_found_under_its_name_by_the_same_request() -> None:
    idempotency = kept()
    slot = slot_of(idempotency, named())

    before = await idempotency.find(slot, named())
    await idempotency.keep(slot, named(), ENTRY)
    after = await idempotency.find(slot, named())

    assert (before, after) == (None, ENTRY)


async def test_another_request_is_refused_whether_its_body_or_its_endpoint_differs() -> None:
    idempotency = kept()
    slot = slot_of(idempotency, named())
    await idempotency.keep(slot, named(), ENTRY)

    for other in (named(question=1), call(fields={"seed": 0}, endpoint="completions")):
        with pytest.raises(IdempotencyKeyReused):
            await idempotency.find(slot, other)
    assert not idempotency.is_same(named(), named(question=1))


async def test_that_there_was_an_answer_is_kept_also_where_the_answer_is_not() -> None:
    idempotency = kept()
    slot = slot_of(idempotency, named())
    await idempotency.keep(slot, named(), None)

    with pytest.raises(IdempotencyAnswerLost):
        await idempotency.find(slot, named())


async def test_after_its_time_a_name_may_be_given_anew() -> None:
    time = Time()
    idempotency = kept(time)
    slot = slot_of(idempotency, named())
    await idempotency.keep(slot, named(), ENTRY)

    time.s = 60.1

    assert await idempotency.find(slot, named(question=1)) is None


async def test_what_is_kept_is_bounded() -> None:
    store = MemoryCache(10_000, Time())
    idempotency = Idempotency(store, b"s" * 32, ttl_s=60)

    for number in range(1_000):
        asked = named(f"n{number}")
        await idempotency.keep(slot_of(idempotency, asked), asked, ENTRY)

    assert store.size_bytes <= 10_000
    assert await idempotency.find(slot_of(idempotency, named("n999")), named("n999")) == ENTRY
