"""The cache in memory: what was put is there for its time, within its bytes, and the least used makes room."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from proxy.stores.memory_cache import OVERHEAD_BYTES, MemoryCache


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def cache(entries: int = 3, *, clock: Clock | None = None) -> MemoryCache:
    """Room for so many entries of a key of 1 byte and a value of 9."""
    return MemoryCache(entries * (10 + OVERHEAD_BYTES), clock or Clock())


VALUE = b"123456789"


async def test_what_was_put_is_there() -> None:
    store = cache()

    await store.put(b"a", VALUE, ttl_s=10)

    assert await store.get(b"a") == VALUE
    assert await store.get(b"b") is None


async def test_an_entry_ends_with_its_time() -> None:
    clock = Clock()
    store = cache(clock=clock)
    await store.put(b"a", VALUE, ttl_s=10)

    clock.now_s += 9.9
    before = await store.get(b"a")
    clock.now_s += 0.1
    after = await store.get(b"a")

    assert (before, after, len(store), store.size_bytes, store.expired) == (VALUE, None, 0, 0, 1)


async def test_the_least_recently_used_makes_room() -> None:
    store = cache(3)
    for key in (b"a", b"b", b"c"):
        await store.put(key, VALUE, ttl_s=10)
    await store.get(b"a")

    await store.put(b"d", VALUE, ttl_s=10)

    assert [await store.get(key) for key in (b"a", b"b", b"c", b"d")] == [VALUE, None, VALUE, VALUE]
    assert store.evicted == 1


async def test_what_is_larger_than_all_of_it_is_not_kept_and_costs_nobody_else_a_place() -> None:
    store = cache(2)
    await store.put(b"a", VALUE, ttl_s=10)

    await store.put(b"b", bytes(10_000), ttl_s=10)

    assert (await store.get(b"a"), await store.get(b"b")) == (VALUE, None)


async def test_what_has_no_time_is_not_kept_and_what_was_there_is_gone() -> None:
    store = cache()
    await store.put(b"a", VALUE, ttl_s=10)

    await store.put(b"a", VALUE, ttl_s=0)

    assert (await store.get(b"a"), store.size_bytes) == (None, 0)


async def test_what_is_deleted_is_gone() -> None:
    store = cache()
    await store.put(b"a", VALUE, ttl_s=10)

    await store.delete(b"a")
    await store.delete(b"a")

    assert (await store.get(b"a"), store.size_bytes) == (None, 0)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 8), st.integers(0, 900), st.integers(1, 20)),
        st.tuples(st.just("get"), st.integers(0, 8), st.just(0), st.just(0)),
        st.tuples(st.just("delete"), st.integers(0, 8), st.just(0), st.just(0)),
        st.tuples(st.just("wait"), st.just(0), st.just(0), st.integers(1, 20)),
    ),
    max_size=60,
)


@given(steps=STEPS)
async def test_it_is_what_a_plain_list_of_entries_would_be_and_never_larger_than_it_may(
    steps: list[tuple[str, int, int, int]],
) -> None:
    clock = Clock()
    bound = 2_000
    store = MemoryCache(bound, clock)
    model: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()

    for step, number, size, seconds in steps:
        key = b"%d" % number
        if step == "put":
            value = bytes(size)
            await store.put(key, value, ttl_s=seconds)
            model.pop(key, None)
            model[key] = (value, clock.now_s + seconds)
            while sum(len(k) + len(v) + OVERHEAD_BYTES for k, (v, _) in model.items()) > bound:
                model.popitem(last=False)
        elif step == "get":
            found = await store.get(key)
            kept = model.get(key)
            if kept is not None and kept[1] <= clock.now_s:
                del model[key]
                kept = None
            assert found == (kept and kept[0])
            if kept is not None:
                model.move_to_end(key)
        elif step == "delete":
            await store.delete(key)
            model.pop(key, None)
        else:
            clock.now_s += seconds
        assert store.size_bytes == sum(len(k) + len(v) + OVERHEAD_BYTES for k, (v, _) in model.items()) <= bound
